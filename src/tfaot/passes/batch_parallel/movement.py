"""Sources, elementwise ops and data movement."""

from __future__ import annotations

from dataclasses import replace

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
from tfaot.ir.shapes import BatchDim
from tfaot.passes.batch_parallel.analysis import Analyser
from tfaot.passes.batch_parallel.facts import (
    UNIFORM,
    Fact,
    MixedRowsError,
    RowLayout,
    batch_dimensions,
    common_layout,
    layout_of_copies,
    transfer,
    union,
)
from tfaot.passes.canonicalise.rules import scalar_of
from tfaot.passes.dims import reshape_groups
from tfaot.passes.opcodes import ELEMENTWISE

Facts = tuple[Fact, ...]


@transfer("constant")
def constant(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Constants have static shapes."""
    return UNIFORM


@transfer("iota")
def iota(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Counting along the rows gives each its position; along another dimension, equal rows."""
    layout = layout_of_copies(node)
    if layout is None or layout.dimension != node.attr(Iota).dimension:
        return Fact(layout)
    return Fact(layout, position=node, index=layout.rows_per_row)


@transfer("get-dimension-size")
def dimension_size(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The size of a batch-dependent dimension depends on the batch size."""
    dim = node.operands[0].array.dims[node.attr(GetDimensionSize).dimension]
    return Fact(size=node) if isinstance(dim, BatchDim) else UNIFORM


@transfer(*sorted(ELEMENTWISE | {"map"}))
def elementwise(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Rows stay where they are; scalar operands (clamp's bounds) count for every element."""
    layout = common_layout(node, facts)
    result = union(facts, layout)
    if node.opcode == "convert" and node.array.dtype.is_integer:
        return replace(result, index=facts[0].index)
    if node.opcode in ("divide", "multiply") and node.array.dtype.is_integer and facts[0].index:
        factor = scalar_of(node.operands[1])
        if factor is not None and int(factor) > 0:
            return replace(result, index=_scaled(facts[0].index, node.opcode, int(factor)))
    return result


def _scaled(index: int, opcode: str, factor: int) -> int:
    """The row index after a product with, or a quotient by, a positive constant."""
    if opcode == "multiply":
        return index * factor
    return 0 if index % factor else index // factor


@transfer("copy", "bitcast")
def copy(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """A copy; a bitcast that changes the shape is a reshape."""
    if node.array.dims == node.operands[0].array.dims:
        return facts[0]
    return _reshaped(node, facts[0])


@transfer("reshape")
def reshape(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Splitting and merging keep rows together where nothing but units goes before them."""
    return _reshaped(node, facts[0])


def _reshaped(node: Instruction, fact: Fact) -> Fact:
    if fact.layout is None:
        return fact
    before, after = node.operands[0].array.dims, node.array.dims
    for group in reshape_groups(before, after):
        if fact.layout.dimension not in group.inputs:
            continue
        outer = before[group.inputs.start : fact.layout.dimension]
        found = [d for d in group.outputs if d in batch_dimensions(node.array)]
        if any(d != 1 for d in outer) or len(found) != 1:
            break
        dimension, dim = found[0], after[found[0]]
        assert isinstance(dim, BatchDim)
        if any(d != 1 for d in after[group.outputs.start : dimension]) or dim.offset:
            break
        layout = RowLayout(dimension, dim.scale)
        return fact.at(layout)
    raise MixedRowsError(
        node, f"from {node.operands[0].shape} interleaves the elements of different batch rows"
    )


@transfer("transpose")
def transpose(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The rows' dimension moves."""
    (fact,) = facts
    if fact.layout is None:
        return fact
    place = node.attr(Transpose).permutation.index(fact.layout.dimension)
    layout = RowLayout(place, fact.layout.rows_per_row)
    return fact.at(layout)


@transfer("broadcast")
def broadcast(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Rows are copied along other dimensions; a value without rows becomes equal rows."""
    (fact,) = facts
    if fact.layout is None:
        return fact.at(layout_of_copies(node))
    place = node.attr(Broadcast).dimensions[fact.layout.dimension]
    if batch_dimensions(node.array) != (place,):
        raise MixedRowsError(node, "pairs every batch row with every other")
    layout = RowLayout(place, fact.layout.rows_per_row)
    return fact.at(layout)


@transfer("slice")
def strided_slice(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The rows' dimension is taken whole."""
    (fact,) = facts
    if fact.layout is None:
        return fact
    d, attrs = fact.layout.dimension, node.attr(Slice)
    whole = attrs.starts[d] == 0 and attrs.strides[d] == 1
    if not whole or attrs.limits[d] != node.operands[0].array.dims[d]:
        raise MixedRowsError(node, "takes part of the batch")
    return fact


@transfer("pad")
def pad(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Padding leaves the rows' dimension alone."""
    fact, value = facts
    if fact.layout is None:
        return union(facts, None)
    d, attrs = fact.layout.dimension, node.attr(Pad)
    if attrs.low[d] != 0 or attrs.high[d] != 0 or attrs.interior[d]:
        raise MixedRowsError(node, "pads the batch")
    return union((fact, value), fact.layout)


@transfer("reverse")
def reverse(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Reversal leaves the rows' dimension alone."""
    (fact,) = facts
    if fact.layout is not None and fact.layout.dimension in node.attr(Reverse).dimensions:
        raise MixedRowsError(node, "reverses the order of the batch")
    return fact


@transfer("concatenate")
def concatenate(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Arrays are joined along another dimension than the rows'."""
    layout = common_layout(node, facts)
    if layout is not None and layout.dimension == node.attr(Concatenate).dimension:
        raise MixedRowsError(node, "joins arrays along the batch")
    return union(facts, layout)
