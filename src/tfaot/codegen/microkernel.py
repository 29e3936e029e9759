"""Register tiles of matrix products: a few rows by a few 16-lane vectors, summed over k in order.

A microkernel computes C[r][v*16 + lane] = sum over k of A[r][k] * W[k][v*16 + lane] for r < rows
and v < vectors, all sums in registers, k innermost and in order: an element is one chain of fused
multiply-adds, so its bits don't depend on the tile's height or width, on the target's registers, or
on where the row lies. A is read by broadcast loads straight from its rows.

Every height has code of its own behind one switch; all dots of a module share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.expression import LANES
from tfaot.codegen.index import as_value
from tfaot.codegen.target import Target
from tfaot.codegen.types import I1, I32, I64, Splat, memory_element
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.dtypes import DType

POINTER = ir.PointerType()

FEWEST_PREFETCHING = 3
"""Rows of tiles that ask for weights ahead; loads are what shorter ones spend their time on."""

FARTHEST_PREFETCH = 64 * 1024
"""Bytes: what lies further ahead could be gone from the second-level cache when it is needed."""

NEAR_PREFETCH = 32
"""Rows of weights to look ahead where the next tile lies too far."""


@dataclass(frozen=True)
class TileShape:
    """How tall tiles may be for each number of vectors, widest first."""

    heights: tuple[tuple[int, int], ...]

    @property
    def tallest(self) -> int:
        """Rows of the tallest tile."""
        return self.heights[-1][1]

    def vectors_for(self, rows: int) -> list[int]:
        """The numbers of vectors whose tiles take `rows` rows, widest first."""
        return [vectors for vectors, most in self.heights if rows <= most]


def tile_shape(target: Target, dtype: DType) -> TileShape:
    """The tiles whose sums, one set of weights and one broadcast fit the target's registers."""
    per_vector = max(1, LANES * dtype.itemsize // target.vector_bytes)
    heights: list[tuple[int, int]] = []
    for vectors in (8, 4, 2, 1):
        sums = target.vector_registers - 1 - vectors * per_vector
        most = sums // (vectors * per_vector)
        if most < 1 and vectors * per_vector < target.vector_registers:
            # One row can take its weights from memory, one operand at a time.
            most = 1
        if most >= 1:
            heights.append((vectors, min(most, 14)))
    return TileShape(tuple(_increasing(heights)))


def _increasing(heights: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without tiles that a wider one is as tall as."""
    kept: list[tuple[int, int]] = []
    for vectors, most in heights:
        if not kept or most > kept[-1][1]:
            kept.append((vectors, most))
    return kept


@dataclass(frozen=True)
class Prefetch:
    """Asks for weights long before they are needed; hardware stops at the end of each page.

    Attributes:
        element: type of the weights.
        distance: elements ahead.
    """

    element: ir.Type
    distance: ir.Value

    @classmethod
    def of_weights(
        cls, builder: ir.IRBuilder, dtype: DType, vectors: int, panel: ir.Value, ldw: ir.Value
    ) -> Prefetch:
        """The same rows of the next tile's panels or, where those lie far ahead, further rows."""
        whole = builder.mul(panel, as_value(vectors))
        far = builder.icmp_unsigned(">", whole, as_value(FARTHEST_PREFETCH // dtype.itemsize))
        near = builder.mul(ldw, as_value(NEAR_PREFETCH))
        return cls(memory_element(dtype), builder.select(far, near, whole))

    def ask(self, builder: ir.IRBuilder, starts: Sequence[ir.Value], offset: ir.Value) -> None:
        """Prefetch into the second-level cache what lies ahead of `offset` in each panel."""
        module = builder.module
        name = "llvm.prefetch.p0"
        known = module.globals.get(name)
        if known is None:
            types = [POINTER, I32, I32, I32]
            known = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        further = builder.add(offset, self.distance)
        read, second_level, data = (ir.Constant(I32, n) for n in (0, 2, 1))
        for start in starts:
            pointer = builder.gep(start, [further], source_etype=self.element)
            builder.call(known, [pointer, read, second_level, data])


class Microkernels:
    """The microkernels of one module, made when first asked for.

    Args:
        module: where their functions go.
        target: for which CPU.
        prefix: of their (internal) names.
    """

    def __init__(self, module: ir.Module, target: Target, prefix: str) -> None:
        self.module = module
        self.target = target
        self.prefix = prefix
        self._functions: dict[tuple[DType, int, bool], ir.Function] = {}

    def get(self, dtype: DType, vectors: int, height: int, *, masked: bool = False) -> ir.Function:
        """The microkernel for up to `height` rows by `vectors` vectors.

        Its parameters: A, elements between rows of A, W, elements between rows of W, elements
        between panels of W (every vector begins one), K >= 1, C (rows of `vectors` * 16
        elements, 64-byte aligned), rows (1 to height), and, where `masked`, the columns of W that
        exist (at most 16): the others are not read.
        """
        key = (dtype, vectors, masked)
        if key not in self._functions:
            self._functions[key] = self._build(dtype, vectors, height, masked)
        return self._functions[key]

    def _build(self, dtype: DType, vectors: int, height: int, masked: bool) -> ir.Function:
        assert not masked or vectors == 1
        parameters = [POINTER, I64, POINTER, I64, I64, I64, POINTER, I64]
        if masked:
            parameters.append(I64)
        name = f"{self.prefix}.tile.{dtype}.{vectors}{'.masked' if masked else ''}"
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), parameters), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        for argument, label in zip(
            function.args, ("a", "lda", "w", "ldw", "panel", "k", "c", "rows"), strict=False
        ):
            argument.name = label
        entry = function.append_basic_block("entry")
        builder = ir.IRBuilder(entry)
        blocks = [function.append_basic_block(f"rows{n}") for n in range(1, height + 1)]
        switch = builder.switch(function.args[7], blocks[-1])
        for rows, block in enumerate(blocks[:-1], start=1):
            switch.add_case(ir.Constant(I64, rows), block)
        for rows, block in enumerate(blocks, start=1):
            builder.position_at_end(block)
            self._tile(builder, function, dtype, rows, vectors, masked)
        return function

    def _tile(
        self,
        builder: ir.IRBuilder,
        function: ir.Function,
        dtype: DType,
        rows: int,
        vectors: int,
        masked: bool,
    ) -> None:
        a, lda, w, ldw, panel, depth, c, _ = function.args[:8]
        element = memory_element(dtype)
        type_ = ir.VectorType(element, LANES)
        v = VectorBuilder(builder, has_fma=self.target.has_fma, has_f16c=self.target.has_f16c)
        row_starts = [
            builder.gep(a, [builder.mul(lda, as_value(r))], source_etype=element)
            for r in range(rows)
        ]
        starts = []
        for n in range(vectors):
            offset = builder.mul(panel, as_value(n))
            starts.append(builder.gep(w, [offset], source_etype=element))
        mask = self._mask(v, function.args[8]) if masked else None
        ahead = None
        if mask is None and rows >= FEWEST_PREFETCHING:
            ahead = Prefetch.of_weights(builder, dtype, vectors, panel, ldw)
        entry = builder.block
        loop = builder.append_basic_block("k")
        done = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(I64, name="k")
        offset = builder.phi(I64, name="row")
        sums = [[builder.phi(type_) for _ in range(vectors)] for _ in range(rows)]
        zero = v.const(type_, 0)
        weights = [
            self._load(builder, builder.gep(s, [offset], source_etype=element), type_, dtype, mask)
            for s in starts
        ]
        if ahead is not None:
            ahead.ask(builder, starts, offset)
        new: list[list[ir.Value]] = []
        for r in range(rows):
            pointer = builder.gep(row_starts[r], [k], source_etype=element)
            scalar = builder.load(pointer, typ=element, align=dtype.itemsize)
            wide = v.splat(scalar, LANES)
            new.append([v.fma(wide, weights[n], sums[r][n]) for n in range(vectors)])
        following = builder.add(k, as_value(1))
        next_offset = builder.add(offset, ldw)
        k.add_incoming(as_value(0), entry)
        k.add_incoming(following, loop)
        offset.add_incoming(as_value(0), entry)
        offset.add_incoming(next_offset, loop)
        for old_row, new_row in zip(sums, new, strict=True):
            for phi, value in zip(old_row, new_row, strict=True):
                phi.add_incoming(zero, entry)
                phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, depth), loop, done)
        builder.position_at_end(done)
        for r in range(rows):
            for n in range(vectors):
                place = as_value((r * vectors + n) * LANES)
                pointer = builder.gep(c, [place], source_etype=element)
                builder.store(new[r][n], pointer, align=64)
        builder.ret_void()

    def _mask(self, v: VectorBuilder, count: ir.Value) -> ir.Value:
        lanes = v.iota(ir.VectorType(I64, LANES))
        return v.ir.icmp_signed("<", lanes, v.splat(count, LANES))

    def _load(
        self,
        builder: ir.IRBuilder,
        pointer: ir.Value,
        type_: ir.VectorType,
        dtype: DType,
        mask: ir.Value | None,
    ) -> ir.Value:
        if mask is None:
            return builder.load(pointer, typ=type_, align=dtype.itemsize)
        name = f"llvm.masked.load.v{LANES}f{dtype.bits}.p0"
        known = self.module.globals.get(name)
        if known is None:
            masks = ir.VectorType(I1, LANES)
            known = ir.Function(
                self.module, ir.FunctionType(type_, [POINTER, I32, masks, type_]), name
            )
        zero = Splat(type_, 0)
        return builder.call(known, [pointer, ir.Constant(I32, dtype.itemsize), mask, zero])
