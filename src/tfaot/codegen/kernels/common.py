"""What all kernels share: their function, their arrays, and loops over an index space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Union

from llvmlite import ir

from tfaot.codegen.expression import LANES, Expression, Leaf, Override
from tfaot.codegen.index import Affine, Index, Number, Sizes, as_value
from tfaot.codegen.loops import for_range
from tfaot.codegen.microkernel import Microkernels
from tfaot.codegen.target import Target
from tfaot.codegen.types import I1, I64
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.attributes import Broadcast, Iota, Slice
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Dim, product
from tfaot.passes.dims import reshape_groups
from tfaot.schedule.fusion import Kernel, is_elementwise

Body = Callable[[tuple[Index, ...], "ir.Value | None"], None]


@dataclass
class KernelContext:
    """A kernel while it is emitted.

    Attributes:
        kernel: what to compute.
        target: for which CPU.
        builder: where code goes, inside the kernel's function.
        sizes: run-time values of dimensions.
        leaves: the arrays that the kernel reads, by instruction id.
        results: the arrays that it writes, as in `kernel.results`.
        microkernels: the register tiles of this module.
        packed: ids of the leaves that lie in panels (`schedule.weights`).
        parameters: what the kernel's function is called with.
        nested: makes another function with these parameters and further ones.
        scratch: the kernel's own workspace (`schedule.scratch`), None where it needs none.
    """

    kernel: Kernel
    target: Target
    builder: ir.IRBuilder
    sizes: Sizes
    leaves: Mapping[int, Leaf]
    results: Sequence[Leaf | None]
    microkernels: Microkernels
    packed: frozenset[int] = frozenset()
    parameters: Sequence[ir.Value] = ()
    nested: Callable[[str, Sequence[ir.Type]], tuple[KernelContext, Sequence[ir.Value]]] | None = (
        field(default=None)
    )
    scratch: ir.Value | None = None

    @property
    def vector(self) -> VectorBuilder:
        """Vector arithmetic at the builder's position."""
        return VectorBuilder(
            self.builder, has_fma=self.target.has_fma, has_f16c=self.target.has_f16c
        )

    def expression(
        self,
        mask: ir.Value | None = None,
        overrides: Mapping[int, Override] | None = None,
    ) -> Expression:
        """An emitter for the current basic block."""
        return Expression(self.vector, self.sizes, self.leaves, overrides, mask)

    def size(self, dim: Dim) -> Number:
        """The run-time value of a dimension."""
        return self.sizes.value(self.builder, dim)

    def tail_mask(self, count: Number) -> ir.Value:
        """The first `count` lanes (<16 x i1>)."""
        vector = self.vector
        if isinstance(count, int):
            return vector.lanes(I1, [lane < count for lane in range(LANES)])
        lanes = vector.iota(ir.VectorType(I64, LANES))
        return self.builder.icmp_signed("<", lanes, vector.splat(count, LANES))

    def loops(self, dims: Sequence[Dim], body: Callable[[tuple[Index, ...]], None]) -> None:
        """Run `body` for every index of an index space."""
        with ExitStack() as stack:
            indices: list[Index] = []
            for dim in dims:
                position = stack.enter_context(for_range(self.builder, 0, self.size(dim)))
                indices.append(Affine(position))
            body(tuple(indices))

    def vector_loop(self, extent: Number, body: Callable[[Index, ir.Value | None], None]) -> None:
        """Run `body` for every 16 positions of range(extent), the last time under a mask."""
        builder = self.builder
        if isinstance(extent, int):
            full = extent - extent % LANES
            if extent == 1:
                body(Affine(0), None)
                return
            if full:
                with for_range(builder, 0, full, LANES, "v") as start:
                    body(Affine(start, 1), None)
            if extent > full:
                body(Affine(full, 1), self.tail_mask(extent - full))
            return
        full_value = builder.and_(extent, ir.Constant(I64, -LANES))
        with for_range(builder, 0, full_value, LANES, "v") as start:
            body(Affine(start, 1), None)
        rest = builder.sub(extent, full_value)
        with builder.if_then(builder.icmp_signed(">", rest, as_value(0))):
            body(Affine(full_value, 1), self.tail_mask(rest))

    def elements(self, dims: Sequence[Dim], split: int, body: Body) -> None:
        """Run `body` for all elements of an index space, 16 at a time along dims[split:].

        The trailing dimensions are walked as one, so their indices are digits of one number.
        """
        split = max(split, affine_from(dims))
        outer, inner = tuple(dims[:split]), tuple(dims[split:])
        extent = product(inner)

        def row(indices: tuple[Index, ...]) -> None:
            def block(position: Index, mask: ir.Value | None) -> None:
                index = self.expression(mask).index
                body((*indices, *index.split(position, inner)), mask)

            if inner:
                self.vector_loop(self.size(extent), block)
            else:
                body(indices, None)

        self.loops(outer, row)


