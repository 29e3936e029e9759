"""convolution: any rank, strides, dilations, groups, padding, dimension order."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.window import dilate_and_pad, position_count, window_elements
from tfaot.ir.attributes import Convolution, WindowDimension
from tfaot.ir.module import Instruction


@rule("convolution")
def _convolution(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    a, target = node.attr(Convolution), node.array.dtype
    x, kernel = (
        ctx.widen(v, o.array.dtype).astype(ctx.compute(target), copy=False)
        for v, o in zip(operands, node.operands, strict=True)
    )
    x = x.transpose(a.input_batch, *a.input_spatial, a.input_feature)
    kernel = kernel.transpose(*a.kernel_spatial, a.kernel_input_feature, a.kernel_output_feature)
    kernel = np.flip(kernel, tuple(d for d, w in enumerate(a.window) if w.reversal))
    if a.batch_group_count > 1:
        # Each group of batch rows meets its own group of output features.
        result = np.concatenate(
            [
                convolve(rows, weights, a.window, 1)
                for rows, weights in zip(
                    np.split(x, a.batch_group_count, axis=0),
                    np.split(kernel, a.batch_group_count, axis=-1),
                    strict=True,
                )
            ],
            axis=-1,
        )
    else:
        result = convolve(x, kernel, a.window, a.feature_group_count)
    order = [0] * result.ndim
    for position, d in enumerate((a.output_batch, *a.output_spatial, a.output_feature)):
        order[d] = position
    return ctx.narrow(result.transpose(order), target)


def convolve(x: Array, kernel: Array, window: Sequence[WindowDimension], groups: int) -> Array:
    """A convolution of rows [n, spatial..., features] in the operands' type.

    Args:
        x: [n, spatial..., inputs].
        kernel: [window..., inputs / groups, outputs].
        window: of the spatial dimensions.
        groups: groups of features, each convolved on its own.

    Returns:
        [n, positions..., outputs], one matrix product added per element of the window.
    """
    one = WindowDimension(1)
    padded = dilate_and_pad(x, (one, *window, one), 0)
    spatial = padded.shape[1:-1]
    counts = [position_count(n, w) for n, w in zip(spatial, window, strict=True)]
    inputs, outputs = kernel.shape[-2:]
    rows = x.shape[0] * math.prod(counts)
    total = np.zeros((groups, rows, outputs // groups), x.dtype)
    if rows and all(w.size for w in window):
        for offset, where in window_elements(spatial, window):
            index = (slice(None), *where)
            patch = np.reshape(padded[index], (rows, groups, inputs))
            weights = kernel[offset].reshape(inputs, groups, outputs // groups)
            if inputs == 1:
                total += patch.transpose(1, 0, 2) * weights.transpose(1, 0, 2)
            else:
                total += np.matmul(patch.transpose(1, 0, 2), weights.transpose(1, 0, 2))
    return np.reshape(total.transpose(1, 0, 2), (x.shape[0], *counts, outputs))
