"""Sorting: stable, any comparator, several operands at once, O(n log n).

A row is copied into the kernel's scratch. Blocks of 16 elements are sorted by rank: an element's
place is the number of elements that come before it, and 16 of them are counted at once, without a
branch. Sorted runs are then merged pairwise from one half of the scratch to the other; every merge
has a fixed number of steps. Ranks are a permutation where the comparator is an order; where it is
not (NaN under `<`) an insertion sort takes over, so that no element is ever lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.expression import LANES, Expression, Leaf
from tfaot.codegen.index import Affine, Index, Lanes, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.scratch import scratch_at
from tfaot.codegen.loops import Loop, for_range, while_loop
from tfaot.codegen.types import I1, I32, I64
from tfaot.ir.attributes import Compare, Parameter, Sort
from tfaot.ir.module import Computation, users
from tfaot.ir.shapes import Dim, Shape
from tfaot.schedule.fusion import Kernel
from tfaot.schedule.scratch import scratch_rule
from tfaot.schedule.sizes import NOTHING, Bytes


def _used_operands(comparator: Computation) -> frozenset[int]:
    """The operands that a comparator looks at."""
    readers = users(comparator)
    return frozenset(
        p.attr(Parameter).number // 2
        for p in comparator.parameters
        if readers[id(p)] or p is comparator.root
    )


def _moved_operands(kernel: Kernel) -> list[int]:
    """The operands that have to be sorted: those compared, and those whose result is needed."""
    assert kernel.anchor is not None
    used = _used_operands(kernel.anchor.attr(Sort).to_apply)
    return [
        n for n in range(len(kernel.anchor.operands)) if n in used or kernel.results[n] is not None
    ]


def _row_bytes(kernel: Kernel, operand: int) -> Bytes:
    """Bytes of one operand's elements along the sorted dimension, and one that is only read."""
    assert kernel.anchor is not None
    shape = kernel.anchor.operands[operand].array
    size = shape.dims[kernel.anchor.attr(Sort).dimension]
    return Bytes.of((size + 1,), shape.dtype.itemsize).aligned()


@scratch_rule("sort")
def _scratch(kernel: Kernel) -> Bytes:
    total = NOTHING
    for operand in _moved_operands(kernel):
        total = total + _row_bytes(kernel, operand) + _row_bytes(kernel, operand)
    return total


def _is_order(comparator: Computation) -> bool:
    """Whether ranks are sure to be a permutation: one strict comparison in a total order."""
    root = comparator.root
    if root.opcode != "compare" or any(o.opcode != "parameter" for o in root.operands):
        return False
    first, second = (o.attr(Parameter).number for o in root.operands)
    attrs = root.attr(Compare)
    strict = attrs.direction in ("LT", "GT") and attrs.order != "FLOAT"
    return strict and first // 2 == second // 2 and first != second


def emit_sort(context: KernelContext) -> None:
    """Emit a kernel that is built around a `sort`."""
    _Sorter(context).emit()


Buffer = dict[int, Leaf]
"""Scratch rows by operand."""


