"""reduce-window and select-and-scatter: pooling, prefix sums, gradients of pooling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.conversion import convert
from tfaot.interpreter.gather import combine_at
from tfaot.interpreter.movement import pad
from tfaot.interpreter.reduce import Reducer, recognise
from tfaot.ir.attributes import ReduceWindow, SelectAndScatter, WindowDimension
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import fixed


def dilate_and_pad(x: Array, window: Sequence[WindowDimension], fill: Any) -> Array:
    """`x` with its base dilation and padding applied."""
    if all((w.base_dilation, w.padding_low, w.padding_high) == (1, 0, 0) for w in window):
        return x
    return pad(
        x,
        np.asarray(fill, x.dtype),
        [fixed(w.padding_low) for w in window],
        [fixed(w.padding_high) for w in window],
        [w.base_dilation - 1 for w in window],
    )


def position_count(size: int, window: WindowDimension) -> int:
    """Window positions along a dimension of `size` elements, padding and dilation included."""
    reach = (fixed(window.size) - 1) * window.window_dilation + 1
    return max((size - reach) // window.stride + 1, 0)


def window_elements(
    dims: Sequence[int], window: Sequence[WindowDimension]
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """For each element of the window, in row-major order: its index, and where it is read.

    Args:
        dims: the sizes after dilation and padding.
        window: one dimension each.
    """
    counts = [position_count(n, w) for n, w in zip(dims, window, strict=True)]
    for offset in product(*(range(fixed(w.size)) for w in window)):
        where = []
        for o, w, count in zip(offset, window, counts, strict=True):
            start = o * w.window_dilation
            where.append(slice(start, start + max(count - 1, 0) * w.stride + (count > 0), w.stride))
        yield offset, tuple(where)


@rule("reduce-window")
def _reduce_window(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    attrs = node.attr(ReduceWindow)
    attrs = replace(attrs, window=tuple(w.map_sizes(ctx.dim) for w in attrs.window))
    count = len(operands) // 2
    types = [o.array.dtype for o in node.operands]
    arrays = [
        convert(v, source, target, ctx)
        for v, source, target in zip(operands[:count], types[:count], types[count:], strict=True)
    ]
    known = recognise(attrs.to_apply)
    if known is not None:
        dtype = types[1]
        wide = ctx.widen(arrays[0], dtype)
        for axis, window in enumerate(attrs.window):
            wide = _reduce_axis(wide, axis, window, known)
        return ctx.narrow(known.ufunc(wide, ctx.widen(operands[1], dtype)), dtype)
    padded = [dilate_and_pad(a, attrs.window, 0) for a in arrays]
    inside = dilate_and_pad(np.ones(arrays[0].shape, np.bool_), attrs.window, False)
    dims = tuple(position_count(n, w) for n, w in zip(inside.shape, attrs.window, strict=True))
    totals = tuple(np.broadcast_to(i, dims) for i in operands[count:])
    for _, where in window_elements(inside.shape, attrs.window):
        combined = ctx.lanes(attrs.to_apply, [*totals, *(p[where] for p in padded)])
        totals = tuple(
            np.where(inside[where], new, old) for new, old in zip(combined, totals, strict=True)
        )
    return totals if count > 1 else totals[0]


def _reduce_axis(x: Array, axis: int, window: WindowDimension, reducer: Reducer) -> Array:
    """One dimension of a window of a known reducer, whose dimensions can be done in turn."""
    if window == WindowDimension(1):
        return x
    rest = [WindowDimension(1)] * x.ndim
    size = fixed(window.size)
    prefix = WindowDimension(size, padding_low=size - 1)
    if window == prefix and size >= x.shape[axis]:
        return np.asarray(reducer.ufunc.accumulate(x, axis=axis))
    rest[axis] = window
    padded = dilate_and_pad(x, rest, reducer.identity(x.dtype))
    dims = [position_count(n, w) for n, w in zip(padded.shape, rest, strict=True)]
    total = np.full(dims, reducer.identity(x.dtype), x.dtype)
    for _, where in window_elements(padded.shape, rest):
        reducer.ufunc(total, padded[where], out=total)
    return total


@rule("select-and-scatter")
def _select_and_scatter(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs = node.attr(SelectAndScatter)
    x, source, initial = operands
    padded = dilate_and_pad(x, attrs.window, 0)
    positions = dilate_and_pad(np.arange(x.size).reshape(x.shape), attrs.window, -1)
    selected = np.zeros(source.shape, x.dtype)
    target = np.full(source.shape, -1, np.int64)
    for _, where in window_elements(padded.shape, attrs.window):
        value, position = padded[where], positions[where]
        keep = ctx.lanes(attrs.select, [selected, value])[0]
        better = (position >= 0) & ((target < 0) | ~keep)
        selected = np.where(better, value, selected)
        target = np.where(better, position, target)
    inside = target.reshape(-1) >= 0
    flat, updates = target.reshape(-1)[inside], source.reshape(-1)[inside]
    start = np.full(x.size, initial, x.dtype)
    result = combine_at([start], flat, [updates], [node.array.dtype], attrs.scatter, ctx)
    return result[0].reshape(x.shape)
