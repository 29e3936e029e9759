"""Register tiles over gathered rows: the inner loops of convolutions.

A tile takes up to 16 output positions. What a position meets of the input is a list of segments,
contiguous runs of elements; a table holds the pointers of one segment after the other, 16 rows
each. Rows whose segment lies in padding point at zeros. Each sum is one chain of fused
multiply-adds over the segments in order, element by element: its bits depend neither on the tile
nor on how the elements are grouped into segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.expression import LANES
from tfaot.codegen.index import as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.loops import Loop
from tfaot.codegen.microkernel import FEWEST_PREFETCHING, POINTER, Prefetch
from tfaot.codegen.types import I1, I8, I32, I64, Splat, memory_element
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.dtypes import DType

TABLE_ROWS = 16
"""Pointers per segment of a table."""

SEGMENT_BYTES = 8 * TABLE_ROWS


@dataclass(frozen=True)
class GatheredTile:
    """A kind of tile.

    Attributes:
        dtype: float32 or float64.
        vectors: vectors of columns.
        height: rows at most.
        masked: whether the columns end within the one vector: `columns` of them are touched.
        repeats: 0 where each column needs all of a segment's elements (a dense convolution); else
            column n needs element n // repeats alone (a depthwise one).
    """

    dtype: DType
    vectors: int
    height: int
    masked: bool = False
    repeats: int = 0


def gathered_tile(context: KernelContext, kind: GatheredTile) -> ir.Function:
    """The function of a tile, made when first asked for.

    Its parameters: table; weights' row of each segment (i64 each); number of segments; elements of
    a segment (depthwise: the first column); W; elements between rows of W; elements between panels
    of W (every vector begins one); C (rows of `vectors` * 16 elements, 64-byte aligned);
    rows (1 to height); columns (ignored unless masked).
    """
    module = context.builder.module
    prefix = context.microkernels.prefix
    name = (
        f"{prefix}.gathered.{kind.dtype}.{kind.vectors}x{kind.height}"
        f"{'.masked' if kind.masked else ''}{f'.by{kind.repeats}' if kind.repeats else ''}"
    )
    known = module.globals.get(name)
    if isinstance(known, ir.Function):
        return known
    types = [POINTER, POINTER, I64, I64, POINTER, I64, I64, POINTER, I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    entry = function.append_basic_block("entry")
    builder = ir.IRBuilder(entry)
    blocks = [function.append_basic_block(f"rows{n}") for n in range(1, kind.height + 1)]
    switch = builder.switch(function.args[8], blocks[-1])
    for rows, block in enumerate(blocks[:-1], start=1):
        switch.add_case(ir.Constant(I64, rows), block)
    for rows, block in enumerate(blocks, start=1):
        builder.position_at_end(block)
        vector = VectorBuilder(
            builder, has_fma=context.target.has_fma, has_f16c=context.target.has_f16c
        )
        _Tile(kind, rows, function.args, vector).emit()
    return function


def zeros(context: KernelContext, size: int) -> ir.GlobalVariable:
    """At least `size` zero bytes, shared by the module's kernels."""
    size = max(64, 1 << (size - 1).bit_length())
    name = f"{context.microkernels.prefix}.zeros{size}"
    module = context.builder.module
    known = module.globals.get(name)
    if isinstance(known, ir.GlobalVariable):
        return known
    type_ = ir.ArrayType(I8, size)
    variable = ir.GlobalVariable(module, type_, name)
    variable.initializer = ir.Constant(type_, None)
    variable.linkage = "internal"
    variable.global_constant = True
    variable.align = 64
    return variable