def flat_from(instruction: Instruction, leaves: Mapping[int, object]) -> int:
    """The first dimension from which all dimensions of `instruction` can be walked as one.

    Walking several dimensions as one is free where every stored array is read along all of them, or
    along none; an array that is read along some (a bias along channels) ends the run, and an op
    that needs a dimension's own index does so, too.
    """
    if instruction.array.rank == 0:
        return 0
    dims = instruction.array.dims
    walk = _Walk(dims, leaves)
    walk.visit(instruction, tuple(range(len(dims))))
    return max(walk.first, affine_from(dims))


def affine_from(dims: Sequence[Dim]) -> int:
    """The first dimension from which the number of elements is affine in the batch size."""
    symbolic = [d for d, size in enumerate(dims) if isinstance(size, BatchDim)]
    return symbolic[-2] + 1 if len(symbolic) > 1 else 0


@dataclass(frozen=True)
class _Part:
    """Dimension `number` of the `count` into which a reshape turns the root's dimensions `run`."""

    run: tuple[int, ...]
    number: int = 0
    count: int = 1


_Place = Union[int, _Part]


class _Walk:
    """Follows an expression from its root to the leaves, with where each dimension comes from."""

    def __init__(self, dims: tuple[Dim, ...], leaves: Mapping[int, object]) -> None:
        self.dims = dims
        self.leaves = leaves
        self.first = 0
        self._seen: set[tuple[int, tuple[_Place, ...]]] = set()

    def visit(self, node: Instruction, where: tuple[_Place, ...]) -> None:
        """`where` tells for each dimension of `node` the dimensions of the root that index it."""
        if (id(node), where) in self._seen:
            return
        self._seen.add((id(node), where))
        if id(node) in self.leaves or node.opcode == "constant":
            self._leaf(node, where)
            return
        match node.opcode:
            case "broadcast":
                dimensions = node.attr(Broadcast).dimensions
                self.visit(node.operands[0], tuple(where[d] for d in dimensions))
            case "reshape":
                self._reshape(node, where)
            case "iota":
                self._after(where[node.attr(Iota).dimension])
            case "slice":
                operand = node.operands[0]
                attrs = node.attr(Slice)
                for d, size in enumerate(operand.array.dims):
                    if attrs.starts[d] != 0 or node.array.dims[d] != size:
                        self._after(where[d])
                self.visit(operand, where)
            case _ if is_elementwise(node):
                for operand in node.operands:
                    if operand.array.rank in (0, node.array.rank):
                        self.visit(operand, where if operand.array.rank else ())
                    else:
                        self._need_last()
            case _:
                self._need_last()

    def _need(self, at_least: int) -> None:
        self.first = max(self.first, min(at_least, len(self.dims) - 1))

    def _need_last(self) -> None:
        self._need(len(self.dims) - 1)

    def _after(self, place: _Place) -> None:
        """A dimension's own index is needed: walk only what comes after it."""
        self._need(place + 1 if isinstance(place, int) else max(place.run, default=-1) + 1)

    def _leaf(self, node: Instruction, where: tuple[_Place, ...]) -> None:
        wide = tuple(w for w, d in zip(where, node.array.dims, strict=True) if d != 1)
        places = self._whole(wide)
        last = next((d for d in reversed(range(len(self.dims))) if self.dims[d] != 1), None)
        if last is None:
            return
        if places != sorted(places):
            self._need_last()
            return
        used = set(places)
        for d in reversed(range(last)):
            if self.dims[d] != 1 and (d in used) != (last in used):
                self._need(d + 1)
                break

    def _whole(self, where: tuple[_Place, ...]) -> list[int]:
        """The root's dimensions behind `where`, in order; runs that are not whole are left out."""
        found: list[int] = []
        position = 0
        while position < len(where):
            place = where[position]
            if isinstance(place, int):
                found.append(place)
                position += 1
                continue
            parts = tuple(_Part(place.run, n, place.count) for n in range(place.count))
            if where[position : position + place.count] == parts:
                found.extend(place.run)
                position += place.count
            else:
                self._after(place)
                position += 1
        return found

    def _reshape(self, node: Instruction, where: tuple[_Place, ...]) -> None:
        (operand,) = node.operands
        before, after = operand.array.dims, node.array.dims
        source: list[_Place] = [_Part(())] * len(before)
        for group in reshape_groups(before, after):
            given = tuple(where[d] for d in group.outputs if after[d] != 1)
            taken = [d for d in group.inputs if before[d] != 1]
            if len(given) == len(taken) == 1:
                source[taken[0]] = given[0]
                continue
            run = tuple(self._whole(given))
            if list(run) != sorted(run):
                self._need_last()
                return
            for number, d in enumerate(taken):
                source[d] = _Part(run, number, len(taken))
        self.visit(operand, tuple(source))
