"""Shapes whose dimensions are integers or affine in the batch size B."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from tfaot.ir.dtypes import DType


@dataclass(frozen=True)
class BatchDim:
    """A dimension of size `scale * B + offset`, with B the batch size and scale != 0."""

    scale: int
    offset: int = 0

    def at(self, batch: int) -> int:
        """The size for the batch size `batch`."""
        return self.scale * batch + self.offset

    def __add__(self, other: Dim) -> Dim:
        if isinstance(other, BatchDim):
            return affine(self.scale + other.scale, self.offset + other.offset)
        return affine(self.scale, self.offset + other)

    __radd__ = __add__

    def __neg__(self) -> BatchDim:
        return BatchDim(-self.scale, -self.offset)

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: int) -> Dim:
        return (-self) + other

    def __mul__(self, other: int) -> Dim:
        return affine(self.scale * other, self.offset * other)

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> Dim:
        """Exact division; ValueError where it is not exact for every B."""
        if self.scale % other or self.offset % other:
            raise ValueError(f"{self} is not divisible by {other}")
        return affine(self.scale // other, self.offset // other)

    def __str__(self) -> str:
        head = "B" if self.scale == 1 else "-B" if self.scale == -1 else f"{self.scale}B"
        return head if self.offset == 0 else f"{head}{self.offset:+d}"


Dim = Union[int, BatchDim]


def affine(scale: int, offset: int) -> Dim:
    """The dimension `scale * B + offset`, an int where scale is 0."""
    return BatchDim(scale, offset) if scale else offset


def dim_at(dim: Dim, batch: int) -> int:
    """The size of `dim` for the batch size `batch`."""
    return dim.at(batch) if isinstance(dim, BatchDim) else dim


def fixed(dim: Dim) -> int:
    """A dimension that is known not to depend on B, as an int."""
    assert isinstance(dim, int), dim
    return dim


def product(dims: tuple[Dim, ...]) -> Dim:
    """The product of `dims`, of which at most one may depend on B (else TypeError)."""
    fixed, symbolic = 1, None
    for dim in dims:
        if isinstance(dim, int):
            fixed *= dim
        elif symbolic is None:
            symbolic = dim
        else:
            raise TypeError("product of two batch-dependent dimensions is not affine")
    return fixed if symbolic is None else symbolic * fixed


@dataclass(frozen=True)
class Shape:
    """Element type and dimensions of an array, always in logical (row-major) order."""

    dtype: DType
    dims: tuple[Dim, ...] = ()

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.dims)

    @property
    def is_static(self) -> bool:
        """Whether no dimension depends on B."""
        return all(isinstance(d, int) for d in self.dims)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return product(self.dims)

    def at(self, batch: int) -> Shape:
        """This shape for the batch size `batch`."""
        return Shape(self.dtype, tuple(dim_at(d, batch) for d in self.dims))

    @property
    def static_dims(self) -> tuple[int, ...]:
        """The dimensions of a static shape (assertion otherwise)."""
        assert self.is_static, self
        return tuple(d for d in self.dims if isinstance(d, int))

    def with_dims(self, dims: tuple[Dim, ...]) -> Shape:
        """The same element type with other dimensions."""
        return Shape(self.dtype, dims)

    def with_dtype(self, dtype: DType) -> Shape:
        """The same dimensions with another element type."""
        return Shape(dtype, self.dims)

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.dims))}]"


@dataclass(frozen=True)
class TupleShape:
    """The shape of a tuple-valued instruction."""

    elements: tuple[AnyShape, ...] = ()

    def at(self, batch: int) -> TupleShape:
        """This shape for the batch size `batch`."""
        return TupleShape(tuple(e.at(batch) for e in self.elements))

    def __iter__(self) -> Iterator[AnyShape]:
        return iter(self.elements)

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.elements))})"


AnyShape = Union[Shape, TupleShape]
