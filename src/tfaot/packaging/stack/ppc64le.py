"""Decoder of Power ISA, little-endian with the ELFv2 ABI: effects on the stack pointer.

Source: Power ISA version 3.1, book I; OpenPOWER ELFv2 ABI, section 2.2 (stack frames).
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
    Unwind,
    signed,
)

_SP = 1
_FRAME = (30, 31)
"""Registers that keep a frame's address."""
PROTECTED = 288
"""Bytes below the stack pointer that a function may use without a frame of its own (LLVM's limit;
the ABI's is 512)."""
_NOTHING: tuple[Effect, ...] = ()
_UPDATES = frozenset((33, 35, 37, 39, 41, 43, 45, 49, 51, 53, 55))
"""Loads and stores that write their base register."""


def decode(code: Code, at: int) -> Decoded:
    """The instruction at `at`; see `effects.Decoder`."""
    word = _word(code, at)
    opcode, to, source = word >> 26, word >> 21 & 0x1F, word >> 16 & 0x1F
    if opcode == 1:  # a prefix
        suffix = _word(code, at + 4)
        if suffix >> 21 & 0x1F == _SP and suffix >> 26 in (14, 57):
            raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
        return 8, _NOTHING
    if opcode == 18:
        target = code.targets.get(at, at + signed(word & 0x03FFFFFC, 26))
        return 4, ((Call(target),) if word & 1 else (Branch(target, conditional=False),))
    if opcode == 16:
        if word & 1:
            raise UnknownCodeError(f"a conditional call at {at:#x}")
        target = code.targets.get(at, at + signed(word & 0xFFFC, 16))
        return 4, (Branch(target, conditional=to & 0x14 != 0x14),)
    if opcode == 19 and word >> 1 & 0x3FF in (16, 528, 560):
        return 4, _through_register(word, at)
    if word == 0x7FE00008:  # trap
        return 4, (STOP,)
    offset = signed(word, 16)
    if opcode == 14 and source == _SP:
        return 4, ((Move(offset),) if to == _SP else (Point(to, offset),))
    if opcode == 14 and to == _SP and source in _FRAME:
        return 4, (Restore(source, offset),)
    if opcode == 62 and word & 3 == 1 and source == _SP:  # stdu
        return 4, (Move(offset & ~3 if offset >= 0 else -(-offset + 3 & ~3)),)
    if opcode == 58 and word & 3 == 0 and to == source == _SP and offset == 0:
        return 4, (Unwind(),)  # the back chain: the caller's stack pointer
    if opcode == 31:
        return 4, _extended(code, at, word)
    moved = opcode in _UPDATES and source == _SP
    if moved or (to == _SP and opcode in (14, 15, 32, 40, 42, 34, 58, 7, 8, 12, 13)):
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    if source == _SP and opcode in (24, 25, 26, 27, 28, 29, 30):
        # ori, rotations and the like: the second field is the result.
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    return 4, _NOTHING


def _word(code: Code, at: int) -> int:
    if not 0 <= at <= len(code.text) - 4:
        raise UnknownCodeError(f"an instruction is cut off at {at:#x}")
    return int.from_bytes(code.text[at : at + 4], "little")


def _through_register(word: int, at: int) -> tuple[Effect, ...]:
    """Returns, always or on a condition; jumps and calls through other registers."""
    if word >> 1 & 0x3FF != 16 or word & 1:
        raise UnknownCodeError(f"a call or a jump through a pointer at {at:#x}")
    always = word >> 21 & 0x14 == 0x14
    return (STOP,) if always else _NOTHING


def _extended(code: Code, at: int, word: int) -> tuple[Effect, ...]:
    """Instructions on registers: copies of the stack pointer, frames whose size is in one."""
    kind, first, second, third = (
        word >> 1 & 0x3FF,
        word >> 21 & 0x1F,
        word >> 16 & 0x1F,
        word >> 11 & 0x1F,
    )
    if kind == 444 and second == _SP and first == third:  # mr
        if first not in (_SP, *_FRAME):  # a frame whose size depends on data
            raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
        return (Restore(first, 0),) if first != _SP else _NOTHING
    if kind == 444 and first == third == _SP:
        return (Point(second, 0),)
    if kind == 181 and second == _SP:  # stdux
        size, lost = _size_in_register(code, at, third)
        return (Move(size), Align(lost))
    if second == _SP and kind in (28, 60, 284, 316, 412, 444, 476, 124, 24, 536, 27, 539, 986, 954):
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    if kind in (53, 55, 119, 183, 247, 311, 375, 439, 567, 631, 695, 759) and second == _SP:
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    if first == _SP and kind in (266, 40, 10, 138, 202, 8, 136, 21, 23, 87, 279, 15):
        raise UnknownCodeError(f"the stack pointer is computed at {at:#x}")
    return _NOTHING


def _size_in_register(code: Code, at: int, register: int) -> tuple[int, int]:
    """The (negative) size of a frame that a register holds, and what aligning it takes more."""
    place, last = _writer(code, at, register)
    low, head = last & 0xFFFF, last >> 16
    if head == 14 << 10 | register << 5:  # li
        return signed(low, 16), 0
    if head == 15 << 10 | register << 5:  # lis
        return signed(low << 16, 32), 0
    _, first = _writer(code, place, register)
    if head == 24 << 10 | register << 5 | register and first >> 16 == 15 << 10 | register << 5:
        return signed((first & 0xFFFF) << 16 | low, 32), 0  # lis, ori
    # rldicl r, sp, 0, 64 - k: what is above a multiple of 2**k, and then subfic r, r, size. The
    # ABI's own alignment is 16.
    above = first & 0xFFFFF81F == 30 << 26 | _SP << 21 | register << 16
    if above and head == 8 << 10 | register << 5 | register:
        return signed(low, 16), (1 << 64 - (first >> 6 & 0x1F | first & 0x20)) - 16
    raise UnknownCodeError(f"a frame of unknown size at {at:#x}")


def _writer(code: Code, at: int, register: int) -> tuple[int, int]:
    """The last instruction before `at` that may write a register: its place and its word."""
    for place in range(at - 4, max(at - 64, 0) - 1, -4):
        word = _word(code, place)
        opcode, kind = word >> 26, word >> 1 & 0x3FF
        first, second = word >> 21 & 0x1F, word >> 16 & 0x1F
        stores = opcode in (36, 38, 44, 52, 54) or (opcode == 62 and word & 3 == 0)
        copies = opcode == 31 and kind == 444 and second != register
        moves = opcode == 31 and kind == 467  # mtspr
        loads = opcode in (14, 15) and first != register
        if not (stores or copies or moves or loads):
            return place, word
    raise UnknownCodeError(f"a frame of unknown size at {at:#x}")
