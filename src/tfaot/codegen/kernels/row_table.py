"""Where the rows of a tile lie in a convolution's input: a table of pointers, filled tile by tile.

Rows are output positions of one phase, counted over the batch and the spatial dimensions. Where all
rows of a tile have all taps of the innermost dimension inside the input, and neighbouring taps meet
neighbouring elements, those taps make one segment.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product as combinations

from llvmlite import ir

from tfaot.codegen.index import Number, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.gathered import TABLE_ROWS, zeros
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.stack_memory import on_stack
from tfaot.codegen.types import I1, I64
from tfaot.ir.module import Instruction
from tfaot.schedule.fusion import storage_of
from tfaot.schedule.taps import Axis

_LANES = ir.VectorType(I64, TABLE_ROWS)


@dataclass(frozen=True)
class Segments:
    """A filled table.

    Attributes:
        table: pointers, 16 for each segment.
        weight_rows: the first row of weights of each segment.
        count: segments.
        run: elements of a segment.
        places: the rows of the result that the tile's rows are.
    """

    table: ir.Value
    weight_rows: ir.Value
    count: ir.Value
    run: ir.Value
    places: ir.Value


@dataclass(frozen=True)
class _Form:
    """One way to cut the taps into segments.

    Attributes:
        run: elements of a segment.
        weight_rows: the row of weights at which each segment begins.
    """

    run: int
    weight_rows: tuple[int, ...]


@dataclass(frozen=True)
class RowTable:
    """The function that fills a table, and what it fills.

    Attributes:
        function: it.
        weight_rows: of the segments of `merged`, then of those of `single`.
        single: a segment for every tap, None where that is never needed.
        merged: a segment for all taps of the innermost dimension, None where that never holds.
        places: filled with the rows of the result.
        flag: filled with whether `merged` holds, where both forms exist.
    """

    function: ir.Function
    weight_rows: ir.Value
    single: _Form | None
    merged: _Form | None
    places: ir.Value
    flag: ir.Value

    def fill(
        self, context: KernelContext, first: ir.Value, rows: ir.Value, feature: ir.Value
    ) -> Segments:
        """Fill the kernel's scratch for `rows` rows from row `first`, from a feature on."""
        builder = context.builder
        assert context.scratch is not None
        own = [self.places, self.flag, first, rows, feature]
        builder.call(self.function, [*context.parameters, *own])
        form = self.merged or self.single
        assert form is not None
        count, run, start = as_value(len(form.weight_rows)), as_value(form.run), as_value(0)
        if self.single is not None and self.merged is not None:
            merged = builder.load(self.flag, typ=I1)
            start = builder.select(merged, start, count)
            count = builder.select(merged, count, as_value(len(self.single.weight_rows)))
            run = builder.select(merged, run, as_value(self.single.run))
        weight_rows = builder.gep(self.weight_rows, [start], source_etype=I64)
        return Segments(context.scratch, weight_rows, count, run, self.places)


def row_table(
    outer: KernelContext,
    anchor: Instruction,
    number: int,
    axes: Sequence[Axis],
    *,
    merge: bool,
    depth: int,
) -> RowTable:
    """Emit the function that fills the table of one phase.

    Args:
        outer: the kernel.
        anchor: the convolution.
        number: of the phase.
        axes: the spatial dimensions in this phase.
        merge: whether taps of the innermost dimension may make one segment.
        depth: rows of weights per tap.
    """
    return _TableEmitter(outer, anchor, number, tuple(axes), merge, depth).emit()


class _TableEmitter:
    def __init__(
        self,
        outer: KernelContext,
        anchor: Instruction,
        number: int,
        axes: tuple[Axis, ...],
        merge: bool,
        depth: int,
    ) -> None:
        x, kernel = anchor.operands
        self.outer = outer
        self.x = x
        self.number = number
        self.axes = axes
        self.depth = depth
        self.window = kernel.array.static_dims[:-2]
        self.itemsize = anchor.array.dtype.itemsize
        features = x.array.dims[-1]
        assert isinstance(features, int)
        self.features = features
        self.positions = [a.positions for a in axes]
        self.row = outer.leaves[id(storage_of(x))].row or features
        self.in_strides = _strides((*(a.size for a in axes), self.row))
        self.outputs = [d for d in anchor.array.dims[1:-1] if isinstance(d, int)]
        self.out_strides = _strides((*self.outputs, 1))
        last = axes[-1] if axes else None
        # Taps that follow each other are one run unless rows are padded.
        together = merge and self.row == features
        self.merge = together and last is not None and last.is_run and last.taps > 1
        self.always = self.merge and last is not None and last.is_inside
        self.checked = [d for d, a in enumerate(axes) if not a.is_inside]

    def emit(self) -> RowTable:
        outer = self.outer
        assert outer.nested is not None
        places = on_stack(outer.builder, I64, TABLE_ROWS)
        flag = on_stack(outer.builder, I1)
        name = outer.builder.function.name
        context, (out, out_flag, first, rows, feature) = outer.nested(
            f"rows{self.number}", [POINTER, POINTER, I64, I64, I64]
        )
        single = None if self.always else self._form(merged=False)
        merged = self._form(merged=True) if self.merge else None
        rows_of = [*(merged.weight_rows if merged else ()), *(single.weight_rows if single else ())]
        weight_rows = outer.vector.table(f"{name}.weights{self.number}", I64, rows_of or [0])
        self._fill(context, out, out_flag, first, rows, feature)
        return RowTable(context.builder.function, weight_rows, single, merged, places, flag)

    def _form(self, *, merged: bool) -> _Form:
        outer_axes = self.axes[:-1] if merged else self.axes
        weight_strides = _strides((*self.window, self.depth))
        start = self.axes[-1].weight * weight_strides[len(self.axes) - 1] if merged else 0
        rows = [
            start
            + sum(
                (a.weight + t * a.weight_step) * stride
                for a, t, stride in zip(outer_axes, taps, weight_strides, strict=False)
            )
            for taps in combinations(*(range(a.taps) for a in outer_axes))
        ]
        run = self.depth * (self.axes[-1].taps if merged else 1)
        return _Form(run, tuple(rows))

    def _fill(
        self,
        context: KernelContext,
        out: ir.Value,
        flag: ir.Value,
        first: ir.Value,
        rows: ir.Value,
        feature: ir.Value,
    ) -> None:
        builder = context.builder
        offsets, origins = self._coordinates(context, out, first, feature)
        merged_width = self.depth * (self.axes[-1].taps if self.merge else 1)
        width = max(merged_width, self.features)
        zero = builder.ptrtoint(zeros(context, width * self.itemsize), I64)
        x = context.leaves[id(storage_of(self.x))]
        vector = context.vector
        scaled = builder.mul(offsets, vector.const(_LANES, self.itemsize))
        start = vector.splat(builder.ptrtoint(x.pointer, I64), TABLE_ROWS)
        pointers = builder.add(start, scaled)
        padding = vector.splat(zero, TABLE_ROWS)
        if not self.merge:
            self._segments(context, pointers, padding, origins, merged=False)
        elif self.always:
            self._segments(context, pointers, padding, origins, merged=True)
        else:
            inside = self._innermost_inside(context, origins, rows)
            builder.store(inside, flag)
            with builder.if_else(inside) as (then, otherwise):
                with then:
                    self._segments(context, pointers, padding, origins, merged=True)
                with otherwise:
                    self._segments(context, pointers, padding, origins, merged=False)
        builder.ret_void()

    def _coordinates(
        self, context: KernelContext, out: ir.Value, first: ir.Value, feature: ir.Value
    ) -> tuple[ir.Value, dict[int, ir.Value]]:
        """Offsets into the input of the rows' first taps, and their positions where checked."""
        builder = context.builder
        offset_slots = self._slots(builder)
        origin_slots = {d: self._slots(builder) for d in self.checked}
        rest: ir.Value = first
        start: list[ir.Value] = []
        for count in reversed(self.positions):
            start.insert(0, builder.urem(rest, as_value(count)))
            rest = builder.udiv(rest, as_value(count))
        image = math.prod(a.size for a in self.axes) * self.row
        with Loop(builder, 0, TABLE_ROWS, 1, [rest, *start], "row") as loop:
            batch, *at = loop.carried
            offset = builder.add(feature, builder.mul(batch, as_value(image)))
            place = builder.mul(batch, as_value(math.prod(self.outputs)))
            for d, (axis, q) in enumerate(zip(self.axes, at, strict=True)):
                origin = builder.add(builder.mul(q, as_value(axis.stride)), as_value(axis.first))
                step = builder.mul(origin, as_value(self.in_strides[d]))
                offset = builder.add(offset, step)
                own = builder.add(builder.mul(q, as_value(axis.step)), as_value(axis.start))
                place = builder.add(place, builder.mul(own, as_value(self.out_strides[d])))
                if d in origin_slots:
                    self._put(builder, origin_slots[d], loop.index, origin)
            self._put(builder, offset_slots, loop.index, offset)
            self._put(builder, out, loop.index, place)
            carry: ir.Value = as_value(1)
            following: list[ir.Value] = []
            for count, q in zip(reversed(self.positions), reversed(at), strict=True):
                more = builder.add(q, carry)
                wraps = builder.icmp_signed("==", more, as_value(count))
                following.insert(0, builder.select(wraps, as_value(0), more))
                carry = builder.zext(wraps, I64)
            loop.update([builder.add(batch, carry), *following])
        origins: dict[int, ir.Value] = {
            d: builder.load(slots, typ=_LANES, align=8) for d, slots in origin_slots.items()
        }
        return builder.load(offset_slots, typ=_LANES, align=8), origins

    def _slots(self, builder: ir.IRBuilder) -> ir.Value:
        return on_stack(builder, I64, TABLE_ROWS)

    def _put(self, builder: ir.IRBuilder, slots: ir.Value, row: ir.Value, value: ir.Value) -> None:
        builder.store(value, builder.gep(slots, [row], source_etype=I64))

    def _innermost_inside(
        self, context: KernelContext, origins: dict[int, ir.Value], rows: ir.Value
    ) -> ir.Value:
        """Whether all taps of the innermost dimension of all rows are inside (i1)."""
        builder, vector = context.builder, context.vector
        axis = self.axes[-1]
        origin = origins[len(self.axes) - 1]
        room = axis.size - axis.taps
        if room < 0:
            return ir.Constant(I1, 0)
        fits = builder.icmp_unsigned("<=", origin, vector.const(_LANES, room))
        absent = builder.icmp_signed(">=", vector.iota(_LANES), vector.splat(rows, TABLE_ROWS))
        bits = builder.bitcast(builder.or_(fits, absent), ir.IntType(TABLE_ROWS))
        return builder.icmp_signed("==", bits, ir.Constant(ir.IntType(TABLE_ROWS), -1))

    def _segments(
        self,
        context: KernelContext,
        pointers: ir.Value,
        padding: ir.Value,
        origins: dict[int, ir.Value],
        *,
        merged: bool,
    ) -> None:
        """Write the pointers of every segment."""
        builder, vector = context.builder, context.vector
        axes = self.axes[:-1] if merged else self.axes
        with ExitStack() as stack:
            taps = [stack.enter_context(for_range(builder, 0, a.taps, 1, "tap")) for a in axes]
            number: Number = 0
            shift: ir.Value = as_value(0)
            valid: ir.Value | None = None
            for d, (axis, tap) in enumerate(zip(axes, taps, strict=True)):
                number = builder.add(
                    builder.mul(as_value(number), as_value(axis.taps)), as_value(tap)
                )
                distance = builder.mul(as_value(tap), as_value(axis.spacing))
                bytes_ = builder.mul(distance, as_value(self.in_strides[d] * self.itemsize))
                shift = builder.add(shift, bytes_)
                if d in origins:
                    here = builder.add(origins[d], vector.splat(distance, TABLE_ROWS))
                    size = vector.const(_LANES, axis.size)
                    inside = builder.icmp_unsigned("<", here, size)
                    valid = inside if valid is None else builder.and_(valid, inside)
            places = builder.add(pointers, vector.splat(shift, TABLE_ROWS))
            if valid is not None:
                places = builder.select(valid, places, padding)
            assert context.scratch is not None
            row = builder.mul(as_value(number), as_value(TABLE_ROWS))
            builder.store(places, builder.gep(context.scratch, [row], source_etype=I64), align=64)


def _strides(dims: Sequence[int]) -> list[int]:
    """Distances between neighbours along all but the last of row-major dimensions."""
    return [math.prod(dims[d + 1 :]) for d in range(len(dims) - 1)]
