"""Decoder of RISC-V with compressed instructions: effects on the stack pointer.

Source: The RISC-V instruction set manual, volume I, chapters "RV32I", "RV64I" and "C".
"""

from __future__ import annotations

from tfaot.packaging.stack.effects import (
    STOP,
    Align,
    Branch,
    Call,
    Code,
    Decoded,
    Effect,
    Move,
    Point,
    Restore,
    UnknownCodeError,
    signed,
)

_ZERO, _RA, _SP, _FP = 0, 1, 2, 8
_NOTHING: tuple[Effect, ...] = ()
_WITHOUT_RESULT = frozenset(
    (0x23, 0x27, 0x63, 0x0F, 0x73, 0x07, 0x43, 0x47, 0x4B, 0x4F, 0x53, 0x57)
)
"""Opcodes whose bits 7 to 11 are no integer register: stores, branches, floating point."""


def decode(code: Code, at: int) -> Decoded:
    """The instruction at `at`; see `effects.Decoder`."""
    text = code.text
    if at + 2 > len(text) or (text[at] & 3 == 3 and at + 4 > len(text)):
        raise UnknownCodeError(f"an instruction is cut off at {at:#x}")
    if text[at] & 3 != 3:
        return 2, _compressed(code, at, int.from_bytes(text[at : at + 2], "little"))
    if text[at] & 0x1F == 0x1F:
        raise UnknownCodeError(f"an instruction of more than 4 bytes at {at:#x}")
    word = int.from_bytes(text[at : at + 4], "little")
    opcode, to, source = word & 0x7F, word >> 7 & 0x1F, word >> 15 & 0x1F
    known = code.targets.get(at)
    if (opcode == 0x17 and to == _SP) or (opcode == 0x37 and to == _SP):
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    if opcode == 0x17:
        return _far(code, at, word)
    if opcode == 0x6F:
        offset = (word >> 21 & 0x3FF) << 1 | (word >> 20 & 1) << 11
        offset |= (word >> 12 & 0xFF) << 12 | (word >> 31) << 20
        target = known if known is not None else at + signed(offset, 21)
        if to not in (_ZERO, _RA):
            raise UnknownCodeError(f"a call with another return register at {at:#x}")
        return 4, ((Call(target),) if to == _RA else (Branch(target, conditional=False),))
    if opcode == 0x67:
        if to == _ZERO and source == _RA:
            return 4, (STOP,)
        raise UnknownCodeError(f"a call or a jump through a pointer at {at:#x}")
    if opcode == 0x63:
        offset = (word >> 8 & 0xF) << 1 | (word >> 25 & 0x3F) << 5
        offset |= (word >> 7 & 1) << 11 | (word >> 31) << 12
        return 4, (Branch(known if known is not None else at + signed(offset, 13), True),)
    immediate, kind = signed(word >> 20, 12), word >> 12 & 7
    if opcode == 0x13 and kind == 0:
        return 4, _add(to, source, immediate)
    if opcode == 0x13 and kind == 7 and to == source == _SP and immediate < 0:
        return 4, (Align(max(-immediate - 16, 0)),)  # a multiple of 16 before
    if opcode == 0x33 and to == source == _SP:
        return 4, _by_register(code, at, word)
    if to == _SP and opcode not in _WITHOUT_RESULT:
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    return 4, _NOTHING


def _add(to: int, source: int, value: int) -> tuple[Effect, ...]:
    if to == source == _SP:
        return (Move(value),)
    if source == _SP:
        return (Point(to, value),)
    return _restored(source, value) if to == _SP else _NOTHING


def _restored(register: int, offset: int) -> tuple[Effect, ...]:
    if register != _FP:  # a frame whose size depends on data
        raise UnknownCodeError("the stack pointer is computed")
    return (Restore(register, offset),)


def _far(code: Code, at: int, word: int) -> Decoded:
    """Upper bits of an address; with the jump behind them a call, or one in tail position."""
    register = word >> 7 & 0x1F
    after = int.from_bytes(code.text[at + 4 : at + 8], "little")
    if after & 0x707F != 0x67 or after >> 15 & 0x1F != register:
        return 4, _NOTHING
    offset = signed(word & 0xFFFFF000, 32) + signed(after >> 20, 12)
    target = code.targets.get(at, at + offset)
    if after >> 7 & 0x1F == _RA:
        return 8, (Call(target),)
    return 8, (Branch(target, conditional=False),)


