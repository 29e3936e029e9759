"""Affine steps y = scale * x + shift with constant coefficients, in float64.

A coefficient is a float64 array of the value's rank, of size 1 along every dimension on which it
does not depend (so never a batch-dependent one); NumPy's broadcasting does the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import Broadcast, Transpose
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, known_value
from tfaot.ir.shapes import Dim
from tfaot.passes import build
from tfaot.passes.dims import reshape_groups

Coefficient = NDArray[np.float64]

FLOATS = frozenset({DType.F16, DType.BF16, DType.F32, DType.F64})

# Coefficients beyond this many elements are left to the kernels that apply them.
_MOST_ELEMENTS = 1 << 22

_MOVEMENTS = frozenset({"reshape", "transpose"})


@dataclass(frozen=True)
class Step:
    """y = scale * x + shift: the instruction that computes y, and x."""

    node: Instruction
    operand: Instruction
    scale: Coefficient
    shift: Coefficient

    @property
    def is_addition(self) -> bool:
        """Whether the scale is 1."""
        return bool(np.all(self.scale == 1.0))


def affine_step(node: Instruction) -> Step | None:
    """The affine step that `node` takes from its one operand that is not constant, if it is one."""
    if node.opcode not in STEPS or node.array.dtype not in FLOATS:
        return None
    one = np.ones((1,) * node.array.rank)
    zero = np.zeros((1,) * node.array.rank)
    if node.opcode == "negate":
        return Step(node, node.operands[0], -one, zero)
    a, b = node.operands
    left, right = coefficient(a), coefficient(b)
    if (left is None) == (right is None):
        return None
    if right is not None:
        match node.opcode:
            case "add":
                return Step(node, a, one, right)
            case "subtract":
                return Step(node, a, one, -right)
            case "multiply":
                return Step(node, a, right, zero)
            case _:
                return Step(node, a, 1.0 / right, zero) if bool(np.all(right != 0)) else None
    assert left is not None
    match node.opcode:
        case "add":
            return Step(node, b, one, left)
        case "subtract":
            return Step(node, b, -one, left)
        case "multiply":
            return Step(node, b, left, zero)
        case _:
            return None


STEPS = frozenset({"add", "subtract", "multiply", "divide", "negate"})


def coefficient(x: Instruction) -> Coefficient | None:
    """The coefficient that a constant, or a broadcast constant, stands for."""
    value = known_value(x.operands[0] if x.opcode == "broadcast" else x)
    if value is None or value.size > _MOST_ELEMENTS:
        return None
    if x.opcode != "broadcast":
        return squeeze(value.astype(np.float64))
    kept = x.attr(Broadcast).dimensions
    order = tuple(sorted(range(len(kept)), key=lambda i: kept[i]))
    shape = [1] * x.array.rank
    for position, dimension in enumerate(kept):
        shape[dimension] = value.shape[position]
    return squeeze(value.transpose(order).astype(np.float64).reshape(shape))


def squeeze(values: Coefficient) -> Coefficient:
    """`values` with size 1 along each dimension along which they are all equal."""
    for axis, size in enumerate(values.shape):
        if size > 1:
            first = np.take(values, [0], axis=axis)
            if bool(np.all(values == first)):
                values = first
    return values


def is_movement(node: Instruction) -> bool:
    """Whether `node` rearranges its operand's elements in a way that coefficients can follow."""
    return node.opcode in _MOVEMENTS


def push(values: Coefficient | None, node: Instruction) -> Coefficient | None:
    """Coefficient of a movement's operand as one of its result; None where it has none."""
    if values is None:
        return None
    if node.opcode == "transpose":
        return np.transpose(values, node.attr(Transpose).permutation)
    return _reshape(values, node.operands[0].array.dims, node.array.dims)


def pull(values: Coefficient | None, node: Instruction) -> Coefficient | None:
    """Coefficient of a movement's result as one of its operand; None where it has none."""
    if values is None:
        return None
    if node.opcode == "transpose":
        return np.transpose(values, build.inverse(node.attr(Transpose).permutation))
    return _reshape(values, node.array.dims, node.operands[0].array.dims)


def _reshape(
    values: Coefficient, before: tuple[Dim, ...], after: tuple[Dim, ...]
) -> Coefficient | None:
    wide, shape = list(values.shape), [1] * len(after)
    for group in reshape_groups(before, after):
        if all(values.shape[d] == 1 for d in group.inputs):
            continue
        for source, target, dims in (
            (group.inputs, wide, before),
            (group.outputs, shape, after),
        ):
            for d in source:
                size = dims[d]
                if not isinstance(size, int):
                    return None
                target[d] = size
    if math.prod(wide) > _MOST_ELEMENTS or math.prod(wide) != math.prod(shape):
        return None
    return squeeze(np.broadcast_to(values, wide).reshape(shape))


def replay(like: Instruction, x: Instruction, path: list[Instruction]) -> Instruction:
    """`x` moved as the instructions of `path` do, in order."""
    for node in path:
        if node.opcode == "transpose":
            x = build.transpose(node, x, node.attr(Transpose).permutation)
        else:
            x = build.reshape(node, x, node.array.dims)
    return x


def emit(like: Instruction, opcode: str, x: Instruction, values: Coefficient) -> Instruction:
    """`x` combined with a coefficient, which is rounded once to the type of `x`."""
    return build.binary(like, opcode, x, materialise(like, values, x))


def materialise(like: Instruction, values: Coefficient, x: Instruction) -> Instruction:
    """A coefficient as a constant broadcast to the shape of `x`."""
    values = squeeze(values)
    dtype = x.array.dtype
    kept = tuple(d for d, size in enumerate(values.shape) if size > 1)
    flat = round_to(values, dtype).reshape(tuple(values.shape[d] for d in kept))
    return build.broadcast(like, build.constant(like, flat, dtype), x.array.dims, kept)


def round_to(values: Coefficient, dtype: DType) -> NDArray[Any]:
    """`values` rounded to a float type; overflow gives infinities, which `is_safe` finds."""
    with np.errstate(over="ignore", under="ignore"):
        rounded: NDArray[Any] = values.astype(dtype.numpy)
    return rounded


def smallest_normal(dtype: DType) -> float:
    """The least positive normal number of a float type."""
    return {DType.F16: 2.0**-14, DType.F64: 2.0**-1022}.get(dtype, 2.0**-126)


def is_safe(values: Coefficient, dtype: DType) -> bool:
    """Whether rounding to `dtype` keeps the full relative precision of every element but 0."""
    magnitude = np.abs(round_to(values, dtype).astype(np.float64))
    fine = (magnitude >= smallest_normal(dtype)) & np.isfinite(magnitude)
    return bool(np.all(fine | (values == 0)))
