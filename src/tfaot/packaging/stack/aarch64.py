"""Decoder of AArch64: effects on the stack pointer.

Source: Arm architecture reference manual for A-profile (DDI 0487), chapter C4.
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

_FP, _SP = 29, 31
_NOTHING: tuple[Effect, ...] = ()


def decode(code: Code, at: int) -> Decoded:
    """The instruction at `at`; see `effects.Decoder`."""
    if at + 4 > len(code.text):
        raise UnknownCodeError(f"an instruction is cut off at {at:#x}")
    word = int.from_bytes(code.text[at : at + 4], "little")
    group = word >> 25 & 0xF
    if group in (0b1010, 0b1011):
        return 4, _branch(code, at, word)
    if group in (0b1000, 0b1001):
        return 4, _arithmetic(word, at)
    if group & 0b0101 == 0b0100:
        return 4, _memory(word, at)
    # Registers extended: the only arithmetic on registers that reaches the stack pointer.
    if word & 0x3FE0001F == 0x0B200000 | _SP:
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    if word >> 16 == 0:  # udf
        return 4, (STOP,)
    # addvl and addpl, which count in vector registers of unknown length.
    if word & 0xFFA0F800 == 0x04205000 and word & 0x1F == _SP:
        raise UnknownCodeError(f"a frame of scalable vectors at {at:#x}")
    return 4, _NOTHING


def _branch(code: Code, at: int, word: int) -> tuple[Effect, ...]:
    known = code.targets.get(at)

    def target(shift: int, bits: int) -> int:
        return known if known is not None else at + 4 * signed(word >> shift, bits)

    if word & 0x7C000000 == 0x14000000:
        to = target(0, 26)
        return (Call(to),) if word >> 31 else (Branch(to, conditional=False),)
    if word & 0x7E000000 == 0x34000000 or word & 0xFF000000 == 0x54000000:  # cbz, b.cond
        return (Branch(target(5, 19), conditional=True),)
    if word & 0x7E000000 == 0x36000000:  # tbz
        return (Branch(target(5, 14), conditional=True),)
    if word & 0xFFFFF000 == 0xD65F0000:  # ret, with or without authentication
        return (STOP,)
    if word & 0xFE000000 == 0xD6000000:
        raise UnknownCodeError(f"a call or a jump through a pointer at {at:#x}")
    if word & 0xFF000000 == 0xD4000000 and word & 0x00E00000 == 0x00200000:  # brk
        return (STOP,)
    return _NOTHING


def _arithmetic(word: int, at: int) -> tuple[Effect, ...]:
    """Arithmetic with an immediate."""
    to, source = word & 0x1F, word >> 5 & 0x1F
    if word & 0xBF800000 == 0x91000000:  # add, sub; 64 bits
        value = (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
        value = -value if word >> 30 & 1 else value
        if to == source == _SP:
            return (Move(value),)
        if source == _SP:
            return (Point(to, value),)
        if to == _SP and source != _FP:  # a frame whose size depends on data
            raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
        return (Restore(source, value),) if to == _SP else _NOTHING
    if word & 0x7F800000 == 0x12000000 and to == _SP:  # and
        lost = _alignment(word)
        if not word >> 31 or lost is None:
            raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
        # The stack pointer is a multiple of 16 before.
        return ((Restore(source, 0),) if source != _SP else _NOTHING) + (Align(max(lost - 16, 0)),)
    if word & 0x1F800000 == 0x12000000 and to == _SP and word >> 29 & 3 != 3:  # orr, eor
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    return _NOTHING


def _alignment(word: int) -> int | None:
    """The alignment that a mask of ones above zeros gives, None where it is no such mask."""
    if not word >> 22 & 1:
        return None
    rotation, ones = word >> 16 & 0x3F, (word >> 10 & 0x3F) + 1
    return 1 << 64 - ones if rotation == ones % 64 else None


def _memory(word: int, at: int) -> tuple[Effect, ...]:
    """Loads and stores that move the stack pointer."""
    if word >> 5 & 0x1F != _SP:
        return _NOTHING
    vector = word >> 26 & 1
    if word & 0x3A000000 == 0x28000000:  # pairs
        size = 4 << (word >> 30) if vector else 8 if word >> 31 else 4
        return (Move(size * signed(word >> 15, 7)),) if word >> 23 & 1 else _NOTHING
    if word & 0x3B200000 == 0x38000000:
        return (Move(signed(word >> 12, 9)),) if word >> 10 & 1 else _NOTHING
    if word & 0xBE800000 == 0x0C800000:
        raise UnknownCodeError(f"the stack pointer is moved by a vector at {at:#x}")
    return _NOTHING
