"""What single instructions do to the stack pointer, and where control goes: any architecture.

Input of a decoder: machine code and a place in it. Output: the length of the instruction there, and
its effects, of the kinds below. Addresses are offsets into the code; the stack grows down.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


class UnknownCodeError(Exception):
    """Code that the analysis can't follow; the bound is then unknown, never wrong."""


@dataclass(frozen=True)
class Code:
    """Machine code.

    Attributes:
        text: its bytes.
        targets: where branches lead that the linker will fill in, by the place of the relocation.
    """

    text: bytes
    targets: Mapping[int, int]


@dataclass(frozen=True)
class Move:
    """The stack pointer moves by so many bytes; down where negative."""

    bytes: int


@dataclass(frozen=True)
class Align:
    """The stack pointer is rounded down; `most` bytes at most are lost."""

    most: int


@dataclass(frozen=True)
class Point:
    """A register becomes the stack pointer plus an offset."""

    register: int
    offset: int


@dataclass(frozen=True)
class Restore:
    """The stack pointer becomes what a register holds plus an offset."""

    register: int
    offset: int


@dataclass(frozen=True)
class Unwind:
    """The stack pointer becomes what it was when the function began."""


@dataclass(frozen=True)
class Below:
    """Memory below the stack pointer is used, so many bytes at most."""

    bytes: int


@dataclass(frozen=True)
class Branch:
    """Control may go elsewhere, and goes on behind this instruction where it is conditional."""

    target: int
    conditional: bool


@dataclass(frozen=True)
class Call:
    """A function is called; it leaves the stack pointer as it was."""

    target: int


@dataclass(frozen=True)
class Stop:
    """Control never comes behind this instruction: a return or a trap."""


Effect = Move | Align | Point | Restore | Unwind | Below | Branch | Call | Stop
Decoded = tuple[int, tuple[Effect, ...]]
Decoder = Callable[[Code, int], Decoded]
"""From code and a place in it to the instruction's length and effects."""

STOP = Stop()


def signed(value: int, bits: int) -> int:
    """The two's complement value of the lowest `bits` of `value`."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
