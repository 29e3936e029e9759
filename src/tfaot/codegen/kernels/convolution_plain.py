"""Any convolution as plain loops: 16 output elements at a time, taps and features in order.

Integers wrap; narrow floats are summed in float32 and rounded once. Padding and the holes of a
dilated base count as zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.elementwise import BINARY
from tfaot.codegen.expression import LANES, Expression, unsupported
from tfaot.codegen.index import Affine, Digit, Index
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.window_index import WindowPlace, window_place
from tfaot.codegen.loops import Loop
from tfaot.codegen.types import register_element
from tfaot.ir.attributes import Convolution
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import fixed


def emit_plain(context: KernelContext, node: Instruction) -> None:
    """Emit a kernel that is built around the convolution `node`."""
    dtype = node.array.dtype
    if dtype.is_complex:
        raise unsupported(node)
    _Plain(context, node).emit()


@dataclass(frozen=True)
class _Plain:
    context: KernelContext
    node: Instruction

    def emit(self) -> None:
        rank = self.node.array.rank
        self.context.elements(self.node.array.dims, rank - 1, self._element)

    def _element(self, indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        context, node = self.context, self.node
        dtype = node.array.dtype
        uniform = all(context.expression().index.is_uniform(i) for i in indices)
        type_ = register_element(dtype)
        zero = context.vector.const(type_ if uniform else ir.VectorType(type_, LANES), 0)
        total = self._taps(indices, mask, [], zero)
        value = context.vector.round_to(total, dtype)
        e = context.expression(mask, {id(node): lambda _: value})
        (result,) = context.results
        assert result is not None
        root = context.kernel.root
        where = indices
        if root.array.dims != node.array.dims:
            where = tuple(e.index.split(e.index.join(node.array.dims, indices), root.array.dims))
        e.store(result, where, e.value(root, where))

    def _taps(
        self,
        indices: tuple[Index, ...],
        mask: ir.Value | None,
        taps: list[ir.Value],
        carried: ir.Value,
    ) -> ir.Value:
        """Loops over the window, outermost dimension first, then over the features of a group."""
        context = self.context
        attrs = self.node.attr(Convolution)
        if len(taps) < len(attrs.window):
            size = fixed(attrs.window[len(taps)].size)
            with Loop(context.builder, 0, size, 1, [carried], "tap") as loop:
                inner = self._taps(indices, mask, [*taps, loop.index], loop.carried[0])
                loop.update([inner])
            return loop.results[0]
        depth = self.node.operands[1].array.dims[attrs.kernel_input_feature]
        if self.node.operands[0].array.size == 0:
            return carried
        with Loop(context.builder, 0, context.size(depth), 1, [carried], "feature") as loop:
            e = context.expression(mask)
            loop.update([self._multiply_add(e, indices, taps, loop.index, loop.carried[0])])
        return loop.results[0]

    def _multiply_add(
        self,
        e: Expression,
        indices: tuple[Index, ...],
        taps: list[ir.Value],
        feature: ir.Value,
        carried: ir.Value,
    ) -> ir.Value:
        node, v = self.node, e.vector
        attrs = node.attr(Convolution)
        x, kernel = node.operands
        dtype = node.array.dtype
        x_at: list[Index] = [Affine(0)] * x.array.rank
        kernel_at: list[Index] = [Affine(0)] * kernel.array.rank
        valid: ir.Value | None = None
        for d, (window, tap) in enumerate(zip(attrs.window, taps, strict=True)):
            axis = attrs.input_spatial[d]
            position = indices[attrs.output_spatial[d]]
            place: WindowPlace = window_place(e, window, x.array.dims[axis], position, tap)
            x_at[axis] = place.index
            if place.valid is not None:
                inside = place.valid
                if valid is not None:
                    valid, inside = e.alike(valid, inside)
                    inside = v.ir.and_(valid, inside)
                valid = inside
            weight: Index = Affine(tap)
            if window.reversal:
                weight = Affine(v.ir.sub(ir.Constant(tap.type, window.size - 1), tap))
            kernel_at[attrs.kernel_spatial[d]] = weight
        batch, output = indices[attrs.output_batch], indices[attrs.output_feature]
        outputs = kernel.array.dims[attrs.kernel_output_feature]
        assert isinstance(outputs, int) or attrs.feature_group_count == attrs.batch_group_count == 1
        x_at[attrs.input_batch] = batch
        x_at[attrs.input_feature] = Affine(feature)
        if attrs.feature_group_count > 1:
            assert isinstance(outputs, int)
            group = Digit(output, outputs // attrs.feature_group_count, None)
            depth = kernel.array.dims[attrs.kernel_input_feature]
            assert isinstance(depth, int)
            first = e.index.scale(group, depth)
            x_at[attrs.input_feature] = e.index.shift(first, feature)
        if attrs.batch_group_count > 1:
            assert isinstance(outputs, int)
            group = Digit(output, outputs // attrs.batch_group_count, None)
            rows = node.array.dims[attrs.output_batch]
            assert isinstance(rows, int)
            x_at[attrs.input_batch] = e.index.sum(e.index.scale(group, rows), batch)
        kernel_at[attrs.kernel_input_feature] = Affine(feature)
        kernel_at[attrs.kernel_output_feature] = output
        a = v.convert(e.value(x, x_at), x.array.dtype, dtype)
        if valid is not None:
            a = v.select(*e.alike(valid, a, v.const(a, 0)))
        b = v.convert(e.value(kernel, kernel_at), kernel.array.dtype, dtype)
        a, b, carried = e.alike(a, b, carried)
        if dtype.is_float:
            return v.fma(a, b, carried)
        product = BINARY["multiply"](v, dtype, a, b)
        return v.wrap_to(BINARY["add"](v, dtype, carried, product), dtype)
