"""Dots: register tiles over packed or row-major right-hand sides, with a fused epilogue.

The tiled form takes lhs [batch..., M..., K] and rhs [batch..., K, N] of float32 or float64: for
each panel of columns, tiles of rows are summed in registers (`codegen.microkernel`), put into a
scratch tile that stays in the first-level cache, and the ops that follow the dot turn the scratch
into the kernel's result. Rows are shared out evenly among tiles, so that no batch size is left with
a tile of a single row. All other dots run as plain loops over their output, k in order, and in
blocks where k runs over the rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen import complex
from tfaot.codegen.elementwise import BINARY
from tfaot.codegen.expression import LANES
from tfaot.codegen.index import Affine, Index, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.reduce import BLOCK
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.microkernel import POINTER, TileShape, tile_shape
from tfaot.codegen.stack_memory import on_stack
from tfaot.codegen.types import I64, memory_element
from tfaot.ir.attributes import Dot
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Dim, product
from tfaot.schedule.fusion import storage_of
from tfaot.schedule.register_tiles import is_tiled_dot
from tfaot.schedule.weights import PANEL, panel_stride


def emit_dot(context: KernelContext) -> None:
    """Emit a kernel that is built around a `dot`."""
    anchor = context.kernel.anchor
    assert anchor is not None
    if is_tiled_dot(anchor) and all(_is_dense(context, o) for o in anchor.operands):
        _TiledDot(context, anchor).emit()
    else:
        _emit_plain(context, anchor)


def _is_dense(context: KernelContext, operand: Instruction) -> bool:
    return context.leaves[id(storage_of(operand))].pitch is None


@dataclass
class _TiledDot:
    context: KernelContext
    anchor: Instruction

    def __post_init__(self) -> None:
        lhs, rhs = self.anchor.operands
        attrs = self.anchor.attr(Dot)
        self.dtype = self.anchor.array.dtype
        self.element = memory_element(self.dtype)
        self.batch: tuple[Dim, ...] = lhs.array.dims[: len(attrs.lhs_batch)]
        self.rows: Dim = product(lhs.array.dims[len(self.batch) : -1])
        depth, columns = lhs.array.dims[-1], rhs.array.dims[-1]
        assert isinstance(depth, int)
        assert isinstance(columns, int)
        self.depth, self.columns = depth, columns
        self.lhs = self.context.leaves[id(storage_of(lhs))]
        self.lda = self.lhs.row or depth
        rhs_stored = storage_of(rhs)
        self.rhs = self.context.leaves[id(rhs_stored)]
        self.packed = id(rhs_stored) in self.context.packed
        self.tiles: TileShape = tile_shape(self.context.target, self.dtype)

    def emit(self) -> None:
        context = self.context
        widest = max(v * h for v, h in self.tiles.heights)
        self.scratch = on_stack(context.builder, self.element, widest * LANES, align=64)
        self.epilogue = self._epilogue_function()
        context.loops(self.batch, self._matrix)

    def _matrix(self, batch: tuple[Index, ...]) -> None:
        """One matrix product."""
        context, builder = self.context, self.context.builder
        index = context.expression().index
        which = as_value(index.position(index.join(self.batch, batch)))
        rows = as_value(context.size(self.rows))
        matrix_rows = builder.mul(which, rows)
        a = builder.gep(
            self.lhs.pointer,
            [builder.mul(matrix_rows, as_value(self.lda))],
            source_etype=self.element,
        )
        size = as_value(self.depth * self.columns)
        w = builder.gep(self.rhs.pointer, [builder.mul(which, size)], source_etype=self.element)
        # Few rows take many vectors at once, which hides latency; many rows reuse each weight.
        order = list(self.tiles.heights)
        exits = builder.append_basic_block("matrix.done")
        for number, (_, most) in enumerate(order):
            last = number == len(order) - 1
            if last:
                self._columns(a, w, rows, matrix_rows, number)
                builder.branch(exits)
                break
            few = builder.append_basic_block(f"rows.upto{most}")
            more = builder.append_basic_block(f"rows.above{most}")
            builder.cbranch(builder.icmp_signed("<=", rows, as_value(most)), few, more)
            builder.position_at_end(few)
            self._columns(a, w, rows, matrix_rows, number)
            builder.branch(exits)
            builder.position_at_end(more)
        builder.position_at_end(exits)

    def _columns(
        self, a: ir.Value, w: ir.Value, rows: ir.Value, matrix_rows: ir.Value, first: int
    ) -> None:
        """All columns, from the widest tiles that `rows` allows down to the remainder."""
        whole = self.columns // PANEL * PANEL
        if not self.packed:
            regions = [(0, self.columns, self.columns)]
        else:
            regions = [(0, whole, PANEL), (whole, self.columns, self.columns - whole)]
        for column, stop, ldw in regions:
            # Packed weights may be read past the last column: what follows them is readable.
            readable = -(-stop // LANES) * LANES if self.packed else stop
            widths = [*self.tiles.heights[first:]]
            if widths[-1][0] > 1:
                widths.append((1, self.tiles.tallest))
            for vectors, height in widths:
                width = vectors * LANES
                count = (readable - column) // width
                if count <= 0:
                    continue
                after = column + count * width
                with for_range(self.context.builder, column, after, width, "column") as start:
                    weights = self._weights(w, as_value(start), ldw)
                    self._tile_rows(a, weights, rows, matrix_rows, as_value(start), vectors, height)
                column = after
            if column < stop:
                start = as_value(column)
                weights = self._weights(w, start, ldw)
                height = self.tiles.tallest
                self._tile_rows(
                    a, weights, rows, matrix_rows, start, 1, height, masked=stop - column
                )

    def _tile_rows(
        self,
        a: ir.Value,
        weights: tuple[ir.Value, ir.Value, ir.Value],
        rows: ir.Value,
        matrix_rows: ir.Value,
        column: ir.Value,
        vectors: int,
        height: int,
        masked: int | None = None,
    ) -> None:
        """All rows of `vectors` vectors of columns, in tiles of equal height."""
        builder = self.context.builder
        pointer, ldw, panel = weights
        tile = self.context.microkernels.get(self.dtype, vectors, height, masked=masked is not None)
        most = as_value(height)
        count = builder.udiv(builder.add(rows, as_value(height - 1)), most)
        safe = builder.select(builder.icmp_signed(">", count, as_value(0)), count, as_value(1))
        base, extra = builder.udiv(rows, safe), builder.urem(rows, safe)
        with Loop(builder, 0, count, 1, [as_value(0)], "tile") as loop:
            (row,) = loop.carried
            taller = builder.zext(builder.icmp_signed("<", loop.index, extra), I64)
            here = builder.add(base, taller)
            source = builder.gep(
                a, [builder.mul(row, as_value(self.lda))], source_etype=self.element
            )
            arguments = [
                source,
                as_value(self.lda),
                pointer,
                ldw,
                panel,
                as_value(self.depth),
                self.scratch,
                here,
            ]
            if masked is not None:
                arguments.append(as_value(masked))
            builder.call(tile, arguments)
            builder.call(
                self.epilogue,
                [
                    *self.context.parameters,
                    self.scratch,
                    here,
                    as_value(vectors),
                    builder.add(matrix_rows, row),
                    column,
                ],
            )
            loop.update([builder.add(row, here)])

    def _weights(
        self, w: ir.Value, column: ir.Value, ldw: int
    ) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Where the weights of a column begin, and the distances between rows and panels."""
        builder = self.context.builder
        if not self.packed:
            pointer = builder.gep(w, [column], source_etype=self.element)
            return pointer, as_value(ldw), as_value(PANEL)
        # Columns come in whole panels, which are as wide as a vector.
        stride = as_value(panel_stride(self.depth, self.dtype.itemsize))
        panel_start = builder.mul(builder.udiv(column, as_value(PANEL)), stride)
        pointer = builder.gep(w, [panel_start], source_etype=self.element)
        return pointer, as_value(ldw), stride

    def _epilogue_function(self) -> ir.Function:
        """A function that turns a scratch tile into the kernel's result.

        After the kernel's own parameters: scratch, rows, vectors, first row, first column.
        """
        outer = self.context
        assert outer.nested is not None
        context, (scratch, rows, vectors, first_row, first_column) = outer.nested(
            "epilogue", [POINTER, I64, I64, I64, I64]
        )
        builder = context.builder
        width = builder.mul(vectors, as_value(LANES))
        with for_range(builder, 0, rows, 1, "row") as row:
            row_value = as_value(row)
            line = builder.gep(scratch, [builder.mul(row_value, width)], source_etype=self.element)
            where = builder.add(first_row, row_value)
            with for_range(builder, 0, vectors, 1, "vector") as vector:
                start = builder.mul(as_value(vector), as_value(LANES))
                source = builder.gep(line, [start], source_etype=self.element)
                column = builder.add(first_column, start)
                self._epilogue_vector(context, source, where, column)
        builder.ret_void()
        return builder.function

    def _epilogue_vector(
        self, context: KernelContext, source: ir.Value, row: ir.Value, column: ir.Value
    ) -> None:
        builder = context.builder
        if self.columns % LANES == 0 or self.columns == 1:
            self._finish(context, source, row, column, None)
            return
        left = builder.sub(as_value(self.columns), column)
        whole = builder.icmp_signed(">=", left, as_value(LANES))
        if self.columns < LANES:
            self._finish(context, source, row, column, context.tail_mask(self.columns))
            return
        with builder.if_else(whole) as (then, otherwise):
            with then:
                self._finish(context, source, row, column, None)
            with otherwise:
                mask = context.tail_mask(self.columns % LANES)
                self._finish(context, source, row, column, mask)

    def _finish(
        self,
        context: KernelContext,
        source: ir.Value,
        row: ir.Value,
        column: ir.Value,
        mask: ir.Value | None,
    ) -> None:
        root = context.kernel.root
        (result,) = context.results
        assert result is not None
        single = self.columns == 1
        type_ = self.element if single else ir.VectorType(self.element, LANES)
        total = context.builder.load(source, typ=type_, align=64)
        e = context.expression(mask, {id(self.anchor): lambda _: total})
        if single:
            # Rows of one element: the row is the position, whatever the result's dimensions.
            indices = tuple(e.index.split(Affine(row), root.array.dims))
        else:
            rows = e.index.split(Affine(row), root.array.dims[:-1])
            indices = (*rows, Affine(column, 1))
        e.store(result, indices, e.value(root, indices))


