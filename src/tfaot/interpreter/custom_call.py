"""Calls of XLA's runtime: TopK and SliceToDynamic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, Rule, rule, unsupported
from tfaot.interpreter.sort import ascending_key
from tfaot.ir.attributes import Compare, CustomCall
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import TupleShape


@rule("custom-call")
def _custom_call(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    target = node.attr(CustomCall).target
    evaluate = _TARGETS.get(target)
    if evaluate is None:
        raise unsupported(node, f"calls '{target}', which has no evaluation rule")
    return evaluate(node, operands, ctx)


def _top_k(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    """The largest (or smallest) of the last dimension and where they are."""
    assert isinstance(node.shape, TupleShape), node
    values = node.shape.elements[0]
    assert not isinstance(values, TupleShape), node
    x = operands[0]
    count = ctx.dims(values)[-1]
    ascending = any(
        c.root.opcode == "compare" and _is_less(c) for c in node.attr(CustomCall).called
    )
    key = ascending_key(x.astype(node.operands[0].array.dtype.numpy, copy=False))
    order = np.argsort(key if ascending else ~key, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(x, order, -1), order.astype(np.int32)


def _is_less(comparator: Computation) -> bool:
    return comparator.root.attr(Compare).direction in ("LT", "LE")


def _slice_to_dynamic(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    """The array with zeros beyond its sizes."""
    x, *sizes = operands
    kept = tuple(slice(0, max(int(size), 0)) for size in sizes)
    result = np.zeros_like(x)
    result[kept] = x[kept]
    return result


_TARGETS: dict[str, Rule] = {"TopK": _top_k, "SliceToDynamic": _slice_to_dynamic}