class _Sorter:
    def __init__(self, context: KernelContext) -> None:
        self.context = context
        self.builder = context.builder
        anchor = context.kernel.anchor
        assert anchor is not None
        attrs = anchor.attr(Sort)
        self.anchor = anchor
        self.comparator = attrs.to_apply
        self.dimension = attrs.dimension
        self.dims = anchor.operands[0].array.dims
        self.compared = _used_operands(attrs.to_apply)
        self.moved = _moved_operands(context.kernel)

    def emit(self) -> None:
        """All rows."""
        if 0 in self.dims:
            return
        if self.dims[self.dimension] == 1:
            self._copy()
            return
        self.length = as_value(self.context.size(self.dims[self.dimension]))
        self.buffers = self._buffers()
        outer = [d for n, d in enumerate(self.dims) if n != self.dimension]
        self.context.loops(outer, self._row)

    def _copy(self) -> None:
        """Rows of one element."""

        def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
            e = self.context.expression(mask)
            for operand, target in zip(self.anchor.operands, self.context.results, strict=True):
                if target is not None:
                    e.store(target, indices, e.value(operand, indices))

        self.context.elements(self.dims, max(len(self.dims) - 1, 0), element)

    def _buffers(self) -> tuple[Buffer, Buffer]:
        """Two copies of a row in the scratch."""
        context = self.context
        size: Dim = self.dims[self.dimension] + 1
        offset = NOTHING
        halves: tuple[Buffer, Buffer] = ({}, {})
        for half in halves:
            for operand in self.moved:
                dtype = self.anchor.operands[operand].array.dtype
                half[operand] = Leaf(scratch_at(context, offset), Shape(dtype, (size,)))
                offset = offset + _row_bytes(context.kernel, operand)
        return halves

    def _row(self, outer: tuple[Index, ...]) -> None:
        context = self.context
        first, second = self.buffers

        def at(position: Index) -> tuple[Index, ...]:
            return (*outer[: self.dimension], position, *outer[self.dimension :])

        def fetch(position: Index, mask: ir.Value | None) -> None:
            e = context.expression(mask)
            for operand in self.moved:
                value = e.value(self.anchor.operands[operand], at(position))
                e.store(first[operand], (position,), value)

        context.vector_loop(self.length, fetch)
        context.vector_loop(self.length, lambda p, mask: self._block(p, mask, first, second))
        size = self.dims[self.dimension]
        result = second
        if not isinstance(size, int) or size > LANES:
            result = self._merges()

        def deliver(position: Index, mask: ir.Value | None) -> None:
            e = context.expression(mask)
            for operand in self.moved:
                target = context.results[operand]
                if target is not None:
                    e.store(target, at(position), e.load(result[operand], (position,)))

        context.vector_loop(self.length, deliver)

    # Order

    def _before(self, e: Expression, a: dict[int, ir.Value], b: dict[int, ir.Value]) -> ir.Value:
        """Whether element a comes before element b: the comparator's value."""
        arguments: list[ir.Value] = []
        for operand in range(len(self.anchor.operands)):
            if operand in self.compared:
                arguments += [a[operand], b[operand]]
            else:
                arguments += [ir.Constant(I1, 0)] * 2
        return e.apply(self.comparator, arguments)

    def _load(
        self, e: Expression, buffer: Buffer, position: Index, operands: Sequence[int] | None = None
    ) -> dict[int, ir.Value]:
        chosen = self.compared if operands is None else operands
        return {n: e.load(buffer[n], (position,)) for n in sorted(chosen)}

    # Blocks

    def _block(
        self, position: Index, mask: ir.Value | None, source: Buffer, target: Buffer
    ) -> None:
        """Sort up to 16 elements from one buffer into the other."""
        context, builder = self.context, self.builder
        assert isinstance(position, Affine)
        start = as_value(position.base)
        count = builder.sub(self.length, start)
        vector = context.vector
        count = vector.min(count, as_value(LANES))
        place = Affine(start, 1)
        own = self._load(context.expression(mask), source, place, self.moved)
        own = {n: context.expression(mask).widen(v) for n, v in own.items()}
        lanes = vector.iota(ir.VectorType(I32, LANES))
        with Loop(builder, 0, count, 1, [vector.const(lanes, 0)], "rank") as loop:
            e = context.expression()
            v = e.vector
            number = builder.trunc(loop.index, I32)
            other = {
                n: e.widen(x)
                for n, x in self._load(e, source, Affine(builder.add(start, loop.index))).items()
            }
            # An equal element that stands earlier comes first: then ask the other way round.
            later = v.gt(lanes, v.splat(number, LANES))
            one = {n: v.select(later, own[n], other[n]) for n in self.compared}
            two = {n: v.select(later, other[n], own[n]) for n in self.compared}
            comes = v.xor(e.widen(self._before(e, one, two)), later)
            loop.update([v.add(loop.carried[0], builder.zext(comes, lanes.type))])
        (rank,) = loop.results
        rank = builder.and_(rank, vector.const(rank, LANES - 1))
        e = context.expression(mask)
        where = Lanes(
            builder.add(builder.zext(rank, ir.VectorType(I64, LANES)), e.index.splat(start))
        )
        for operand in self.moved:
            e.store(target[operand], (where,), own[operand])
        if not _is_order(self.comparator):
            self._unless_permutation(rank, count, start, source, target)

    def _unless_permutation(
        self, rank: ir.Value, count: ir.Value, start: ir.Value, source: Buffer, target: Buffer
    ) -> None:
        """Sort by insertion where the first `count` ranks are not all different."""
        context, builder = self.context, self.builder
        v = context.vector
        taken = builder.shl(v.const(rank, 1), rank)
        active = v.lt(v.iota(rank.type), v.splat(builder.trunc(count, I32), LANES))
        taken = v.select(active, taken, v.const(rank, 0))
        name = f"llvm.vector.reduce.or.v{LANES}i32"
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(I32, [rank.type]), name)
        found = builder.call(function, [taken])
        whole = builder.sub(builder.shl(as_value(1), count), as_value(1))
        with builder.if_then(builder.icmp_unsigned("!=", builder.zext(found, I64), whole), False):
            self._insertion(count, start, source, target)

    def _insertion(self, count: ir.Value, start: ir.Value, source: Buffer, target: Buffer) -> None:
        context, builder = self.context, self.builder
        with for_range(builder, 0, count, 1, "insert") as number:
            position = builder.add(start, as_value(number))
            own = self._load(context.expression(), source, Affine(position), self.moved)

            def goes_on(carried: Sequence[ir.Value]) -> ir.Value:
                (place,) = carried
                more = builder.icmp_signed(">", place, start)
                previous = builder.select(more, builder.sub(place, as_value(1)), start)
                e = context.expression()
                other = self._load(e, target, Affine(previous))
                return builder.and_(more, self._before(e, own, other))

            def move(carried: Sequence[ir.Value]) -> Sequence[ir.Value]:
                (place,) = carried
                previous = builder.sub(place, as_value(1))
                e = context.expression()
                for operand in self.moved:
                    value = e.load(target[operand], (Affine(previous),))
                    e.store(target[operand], (Affine(place),), value)
                return [previous]

            (place,) = while_loop(builder, [position], goes_on, move, "shift")
            e = context.expression()
            for operand in self.moved:
                e.store(target[operand], (Affine(place),), own[operand])

    # Runs

    def _merges(self) -> Buffer:
        """Merge runs of 16 elements up to the whole row; returns where it ends."""
        builder = self.builder
        first, second = self.buffers

        def chosen(flag: ir.Value) -> tuple[Buffer, Buffer]:
            """Source and target: from the second to the first buffer where `flag` is set."""

            def pick(a: Buffer, b: Buffer) -> Buffer:
                return {
                    n: Leaf(builder.select(flag, a[n].pointer, b[n].pointer), a[n].shape)
                    for n in self.moved
                }

            return pick(second, first), pick(first, second)

        def goes_on(carried: Sequence[ir.Value]) -> ir.Value:
            return builder.icmp_signed("<", carried[0], self.length)

        def double(carried: Sequence[ir.Value]) -> Sequence[ir.Value]:
            width, flag = carried
            source, target = chosen(flag)
            both = builder.shl(width, as_value(1))
            with for_range(builder, 0, self.length, both, "run") as low:
                v = self.context.vector
                middle = v.min(builder.add(as_value(low), width), self.length)
                high = v.min(builder.add(as_value(low), both), self.length)
                self._merge(source, target, as_value(low), middle, high)
            return [both, builder.not_(flag)]

        initial = [as_value(LANES), ir.Constant(I1, 1)]
        _, flag = while_loop(builder, initial, goes_on, double, "merge")
        return chosen(flag)[0]

    def _merge(
        self, source: Buffer, target: Buffer, low: ir.Value, middle: ir.Value, high: ir.Value
    ) -> None:
        """Merge [low, middle) and [middle, high); the left of two equal elements goes first."""
        builder = self.builder
        with Loop(builder, low, high, 1, [low, middle], "out") as loop:
            left, right = loop.carried
            e = self.context.expression()
            a = self._load(e, source, Affine(left))
            b = self._load(e, source, Affine(right))
            ended = builder.icmp_signed(">=", left, middle)
            has_right = builder.icmp_signed("<", right, high)
            # Selects instead of and/or: a value read past the end may be anything but harms not.
            smaller = builder.select(ended, ir.Constant(I1, 1), self._before(e, b, a))
            take_right = builder.select(has_right, smaller, ir.Constant(I1, 0))
            place = builder.select(take_right, right, left)
            for operand in self.moved:
                value = e.load(source[operand], (Affine(place),))
                e.store(target[operand], (Affine(loop.index),), value)
            step = builder.zext(take_right, I64)
            other = builder.sub(as_value(1), step)
            loop.update([builder.add(left, other), builder.add(right, step)])


__all__ = ["emit_sort"]
