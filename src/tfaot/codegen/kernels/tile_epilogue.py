"""What follows an anchor, applied to a tile of its results in first-level cache."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.expression import LANES
from tfaot.codegen.index import Affine, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.loops import for_range
from tfaot.codegen.microkernel import POINTER
from tfaot.codegen.types import I64, memory_element
from tfaot.ir.module import Instruction


@dataclass(frozen=True)
class TileEpilogue:
    """A function of the kernel's own parameters and then: tile, rows, vectors, places, columns.

    The tile holds rows of `vectors` * 16 elements; row r is row `places[r]` of the anchor's result
    seen as a matrix; the tile's columns begin at `first` and those from `stop` on do not exist.
    """

    context: KernelContext
    function: ir.Function

    def call(
        self,
        tile: ir.Value,
        rows: ir.Value,
        vectors: int,
        places: ir.Value,
        first: ir.Value,
        stop: ir.Value,
    ) -> None:
        """Turn a tile into the kernel's result."""
        own = [tile, rows, as_value(vectors), places, first, stop]
        self.context.builder.call(self.function, [*self.context.parameters, *own])


def tile_epilogue(outer: KernelContext, anchor: Instruction, *, whole: bool) -> TileEpilogue:
    """Emit the function.

    Args:
        outer: the kernel.
        anchor: whose results the tiles hold.
        whole: whether vectors never reach past the last column.
    """
    assert outer.nested is not None
    types = [POINTER, I64, I64, POINTER, I64, I64]
    context, (tile, rows, vectors, places, first, stop) = outer.nested("epilogue", types)
    builder = context.builder
    element = memory_element(anchor.array.dtype)
    width = builder.mul(vectors, as_value(LANES))
    single = anchor.array.dims[-1] == 1

    def finish(source: ir.Value, row: ir.Value, column: ir.Value, mask: ir.Value | None) -> None:
        root = context.kernel.root
        (result,) = context.results
        assert result is not None
        type_ = element if single else ir.VectorType(element, LANES)
        total = builder.load(source, typ=type_, align=64)
        e = context.expression(mask, {id(anchor): lambda _: total})
        if single:
            # Rows of one element: the row is the position, whatever the result's dimensions.
            indices = tuple(e.index.split(Affine(row), root.array.dims))
        else:
            indices = (*e.index.split(Affine(row), root.array.dims[:-1]), Affine(column, 1))
        e.store(result, indices, e.value(root, indices))

    def vector_of(source: ir.Value, row: ir.Value, column: ir.Value) -> None:
        if whole or single:
            finish(source, row, column, None)
            return
        left = builder.sub(stop, column)
        full = builder.icmp_signed(">=", left, as_value(LANES))
        with builder.if_else(full) as (then, otherwise):
            with then:
                finish(source, row, column, None)
            with otherwise:
                finish(source, row, column, context.tail_mask(left))

    with for_range(builder, 0, rows, 1, "row") as row:
        line = builder.gep(tile, [builder.mul(as_value(row), width)], source_etype=element)
        place = builder.load(builder.gep(places, [as_value(row)], source_etype=I64), typ=I64)
        with for_range(builder, 0, vectors, 1, "vector") as vector:
            start = builder.mul(as_value(vector), as_value(LANES))
            source = builder.gep(line, [start], source_etype=element)
            vector_of(source, place, builder.add(first, start))
    builder.ret_void()
    return TileEpilogue(outer, builder.function)
