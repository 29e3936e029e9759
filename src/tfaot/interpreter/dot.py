"""dot and dot_general: any contracting and batch dimensions, any type."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.conversion import convert
from tfaot.ir.attributes import Dot
from tfaot.ir.module import Instruction
from tfaot.mapped import let_go

Widen = Callable[[Array, "np.dtype[Any]"], Array]


@rule("dot")
def _dot(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs, target = node.attr(Dot), node.array.dtype
    accumulate = ctx.compute(target)
    sides: list[Array] = []
    for value, operand in zip(operands, node.operands, strict=True):
        source = operand.array.dtype
        if ctx.float64 and source.is_float and value.dtype != accumulate and target.is_float:
            sides.append(value)  # a large constant, which is widened in parts
            continue
        # Exact where the result is wider (s8 x s8 -> s32); narrow floats accumulate in float32.
        wide = ctx.widen(value, source)
        if source.is_float and not target.is_float:
            wide = convert(value, source, target, ctx)
        sides.append(wide.astype(accumulate, copy=False))
    lhs, rhs = sides
    result = contract(
        lhs,
        rhs,
        attrs.lhs_contracting,
        attrs.rhs_contracting,
        attrs.lhs_batch,
        attrs.rhs_batch,
        ctx.widen_part,
    )
    for value, side in zip(operands, sides, strict=True):
        if side is value and value.dtype != accumulate:
            let_go(value)
    return ctx.narrow(result, target)


def contract(
    lhs: Array,
    rhs: Array,
    lhs_contracting: Sequence[int],
    rhs_contracting: Sequence[int],
    lhs_batch: Sequence[int] = (),
    rhs_batch: Sequence[int] = (),
    widen: Widen = np.ndarray.astype,
) -> Array:
    """The dot product in the operands' (wider) type; dimensions: batch, lhs free, rhs free."""
    lhs_free = [d for d in range(lhs.ndim) if d not in (*lhs_contracting, *lhs_batch)]
    rhs_free = [d for d in range(rhs.ndim) if d not in (*rhs_contracting, *rhs_batch)]
    batch = [lhs.shape[d] for d in lhs_batch]
    rows = [lhs.shape[d] for d in lhs_free]
    columns = [rhs.shape[d] for d in rhs_free]
    depth = math.prod(lhs.shape[d] for d in lhs_contracting)
    left = lhs.transpose(*lhs_batch, *lhs_free, *lhs_contracting)
    right = rhs.transpose(*rhs_batch, *rhs_contracting, *rhs_free)
    product = _multiply(
        left.reshape(*batch, math.prod(rows), depth),
        right.reshape(*batch, depth, math.prod(columns)),
        widen,
    )
    return np.reshape(product, (*batch, *rows, *columns))


def _multiply(left: Array, right: Array, widen: Widen) -> Array:
    """Matrix products [..., M, K] by [..., K, N]; a narrower side is widened block by block."""
    dtype = np.promote_types(left.dtype, right.dtype)
    if left.dtype == right.dtype:
        return np.asarray(np.matmul(left, right))
    if left.dtype != dtype:
        swapped = _multiply(right.swapaxes(-1, -2), left.swapaxes(-1, -2), widen)
        return np.swapaxes(swapped, -1, -2)
    depth, columns = right.shape[-2:]
    result: Array = np.zeros((*left.shape[:-1], columns), dtype)
    # In the order in which the elements lie in memory.
    if abs(right.strides[-2]) >= abs(right.strides[-1]):
        step = max(1, BLOCK * depth // max(1, right.size))
        for start in range(0, depth, step):
            part = slice(start, start + step)
            result += np.matmul(left[..., part], widen(right[..., part, :], dtype))
    else:
        step = max(1, BLOCK * columns // max(1, right.size))
        for start in range(0, columns, step):
            part = slice(start, start + step)
            result[..., part] = np.matmul(left, widen(right[..., part], dtype))
    return result


BLOCK = 1 << 22
"""Elements of a large constant that are widened at once."""
