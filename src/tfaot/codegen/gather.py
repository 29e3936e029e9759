"""Gather and dynamic slices: indices that are themselves data.

Start indices are clamped so that the whole slice lies inside the operand, as HLO says; no memory
outside of it is ever read. Source: HLO specification, "Gather", "DynamicSlice".
"""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.expression import Expression, rule
from tfaot.codegen.index import Affine, Index, Lanes, Number, as_value
from tfaot.codegen.types import I64, bit_width, lane_count
from tfaot.ir.attributes import Gather
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim


def start_index(e: Expression, value: ir.Value, *, signed: bool, limit: Dim) -> Affine | Lanes:
    """An index operand's value as an index clamped to [0, limit]."""
    v = e.vector
    if bit_width(value.type) < 64:
        value = v.int_to_int(value, I64, signed=signed)
    most: Number = e.index.size(limit)
    if lane_count(value.type) is None:
        low: ir.Value = as_value(0)
        high: ir.Value = as_value(most)
    else:
        low, high = e.index.splat(0), e.index.splat(most)
    if not signed:
        value = v.min(value, high, signed=False)
    clamped = v.min(v.max(value, low), high)
    return Affine(clamped) if lane_count(clamped.type) is None else Lanes(clamped)


@rule("gather")
def _gather(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    operand, starts = instruction.operands
    attrs = instruction.attr(Gather)
    batch = [i for i in range(instruction.array.rank) if i not in attrs.offset_dims]
    batch_index = [indices[d] for d in batch]
    signed = starts.array.dtype.is_signed

    def starts_at(component: int | None) -> tuple[Index, ...]:
        place = list(batch_index)
        if component is not None:
            place.insert(attrs.index_vector_dim, Affine(component))
        return tuple(place)

    has_vector = attrs.index_vector_dim < starts.array.rank
    start_of: dict[int, Index] = {}
    for component, dim in enumerate(attrs.start_index_map):
        value = e.value(starts, starts_at(component if has_vector else None))
        limit = operand.array.dims[dim] - attrs.slice_sizes[dim]
        start_of[dim] = start_index(e, value, signed=signed, limit=limit)
    for dim, start_dim in zip(
        attrs.operand_batching_dims, attrs.start_indices_batching_dims, strict=True
    ):
        position = start_dim - (has_vector and start_dim > attrs.index_vector_dim)
        start_of[dim] = batch_index[position]
    hidden = (*attrs.collapsed_slice_dims, *attrs.operand_batching_dims)
    kept = [d for d in range(operand.array.rank) if d not in hidden]
    offset_of = dict(zip(kept, (indices[d] for d in attrs.offset_dims), strict=True))
    source: list[Index] = []
    for dim in range(operand.array.rank):
        start, offset = start_of.get(dim), offset_of.get(dim)
        if start is None or offset is None:
            source.append(start or offset or Affine(0))
        else:
            source.append(e.index.sum(start, offset))
    return e.value(operand, source)


@rule("dynamic-slice")
def _dynamic_slice(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    operand, *starts = instruction.operands
    source: list[Index] = []
    for d, index in enumerate(indices):
        limit = operand.array.dims[d] - instruction.array.dims[d]
        signed = starts[d].array.dtype.is_signed
        start = start_index(e, e.value(starts[d], ()), signed=signed, limit=limit)
        source.append(e.index.sum(start, index))
    return e.value(operand, source)
