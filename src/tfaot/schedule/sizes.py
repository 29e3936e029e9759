"""Byte sizes as polynomials in the batch size.

A buffer with one batch-dependent dimension is affine in B, one with two (rows against rows) is
quadratic. Offsets are sums of aligned sizes: upper bounds whose coefficients are all multiples of
the alignment, so that the larger of two is bounded coefficient by coefficient.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from tfaot.ir.shapes import BatchDim, Dim

ALIGNMENT = 64


@dataclass(frozen=True)
class Bytes:
    """`sum(coefficients[k] * B**k)` bytes, the highest coefficient not zero."""

    coefficients: tuple[int, ...] = ()

    @classmethod
    def of(cls, dims: tuple[Dim, ...], itemsize: int) -> Bytes:
        """Bytes of an array."""
        product = [itemsize]
        for dim in dims:
            scale, offset = (dim.scale, dim.offset) if isinstance(dim, BatchDim) else (0, dim)
            grown = [0] * (len(product) + 1)
            for power, coefficient in enumerate(product):
                grown[power] += coefficient * offset
                grown[power + 1] += coefficient * scale
            product = grown
        return cls.trimmed(product)

    @classmethod
    def constant(cls, size: int) -> Bytes:
        """A fixed number of bytes."""
        return cls.trimmed([size])

    @classmethod
    def trimmed(cls, coefficients: list[int]) -> Bytes:
        """Without zeros at the top."""
        while coefficients and coefficients[-1] == 0:
            coefficients = coefficients[:-1]
        return cls(tuple(coefficients))

    def aligned(self) -> Bytes:
        """An upper bound whose coefficients are multiples of the alignment."""
        # A negative part only makes an array smaller: it is left out of the bound.
        return Bytes.trimmed([round_up(max(c, 0)) for c in self.coefficients])

    def __add__(self, other: Bytes) -> Bytes:
        pairs = zip_longest(self.coefficients, other.coefficients, fillvalue=0)
        return Bytes(tuple(a + b for a, b in pairs))

    def bound(self, other: Bytes) -> Bytes:
        """A size that is at least both."""
        pairs = zip_longest(self.coefficients, other.coefficients, fillvalue=0)
        return Bytes(tuple(max(a, b) for a, b in pairs))

    def at(self, batch: int) -> int:
        """The size for one batch size."""
        return sum(c * batch**k for k, c in enumerate(self.coefficients))

    @property
    def is_constant(self) -> bool:
        """Whether the size is the same for every batch size."""
        return len(self.coefficients) <= 1


NOTHING = Bytes()


def round_up(size: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT
