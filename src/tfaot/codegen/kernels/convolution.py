"""Convolutions: register tiles over gathered rows, with a fused epilogue.

The tiled form takes float32 or float64 in the order [B, spatial..., C] with a kernel
[window..., C / groups, N]. Output positions are the rows of a matrix product; nothing is copied: a
table tells for every row of a tile where its taps lie in the input (`codegen.kernels.gathered`).
Taps in padding read zeros; taps between the elements of a dilated base are left out. A sum runs
over taps in row-major order and over a tap's features in order, wherever the position lies. All
other convolutions run as plain loops (`convolution_plain`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product as combinations

from llvmlite import ir

from tfaot.codegen.expression import LANES
from tfaot.codegen.index import Number, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.convolution_plain import emit_plain
from tfaot.codegen.kernels.gathered import SEGMENT_BYTES, GatheredTile, gathered_tile
from tfaot.codegen.kernels.row_table import RowTable, Segments, row_table
from tfaot.codegen.kernels.tile_epilogue import tile_epilogue
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.microkernel import tile_shape
from tfaot.codegen.stack_memory import on_stack
from tfaot.codegen.types import I64, memory_element
from tfaot.ir.attributes import Convolution
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.schedule.fusion import Kernel, storage_of
from tfaot.schedule.register_tiles import is_tiled_convolution
from tfaot.schedule.scratch import scratch_rule
from tfaot.schedule.sizes import Bytes
from tfaot.schedule.taps import Axis, phases
from tfaot.schedule.weights import PANEL, panel_stride

CACHED_WEIGHTS = 256 * 1024
"""Bytes of weights that all tiles of rows meet before the next weights are taken."""


def emit_convolution(context: KernelContext) -> None:
    """Emit a kernel that is built around a `convolution`."""
    anchor = context.kernel.anchor
    assert anchor is not None
    if is_tiled_convolution(anchor):
        _TiledConvolution(context, anchor).emit()
    else:
        emit_plain(context, anchor)


def _axes_of(node: Instruction) -> list[list[Axis]]:
    """The phases of every spatial dimension."""
    attrs = node.attr(Convolution)
    x = node.operands[0]
    found = []
    for d, window in enumerate(attrs.window, start=1):
        size, outputs = x.array.dims[d], node.array.dims[d]
        assert isinstance(size, int)
        assert isinstance(outputs, int)
        found.append(phases(size, outputs, window))
    return found


@scratch_rule("convolution")
def _table_bytes(kernel: Kernel) -> Bytes:
    """The table of rows of the phase with the most taps."""
    assert kernel.anchor is not None
    if not is_tiled_convolution(kernel.anchor):
        return Bytes.constant(0)
    taps = math.prod(max(a.taps for a in phase) for phase in _axes_of(kernel.anchor))
    return Bytes.constant(max(taps, 1) * SEGMENT_BYTES)


@dataclass(frozen=True)
class _Mode:
    """Tiles of rows of one height: few rows take many vectors at once, which hides latency.

    Attributes:
        most: the most rows that it is used for, None for any number.
        widths: vectors and height of the tiles, widest first.
    """

    most: int | None
    widths: tuple[tuple[int, int], ...]

    @property
    def height(self) -> int:
        """Rows of a tile at most."""
        return self.widths[0][1]


@dataclass(frozen=True)
class _Columns:
    """A range of columns, `count` from `first`, whose weights have rows of `ldw` elements."""

    first: Number
    count: int
    ldw: int


_Call = Callable[[GatheredTile, ir.Value, _Columns], None]


def _sum(builder: ir.IRBuilder, a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    return builder.add(as_value(a), as_value(b))


class _TiledConvolution:
    def __init__(self, context: KernelContext, anchor: Instruction) -> None:
        self.context = context
        self.anchor = anchor
        attrs = anchor.attr(Convolution)
        x, kernel = anchor.operands
        self.dtype = anchor.array.dtype
        self.element = memory_element(self.dtype)
        self.batch: Dim = anchor.array.dims[0]
        *_, depth, outputs = kernel.array.static_dims
        *_, features = x.array.with_dims(x.array.dims[1:]).static_dims
        self.depth, self.outputs, self.features = depth, outputs, features
        self.depthwise = depth == 1 and attrs.feature_group_count > 1
        self.groups = 1 if self.depthwise else attrs.feature_group_count
        self.repeats = outputs // features if self.depthwise else 0
        self.columns = outputs // self.groups
        stored = storage_of(kernel)
        self.weights = context.leaves[id(stored)].pointer
        self.packed = id(stored) in context.packed
        self.axes = _axes_of(anchor)
        rows_of_weights = math.prod(kernel.array.static_dims[:-1])
        self._panel_stride = panel_stride(rows_of_weights, kernel.array.dtype.itemsize)
        self.tiles = tile_shape(context.target, self.dtype)

    def emit(self) -> None:
        builder = self.context.builder
        widest = max(v * h for v, h in (*self.tiles.heights, (1, self.tiles.tallest)))
        self.sums = on_stack(builder, self.element, widest * LANES, align=64)
        self.epilogue = tile_epilogue(self.context, self.anchor, whole=self.columns % LANES == 0)
        for number, axes in enumerate(combinations(*self.axes)):
            self._phase(number, axes)

    def _phase(self, number: int, axes: Sequence[Axis]) -> None:
        builder = self.context.builder
        positions = math.prod(a.positions for a in axes)
        dense = not self.depthwise and self.groups == 1
        table = row_table(self.context, self.anchor, number, axes, merge=dense, depth=self.depth)
        rows = builder.mul(as_value(self.context.size(self.batch)), as_value(positions))

        def group(which: ir.Value) -> None:
            modes = self._modes(positions)
            exits = builder.append_basic_block("rows.done")
            for mode in modes:
                if mode.most is None:
                    self._tiles(mode, table, rows, which)
                    builder.branch(exits)
                    break
                few = builder.append_basic_block(f"rows.upto{mode.most}")
                more = builder.append_basic_block(f"rows.above{mode.most}")
                builder.cbranch(builder.icmp_signed("<=", rows, as_value(mode.most)), few, more)
                builder.position_at_end(few)
                self._tiles(mode, table, rows, which)
                builder.branch(exits)
                builder.position_at_end(more)
            builder.position_at_end(exits)

        with for_range(builder, 0, self.groups, 1, "group") as which:
            group(as_value(which))

    def _modes(self, positions: int) -> list[_Mode]:
        """The modes that some batch size needs, fewest rows first."""
        least = positions * (self.batch if isinstance(self.batch, int) else 1)
        heights = self.tiles.heights
        found: list[_Mode] = []
        for number, (vectors, most) in enumerate(heights):
            last = number == len(heights) - 1
            if not last and least > most:
                continue
            if not last and (vectors - 1) * LANES >= self.columns:
                continue
            widths = list(heights[number:])
            if widths[-1][0] > 1:
                widths.append((1, self.tiles.tallest))
            sure = last or (isinstance(self.batch, int) and least <= most)
            found.append(_Mode(None if sure else most, tuple(widths)))
            if sure:
                break
        return found

    def _tiles(self, mode: _Mode, table: RowTable, rows: ir.Value, which: ir.Value) -> None:
        """All rows, for one range of columns after the other."""
        builder = self.context.builder
        regions = [_Columns(0, self.columns, self.outputs)]
        if self.packed:
            whole = self.columns // PANEL * PANEL
            regions = [
                _Columns(0, whole, PANEL),
                _Columns(whole, self.columns - whole, self.columns - whole),
            ]
        regions = [r for r in regions if r.count]
        taps = math.prod(max(a.taps for a in phase) for phase in self.axes)
        per_column = max(taps * self.depth * self.dtype.itemsize, 1)
        step = max(PANEL, mode.widths[0][0] * LANES)
        width = max(step, CACHED_WEIGHTS // per_column // step * step)

        def rows_of(parts: Sequence[_Columns]) -> None:
            def columns(call: _Call) -> None:
                for part in parts:
                    self._columns(part, mode, call)

            self._rows(mode, table, rows, which, columns)

        if self.columns <= width:
            rows_of(regions)
            return
        for region in regions:
            full = region.count // width * width
            with for_range(builder, 0, full, width, "columns") as first:
                rows_of([_Columns(_sum(builder, first, region.first), width, region.ldw)])
            if region.count > full:
                start = _sum(builder, region.first, full)
                rows_of([_Columns(start, region.count - full, region.ldw)])

    def _columns(self, part: _Columns, mode: _Mode, call: _Call) -> None:
        """The tiles of a range of columns, from the widest down to the remainder."""
        builder = self.context.builder
        # Packed weights may be read past the last column: what follows them is readable.
        readable = -(-part.count // LANES) * LANES if self.packed else part.count
        done = 0
        for vectors, height in mode.widths:
            width = vectors * LANES
            count = (readable - done) // width
            if count > 0:
                with for_range(builder, done, done + count * width, width, "column") as column:
                    at = as_value(_sum(builder, part.first, column))
                    call(GatheredTile(self.dtype, vectors, height, False, self.repeats), at, part)
                done += count * width
        if done < part.count:
            kind = GatheredTile(self.dtype, 1, self.tiles.tallest, True, self.repeats)
            call(kind, as_value(_sum(builder, part.first, done)), part)

    def _rows(
        self,
        mode: _Mode,
        table: RowTable,
        rows: ir.Value,
        which: ir.Value,
        columns: Callable[[_Call], None],
    ) -> None:
        """All rows in tiles of equal height (by one row at most)."""
        builder = self.context.builder
        most = as_value(mode.height)
        count = builder.udiv(builder.add(rows, as_value(mode.height - 1)), most)
        some = builder.icmp_signed(">", count, as_value(0))
        safe = builder.select(some, count, as_value(1))
        base, extra = builder.udiv(rows, safe), builder.urem(rows, safe)
        with Loop(builder, 0, count, 1, [as_value(0)], "tile") as loop:
            (row,) = loop.carried
            taller = builder.zext(builder.icmp_signed("<", loop.index, extra), I64)
            here = builder.add(base, taller)
            segments = table.fill(self.context, row, here, builder.mul(which, as_value(self.depth)))

            def tile(kind: GatheredTile, column: ir.Value, part: _Columns) -> None:
                self._tile(kind, column, part, which, here, segments)

            columns(tile)
            loop.update([builder.add(row, here)])

    def _tile(
        self,
        kind: GatheredTile,
        column: ir.Value,
        part: _Columns,
        which: ir.Value,
        rows: ir.Value,
        segments: Segments,
    ) -> None:
        """One register tile, and what follows it."""
        builder = self.context.builder
        group = builder.mul(which, as_value(self.columns))
        first = builder.add(group, column)
        stop = builder.add(group, as_value(self.columns))
        builder.call(
            gathered_tile(self.context, kind),
            [
                segments.table,
                segments.weight_rows,
                segments.count,
                column if self.depthwise else segments.run,
                self._weights(first),
                as_value(part.ldw),
                as_value(self._panel_stride if self.packed else PANEL),
                self.sums,
                rows,
                builder.sub(stop, first),
            ],
        )
        self.epilogue.call(self.sums, rows, kind.vectors, segments.places, first, stop)

    def _weights(self, column: ir.Value) -> ir.Value:
        """Where the weights of a column begin."""
        builder = self.context.builder
        if self.packed:
            # Columns come in whole panels, which are as wide as a vector.
            panel = builder.udiv(column, as_value(PANEL))
            column = builder.mul(panel, as_value(self._panel_stride))
        return builder.gep(self.weights, [column], source_etype=self.element)
