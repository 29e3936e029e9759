"""Reduce-window and select-and-scatter: pooling, prefix sums, gradients of pooling.

A window's result is its initial value combined with the window's elements in row-major order;
padding is left out. Results are computed 16 at a time along the innermost dimension. A window that
begins at or before the first element for every position is a prefix, one that ends at or after the
last a suffix: these are computed from one position to the next, in linear time.

Narrow floats are combined in float32 and rounded once where the reducer is a known one, as sums of
many small terms would otherwise stop growing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as combinations

from llvmlite import ir

from tfaot.codegen.elementwise import BINARY
from tfaot.codegen.expression import LANES, Expression, Leaf, unsupported
from tfaot.codegen.index import Affine, Index, Lanes, Number, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.window_index import window_place
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.types import I64, lane_count
from tfaot.ir.attributes import ReduceWindow, SelectAndScatter, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import at_least
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim, fixed
from tfaot.schedule.rows import monoid_of

_PLAIN = WindowDimension(1)
_MOST_UNROLLED = 16
_SHORTEST_SCAN = 4


def emit_reduce_window(context: KernelContext) -> None:
    """Emit a kernel that is built around a `reduce-window`."""
    anchor = context.kernel.anchor
    assert anchor is not None
    emitter = _ReduceWindow(context, anchor)
    scan = emitter.find_scan()
    if scan is None:
        emitter.emit()
    else:
        emitter.emit_scan(scan)


@dataclass(frozen=True)
class _Scan:
    """A dimension along which each position's window holds the one's before.

    Attributes:
        dimension: which.
        ahead: position i takes elements up to i + ahead (a suffix: from i + ahead on).
        is_suffix: whether windows reach to the end instead of from the beginning.
    """

    dimension: int
    ahead: int
    is_suffix: bool


class _ReduceWindow:
    def __init__(self, context: KernelContext, anchor: Instruction) -> None:
        if any(o.array.dtype.is_complex for o in anchor.operands):
            raise unsupported(anchor)
        self.context = context
        attrs = anchor.attr(ReduceWindow)
        self.window = attrs.window
        self.reducer = attrs.to_apply
        half = len(anchor.operands) // 2
        self.operands = anchor.operands[:half]
        self.initial = anchor.operands[half:]
        self.types = [i.array.dtype for i in self.initial]
        self.monoid = monoid_of(self.reducer) if half == 1 else None
        self.sizes = self.operands[0].array.dims
        self.results: list[Leaf | None] = list(context.results)
        shapes = [r.shape for r in self.results if r is not None]
        self.dims: tuple[Dim, ...] = shapes[0].dims

    # Windows one by one

    def emit(self) -> None:
        """Every position on its own."""
        split = _innermost(self.dims)

        def results(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
            e = self.context.expression(mask)
            start = self._start(e, indices)
            self._store(indices, mask, self._fold(indices, mask, start))

        self.context.elements(self.dims, split, results)

    def _start(self, e: Expression, indices: Sequence[Index]) -> list[ir.Value]:
        values = [e.value(i, ()) for i in self.initial]
        if all(e.index.is_uniform(i) for i in indices):
            return values
        return [e.widen(v) for v in values]

    def _fold(
        self, indices: tuple[Index, ...], mask: ir.Value | None, start: list[ir.Value]
    ) -> list[ir.Value]:
        if self.operands[0].array.size == 0:
            return start
        counts = [w.size for w in self.window if isinstance(w.size, int)]
        if len(counts) == len(self.window) and math.prod(counts) <= _MOST_UNROLLED:
            e = self.context.expression(mask)
            values = start
            for taps in combinations(*map(range, counts)):
                values = self._step(e, indices, taps, values)
            return values
        return self._loops(indices, mask, [], start)

    def _loops(
        self,
        indices: tuple[Index, ...],
        mask: ir.Value | None,
        taps: list[Number],
        carried: list[ir.Value],
    ) -> list[ir.Value]:
        if len(taps) == len(self.window):
            return self._step(self.context.expression(mask), indices, taps, carried)
        size = self.window[len(taps)].size
        if size == 1:
            return self._loops(indices, mask, [*taps, 0], carried)
        taken = self.context.size(size)
        with Loop(self.context.builder, 0, taken, 1, carried, "tap") as loop:
            inner = self._loops(indices, mask, [*taps, loop.index], list(loop.carried))
            loop.update(inner)
        return list(loop.results)

    def _step(
        self,
        e: Expression,
        indices: tuple[Index, ...],
        taps: Sequence[Number],
        carried: list[ir.Value],
    ) -> list[ir.Value]:
        """One element of the window, left out where it lies in padding."""
        where: list[Index] = []
        valid: ir.Value | None = None
        for window, size, index, tap in zip(self.window, self.sizes, indices, taps, strict=True):
            place = window_place(e, window, size, index, tap)
            where.append(place.index)
            valid = _both(e, valid, place.valid)
        return self._combine(e, where, valid, carried)

    def _combine(
        self,
        e: Expression,
        where: Sequence[Index],
        valid: ir.Value | None,
        carried: list[ir.Value],
    ) -> list[ir.Value]:
        v = e.vector
        values = [
            v.convert(e.value(o, where), o.array.dtype, dtype)
            for o, dtype in zip(self.operands, self.types, strict=True)
        ]
        arguments = e.alike(*carried, *values)
        if self.monoid is not None:
            # Sums and products of narrow floats are rounded once, at the end.
            results = [BINARY[self.monoid](v, self.types[0], *arguments)]
            results = [v.wrap_to(r, self.types[0]) for r in results]
        else:
            results = e.apply_all(self.reducer, arguments)
        if valid is None:
            return results
        kept = []
        for new, old in zip(results, carried, strict=True):
            choice, new, old = e.alike(valid, new, old)
            kept.append(v.select(choice, new, old))
        return kept

    def _store(
        self, indices: tuple[Index, ...], mask: ir.Value | None, values: Sequence[ir.Value]
    ) -> None:
        e = self.context.expression(mask)
        for result, value, dtype in zip(self.results, values, self.types, strict=True):
            if result is not None:
                e.store(result, indices, e.vector.round_to(value, dtype))

    # Prefixes and suffixes

    def find_scan(self) -> _Scan | None:
        """The one windowed dimension, where its windows grow from position to position."""
        wide = [d for d, w in enumerate(self.window) if w != _PLAIN]
        if len(wide) != 1:
            return None
        (d,) = wide
        window, size, count = self.window[d], self.sizes[d], self.dims[d]
        if (window.stride, window.window_dilation, window.base_dilation) != (1, 1, 1):
            return None
        if any(isinstance(n, int) and n < _SHORTEST_SCAN for n in (size, window.size, count)):
            return None
        ahead = window.size - 1 - window.padding_low
        if at_least(window.padding_low, count - 1):
            scan = _Scan(d, ahead, is_suffix=False) if isinstance(ahead, int) else None
        elif at_least(ahead, size - 1) and self.monoid is not None:
            low = window.padding_low
            scan = _Scan(d, -low, is_suffix=True) if isinstance(low, int) else None
        else:
            scan = None
        return scan if scan is not None and self._early(scan) is not None else None

    def _early(self, scan: _Scan) -> tuple[Dim, int] | None:
        """First place and number of the elements that the steps don't add one by one.

        They are those that the window of the scan's first position has beyond one. None where
        their number depends on the batch size.
        """
        size, count = self.sizes[scan.dimension], self.dims[scan.dimension]
        if isinstance(size, int) and isinstance(count, int):
            first = max(count + scan.ahead, 0) if scan.is_suffix else 0
            return first, max((size if scan.is_suffix else min(scan.ahead, size)) - first, 0)
        if not scan.is_suffix:
            return (0, 0) if scan.ahead <= 0 else None
        end = count + scan.ahead
        missing = size - end
        if not at_least(end, 0) or not isinstance(missing, int):
            return None
        return end, max(missing, 0)

    def emit_scan(self, scan: _Scan) -> None:
        """Positions one after the other along one dimension, 16 at a time along the innermost."""
        d = scan.dimension
        others = tuple(n for k, n in enumerate(self.dims) if k != d)
        inner = _innermost(self.dims)

        def line(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
            self._line(scan, indices, mask)

        if inner > d:
            self.context.elements(others, inner - 1, line)
        else:
            self.context.loops(others, lambda indices: line(indices, None))

    def _line(self, scan: _Scan, others: tuple[Index, ...], mask: ir.Value | None) -> None:
        context, builder, d = self.context, self.context.builder, scan.dimension
        start = self._start(context.expression(mask), others)
        if isinstance(self.sizes[d], int):
            self._steps(scan, others, mask, start)
            return
        some = builder.icmp_signed(">", as_value(context.size(self.sizes[d])), as_value(0))
        with builder.if_else(some) as (filled, empty):
            with filled:
                self._steps(scan, others, mask, start)
            with empty, for_range(builder, 0, context.size(self.dims[d]), 1, "start") as position:
                where = (*others[:d], Affine(position), *others[d:])
                self._store(where, mask, start)

    def _steps(
        self,
        scan: _Scan,
        others: tuple[Index, ...],
        mask: ir.Value | None,
        carried: list[ir.Value],
    ) -> None:
        context, builder, d = self.context, self.context.builder, scan.dimension
        size, count = context.size(self.sizes[d]), context.size(self.dims[d])

        def at(position: ir.Value | int) -> tuple[Index, ...]:
            return (*others[:d], Affine(position), *others[d:])

        early = self._early(scan)
        assert early is not None, scan
        first, extra = early
        if extra:
            start = as_value(context.size(first))
            with Loop(builder, 0, extra, 1, carried, "early") as loop:
                place = builder.add(start, loop.index)
                if scan.is_suffix:
                    last = builder.add(start, as_value(extra - 1))
                    place = builder.sub(last, loop.index)
                e = context.expression(mask)
                loop.update(self._combine(e, at(place), None, list(loop.carried)))
            carried = list(loop.results)
        with Loop(builder, 0, count, 1, carried, "scan") as loop:
            position: ir.Value = loop.index
            if scan.is_suffix:
                last = builder.sub(as_value(count), as_value(1))
                position = builder.sub(last, position)
            place = builder.add(position, as_value(scan.ahead))
            valid: ir.Value | None = None
            if scan.ahead < 0 or not at_least(self.sizes[d], self.dims[d] + scan.ahead):
                valid = builder.icmp_unsigned("<", place, as_value(size))
                place = builder.select(valid, place, as_value(0))
            e = context.expression(mask)
            values = self._combine(e, at(place), valid, list(loop.carried))
            self._store(at(position), mask, values)
            loop.update(values)


def emit_select_and_scatter(context: KernelContext) -> None:
    """Emit a kernel that is built around a `select-and-scatter`."""
    anchor = context.kernel.anchor
    assert anchor is not None
    _SelectAndScatter(context, anchor).emit()


class _SelectAndScatter:
    """Every window picks one element, and its source value is combined into that one's place.

    Windows follow each other in row-major order. Without a window along the innermost dimension 16
    windows are done at once: they differ in that dimension, so that no two meet.
    """

    def __init__(self, context: KernelContext, anchor: Instruction) -> None:
        if anchor.array.dtype.is_complex:
            raise unsupported(anchor)
        self.context = context
        self.attrs = anchor.attr(SelectAndScatter)
        self.operand, self.source, self.initial = anchor.operands
        (result,) = context.results
        assert result is not None
        self.result: Leaf = result
        self.windowed = [d for d, w in enumerate(self.attrs.window) if w != _PLAIN]

    @property
    def dtype(self) -> DType:
        """Of operand, source and result."""
        return self.operand.array.dtype

    def emit(self) -> None:
        context = self.context
        dims = self.operand.array.dims
        rank = len(dims)

        def fill(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
            e = context.expression(mask)
            e.store(self.result, indices, e.value(self.initial, ()))

        context.elements(dims, max(rank - 1, 0), fill)
        if self.operand.array.size == 0:
            return
        source = self.source.array.dims
        inner = _innermost(source)
        if rank and inner not in self.windowed and inner == rank - 1:
            context.elements(source, inner, self._window)
        else:
            context.loops(source, lambda indices: self._window(indices, None))

    def _window(self, indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        """One window, or 16: what it selects, then where that goes."""
        context = self.context
        e = context.expression(mask)
        wide = not all(e.index.is_uniform(i) for i in indices)
        v = e.vector
        lanes = LANES if wide else None
        nothing = v.splat(v.const(I64, 0), lanes)
        found = v.splat(ir.Constant(ir.IntType(1), 0), lanes)
        first = e.value(self.operand, [Affine(0)] * len(indices))
        start = [v.splat(first, lanes), found, *([nothing] * len(self.windowed))]
        _, found, *places = self._select(indices, mask, [], start)
        where = list(indices)
        for d, place in zip(self.windowed, places, strict=True):
            where[d] = Affine(place) if lanes is None else Lanes(place)
        if lanes is None:
            with context.builder.if_then(found):
                self._scatter(indices, where, None)
            return
        active = found if mask is None else context.builder.and_(mask, found)
        self._scatter(indices, where, active)

    def _scatter(
        self, indices: tuple[Index, ...], where: Sequence[Index], mask: ir.Value | None
    ) -> None:
        e = self.context.expression(mask)
        old = e.load(self.result, where)
        update = e.value(self.source, indices)
        arguments = e.alike(old, update)
        e.store(self.result, where, e.apply(self.attrs.scatter, arguments))

    def _select(
        self,
        indices: tuple[Index, ...],
        mask: ir.Value | None,
        taps: list[Number],
        carried: list[ir.Value],
    ) -> list[ir.Value]:
        """Loops over the window; carries the value selected, whether there is one, its place."""
        context = self.context
        window = self.attrs.window
        if len(taps) < len(window):
            size = fixed(window[len(taps)].size)
            if size == 1:
                return self._select(indices, mask, [*taps, 0], carried)
            with Loop(context.builder, 0, size, 1, carried, "tap") as loop:
                inner = self._select(indices, mask, [*taps, loop.index], list(loop.carried))
                loop.update(inner)
            return list(loop.results)
        e = context.expression(mask)
        v = e.vector
        where: list[Index] = []
        valid: ir.Value | None = None
        sizes = self.operand.array.dims
        for w, extent, index, tap in zip(window, sizes, indices, taps, strict=True):
            place = window_place(e, w, extent, index, tap)
            where.append(place.index)
            valid = _both(e, valid, place.valid)
        selected, found, *places = carried
        lanes = lane_count(selected.type)
        value, selected = e.alike(e.value(self.operand, where), selected)
        keep = e.apply(self.attrs.select, [selected, value])
        better = v.not_(v.and_(found, keep))
        if valid is not None:
            valid, better = e.alike(valid, better)
            better = v.and_(better, valid)
        new_places = []
        for d, old in zip(self.windowed, places, strict=True):
            here = e.index.position(where[d])
            if lanes is not None and lane_count(here.type) is None:
                here = v.splat(here, lanes)
            new_places.append(v.select(better, here, old))
        return [v.select(better, value, selected), v.or_(found, better), *new_places]


def _innermost(dims: Sequence[Dim]) -> int:
    """The last dimension that is not 1 (0 where all are)."""
    return max((d for d, size in enumerate(dims) if size != 1), default=0)


def _both(e: Expression, a: ir.Value | None, b: ir.Value | None) -> ir.Value | None:
    if a is None or b is None:
        return b if a is None else a
    a, b = e.alike(a, b)
    return e.vector.and_(a, b)


__all__ = ["emit_reduce_window", "emit_select_and_scatter"]
