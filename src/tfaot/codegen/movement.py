"""Ops that only move data: each asks its operand at other indices, and copies nothing.

Source: HLO specification, "Broadcast", "Reshape", "Transpose", "Slice", "Pad", ...
"""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.expression import Expression, rule
from tfaot.codegen.index import Affine, Index, Lanes, as_value
from tfaot.codegen.types import register_element
from tfaot.ir.attributes import (
    Broadcast,
    Concatenate,
    GetDimensionSize,
    Iota,
    Pad,
    Reverse,
    Slice,
    Transpose,
)
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.passes.dims import reshape_groups


@rule("broadcast")
def _broadcast(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dimensions = instruction.attr(Broadcast).dimensions
    return e.value(instruction.operands[0], tuple(indices[d] for d in dimensions))


@rule("reshape")
def _reshape(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    (operand,) = instruction.operands
    before, after = operand.array.dims, instruction.array.dims
    source: list[Index] = []
    # Runs of dimensions that correspond are mapped apart, so that the others keep their indices.
    for group in reshape_groups(before, after):
        taken, given = slice_of(group.outputs), slice_of(group.inputs)
        position = e.index.join(after[taken], indices[taken])
        source.extend(e.index.split(position, before[given]))
    return e.value(operand, source)


def slice_of(dims: range) -> slice:
    """The slice that takes a run of dimensions."""
    return slice(dims.start, dims.stop)


@rule("transpose")
def _transpose(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    permutation = instruction.attr(Transpose).permutation
    source: list[Index] = [Affine(0)] * len(permutation)
    for out, dim in enumerate(permutation):
        source[dim] = indices[out]
    return e.value(instruction.operands[0], source)


@rule("slice")
def _slice(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    attrs = instruction.attr(Slice)
    source = [
        e.index.shift(e.index.scale(index, stride), start)
        for index, start, stride in zip(indices, attrs.starts, attrs.strides, strict=True)
    ]
    return e.value(instruction.operands[0], source)


@rule("reverse")
def _reverse(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    reversed_dims = instruction.attr(Reverse).dimensions
    source = [
        e.index.shift(e.index.scale(index, -1), dim - 1) if d in reversed_dims else index
        for d, (index, dim) in enumerate(zip(indices, instruction.array.dims, strict=True))
    ]
    return e.value(instruction.operands[0], source)


@rule("iota")
def _iota(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dtype = instruction.array.dtype
    position = e.index.position(indices[instruction.attr(Iota).dimension])
    v = e.vector
    element = register_element(dtype)
    if isinstance(element, ir.IntType):
        return v.wrap_to(v.int_to_int(position, element), dtype)
    return v.round_to(v.int_to_float(position, element), dtype)


def within(e: Expression, index: Index, size: Dim) -> tuple[Index, ir.Value]:
    """`index` moved into [0, size), and whether it was there (i1, per lane)."""
    limit = e.index.size(size)
    index = e.index.evaluate(index)
    v = e.vector
    if isinstance(index, Affine) and index.stride == 0:
        base = as_value(index.base)
        inside = v.ir.icmp_unsigned("<", base, as_value(limit))
        return Affine(v.ir.select(inside, base, as_value(0))), inside
    values = e.index.lane_values(index)
    inside = v.ir.icmp_unsigned("<", values, e.index.splat(limit))
    return Lanes(v.ir.select(inside, values, e.index.splat(0))), inside


@rule("concatenate")
def _concatenate(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dimension = instruction.attr(Concatenate).dimension
    start: Dim = 0
    result: ir.Value | None = None
    for operand in instruction.operands:
        size = operand.array.dims[dimension]
        if size == 0:
            continue
        inside_index, inside = within(e, e.index.shift(indices[dimension], -start), size)
        source = (*indices[:dimension], inside_index, *indices[dimension + 1 :])
        value = e.value(operand, source)
        if result is None:
            result = value
        else:
            inside, value, result = e.alike(inside, value, result)
            result = e.vector.select(inside, value, result)
        start = start + size
    assert result is not None, "an empty concatenation has no elements to emit"
    return result


@rule("pad")
def _pad(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    operand, filler = instruction.operands
    attrs = instruction.attr(Pad)
    fill = e.value(filler, ())
    inside: ir.Value | None = None
    source: list[Index] = []
    for d, size in enumerate(operand.array.dims):
        if size == 0:
            return fill
        low, high, interior = attrs.low[d], attrs.high[d], attrs.interior[d]
        index = indices[d]
        if low == 0 and high == 0 and interior == 0:
            source.append(index)
            continue
        index, exact = e.index.floor_divide(e.index.shift(index, -low), interior + 1)
        index, here = within(e, index, size)
        for condition in (here, exact):
            if condition is None:
                continue
            if inside is None:
                inside = condition
            else:
                inside, condition = e.alike(inside, condition)
                inside = e.vector.and_(inside, condition)
        source.append(index)
    value = e.value(operand, source)
    if inside is None:
        return value
    inside, value, fill = e.alike(inside, value, fill)
    return e.vector.select(inside, value, fill)


@rule("get-dimension-size")
def _get_dimension_size(
    e: Expression, instruction: Instruction, indices: tuple[Index, ...]
) -> ir.Value:
    dim = instruction.operands[0].array.dims[instruction.attr(GetDimensionSize).dimension]
    size = as_value(e.index.size(dim))
    return e.vector.ir.trunc(size, ir.IntType(32))
