"""sort with any comparator and any number of operands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfaot.interpreter.comparison import total_order_key
from tfaot.interpreter.context import Array, Context, rule
from tfaot.ir.attributes import Compare, Parameter, Sort
from tfaot.ir.module import Computation, Instruction


@rule("sort")
def _sort(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    attrs = node.attr(Sort)
    rows = [np.moveaxis(x, attrs.dimension, -1) for x in operands]
    order = _order_by_key(rows, attrs.to_apply)
    if order is None:
        order = _merge_sort(rows, attrs.to_apply, ctx)
    results = tuple(
        np.moveaxis(np.take_along_axis(r, order, -1), -1, attrs.dimension) for r in rows
    )
    return results if len(results) > 1 else results[0]


def ascending_key(x: Array) -> Array:
    """Integers in the order of `x`; floats in total order."""
    if x.dtype.kind == "b":
        return x.astype(np.uint8)
    return x if x.dtype.kind in "iu" else total_order_key(x)


def _order_by_key(rows: Sequence[Array], comparator: Computation) -> Array | None:
    """The stable order, where the comparator compares one operand's two elements; else None."""
    root = comparator.root
    if root.opcode != "compare" or any(o.opcode != "parameter" for o in root.operands):
        return None
    first, second = (o.attr(Parameter).number for o in root.operands)
    attrs = root.attr(Compare)
    if second != first + 1 or first % 2 or attrs.direction not in ("LT", "GT"):
        return None
    x = rows[first // 2]
    if x.dtype.kind not in "biuf":
        return None
    if x.dtype.kind == "f" and attrs.order != "TOTALORDER":
        if np.isnan(x).any():
            return None
        # Both zeros are equal here: adding +0 leaves only one of them.
        x = x + x.dtype.type(0)
    key = ascending_key(x)
    # The complement turns the order round and keeps ties in place.
    return np.argsort(~key if attrs.direction == "GT" else key, axis=-1, kind="stable")


def _merge_sort(rows: Sequence[Array], comparator: Computation, ctx: Context) -> Array:
    """The stable order of the last axis under any comparator.

    Bottom-up merging in which every element finds its place by bisection in the block that its own
    is merged with, all elements at once.
    """
    length = rows[0].shape[-1]
    order = np.broadcast_to(np.arange(length), rows[0].shape)
    place = np.arange(length)
    width = 1
    while width < length:
        current = [np.take_along_axis(r, order, -1) for r in rows]
        start = place // (2 * width) * (2 * width)
        left = place - start < width
        partner = np.minimum(np.where(left, start + width, start), length)
        stop = np.where(left, np.minimum(start + 2 * width, length), start + width)
        low, high = (np.broadcast_to(v, order.shape) for v in (partner, stop))
        while (low < high).any():
            middle = np.minimum((low + high) // 2, length - 1)
            arguments: list[Array] = []
            for own in current:
                other = np.take_along_axis(own, middle, -1)
                # An element of the left block comes before its equals in the right one.
                arguments += [np.where(left, other, own), np.where(left, own, other)]
            before = ctx.lanes(comparator, arguments)[0] == left
            active = low < high
            low = np.where(active & before, middle + 1, low)
            high = np.where(active & ~before, middle, high)
        target = place - np.where(left, 0, width) + low - partner
        # Targets collide where the comparator is no order (NaN): sorted, they still lose nothing.
        merged = np.take_along_axis(order, np.argsort(target, axis=-1, kind="stable"), -1)
        order, width = merged, 2 * width
    return order