def _emit_plain(context: KernelContext, dot: Instruction) -> None:
    """Any dot: loops over the output, 16 elements at a time, and over k in order."""
    attrs = dot.attr(Dot)
    lhs, rhs = dot.operands
    dtype = dot.array.dtype
    lhs_free = _free(lhs, attrs.lhs_batch, attrs.lhs_contracting)
    rhs_free = _free(rhs, attrs.rhs_batch, attrs.rhs_contracting)
    contracted = [lhs.array.dims[d] for d in attrs.lhs_contracting]
    batch = len(attrs.lhs_batch)

    def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        lhs_at: list[Index] = [Affine(0)] * lhs.array.rank
        rhs_at: list[Index] = [Affine(0)] * rhs.array.rank
        for n in range(batch):
            lhs_at[attrs.lhs_batch[n]] = rhs_at[attrs.rhs_batch[n]] = indices[n]
        for n, d in enumerate(lhs_free):
            lhs_at[d] = indices[batch + n]
        for n, d in enumerate(rhs_free):
            rhs_at[d] = indices[batch + len(lhs_free) + n]

        def total(level: int, carried: ir.Value) -> ir.Value:
            if level == len(contracted):
                return _multiply_add(context, dot, lhs_at, rhs_at, mask, carried)
            builder, v = context.builder, context.vector
            size = as_value(context.size(contracted[level]))
            if not dtype.is_float or not isinstance(contracted[level], BatchDim):
                return over(level, as_value(0), size, carried)
            # A sum over rows may be of any length: block by block, rounding errors add up less.
            with Loop(builder, 0, size, BLOCK, [carried], "block") as block:
                stop = builder.add(block.index, as_value(BLOCK))
                stop = builder.select(builder.icmp_signed("<", stop, size), stop, size)
                part = over(level, block.index, stop, v.const(carried, 0))
                block.update([v.add(block.carried[0], part)])
            return block.results[0]

        def over(level: int, start: ir.Value, stop: ir.Value, carried: ir.Value) -> ir.Value:
            with Loop(context.builder, start, stop, 1, [carried], "k") as loop:
                here = Affine(loop.index)
                lhs_at[attrs.lhs_contracting[level]] = here
                rhs_at[attrs.rhs_contracting[level]] = here
                loop.update([total(level + 1, loop.carried[0])])
            return loop.results[0]

        uniform = all(context.expression().index.is_uniform(i) for i in indices)
        zero = context.expression().constant(dot.array, 0)
        zero = zero if uniform else context.vector.splat(zero, LANES)
        value = context.vector.round_to(total(0, zero), dtype)
        e = context.expression(mask, {id(dot): lambda _: value})
        (result,) = context.results
        assert result is not None
        root = context.kernel.root
        where = indices
        if root.array.dims != dot.array.dims:
            where = tuple(e.index.split(e.index.join(dot.array.dims, indices), root.array.dims))
        e.store(result, where, e.value(root, where))

    context.elements(dot.array.dims, max(dot.array.rank - 1, 0), element)


def _free(operand: Instruction, batch: tuple[int, ...], contracting: tuple[int, ...]) -> list[int]:
    return [d for d in range(operand.array.rank) if d not in batch and d not in contracting]


def _multiply_add(
    context: KernelContext,
    dot: Instruction,
    lhs_at: list[Index],
    rhs_at: list[Index],
    mask: ir.Value | None,
    carried: ir.Value,
) -> ir.Value:
    """Carried + lhs * rhs; narrow floats are summed in float32."""
    e = context.expression(mask)
    v = e.vector
    dtype = dot.array.dtype
    lhs, rhs = dot.operands
    a = v.convert(e.value(lhs, lhs_at), lhs.array.dtype, dtype)
    b = v.convert(e.value(rhs, rhs_at), rhs.array.dtype, dtype)
    a, b, carried = e.alike(a, b, carried)
    if dtype.is_float:
        return v.fma(a, b, carried)
    if dtype.is_complex:
        return complex.add(v, carried, complex.multiply(v, a, b))
    product_ = BINARY["multiply"](v, dtype, a, b)
    return v.wrap_to(BINARY["add"](v, dtype, carried, product_), dtype)


__all__ = ["emit_dot"]
