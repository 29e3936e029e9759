"""Calls of XLA's runtime, by what they call: TopK and SliceToDynamic."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from tfaot.codegen.expression import unsupported
from tfaot.codegen.index import Affine, Index, as_value
from tfaot.codegen.kernels.common import KernelContext, flat_from
from tfaot.codegen.kernels.topk import emit_top_k
from tfaot.codegen.types import I64
from tfaot.ir.attributes import CustomCall
from tfaot.ir.module import Instruction, known_value
from tfaot.ir.shapes import Dim, product


def emit_custom_call(context: KernelContext) -> None:
    """Emit a kernel that is built around a `custom-call`.

    Raises:
        UnsupportedError: its target is not known.
    """
    anchor = context.kernel.anchor
    assert anchor is not None
    emitter = _TARGETS.get(anchor.attr(CustomCall).target)
    if emitter is None:
        raise unsupported(anchor)
    emitter(context)


def _emit_slice_to_dynamic(context: KernelContext) -> None:
    """Copy the elements within the sizes, and write zeros everywhere else.

    An element is within the size of an axis exactly if its place among the axis's and all inner
    elements is below the size times the number of inner elements: so the inner axes are walked as
    one, 16 elements at once.
    """
    anchor = context.kernel.anchor
    assert anchor is not None
    operand, *sizes = anchor.operands
    (result,) = context.results
    assert result is not None
    dims = operand.array.dims
    limits = {
        axis: _elements_within(context, size, dims[axis + 1 :])
        for axis, size in enumerate(sizes)
        if not _is_whole(size, dims[axis])
    }

    def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        e = context.expression(mask)
        value = e.value(operand, indices)
        for axis, limit in limits.items():
            place = e.index.evaluate(e.index.join(dims[axis:], indices[axis:]))
            if isinstance(place, Affine) and place.stride == 0:
                inside = e.vector.ir.icmp_signed("<", as_value(place.base), limit)
            else:
                lanes = e.index.lane_values(place)
                inside = e.vector.ir.icmp_signed("<", lanes, e.index.splat(limit))
            zero = e.constant(operand.array, 0)
            inside, value, zero = e.alike(inside, value, zero)
            value = e.vector.select(inside, value, zero)
        e.store(result, indices, value)

    split = max(flat_from(operand, context.leaves), max(limits, default=0))
    if result.pitch is not None:
        split = max(split, len(dims) - 1)
    context.elements(dims, split, element)


def _elements_within(context: KernelContext, size: Instruction, inner: tuple[Dim, ...]) -> ir.Value:
    """`size` (s32) times the number of elements of the inner dimensions."""
    e = context.expression()
    count = e.vector.int_to_int(e.value(size, ()), I64, signed=True)
    return context.builder.mul(count, as_value(context.size(product(inner))))


def _is_whole(size: Instruction, bound: Dim) -> bool:
    """Whether an axis always has all elements."""
    value = known_value(size)
    return value is not None and int(value) == bound


_TARGETS: dict[str, Callable[[KernelContext], None]] = {
    "TopK": emit_top_k,
    "SliceToDynamic": _emit_slice_to_dynamic,
}
