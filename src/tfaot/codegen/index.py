"""Indices of array elements, one per lane, as symbolic expressions.

An element's position along a dimension is an `Index`: `Affine` (base + stride * lane, so that
stride 0 is the same for all lanes), `Lanes` (any vector), or a `Digit` of another index, which is
how a reshape splits one. Digits are kept unevaluated, because most are joined again by the next
reshape or by the address of a contiguous array; only what is left costs a division.

Sizes are `Dim`s: integers, or affine in the batch size, whose run-time value `Sizes` provides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from llvmlite import ir

from tfaot.codegen.types import I64
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.shapes import BatchDim, Dim, product

Number = Union[int, ir.Value]


@dataclass(frozen=True)
class Affine:
    """Lane l is at `base + stride * l`."""

    base: Number
    stride: int = 0


@dataclass(frozen=True)
class Lanes:
    """Lane l is at `value[l]` (a vector of i64)."""

    value: ir.Value


@dataclass(frozen=True)
class Digit:
    """Lane l is at `(source // weight) % size`; no remainder is taken where `size` is None."""

    source: Index
    weight: Dim
    size: Dim | None


Index = Union[Affine, Lanes, Digit]

ZERO = Affine(0)


class Sizes:
    """Run-time values of dimensions: `scale * batch + offset`.

    Args:
        batch: the value of B in the function being emitted, None where nothing depends on B.
    """

    def __init__(self, batch: ir.Value | None) -> None:
        self.batch = batch

    def value(self, builder: ir.IRBuilder, dim: Dim) -> Number:
        """The size as an int or an i64."""
        if isinstance(dim, int):
            return dim
        assert self.batch is not None, dim
        result = self.batch
        if dim.scale != 1:
            result = builder.mul(result, ir.Constant(I64, dim.scale))
        if dim.offset:
            result = builder.add(result, ir.Constant(I64, dim.offset))
        return result


def polynomial(
    builder: ir.IRBuilder, coefficients: Sequence[int], batch: ir.Value | None
) -> Number:
    """`sum(coefficients[k] * batch**k)`."""
    result: Number = 0
    for coefficient in reversed(coefficients):
        if isinstance(result, int) and result == 0:
            result = coefficient
            continue
        assert batch is not None
        result = builder.add(builder.mul(as_value(result), batch), as_value(coefficient))
    return result


def as_value(number: Number) -> ir.Value:
    """`number` as an i64 value."""
    return ir.Constant(I64, number) if isinstance(number, int) else number


class IndexBuilder:
    """Arithmetic on indices at the position of a `VectorBuilder`, with constants folded.

    Results are remembered, so that equal expressions are one value: create a new builder for every
    basic block.

    Args:
        vector: where code goes.
        sizes: run-time values of dimensions.
        lanes: lanes of vector indices.
    """

    def __init__(self, vector: VectorBuilder, sizes: Sizes, lanes: int) -> None:
        self.vector = vector
        self.sizes = sizes
        self.lanes = lanes
        self._known: dict[tuple[object, ...], ir.Value] = {}

    # Scalars

    def size(self, dim: Dim) -> Number:
        """The run-time value of a dimension."""
        if isinstance(dim, int):
            return dim
        key = ("size", dim)
        if key not in self._known:
            self._known[key] = as_value(self.sizes.value(self.vector.ir, dim))
        return self._known[key]

    def add(self, a: Number, b: Number) -> Number:
        """A + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a == 0 and isinstance(a, int):
            return b
        if b == 0 and isinstance(b, int):
            return a
        return self._remember("add", a, b)

    def mul(self, a: Number, b: Number) -> Number:
        """A * b."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        for one, other in ((a, b), (b, a)):
            if isinstance(one, int) and one in (0, 1):
                return other if one else 0
        return self._remember("mul", a, b)

    def divide(self, a: Number, b: Number) -> Number:
        """A // b of non-negative numbers."""
        if isinstance(a, int) and isinstance(b, int):
            return a // max(b, 1)
        if isinstance(b, int) and b == 1:
            return a
        return self._remember("udiv", a, b)

    def remainder(self, a: Number, b: Number) -> Number:
        """A % b of non-negative numbers."""
        if isinstance(a, int) and isinstance(b, int):
            return a % max(b, 1)
        if isinstance(b, int) and b == 1:
            return 0
        return self._remember("urem", a, b)

    def _remember(self, op: str, a: Number, b: Number) -> ir.Value:
        key = (op, a if isinstance(a, int) else id(a), b if isinstance(b, int) else id(b))
        if key not in self._known:
            emit = {
                "add": self.vector.ir.add,
                "mul": self.vector.ir.mul,
                "udiv": self.vector.ir.udiv,
                "urem": self.vector.ir.urem,
            }[op]
            self._known[key] = emit(as_value(a), as_value(b))
        return self._known[key]

    # Indices

    def is_uniform(self, index: Index) -> bool:
        """Whether all lanes are at the same place."""
        match index:
            case Affine():
                return index.stride == 0
            case Lanes():
                return False
            case Digit():
                return self.is_uniform(index.source)

    def shift(self, index: Index, offset: Dim | ir.Value) -> Index:
        """`index + offset`."""
        amount = self.size(offset) if isinstance(offset, (int, BatchDim)) else offset
        if isinstance(amount, int) and amount == 0:
            return index
        index = self.evaluate(index)
        if isinstance(index, Affine):
            return Affine(self.add(index.base, amount), index.stride)
        assert isinstance(index, Lanes)
        return Lanes(self.vector.ir.add(index.value, self.splat(amount)))

    def scale(self, index: Index, factor: int) -> Index:
        """`index * factor`."""
        if factor == 1:
            return index
        index = self.evaluate(index)
        if isinstance(index, Affine):
            return Affine(self.mul(index.base, factor), index.stride * factor)
        assert isinstance(index, Lanes)
        return Lanes(self.vector.ir.mul(index.value, self.splat(factor)))

    def sum(self, a: Index, b: Index) -> Index:
        """`a + b`, lane by lane."""
        a, b = self.evaluate(a), self.evaluate(b)
        if isinstance(a, Affine) and isinstance(b, Affine):
            return Affine(self.add(a.base, b.base), a.stride + b.stride)
        return Lanes(self.vector.ir.add(self.lane_values(a), self.lane_values(b)))

    def floor_divide(self, index: Index, divisor: int) -> tuple[Index, ir.Value | None]:
        """`index // divisor` and, where divisor > 1, whether it divides exactly (i1, per lane)."""
        if divisor == 1:
            return index, None
        vector = self.vector
        index = self.evaluate(index)
        if isinstance(index, Affine) and index.stride == 0:
            base = as_value(index.base)
            quotient = vector.ir.sdiv(base, as_value(divisor))
            exact = vector.ir.icmp_signed("==", vector.ir.mul(quotient, as_value(divisor)), base)
            return Affine(quotient), exact
        values = self.lane_values(index)
        quotients = vector.ir.sdiv(values, self.splat(divisor))
        back = vector.ir.mul(quotients, self.splat(divisor))
        return Lanes(quotients), vector.ir.icmp_signed("==", back, values)

    def join(self, dims: Sequence[Dim], indices: Sequence[Index]) -> Index:
        """The row-major position in an array of dimensions `dims`."""
        parts: list[tuple[Dim, Index]] = []
        for dim, index in zip(dims, indices, strict=True):
            if dim == 1:
                continue
            if parts:
                merged = _merge(parts[-1][1], index)
                if merged is not None:
                    parts[-1] = (product((parts[-1][0], dim)), merged)
                    continue
            parts.append((dim, index))
        total: Index = ZERO
        # A number, because rows against rows have no weight that is affine in the batch size.
        weight: Number = 1
        for left, (dim, index) in reversed(list(enumerate(parts))):
            if isinstance(index, Digit) and index.weight == 1 and index.size is None:
                index = index.source
            if isinstance(weight, int):
                scaled = self.scale(index, weight)
            else:
                scaled = self._scale_by_value(index, weight)
            total = scaled if total == ZERO else self.sum(total, scaled)
            if left:
                weight = self.mul(weight, self.size(dim))
        return total

    def _scale_by_value(self, index: Index, factor: ir.Value) -> Index:
        index = self.evaluate(index)
        if isinstance(index, Affine) and index.stride == 0:
            return Affine(self.mul(index.base, factor))
        return Lanes(self.vector.ir.mul(self.lane_values(index), self.splat(factor)))

    def split(self, index: Index, dims: Sequence[Dim]) -> list[Index]:
        """The position along each of `dims` of the row-major position `index`."""
        static = all(isinstance(d, int) for d in dims)
        match index:
            case Affine(base=int(position), stride=0) if static:
                return self._split_constant(position, dims)
        wide = [i for i, d in enumerate(dims) if d != 1]
        result: list[Index] = [ZERO] * len(dims)
        weight: Dim = 1
        for i in reversed(wide):
            size = None if i == wide[0] else dims[i]
            result[i] = index if len(wide) == 1 else Digit(index, weight, size)
            if i != wide[0]:
                weight = product((weight, dims[i]))
        return result

    def _split_constant(self, position: int, dims: Sequence[Dim]) -> list[Index]:
        result: list[Index] = []
        for dim in reversed(dims):
            assert isinstance(dim, int)
            result.append(Affine(position % max(dim, 1)))
            position //= max(dim, 1)
        return result[::-1]

    def evaluate(self, index: Index) -> Affine | Lanes:
        """`index` without unevaluated digits."""
        if not isinstance(index, Digit):
            return index
        source = self.evaluate(index.source)
        weight = self.size(index.weight)
        size = None if index.size is None else self.size(index.size)
        if isinstance(source, Affine) and source.stride == 0:
            quotient = self.divide(source.base, weight)
            return Affine(quotient if size is None else self.remainder(quotient, size))
        values = self.lane_values(source)
        if weight != 1 or not isinstance(weight, int):
            values = self.vector.ir.udiv(values, self.splat(weight))
        if size is not None:
            values = self.vector.ir.urem(values, self.splat(size))
        return Lanes(values)

    def splat(self, number: Number) -> ir.Value:
        """`number` in all lanes."""
        if isinstance(number, int):
            return self.vector.const(ir.VectorType(I64, self.lanes), number)
        return self.vector.splat(number, self.lanes)

    def lane_values(self, index: Index) -> ir.Value:
        """The positions as a vector of i64."""
        index = self.evaluate(index)
        if isinstance(index, Lanes):
            return index.value
        key = ("lanes", index.base if isinstance(index.base, int) else id(index.base), index.stride)
        if key not in self._known:
            values = self.splat(index.base)
            if index.stride:
                steps = [lane * index.stride for lane in range(self.lanes)]
                values = self.vector.ir.add(values, self.vector.lanes(I64, steps))
            self._known[key] = values
        return self._known[key]

    def position(self, index: Index) -> ir.Value:
        """The position as i64: one for all lanes where uniform, else a vector."""
        index = self.evaluate(index)
        if isinstance(index, Affine) and index.stride == 0:
            return as_value(index.base)
        return self.lane_values(index)


def _merge(high: Index, low: Index) -> Index | None:
    """One index for two neighbouring dimensions, where both are digits of one number."""
    if not (isinstance(high, Digit) and isinstance(low, Digit)):
        return None
    if high.source != low.source or low.size is None:
        return None
    if high.weight != product((low.weight, low.size)):
        return None
    size = None if high.size is None else product((high.size, low.size))
    return Digit(high.source, low.weight, size)
