"""Comparison and choice: compare (total order too), select, clamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.ir.attributes import Compare
from tfaot.ir.module import Instruction

_DIRECTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "GE": np.greater_equal,
    "GT": np.greater,
    "LE": np.less_equal,
    "LT": np.less,
}


def total_order_key(x: Array) -> Array:
    """Integers that order as IEEE 754's total order: -NaN < -inf < ... < -0 < +0 < ... < NaN."""
    bits = np.ascontiguousarray(x).reshape(x.shape).view(np.dtype(f"i{x.dtype.itemsize}"))
    return np.where(bits < 0, bits ^ np.array(np.iinfo(bits.dtype).max, bits.dtype), bits)


@rule("compare", scalar_map=True)
def _compare(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs = node.attr(Compare)
    dtype = node.operands[0].array.dtype
    x, y = (ctx.widen(v, dtype) for v in operands)
    if attrs.order == "TOTALORDER" and dtype.is_float:
        x, y = total_order_key(x), total_order_key(y)
    return np.asarray(_DIRECTIONS[attrs.direction](x, y))


@rule("select", scalar_map=True)
def _select(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    chosen, on_true, on_false = operands
    return np.where(chosen, on_true, on_false)


@rule("clamp", scalar_map=True)
def _clamp(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    dtype = node.array.dtype
    low, x, high = (ctx.widen(v, dtype) for v in operands)
    return ctx.narrow(np.minimum(np.maximum(x, low), high), dtype)