def _by_register(code: Code, at: int, word: int) -> tuple[Effect, ...]:
    """Frames too large for an immediate: `lui t, high; addi(w) t, t, low; sub sp, sp, t`."""
    if word >> 25 not in (0, 0x20) or word >> 12 & 7:
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    value = _constant(code, at, word >> 20 & 0x1F)
    return (Move(value if word >> 25 == 0 else -value),)


def _constant(code: Code, at: int, register: int) -> int:
    """What the instructions right before `at` put into a register."""
    value, place = 0, at
    for _ in range(2):
        before = _before(code, place)
        low = signed((before >> 2 & 0x1F) | (before >> 12 & 1) << 5, 6)
        if before & 3 == 3:
            place -= 4
            adds = before & 0x7F in (0x13, 0x1B) and before & 0x7000 == 0
            if adds and before >> 7 & 0x1F == before >> 15 & 0x1F == register:
                value += signed(before >> 20, 12)
                continue
            if before & 0x7F == 0x37 and before >> 7 & 0x1F == register:
                value += signed(before & 0xFFFFF000, 32)
                return value
        elif before >> 7 & 0x1F == register:
            place -= 2
            if before & 0xE003 in (0x0001, 0x2001):  # c.addi, c.addiw
                value += low
                continue
            if before & 0xE003 == 0x6001:  # c.lui
                return value + (low << 12)
        break
    raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")


def _before(code: Code, at: int) -> int:
    """The instruction that ends at `at`, where one of 4 bytes fits best."""
    if at < 4:
        return int.from_bytes(code.text[max(at - 2, 0) : at], "little")
    wide = int.from_bytes(code.text[at - 4 : at], "little")
    return wide if wide & 3 == 3 and wide & 0x1F != 0x1F else wide >> 16


def _compressed(code: Code, at: int, word: int) -> tuple[Effect, ...]:
    kind, quadrant, register = word >> 13, word & 3, word >> 7 & 0x1F
    if word == 0:
        return (STOP,)
    known = code.targets.get(at)
    if quadrant == 0:
        if kind:
            return _NOTHING
        value = (word >> 11 & 3) << 4 | (word >> 7 & 0xF) << 6 | (word >> 6 & 1) << 2
        return (Point(8 + (word >> 2 & 7), value | (word >> 5 & 1) << 3),)
    low = signed((word >> 2 & 0x1F) | (word >> 12 & 1) << 5, 6)
    if quadrant == 1:
        return _first_quadrant(at, word, known, low)
    if kind == 4 and register and not word >> 2 & 0x1F:
        if not word >> 12 & 1 and register == _RA:
            return (STOP,)
        raise UnknownCodeError(f"a call or a jump through a pointer at {at:#x}")
    if word == 0x9002:  # c.ebreak
        return (STOP,)
    if kind == 4 and register == _SP and not word >> 12 & 1:
        return _restored(word >> 2 & 0x1F, 0)
    if kind == 4 and word >> 2 & 0x1F == _SP and not word >> 12 & 1:
        return (Point(register, 0),)
    if kind == 4 and register == _SP and word >> 2 & 0x1F:  # c.add
        return (Move(_constant(code, at, word >> 2 & 0x1F)),)
    if kind in (0, 2, 3, 4) and register == _SP:
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    return _NOTHING


def _first_quadrant(at: int, word: int, known: int | None, low: int) -> tuple[Effect, ...]:
    kind, register = word >> 13, word >> 7 & 0x1F
    if kind == 5:
        offset = (word >> 3 & 7) << 1 | (word >> 11 & 1) << 4 | (word >> 2 & 1) << 5
        offset |= (word >> 7 & 1) << 6 | (word >> 6 & 1) << 7 | (word >> 9 & 3) << 8
        offset |= (word >> 8 & 1) << 10 | (word >> 12 & 1) << 11
        return (Branch(known if known is not None else at + signed(offset, 12), False),)
    if kind >= 6:
        offset = (word >> 3 & 3) << 1 | (word >> 10 & 3) << 3 | (word >> 2 & 1) << 5
        offset |= (word >> 5 & 3) << 6 | (word >> 12 & 1) << 8
        return (Branch(known if known is not None else at + signed(offset, 9), True),)
    if register != _SP or kind == 4:
        return _NOTHING
    if kind == 0:
        return (Move(low),)
    if kind == 3:  # c.addi16sp
        value = (word >> 6 & 1) << 4 | (word >> 2 & 1) << 5 | (word >> 5 & 1) << 6
        value |= (word >> 3 & 3) << 7 | (word >> 12 & 1) << 9
        return (Move(signed(value, 10)),)
    raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
