"""Reductions, with the ops that follow them applied to each result.

Along a reduced innermost dimension a known reducer keeps 16 partial results, one a lane, which are
folded in a fixed order (8, 4, 2, 1 lanes apart): the result depends on the data alone, never on the
batch size or the vector width. Any other reducer runs element by element in order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.elementwise import BINARY
from tfaot.codegen.expression import LANES, Expression
from tfaot.codegen.index import Affine, Index, as_value
from tfaot.codegen.kernels.common import KernelContext, flat_from
from tfaot.codegen.loops import Loop
from tfaot.codegen.types import I32, register_element
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.attributes import Reduce
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import product
from tfaot.schedule.rows import monoid_of

BLOCK = 32
"""Elements that a long sum of floats adds up before it adds them to the total."""


EXTREMA = frozenset({"maximum", "minimum"})
"""Monoids that take a new value first: what tests it for NaN then waits for no earlier value."""


def identity(opcode: str, dtype: DType) -> float:
    """The neutral element of a monoid."""
    match opcode:
        case "add":
            return -0.0 if dtype.is_float else 0
        case "or" | "xor":
            return 0
        case "multiply":
            return 1
        case "and":
            return -1
    low = opcode == "maximum"
    if dtype.is_float:
        return -math.inf if low else math.inf
    if dtype is DType.PRED:
        return 0 if low else 1
    if dtype.is_unsigned:
        return 0 if low else 2**dtype.bits - 1
    reach: int = 1 << (dtype.bits - 1)
    return -reach if low else reach - 1


def emit_reduce(context: KernelContext) -> None:
    """Emit a kernel that is built around a `reduce`."""
    _ReduceEmitter(context).emit()


class _ReduceEmitter:
    def __init__(self, context: KernelContext) -> None:
        self.context = context
        anchor = context.kernel.anchor
        assert anchor is not None
        self.anchor = anchor
        attrs = anchor.attr(Reduce)
        self.reducer = attrs.to_apply
        half = len(anchor.operands) // 2
        self.operands = anchor.operands[:half]
        self.initial = anchor.operands[half:]
        self.dims = self.operands[0].array.dims
        self.reduced = tuple(sorted(attrs.dimensions))
        dtype = self.operands[0].array.dtype
        self.monoid = monoid_of(self.reducer) if half == 1 else None
        self.is_sum = dtype.is_float and self.monoid == "add"
        self.kept = tuple(d for d in range(len(self.dims)) if d not in self.reduced)

    def emit(self) -> None:
        monoid = self.monoid
        if self.operands[0].array.dtype.is_complex:
            monoid = None
        wide = [d for d, size in enumerate(self.dims) if size != 1]
        if wide and wide[-1] in self.kept:
            self._across_lanes()
        elif wide and monoid is not None:
            self._along_lanes(monoid, wide[-1])
        else:
            self._one_by_one()

    def _across_lanes(self) -> None:
        """The innermost dimension is kept: 16 results at a time, of all dimensions that follow."""
        dims = [self.dims[d] for d in self.kept]
        wide = [d for d, size in enumerate(self.dims) if size != 1]
        free = max((d + 1 for d in self.reduced if d in wide), default=0)
        free = max(free, flat_from(self.operands[0], self.context.leaves))
        split = sum(d < min(free, wide[-1]) for d in self.kept)

        def results(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
            e = self.context.expression(mask)
            start = [e.widen(e.value(i, ())) for i in self.initial]
            self._finish(indices, self._accumulate(indices, mask, start, self.reduced), mask)

        self.context.elements(dims, split, results)

    def _one_by_one(self) -> None:
        """Any reducer over the innermost dimension: in order."""

        def result(indices: tuple[Index, ...]) -> None:
            e = self.context.expression()
            start = [e.value(i, ()) for i in self.initial]
            self._finish(indices, self._accumulate(indices, None, start, self.reduced), None)

        self.context.loops([self.dims[d] for d in self.kept], result)

    def _along_lanes(self, monoid: str, last: int) -> None:
        """A known reducer over dimension `last`, the innermost: 16 partial results, then a fold."""
        dtype = self.operands[0].array.dtype
        element = register_element(dtype)
        first = last
        flat = flat_from(self.operands[0], self.context.leaves)
        while first > flat and (first - 1 in self.reduced or self.dims[first - 1] == 1):
            first -= 1
        outer = tuple(d for d in self.reduced if d < first)
        inner = range(first, last + 1)

        def result(indices: tuple[Index, ...]) -> None:
            neutral = self.context.vector.const(
                ir.VectorType(element, LANES), identity(monoid, dtype)
            )
            lanes = self._accumulate(indices, None, [neutral], outer, inner)[0]
            e = self.context.expression()
            folded = fold(self.context.vector, monoid, dtype, lanes)
            total = e.apply(self.reducer, [e.value(self.initial[0], ()), folded])
            self._finish(indices, [total], None)

        self.context.loops([self.dims[d] for d in self.kept], result)

    def _accumulate(
        self,
        kept: tuple[Index, ...],
        mask: ir.Value | None,
        start: Sequence[ir.Value],
        reduced: tuple[int, ...],
        inner: range = range(0),
    ) -> list[ir.Value]:
        """Loops over the reduced dimensions, then 16 at a time over `inner`: the results."""
        where: list[Index] = [Affine(0)] * len(self.dims)
        for d, index in zip(self.kept, kept, strict=True):
            where[d] = index
        return self._nest(where, mask, list(start), list(reduced), inner)

    def _nest(
        self,
        where: list[Index],
        mask: ir.Value | None,
        carried: list[ir.Value],
        reduced: list[int],
        inner: range,
    ) -> list[ir.Value]:
        context = self.context
        if reduced:
            d, *rest = reduced
            size = context.size(self.dims[d])
            if size == 1 and isinstance(size, int):
                where[d] = Affine(0)
                return self._nest(where, mask, carried, rest, inner)
            if self.is_sum and not (isinstance(size, int) and size <= BLOCK):
                return self._blocks(where, mask, carried, d, rest, inner)
            with Loop(context.builder, 0, size, 1, carried, "r") as loop:
                where[d] = Affine(loop.index)
                loop.update(self._nest(where, mask, list(loop.carried), rest, inner))
            return list(loop.results)
        if not inner:
            return self._step(where, mask, carried)
        return self._lanes(where, carried, inner)

    def _blocks(
        self,
        where: list[Index],
        mask: ir.Value | None,
        carried: list[ir.Value],
        d: int,
        rest: list[int],
        inner: range,
    ) -> list[ir.Value]:
        """A long sum, as the sum of sums of `BLOCK` elements: rounding errors add up far less."""
        builder, vector = self.context.builder, self.context.vector
        size = as_value(self.context.size(self.dims[d]))
        dtype = self.operands[0].array.dtype
        with Loop(builder, 0, size, BLOCK, carried, "block") as block:
            stop = builder.add(block.index, as_value(BLOCK))
            stop = builder.select(builder.icmp_signed("<", stop, size), stop, size)
            nothing = vector.const(carried[0], identity("add", dtype))
            with Loop(builder, block.index, stop, 1, [nothing], "r") as loop:
                where[d] = Affine(loop.index)
                loop.update(self._nest(where, mask, list(loop.carried), rest, inner))
            total = BINARY["add"](vector, dtype, block.carried[0], loop.results[0])
            block.update([vector.round_to(total, dtype)])
        return list(block.results)

    def _lanes(self, where: list[Index], carried: list[ir.Value], inner: range) -> list[ir.Value]:
        context, builder = self.context, self.context.builder
        dims = self.dims[inner.start : inner.stop]
        extent = context.size(product(dims))

        def at(position: Index, mask: ir.Value | None, values: list[ir.Value]) -> list[ir.Value]:
            split = context.expression(mask).index.split(position, dims)
            place = [*where[: inner.start], *split, *where[inner.stop :]]
            return self._step(place, mask, values)

        if isinstance(extent, int):
            full: int | ir.Value = extent - extent % LANES
        else:
            full = builder.and_(extent, ir.Constant(ir.IntType(64), -LANES))
        with Loop(builder, 0, full, LANES, carried, "v") as loop:
            loop.update(at(Affine(loop.index, 1), None, list(loop.carried)))
        values = list(loop.results)
        if isinstance(extent, int) and isinstance(full, int):
            if extent == full:
                return values
            return at(Affine(full, 1), context.tail_mask(extent - full), values)
        rest = builder.sub(as_value(extent), as_value(full))
        before = builder.block
        with builder.if_then(builder.icmp_signed(">", rest, as_value(0))):
            tail = at(Affine(full, 1), context.tail_mask(rest), values)
            inside = builder.block
        merged: list[ir.Value] = []
        for value, after in zip(values, tail, strict=True):
            phi = builder.phi(value.type)
            phi.add_incoming(value, before)
            phi.add_incoming(after, inside)
            merged.append(phi)
        return merged

    def _step(
        self, where: Sequence[Index], mask: ir.Value | None, carried: list[ir.Value]
    ) -> list[ir.Value]:
        """One application of the reducer; inactive lanes keep what they had."""
        e = self.context.expression(mask)
        values = [e.value(o, tuple(where)) for o in self.operands]
        arguments = e.alike(*carried, *values)
        if self.monoid in EXTREMA:
            arguments.reverse()
        results = e.apply_all(self.reducer, arguments)
        if mask is None:
            return results
        return [
            e.vector.select(mask, e.widen(new), e.widen(old))
            for new, old in zip(results, carried, strict=True)
        ]

    def _finish(
        self, indices: tuple[Index, ...], values: Sequence[ir.Value], mask: ir.Value | None
    ) -> None:
        """Apply what follows the reduction and store."""
        context = self.context
        if context.kernel.root is not self.anchor or len(values) == 1:
            e = self._with_values(values, mask)
            (result,) = context.results
            assert result is not None
            e.store(result, indices, e.value(context.kernel.root, indices))
            return
        e = context.expression(mask)
        for result, value in zip(context.results, values, strict=True):
            if result is not None:
                e.store(result, indices, value)

    def _with_values(self, values: Sequence[ir.Value], mask: ir.Value | None) -> Expression:
        anchor: Instruction = self.anchor
        return self.context.expression(mask, {id(anchor): lambda _: values[0]})


def fold(v: VectorBuilder, monoid: str, dtype: DType, lanes: ir.Value) -> ir.Value:
    """One value of 16 lanes: 8, 4, 2 and 1 apart."""
    combine = BINARY[monoid]
    width = LANES
    while width > 1:
        width //= 2
        low = _take(v, lanes, range(width))
        high = _take(v, lanes, range(width, 2 * width))
        lanes = v.round_to(combine(v, dtype, low, high), dtype)
    return v.ir.extract_element(lanes, ir.Constant(I32, 0))


def _take(v: VectorBuilder, vector: ir.Value, chosen: range) -> ir.Value:
    """The chosen lanes of a vector."""
    mask = ir.Constant(ir.VectorType(I32, len(chosen)), list(chosen))
    return v.ir.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)
