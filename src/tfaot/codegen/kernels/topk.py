"""TopK: the largest elements of each row and where they are, by partial selection.

Floats are in the total order (NaN above infinity), equal elements in the order of their indices.
An element is one unsigned number: its key in the upper bits, the complement of its index in the
lower ones, so that a larger number comes first. The k largest so far form a binary heap in the
kernel's scratch, smallest on top; 16 elements at once are compared with the top's key, and only
where one exceeds it the heap is touched. At last the heap is sorted in place.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.expression import LANES, Expression, unsupported
from tfaot.codegen.index import Affine, Index, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.loops import for_range, while_loop
from tfaot.codegen.types import I1, I32, I64, bit_width, is_float
from tfaot.ir.attributes import Compare, CustomCall
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim, Shape, TupleShape
from tfaot.schedule.fusion import Kernel
from tfaot.schedule.scratch import scratch_rule
from tfaot.schedule.sizes import NOTHING, Bytes

I128 = ir.IntType(128)


def _kept(anchor: Instruction) -> Dim:
    """The number of elements to find in each row."""
    assert isinstance(anchor.shape, TupleShape), anchor
    values = anchor.shape.elements[0]
    assert isinstance(values, Shape), anchor
    return values.dims[-1]


@scratch_rule("custom-call")
def _scratch(kernel: Kernel) -> Bytes:
    anchor = kernel.anchor
    assert anchor is not None
    if anchor.attr(CustomCall).target != "TopK":
        return NOTHING
    itemsize = 16 if anchor.operands[0].array.dtype.itemsize == 8 else 8
    return Bytes.of((_kept(anchor),), itemsize).aligned() + Bytes.constant(64)


def emit_top_k(context: KernelContext) -> None:
    """Emit a kernel that is built around a call of TopK."""
    anchor = context.kernel.anchor
    assert anchor is not None
    if anchor.operands[0].array.dtype.is_complex:
        raise unsupported(anchor)
    _TopK(context).emit()


class _TopK:
    def __init__(self, context: KernelContext) -> None:
        self.context = context
        self.builder = context.builder
        anchor = context.kernel.anchor
        assert anchor is not None
        self.operand = anchor.operands[0]
        self.dtype = self.operand.array.dtype
        self.kept = _kept(anchor)
        called = anchor.attr(CustomCall).called
        self.smallest = any(
            c.root.opcode == "compare" and c.root.attr(Compare).direction in ("LT", "LE")
            for c in called
        )
        self.number: ir.IntType = I128 if self.dtype.itemsize == 8 else I64
        self.key_type = I64 if self.dtype.itemsize == 8 else I32

    def emit(self) -> None:
        """All rows."""
        context = self.context
        dims = self.operand.array.dims
        self.length = as_value(context.size(dims[-1]))
        self.count = as_value(context.size(self.kept))
        assert context.scratch is not None
        self.heap = context.scratch
        if self.kept != 0:
            context.loops(dims[:-1], self._row)

    def _row(self, outer: tuple[Index, ...]) -> None:
        builder, context = self.builder, self.context
        with for_range(builder, 0, self.count, 1, "first") as position:
            e = context.expression()
            self._put(as_value(position), self._number_at(e, outer, as_value(position)))
        half = builder.lshr(self.count, as_value(1))
        with for_range(builder, 0, half, 1, "heapify") as position:
            place = builder.sub(builder.sub(half, as_value(1)), as_value(position))
            self._sift(place, self._get(place), self.count)
        rest = builder.sub(self.length, self.count)
        context.vector_loop(rest, lambda p, mask: self._scan(outer, p, mask))
        self._sort_heap()
        values, indices = context.results
        with for_range(builder, 0, self.count, 1, "out") as position:
            e = context.expression()
            low = builder.trunc(self._get(as_value(position)), I32)
            index = builder.not_(low)
            if values is not None:
                where = Affine(builder.zext(index, I64))
                e.store(values, (*outer, Affine(position)), e.value(self.operand, (*outer, where)))
            if indices is not None:
                e.store(indices, (*outer, Affine(position)), index)

    def _scan(self, outer: tuple[Index, ...], position: Index, mask: ir.Value | None) -> None:
        """Offer up to 16 elements to the heap."""
        builder, context = self.builder, self.context
        assert isinstance(position, Affine)
        start = builder.add(as_value(position.base), self.count)
        e = context.expression(mask)
        v = e.vector
        keys = e.widen(self._key(e, e.value(self.operand, (*outer, Affine(start, 1)))))
        # Of equal elements the earlier one stays: later ones have to exceed the top's key.
        larger = v.gt(keys, v.splat(self._top_key(), LANES), signed=False)
        if mask is not None:
            larger = v.and_(larger, mask)
        name = f"llvm.vector.reduce.or.v{LANES}i1"
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(I1, [larger.type]), name)
        with builder.if_then(builder.call(function, [larger])):
            end = v.min(builder.add(start, as_value(LANES)), self.length)
            with for_range(builder, start, end, 1, "offer") as place:
                number = self._number_at(context.expression(), outer, as_value(place))
                key = builder.trunc(
                    builder.lshr(number, ir.Constant(self.number, 32)), self.key_type
                )
                with builder.if_then(builder.icmp_unsigned(">", key, self._top_key())):
                    self._sift(as_value(0), number, self.count)

    # Numbers

    def _key(self, e: Expression, value: ir.Value) -> ir.Value:
        """Unsigned integers that are larger the earlier an element comes."""
        v = e.vector
        signed = self.dtype.is_signed
        if is_float(value.type):
            value, signed = v.total_order_key(value), True
        width = bit_width(self.key_type)
        key = v.int_to_int(value, self.key_type, signed=signed)
        if signed:
            key = v.xor(key, v.const(key, 1 << (width - 1)))
        return v.not_(key) if self.smallest else key

    def _number_at(self, e: Expression, outer: tuple[Index, ...], position: ir.Value) -> ir.Value:
        builder = self.builder
        key = self._key(e, e.value(self.operand, (*outer, Affine(position))))
        high = builder.shl(builder.zext(key, self.number), ir.Constant(self.number, 32))
        low = builder.zext(builder.not_(builder.trunc(position, I32)), self.number)
        return builder.or_(high, low)

    def _top_key(self) -> ir.Value:
        top = self._get(as_value(0))
        return self.builder.trunc(
            self.builder.lshr(top, ir.Constant(self.number, 32)), self.key_type
        )

    # Heap

    def _place(self, position: ir.Value) -> ir.Value:
        return self.builder.gep(self.heap, [position], source_etype=self.number)

    def _get(self, position: ir.Value) -> ir.Value:
        return self.builder.load(self._place(position), typ=self.number, align=8)

    def _put(self, position: ir.Value, number: ir.Value) -> None:
        self.builder.store(number, self._place(position), align=8)

    def _sift(self, place: ir.Value, number: ir.Value, size: ir.Value) -> None:
        """Put `number` at `place` of a heap of `size`, moving smaller children up."""
        builder = self.builder

        def child_of(carried: Sequence[ir.Value]) -> tuple[ir.Value, ir.Value]:
            """The smaller child's place and number; the own place where there is none."""
            (hole,) = carried
            left = builder.add(builder.shl(hole, as_value(1)), as_value(1))
            right = builder.add(left, as_value(1))
            inside = builder.icmp_signed("<", left, size)
            left = builder.select(inside, left, as_value(0))
            right = builder.select(builder.icmp_signed("<", right, size), right, left)
            a, b = self._get(left), self._get(right)
            smaller = builder.icmp_unsigned("<", b, a)
            child = builder.select(smaller, right, left)
            found = builder.select(smaller, b, a)
            # No child: a number that never is smaller than the one to be placed.
            none = ir.Constant(self.number, -1)
            return child, builder.select(inside, found, none)

        def goes_on(carried: Sequence[ir.Value]) -> ir.Value:
            return builder.icmp_unsigned("<", child_of(carried)[1], number)

        def descend(carried: Sequence[ir.Value]) -> Sequence[ir.Value]:
            child, found = child_of(carried)
            self._put(carried[0], found)
            return [child]

        (hole,) = while_loop(builder, [place], goes_on, descend, "sift")
        self._put(hole, number)

    def _sort_heap(self) -> None:
        """Take the smallest again and again to the end: the largest is then first."""
        builder = self.builder
        with for_range(builder, 1, self.count, 1, "unheap") as done:
            last = builder.sub(self.count, as_value(done))
            number = self._get(last)
            self._put(last, self._get(as_value(0)))
            self._sift(as_value(0), number, last)


__all__ = ["emit_top_k"]
