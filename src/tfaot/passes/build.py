"""Building blocks of rewrites: new instructions that inherit name and layer of an old one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import Attributes, Broadcast, Compare, Constant, Slice, Transpose
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, Module, Rewriter, map_called
from tfaot.ir.shapes import AnyShape, Dim, Shape


def make(
    like: Instruction,
    opcode: str,
    shape: AnyShape,
    operands: tuple[Instruction, ...] = (),
    attrs: Attributes = None,
) -> Instruction:
    """A new instruction with the name and metadata of `like`."""
    return Instruction(like.name, opcode, shape, operands, attrs, like.metadata)


def constant(like: Instruction, value: NDArray[Any], dtype: DType, origin: str = "") -> Instruction:
    """A constant of `value` in type `dtype` (already converted where rounding matters)."""
    array = np.array(value, dtype=dtype.numpy, order="C")
    array.setflags(write=False)
    return make(like, "constant", Shape(dtype, array.shape), attrs=Constant(array, origin))


def splat(like: Instruction, value: object, shape: Shape) -> Instruction:
    """`value` in every element of `shape`: a constant, broadcast unless `shape` is scalar."""
    scalar = constant(like, np.asarray(value, dtype=shape.dtype.numpy), shape.dtype)
    return broadcast(like, scalar, shape.dims, ()) if shape.dims else scalar


def reshape(like: Instruction, x: Instruction, dims: tuple[Dim, ...]) -> Instruction:
    """`x` with dimensions `dims`; `x` itself where they are its own."""
    if x.array.dims == dims:
        return x
    return make(like, "reshape", x.array.with_dims(dims), (x,))


def transpose(like: Instruction, x: Instruction, permutation: tuple[int, ...]) -> Instruction:
    """`x` transposed; `x` itself where the permutation is the identity."""
    if permutation == tuple(range(len(permutation))):
        return x
    shape = x.array.with_dims(tuple(x.array.dims[p] for p in permutation))
    return make(like, "transpose", shape, (x,), Transpose(permutation))


def broadcast(
    like: Instruction, x: Instruction, dims: tuple[Dim, ...], dimensions: tuple[int, ...]
) -> Instruction:
    """`x` broadcast to `dims`, its dimension i becoming `dimensions[i]`."""
    if x.array.dims == dims and dimensions == tuple(range(len(dims))):
        return x
    return make(like, "broadcast", x.array.with_dims(dims), (x,), Broadcast(dimensions))


def strided_slice(
    like: Instruction,
    x: Instruction,
    starts: tuple[Dim, ...],
    limits: tuple[Dim, ...],
    strides: tuple[int, ...],
    dims: tuple[Dim, ...],
) -> Instruction:
    """The slice of `x` whose result has dimensions `dims`."""
    return make(like, "slice", x.array.with_dims(dims), (x,), Slice(starts, limits, strides))


def unary(like: Instruction, opcode: str, x: Instruction) -> Instruction:
    """An elementwise op of one operand and the operand's type."""
    return make(like, opcode, x.shape, (x,))


def binary(like: Instruction, opcode: str, a: Instruction, b: Instruction) -> Instruction:
    """An elementwise op of two operands of one type, which is the result's."""
    return make(like, opcode, a.shape, (a, b))


def compare(
    like: Instruction, direction: str, order: str, a: Instruction, b: Instruction
) -> Instruction:
    """An elementwise comparison."""
    shape = a.array.with_dtype(DType.PRED)
    return make(like, "compare", shape, (a, b), Compare(direction, order))


def inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes `permutation`."""
    result = [0] * len(permutation)
    for position, source in enumerate(permutation):
        result[source] = position
    return tuple(result)


def rebuild(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction:
    """`old` on other operands; `old` itself where they are its own."""
    if all(a is b for a, b in zip(operands, old.operands, strict=True)):
        return old
    return replace(old, operands=operands)


def rewrite_module(module: Module, rewrite: Callable[[Computation], Computation]) -> Module:
    """`module` with `rewrite` applied to each computation, callees before callers.

    `rewrite` returns its argument where nothing changes; then so does this function.
    """
    done: dict[int, Computation] = {}

    def visit(computation: Computation) -> Computation:
        if id(computation) in done:
            return done[id(computation)]

        def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
            attrs = map_called(old.attrs, visit)
            return None if attrs is old.attrs else replace(old, operands=operands, attrs=attrs)

        stale = any(visit(c) is not c for i in computation.instructions for c in i.called)
        new = rewrite(Rewriter(change).run(computation) if stale else computation)
        done[id(computation)] = new
        return new

    entry = visit(module.entry)
    return module if entry is module.entry else replace(module, entry=entry)
