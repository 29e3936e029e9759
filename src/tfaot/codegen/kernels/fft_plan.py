"""How a Fourier transform is done: its factors, axes and roots of unity.

Input: the attributes of an `fft`. Output: a `Plan`, which `kernels.fft` turns into code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import Fft

LARGEST_PRIME = 31
"""Factors above this take Bluestein's algorithm."""

UNROLLED = (2, 3, 4, 5)
Complexes = NDArray[np.complex128]


def factors_of(length: int) -> tuple[int, ...]:
    """The radices of a transform, in order: as many 4 as possible, then primes upwards."""
    found: list[int] = []
    while length % 4 == 0:
        found.append(4)
        length //= 4
    prime = 2
    while length > 1:
        while length % prime == 0:
            found.append(prime)
            length //= prime
        prime += 1
    return tuple(found)


def padded_length(length: int) -> int:
    """The convolution's length for Bluestein: at least 2 length - 1, factors 2, 3 and 5 only."""
    candidate = 2 * length - 1
    while any(f not in UNROLLED for f in factors_of(candidate)):
        candidate += 1
    return candidate


@dataclass(frozen=True)
class Axis:
    """A dimension to transform in an array [lines, length, inner].

    Attributes:
        lines: how many lines of `length * inner` elements there are.
        length: what is transformed.
        inner: elements side by side that belong to different transforms.
    """

    lines: int
    length: int
    inner: int

    @property
    def padded(self) -> int | None:
        """The length for Bluestein's algorithm, None where it is not needed."""
        if max(factors_of(self.length), default=1) <= LARGEST_PRIME:
            return None
        return padded_length(self.length)

    @property
    def size(self) -> int:
        """The most elements that the transform needs room for."""
        return self.lines * (self.padded or self.length) * self.inner


def _axes(sizes: Sequence[int]) -> list[Axis]:
    """One axis per dimension of an array, the last first."""
    return [
        Axis(math.prod(sizes[:d]), sizes[d], math.prod(sizes[d + 1 :]))
        for d in reversed(range(len(sizes)))
    ]


@dataclass(frozen=True)
class Plan:
    """How a transform is done.

    Attributes:
        kind: FFT, IFFT, RFFT or IRFFT.
        length: of the dimensions, as the result (IRFFT) or operand (others) has them.
        halved: whether real lines are handled as complex ones of half the length.
        axes: of the complex transforms, in order.
        capacity: elements of each scratch array.
    """

    kind: str
    length: tuple[int, ...]
    halved: bool
    axes: tuple[Axis, ...]
    capacity: int


def plan_fft(attrs: Fft) -> Plan:
    """Plan the transform of one batch element."""
    *outer, last = attrs.length
    real = attrs.kind in ("RFFT", "IRFFT")
    halved = real and last % 2 == 0
    line = last // 2 if halved else last
    # Whole real lines keep their second half, which repeats the first, until the end.
    whole = attrs.kind == "RFFT" and not halved
    kept = last // 2 + 1 if real and not whole else last
    first, *others = _axes([*outer, kept])
    along_last = Axis(first.lines, line, 1)
    inverse = attrs.kind == "IRFFT"
    axes = (*others, along_last) if inverse else (along_last, *others)
    lines = math.prod(outer)
    capacity = max(lines * kept, lines * line, *(a.size for a in axes))
    return Plan(attrs.kind, attrs.length, halved, axes, capacity)


def roots(length: int, powers: NDArray[np.int64]) -> Complexes:
    """The values e^(-2 pi i powers / length), from angles within one turn."""
    turns = (powers % length) / length
    return np.asarray(np.exp(-2j * np.pi * turns))