class _Tile:
    """One height of a tile."""

    def __init__(
        self, kind: GatheredTile, rows: int, arguments: Sequence[ir.Value], vector: VectorBuilder
    ) -> None:
        self.kind = kind
        self.rows = rows
        self.vector = vector
        self.builder = vector.ir
        (
            self.table,
            self.weight_rows,
            self.segments,
            self.run,
            self.weights,
            self.ldw,
            self.panel,
            self.sums,
            _,
            self.columns,
        ) = arguments
        self.element = memory_element(kind.dtype)
        self.type = ir.VectorType(self.element, LANES)

    def emit(self) -> None:
        builder, kind = self.builder, self.kind
        starts = []
        for n in range(kind.vectors):
            offset = builder.mul(self.panel, as_value(n))
            starts.append(self._at(self.weights, offset))
        mask = self._mask(LANES, self.columns) if kind.masked else None
        zero = [self.vector.const(self.type, 0)] * (self.rows * kind.vectors)
        with Loop(builder, 0, self.segments, 1, zero, "segment") as segment:
            place = builder.mul(segment.index, as_value(TABLE_ROWS))
            rows = [
                builder.load(
                    builder.gep(
                        self.table, [builder.add(place, as_value(r))], source_etype=POINTER
                    ),
                    typ=POINTER,
                )
                for r in range(self.rows)
            ]
            row = builder.load(
                builder.gep(self.weight_rows, [segment.index], source_etype=I64), typ=I64
            )
            offset = builder.mul(row, self.ldw)
            carried = list(segment.carried)
            if kind.repeats:
                values = self._channels(rows, starts, offset, mask, carried)
            else:
                values = self._run(rows, starts, offset, mask, carried)
            segment.update(values)
        for n, value in enumerate(segment.results):
            builder.store(value, self._at(self.sums, as_value(n * LANES)), align=64)
        builder.ret_void()

    def _run(
        self,
        rows: Sequence[ir.Value],
        starts: Sequence[ir.Value],
        offset: ir.Value,
        mask: ir.Value | None,
        carried: list[ir.Value],
    ) -> list[ir.Value]:
        """A dense segment: its elements one by one, each broadcast against a row of weights."""
        builder, kind = self.builder, self.kind
        ahead = None
        if mask is None and self.rows >= FEWEST_PREFETCHING:
            ahead = Prefetch.of_weights(builder, kind.dtype, kind.vectors, self.panel, self.ldw)
        with Loop(builder, 0, self.run, 1, [offset, *carried], "k") as k:
            here, *sums = k.carried
            weights = [self._load(self._at(s, here), LANES, mask) for s in starts]
            if ahead is not None:
                ahead.ask(builder, starts, here)
            values = []
            for r, row in enumerate(rows):
                pointer = self._at(row, k.index)
                scalar = builder.load(pointer, typ=self.element, align=self.kind.dtype.itemsize)
                wide = self.vector.splat(scalar, LANES)
                for n in range(self.kind.vectors):
                    values.append(
                        self.vector.fma(wide, weights[n], sums[r * self.kind.vectors + n])
                    )
            k.update([builder.add(here, self.ldw), *values])
        return list(k.results[1:])

    def _channels(
        self,
        rows: Sequence[ir.Value],
        starts: Sequence[ir.Value],
        offset: ir.Value,
        mask: ir.Value | None,
        sums: list[ir.Value],
    ) -> list[ir.Value]:
        """A depthwise segment: each column has an element and a weight of its own."""
        weights = [self._load(self._at(s, offset), LANES, mask) for s in starts]
        values = []
        for r, row in enumerate(rows):
            for n in range(self.kind.vectors):
                x = self._elements(row, n)
                values.append(self.vector.fma(x, weights[n], sums[r * self.kind.vectors + n]))
        return values

    def _elements(self, row: ir.Value, number: int) -> ir.Value:
        """What 16 columns meet: element n // repeats for column n."""
        builder, repeats = self.builder, self.kind.repeats
        first = builder.add(self.run, as_value(number * LANES))
        if LANES % repeats == 0:
            count = LANES // repeats
            start = builder.udiv(first, as_value(repeats)) if repeats > 1 else first
            mask = None
            if self.kind.masked:
                mask = self._mask(count, builder.udiv(self.columns, as_value(repeats)))
            x = self._load(self._at(row, start), count, mask)
            if repeats == 1:
                return x
            if count == 1:
                return self.vector.splat(builder.extract_element(x, ir.Constant(I32, 0)), LANES)
            chosen = ir.Constant(ir.VectorType(I32, LANES), [n // repeats for n in range(LANES)])
            return builder.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), chosen)
        x = self.vector.const(self.type, 0)
        # Columns beyond the last take the last one's element, which can be read.
        last = builder.sub(self.columns, as_value(1)) if self.kind.masked else as_value(LANES - 1)
        for lane in range(LANES):
            near = builder.select(
                builder.icmp_signed("<", as_value(lane), last), as_value(lane), last
            )
            place = builder.udiv(builder.add(first, near), as_value(repeats))
            scalar = builder.load(
                self._at(row, place), typ=self.element, align=self.kind.dtype.itemsize
            )
            x = builder.insert_element(x, scalar, ir.Constant(I32, lane))
        return x

    def _at(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        return self.builder.gep(pointer, [offset], source_etype=self.element)

    def _mask(self, lanes: int, count: ir.Value) -> ir.Value:
        type_ = ir.VectorType(I64, lanes)
        return self.builder.icmp_signed(
            "<", self.vector.iota(type_), self.vector.splat(count, lanes)
        )

    def _load(self, pointer: ir.Value, lanes: int, mask: ir.Value | None) -> ir.Value:
        dtype = self.kind.dtype
        type_ = ir.VectorType(self.element, lanes)
        if mask is None:
            return self.builder.load(pointer, typ=type_, align=dtype.itemsize)
        module = self.builder.module
        name = f"llvm.masked.load.v{lanes}f{dtype.bits}.p0"
        known = module.globals.get(name)
        if not isinstance(known, ir.Function):
            masks = ir.VectorType(I1, lanes)
            signature = ir.FunctionType(type_, [POINTER, I32, masks, type_])
            known = ir.Function(module, signature, name)
        align = ir.Constant(I32, dtype.itemsize)
        return self.builder.call(known, [pointer, align, mask, Splat(type_, 0)])
