"""Normal form of `convolution`: x [B, spatial..., C], kernel [window..., C, N], both in order."""

from __future__ import annotations

from dataclasses import replace

from tfaot.ir.attributes import Convolution
from tfaot.ir.module import Instruction
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import rule


@rule("convolution")
def order_dimensions(node: Instruction) -> Instruction | None:
    """Any order of dimensions, through transposes of operands and result."""
    attrs = node.attr(Convolution)
    count = len(attrs.window)
    inner = tuple(range(1, count + 1))
    x_order = (attrs.input_batch, *attrs.input_spatial, attrs.input_feature)
    kernel_order = (
        *attrs.kernel_spatial,
        attrs.kernel_input_feature,
        attrs.kernel_output_feature,
    )
    out_order = (attrs.output_batch, *attrs.output_spatial, attrs.output_feature)
    identity = tuple(range(count + 2))
    if x_order == kernel_order == out_order == identity:
        return None
    x = build.transpose(node, node.operands[0], x_order)
    kernel = build.transpose(node, node.operands[1], kernel_order)
    ordered = replace(
        attrs,
        input_batch=0,
        input_spatial=inner,
        input_feature=count + 1,
        kernel_spatial=tuple(range(count)),
        kernel_input_feature=count,
        kernel_output_feature=count + 1,
        output_batch=0,
        output_spatial=inner,
        output_feature=count + 1,
    )
    shape = node.array.with_dims(tuple(node.array.dims[d] for d in out_order))
    result = build.make(node, "convolution", shape, (x, kernel), ordered)
    return build.transpose(node, result, build.inverse(out_order))
