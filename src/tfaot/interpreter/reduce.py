"""reduce and map: any reducer over any axes, several operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.conversion import convert
from tfaot.ir.attributes import Parameter, Reduce
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction


@dataclass(frozen=True)
class Reducer:
    """A reducer known by name: its ufunc, and the value that changes nothing."""

    opcode: str
    ufunc: np.ufunc
    identity: Callable[[np.dtype[Any]], Any]


def _lowest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return False
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _highest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "b":
        return True
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max


_REDUCERS = {
    r.opcode: r
    for r in (
        Reducer("add", np.add, lambda dtype: 0),
        Reducer("multiply", np.multiply, lambda dtype: 1),
        Reducer("maximum", np.maximum, _lowest),
        Reducer("minimum", np.minimum, _highest),
        Reducer("and", np.bitwise_and, lambda dtype: np.array(-1).astype(dtype)[()]),
        Reducer("or", np.bitwise_or, lambda dtype: 0),
        Reducer("xor", np.bitwise_xor, lambda dtype: 0),
    )
}
_PRED_REDUCERS = {"add": "or", "multiply": "and"}


def recognise(computation: Computation) -> Reducer | None:
    """The reducer that `computation` is, where it is one op on its two parameters."""
    root = computation.root
    if root.opcode not in _REDUCERS or len(root.operands) != 2:
        return None
    if any(o.opcode != "parameter" for o in root.operands):
        return None
    if sorted(o.attr(Parameter).number for o in root.operands) != [0, 1]:
        return None
    if root.array.dtype.bits == 4:
        return None
    if root.array.dtype is DType.PRED:
        return _REDUCERS[_PRED_REDUCERS.get(root.opcode, root.opcode)]
    return _REDUCERS[root.opcode]


@rule("reduce")
def _reduce(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    attrs = node.attr(Reduce)
    count = len(operands) // 2
    types = [o.array.dtype for o in node.operands]
    # The initial value's type is that of the result; it may be wider than the operand's.
    arrays = [
        convert(v, source, target, ctx)
        for v, source, target in zip(operands[:count], types[:count], types[count:], strict=True)
    ]
    known = recognise(attrs.to_apply)
    if known is None:
        results = _reduce_general(arrays, operands[count:], attrs.dimensions, attrs.to_apply, ctx)
        return results if count > 1 else results[0]
    dtype = types[1]
    wide = ctx.widen(arrays[0], dtype)
    reduced = known.ufunc.reduce(
        wide,
        axis=tuple(attrs.dimensions),
        dtype=wide.dtype,
        initial=known.identity(wide.dtype),
    )
    return ctx.narrow(known.ufunc(reduced, ctx.widen(operands[1], dtype)), dtype)


def _reduce_general(
    arrays: Sequence[Array],
    inits: Sequence[Array],
    axes: Sequence[int],
    reducer: Computation,
    ctx: Context,
) -> tuple[Array, ...]:
    """Halves the reduced length by combining neighbours, then combines with the initial values.

    The specification leaves the order open; neighbours keep an associative reducer's meaning even
    where it is not commutative.
    """
    kept = [d for d in range(arrays[0].ndim) if d not in axes]
    shape = tuple(arrays[0].shape[d] for d in kept)
    length = math.prod(arrays[0].shape[d] for d in axes)
    rows = tuple(a.transpose(*axes, *kept).reshape(length, *shape) for a in arrays)
    if length == 0:
        return tuple(np.broadcast_to(i, shape) for i in inits)
    while length > 1:
        even = length // 2 * 2
        combined = ctx.lanes(reducer, [*(r[0:even:2] for r in rows), *(r[1:even:2] for r in rows)])
        if even < length:
            combined = tuple(
                np.concatenate([c, r[even:]]) for c, r in zip(combined, rows, strict=True)
            )
        rows, length = combined, length - even // 2
    return ctx.lanes(reducer, [*inits, *(r[0] for r in rows)])


@rule("map")
def _map(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return ctx.lanes(node.called[0], operands)[0]
