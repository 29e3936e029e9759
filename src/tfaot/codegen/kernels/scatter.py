"""Scatter: the operand, then updates combined into it one window after the other.

Updates are applied in the order in which they lie in memory, so that results don't depend on
anything but the data. A window that would leave the operand, even in part, is skipped whole: no
memory outside is read or written. Elements of one window go to different places, so 16 of them are
combined at once where the window has elements that lie side by side.

Source: HLO specification, "Scatter".
"""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.expression import Leaf
from tfaot.codegen.index import Affine, Index, as_value
from tfaot.codegen.kernels.common import KernelContext, flat_from
from tfaot.codegen.kernels.scratch import scratch_at
from tfaot.codegen.types import I64, bit_width
from tfaot.ir.attributes import Scatter
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.schedule.fusion import Kernel
from tfaot.schedule.scratch import scratch_rule
from tfaot.schedule.sizes import NOTHING, Bytes


def _array_bytes(operand: Instruction) -> Bytes:
    return Bytes.of(operand.array.dims, operand.array.dtype.itemsize).aligned()


@scratch_rule("scatter")
def _scratch(kernel: Kernel) -> Bytes:
    assert kernel.anchor is not None
    total = NOTHING
    for operand, result in zip(kernel.anchor.operands, kernel.results, strict=False):
        if result is None:
            total = total + _array_bytes(operand)
    return total


def emit_scatter(context: KernelContext) -> None:
    """Emit a kernel that is built around a `scatter`."""
    _ScatterEmitter(context).emit()


class _ScatterEmitter:
    def __init__(self, context: KernelContext) -> None:
        self.context = context
        anchor = context.kernel.anchor
        assert anchor is not None
        self.attrs = anchor.attr(Scatter)
        count = len(anchor.operands) // 2
        self.operands = anchor.operands[:count]
        self.indices = anchor.operands[count]
        self.updates = anchor.operands[count + 1 :]
        self.dims = self.operands[0].array.dims
        self.update_dims = self.updates[0].array.dims
        window = self.attrs.update_window_dims
        self.outer = [d for d in range(len(self.update_dims)) if d not in window]
        hidden = (*self.attrs.inserted_window_dims, *self.attrs.input_batching_dims)
        kept = [d for d in range(len(self.dims)) if d not in hidden]
        self.update_dim_of = dict(zip(kept, window, strict=True))

    def emit(self) -> None:
        """Copy, then update."""
        context = self.context
        self.results = self._all_results()
        if not context.kernel.in_place:
            self._copy()
        context.loops([self.update_dims[d] for d in self.outer], self._window)

    def _all_results(self) -> list[Leaf]:
        """Where results go; those that nobody asks for, but the combiner may, to the scratch."""
        offset = NOTHING
        results: list[Leaf] = []
        for operand, result in zip(self.operands, self.context.results, strict=True):
            if result is None:
                result = Leaf(scratch_at(self.context, offset), operand.array)
                offset = offset + _array_bytes(operand)
            results.append(result)
        return results

    def _copy(self) -> None:
        for operand, result in zip(self.operands, self.results, strict=True):
            self._copy_one(operand, result)

    def _copy_one(self, operand: Instruction, result: Leaf) -> None:
        context = self.context

        def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
            e = context.expression(mask)
            e.store(result, indices, e.value(operand, indices))

        split = flat_from(operand, context.leaves)
        if result.pitch is not None:
            split = max(split, len(self.dims) - 1)
        context.elements(self.dims, split, element)

    def _window(self, outer: tuple[Index, ...]) -> None:
        """Combine one window, unless it leaves the operand."""
        builder = self.context.builder
        starts = self._starts(outer)
        fits: ir.Value | None = None
        for d, start in starts.items():
            if d in self.attrs.input_batching_dims:
                continue
            limit = self.context.size(self.dims[d] - self._extent(d))
            # One unsigned comparison finds negative starts too; nothing fits a negative limit.
            here = builder.icmp_unsigned("<=", start, as_value(limit))
            if not isinstance(limit, int) or limit < 0:
                room = builder.icmp_signed(">=", as_value(limit), as_value(0))
                here = builder.and_(here, room)
            fits = here if fits is None else builder.and_(fits, here)
        if fits is None:
            self._combine_all(outer, starts)
            return
        with builder.if_then(fits):
            self._combine_all(outer, starts)

    def _extent(self, dim: int) -> Dim:
        """The window's size along a dimension of the operand."""
        place = self.update_dim_of.get(dim)
        return 1 if place is None else self.update_dims[place]

    def _starts(self, outer: tuple[Index, ...]) -> dict[int, ir.Value]:
        """Where the window begins, per dimension of the operand that it depends on."""
        attrs, e = self.attrs, self.context.expression()
        v = e.vector
        shape = self.indices.array
        has_vector = attrs.index_vector_dim < shape.rank
        starts: dict[int, ir.Value] = {}
        for component, dim in enumerate(attrs.scatter_dims_to_operand_dims):
            place = list(outer)
            if has_vector:
                place.insert(attrs.index_vector_dim, Affine(component))
            value = e.value(self.indices, tuple(place))
            if bit_width(value.type) < 64:
                value = v.int_to_int(value, I64, signed=shape.dtype.is_signed)
            starts[dim] = value
        for dim, source in zip(
            attrs.input_batching_dims, attrs.scatter_indices_batching_dims, strict=True
        ):
            position = source - (has_vector and source > attrs.index_vector_dim)
            starts[dim] = e.index.position(outer[position])
        return starts

    def _combine_all(self, outer: tuple[Index, ...], starts: dict[int, ir.Value]) -> None:
        context = self.context
        window = self.attrs.update_window_dims
        sizes = [self.update_dims[d] for d in window]
        wide = [n for n, size in enumerate(sizes) if size != 1]
        # 16 elements at once along the last dimension of the window that has more than one.
        split = wide[-1] if wide else len(sizes)

        def combine(inner: tuple[Index, ...], mask: ir.Value | None) -> None:
            where: list[Index] = [Affine(0)] * len(self.update_dims)
            for d, index in zip(self.outer, outer, strict=True):
                where[d] = index
            for d, index in zip(window, inner, strict=True):
                where[d] = index
            self._combine(tuple(where), starts, mask)

        context.elements(sizes, split, combine)

    def _combine(
        self, where: tuple[Index, ...], starts: dict[int, ir.Value], mask: ir.Value | None
    ) -> None:
        """Combine the updates at `where` with what they go to."""
        e = self.context.expression(mask)
        target: list[Index] = []
        for d in range(len(self.dims)):
            place = self.update_dim_of.get(d)
            index = Affine(0) if place is None else where[place]
            start = starts.get(d)
            target.append(index if start is None else e.index.shift(index, start))
        old = [e.load(r, tuple(target)) for r in self.results]
        new = [e.value(u, where) for u in self.updates]
        combined = e.apply_all(self.attrs.to_apply, e.alike(*old, *new))
        for result, value in zip(self.results, combined, strict=True):
            e.store(result, tuple(target), value)


__all__ = ["emit_scatter"]
