"""dot and dot_general: any contracting and batch dimensions, any type."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.conversion import convert
from tfaot.ir.attributes import Dot
from tfaot.ir.module import Instruction


@rule("dot")
def _dot(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs, target = node.attr(Dot), node.array.dtype
    accumulate = ctx.compute(target)
    sides: list[Array] = []
    for value, operand in zip(operands, node.operands, strict=True):
        source = operand.array.dtype
        # Exact where the result is wider (s8 x s8 -> s32); narrow floats accumulate in float32.
        wide = ctx.widen(value, source)
        if source.is_float and not target.is_float:
            wide = convert(value, source, target, ctx)
        sides.append(wide.astype(accumulate, copy=False))
    lhs, rhs = sides
    result = contract(
        lhs, rhs, attrs.lhs_contracting, attrs.rhs_contracting, attrs.lhs_batch, attrs.rhs_batch
    )
    return ctx.narrow(result, target)


def contract(
    lhs: Array,
    rhs: Array,
    lhs_contracting: Sequence[int],
    rhs_contracting: Sequence[int],
    lhs_batch: Sequence[int] = (),
    rhs_batch: Sequence[int] = (),
) -> Array:
    """The dot product in the operands' type; dimensions: batch, lhs free, rhs free."""
    lhs_free = [d for d in range(lhs.ndim) if d not in (*lhs_contracting, *lhs_batch)]
    rhs_free = [d for d in range(rhs.ndim) if d not in (*rhs_contracting, *rhs_batch)]
    batch = [lhs.shape[d] for d in lhs_batch]
    rows = [lhs.shape[d] for d in lhs_free]
    columns = [rhs.shape[d] for d in rhs_free]
    depth = math.prod(lhs.shape[d] for d in lhs_contracting)
    left = lhs.transpose(*lhs_batch, *lhs_free, *lhs_contracting)
    right = rhs.transpose(*rhs_batch, *rhs_contracting, *rhs_free)
    product: Array = np.matmul(
        left.reshape(*batch, math.prod(rows), depth),
        right.reshape(*batch, depth, math.prod(columns)),
    )
    return np.reshape(product, (*batch, *rows, *columns))
