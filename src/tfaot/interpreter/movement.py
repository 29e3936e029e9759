"""Data movement: constants, iota, reshaping, slicing, joining, padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.conversion import bitcast
from tfaot.ir.attributes import (
    Broadcast,
    Concatenate,
    Constant,
    DynamicSlice,
    GetDimensionSize,
    Iota,
    Pad,
    Reverse,
    Slice,
    Transpose,
)
from tfaot.ir.module import Instruction
from tfaot.mapped import let_go


@rule("constant")
def _constant(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    value = np.asarray(node.attr(Constant).value)
    converted = value.astype(ctx.storage(node.array.dtype), copy=False)
    if converted is not value:
        let_go(value)
    return converted


@rule("iota")
def _iota(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    dims, axis = ctx.dims(node.array), node.attr(Iota).dimension
    dtype = node.array.dtype
    counts = np.arange(dims[axis]).astype(ctx.compute(dtype))
    shape = tuple(n if d == axis else 1 for d, n in enumerate(dims))
    return np.broadcast_to(ctx.narrow(counts, dtype).reshape(shape), dims)


@rule("broadcast")
def _broadcast(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    dims, mapping = ctx.dims(node.array), node.attr(Broadcast).dimensions
    x = operands[0]
    # The operand's dimensions may appear in any order: bring them into the output's.
    order = sorted(range(len(mapping)), key=lambda d: mapping[d])
    shape = [1] * len(dims)
    for d, out in enumerate(mapping):
        shape[out] = x.shape[d]
    return np.broadcast_to(x.transpose(order).reshape(shape), dims)


@rule("copy", "optimization-barrier", "opt-barrier", "copy-start", "copy-done", "domain")
def _copy(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return operands[0]


@rule("reshape", "dynamic-reshape")
def _reshape(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return operands[0].reshape(ctx.dims(node.array))


@rule("bitcast")
def _bitcast(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    source = node.operands[0].array.dtype
    return bitcast(operands[0], source, node.array.dtype, ctx.dims(node.array), ctx)


@rule("transpose")
def _transpose(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return np.transpose(operands[0], node.attr(Transpose).permutation)


@rule("reverse")
def _reverse(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return np.flip(operands[0], node.attr(Reverse).dimensions)


@rule("slice")
def _slice(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs = node.attr(Slice)
    index = tuple(
        slice(ctx.dim(start), ctx.dim(limit), stride)
        for start, limit, stride in zip(attrs.starts, attrs.limits, attrs.strides, strict=True)
    )
    result: Array = operands[0][index]
    return result


@rule("concatenate")
def _concatenate(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return np.concatenate(operands, axis=node.attr(Concatenate).dimension)


@rule("pad")
def _pad(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs = node.attr(Pad)
    low = tuple(ctx.dim(d) for d in attrs.low)
    high = tuple(ctx.dim(d) for d in attrs.high)
    return pad(operands[0], operands[1], low, high, attrs.interior)


def pad(
    x: Array, value: Array, low: Sequence[int], high: Sequence[int], interior: Sequence[int]
) -> Array:
    """`x` with `interior` copies of `value` between elements and `low`, `high` around (or cut)."""
    dims: list[int] = []
    source: list[slice] = []
    target: list[slice] = []
    for n, before, after, between in zip(x.shape, low, high, interior, strict=True):
        step = between + 1
        size = max(before + max((n - 1) * step + 1, 0) + after, 0)
        first = max(-(before // step), 0) if before < 0 else 0
        # Element i lands at before + i * step; keep those that land inside.
        stop = min(n, max(-((before - size) // step), first))
        start = before + first * step
        dims.append(size)
        source.append(slice(first, stop))
        target.append(slice(start, start + (stop - first) * step, step))
    result = np.full(dims, value, x.dtype)
    if all(s.stop > s.start for s in source):
        result[tuple(target)] = x[tuple(source)]
    return result


def clamped_starts(starts: Sequence[Array], dims: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Start indices moved so that a window of `sizes` lies inside `dims`."""
    return [min(max(int(s), 0), n - size) for s, n, size in zip(starts, dims, sizes, strict=True)]


@rule("dynamic-slice")
def _dynamic_slice(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    x, *indices = operands
    sizes = [ctx.dim(d) for d in node.attr(DynamicSlice).sizes]
    starts = clamped_starts(indices, x.shape, sizes)
    window: Array = x[tuple(slice(s, s + n) for s, n in zip(starts, sizes, strict=True))]
    return window


@rule("dynamic-update-slice")
def _dynamic_update_slice(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    x, update, *indices = operands
    starts = clamped_starts(indices, x.shape, update.shape)
    result = np.array(x)
    result[tuple(slice(s, s + n) for s, n in zip(starts, update.shape, strict=True))] = update
    return result


@rule("get-dimension-size")
def _get_dimension_size(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return np.array(operands[0].shape[node.attr(GetDimensionSize).dimension], np.int32)
