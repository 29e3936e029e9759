"""Reshape, transpose, broadcast, slice, concatenate, pad, reverse, convert and copies."""

from __future__ import annotations

from tfaot.ir.attributes import (
    Broadcast,
    Concatenate,
    DynamicSlice,
    Pad,
    Reverse,
    Slice,
    Transpose,
)
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import literal, rule, scalar_of
from tfaot.passes.dims import only_units_differ, reshape_groups, same_size, squeezed


@rule("copy", "opt-barrier", "bitcast")
def drop_copy(node: Instruction) -> Instruction | None:
    """A copy is its operand (bitcasts that change type or shape are normalised by the importer)."""
    return node.operands[0] if node.operands[0].shape == node.shape else None


@rule("reshape")
def merge_reshape(node: Instruction) -> Instruction | None:
    """Identity, or reshape of a reshape."""
    x = node.operands[0]
    if x.shape == node.shape:
        return x
    if x.opcode == "reshape":
        return build.reshape(node, x.operands[0], node.array.dims)
    return None


@rule("reshape")
def reshape_of_broadcast(node: Instruction) -> Instruction | None:
    """Reshape of a broadcast, where each run of dimensions is either all copied or all kept."""
    inner = node.operands[0]
    if inner.opcode != "broadcast":
        return None
    source = inner.operands[0]
    kept = inner.attr(Broadcast).dimensions
    if list(kept) != sorted(kept):
        return None
    operand_dims: list[Dim] = []
    dimensions: list[int] = []
    for group in reshape_groups(inner.array.dims, node.array.dims):
        inside = [d for d in group.inputs if d in kept]
        wide = [d for d in group.inputs if inner.array.dims[d] != 1]
        if not any(d in kept for d in wide):
            continue
        if any(d not in kept for d in wide):
            return None
        assert inside
        for d in group.outputs:
            if node.array.dims[d] != 1:
                operand_dims.append(node.array.dims[d])
                dimensions.append(d)
    if not same_size(tuple(operand_dims), source.array.dims):
        return None
    operand = build.reshape(node, source, tuple(operand_dims))
    return build.broadcast(node, operand, node.array.dims, tuple(dimensions))


@rule("transpose")
def merge_transpose(node: Instruction) -> Instruction | None:
    """Identity, transpose of a transpose, and transposes that only move units (a reshape)."""
    x = node.operands[0]
    permutation = node.attr(Transpose).permutation
    if permutation == tuple(range(len(permutation))):
        return x
    if x.opcode == "transpose":
        inner = x.attr(Transpose).permutation
        return build.transpose(node, x.operands[0], tuple(inner[p] for p in permutation))
    moved = [p for p in permutation if x.array.dims[p] != 1]
    if moved == sorted(moved):
        return build.reshape(node, x, node.array.dims)
    return None


@rule("transpose")
def transpose_of_broadcast(node: Instruction) -> Instruction | None:
    """Broadcast to the transposed dimensions."""
    x = node.operands[0]
    if x.opcode != "broadcast":
        return None
    place = build.inverse(node.attr(Transpose).permutation)
    dimensions = tuple(place[d] for d in x.attr(Broadcast).dimensions)
    return build.broadcast(node, x.operands[0], node.array.dims, dimensions)


@rule("broadcast")
def merge_broadcast(node: Instruction) -> Instruction | None:
    """Identity, broadcast of a broadcast, and broadcasts that copy nothing (a reshape)."""
    x = node.operands[0]
    dimensions = node.attr(Broadcast).dimensions
    if x.opcode == "broadcast":
        inner = x.attr(Broadcast).dimensions
        through = tuple(dimensions[d] for d in inner)
        return build.broadcast(node, x.operands[0], node.array.dims, through)
    if list(dimensions) != sorted(dimensions):
        order = tuple(sorted(range(len(dimensions)), key=lambda i: dimensions[i]))
        moved = build.transpose(node, x, order)
        return build.broadcast(node, moved, node.array.dims, tuple(sorted(dimensions)))
    if only_units_differ(x.array.dims, node.array.dims):
        return build.reshape(node, x, node.array.dims)
    return None


@rule("broadcast")
def broadcast_without_units(node: Instruction) -> Instruction | None:
    """Broadcast operands carry no dimension of size 1."""
    x = node.operands[0]
    if 1 not in x.array.dims:
        return None
    kept = [i for i, d in enumerate(x.array.dims) if d != 1]
    dimensions = node.attr(Broadcast).dimensions
    operand = build.reshape(node, x, squeezed(x.array.dims))
    return build.broadcast(node, operand, node.array.dims, tuple(dimensions[i] for i in kept))


@rule("broadcast")
def broadcast_of_equal_elements(node: Instruction) -> Instruction | None:
    """A broadcast constant whose elements are all equal is the broadcast of a scalar."""
    x = node.operands[0]
    value = scalar_of(x)
    if value is None or x.array.rank == 0:
        return None
    return build.splat(node, value, node.array)


@rule("slice")
def merge_slice(node: Instruction) -> Instruction | None:
    """Identity, and slice of a slice."""
    x = node.operands[0]
    if x.shape == node.shape:
        return x
    if x.opcode != "slice":
        return None
    outer, inner = node.attr(Slice), x.attr(Slice)
    rank = range(node.array.rank)
    # Where nothing is taken, steps of the inner slice could lead out of the array.
    starts = tuple(
        inner.starts[d] + (outer.starts[d] * inner.strides[d] if node.array.dims[d] != 0 else 0)
        for d in rank
    )
    strides = tuple(inner.strides[d] * outer.strides[d] for d in rank)
    if all(s == 1 for s in inner.strides):
        limits = tuple(
            inner.starts[d] + outer.limits[d] if node.array.dims[d] != 0 else starts[d]
            for d in rank
        )
    else:
        if not node.array.is_static:
            return None
        # One past the last element taken: any limit up to the next stride would do.
        sizes = node.array.dims
        limits = tuple(
            starts[d] + (sizes[d] + -1) * strides[d] + 1 if sizes[d] else starts[d] for d in rank
        )
    return build.strided_slice(node, x.operands[0], starts, limits, strides, node.array.dims)


@rule("slice")
def slice_of_broadcast(node: Instruction) -> Instruction | None:
    """A slice of copies is fewer copies."""
    x = node.operands[0]
    if x.opcode != "broadcast":
        return None
    kept = x.attr(Broadcast).dimensions
    if any(x.array.dims[d] != node.array.dims[d] for d in kept):
        return None
    return build.broadcast(node, x.operands[0], node.array.dims, kept)


@rule("slice")
def slice_of_concatenate(node: Instruction) -> Instruction | None:
    """A slice that lies within one of the joined arrays is a slice of that array."""
    x = node.operands[0]
    if x.opcode != "concatenate":
        return None
    along = x.attr(Concatenate).dimension
    attrs = node.attr(Slice)
    start, limit = attrs.starts[along], attrs.limits[along]
    if not isinstance(start, int) or not isinstance(limit, int) or start >= limit:
        return None
    offset = 0
    for piece in x.operands:
        size = piece.array.dims[along]
        if not isinstance(size, int):
            return None
        if offset <= start and limit <= offset + size:
            starts = (*attrs.starts[:along], start - offset, *attrs.starts[along + 1 :])
            limits = (*attrs.limits[:along], limit - offset, *attrs.limits[along + 1 :])
            return build.strided_slice(node, piece, starts, limits, attrs.strides, node.array.dims)
        offset += size
    return None


@rule("dynamic-slice")
def dynamic_slice_at_constant(node: Instruction) -> Instruction | None:
    """Constant start indices, clamped as the specification says, make a slice."""
    x, *indices = node.operands
    sizes = node.attr(DynamicSlice).sizes
    starts: list[int] = []
    for index, size, dim in zip(indices, sizes, x.array.dims, strict=True):
        value = literal(index)
        room = dim - size
        if room == 0:
            starts.append(0)
        elif value is None or not isinstance(room, int):
            return None
        else:
            starts.append(min(max(int(value), 0), room))
    limits = tuple(size + start for start, size in zip(starts, sizes, strict=True))
    strides = (1,) * len(starts)
    return build.strided_slice(node, x, tuple(starts), limits, strides, node.array.dims)


@rule("concatenate")
def merge_concatenate(node: Instruction) -> Instruction | None:
    """Concatenation of one array, of concatenations along the same dimension, of empty arrays."""
    along = node.attr(Concatenate).dimension
    if len(node.operands) == 1:
        return node.operands[0]
    pieces: list[Instruction] = []
    for x in node.operands:
        if x.opcode == "concatenate" and x.attr(Concatenate).dimension == along:
            pieces.extend(x.operands)
        elif x.array.dims[along] != 0:
            pieces.append(x)
    if len(pieces) == len(node.operands) and all(
        a is b for a, b in zip(pieces, node.operands, strict=True)
    ):
        return None
    if not pieces:
        return node.operands[0]
    return build.make(node, "concatenate", node.shape, tuple(pieces), node.attrs)


@rule("concatenate")
def concatenate_of_slices(node: Instruction) -> Instruction | None:
    """Neighbouring slices of one array, joined again, are one slice."""
    along = node.attr(Concatenate).dimension
    first, *rest = node.operands
    if first.opcode != "slice" or any(s != 1 for s in first.attr(Slice).strides):
        return None
    source, attrs = first.operands[0], first.attr(Slice)
    limit = attrs.limits[along]
    for x in rest:
        if x.opcode != "slice" or x.operands[0] is not source:
            return None
        other = x.attr(Slice)
        same = all(
            other.starts[d] == attrs.starts[d] and other.limits[d] == attrs.limits[d]
            for d in range(node.array.rank)
            if d != along
        )
        if not same or other.starts[along] != limit or any(s != 1 for s in other.strides):
            return None
        limit = other.limits[along]
    limits = (*attrs.limits[:along], limit, *attrs.limits[along + 1 :])
    return build.strided_slice(node, source, attrs.starts, limits, attrs.strides, node.array.dims)


@rule("pad")
def simplify_pad(node: Instruction) -> Instruction | None:
    """Padding by nothing is the operand; padding that only crops is a slice."""
    x, _ = node.operands
    attrs = node.attr(Pad)
    if any(attrs.interior):
        return None
    edges = attrs.low + attrs.high
    if all(e == 0 for e in edges):
        return x
    if any(not isinstance(e, int) or e > 0 for e in edges) or 0 in node.array.dims:
        return None
    starts = tuple(-low for low in attrs.low)
    limits = tuple(d + high for d, high in zip(x.array.dims, attrs.high, strict=True))
    strides = (1,) * len(starts)
    return build.strided_slice(node, x, starts, limits, strides, node.array.dims)


@rule("reverse")
def simplify_reverse(node: Instruction) -> Instruction | None:
    """Reversal along units is none; reversing twice undoes."""
    x = node.operands[0]
    wanted = node.attr(Reverse).dimensions
    if x.opcode == "reverse":
        inner = x.attr(Reverse).dimensions
        left = tuple(sorted(set(wanted) ^ set(inner)))
        return build.make(node, "reverse", node.shape, x.operands, Reverse(left))
    left = tuple(d for d in wanted if x.array.dims[d] != 1)
    if not left:
        return x
    if len(left) < len(wanted):
        return build.make(node, "reverse", node.shape, (x,), Reverse(left))
    return None


@rule("convert")
def merge_convert(node: Instruction) -> Instruction | None:
    """Conversion to the same type, and conversion after one that loses nothing."""
    x = node.operands[0]
    if x.shape == node.shape:
        return x
    if x.opcode != "convert":
        return None
    source = x.operands[0]
    if not widens(source.array.dtype, x.array.dtype):
        return None
    if source.shape == node.shape:
        return source
    return build.make(node, "convert", node.shape, (source,))


@rule("bitcast-convert")
def merge_bitcast_convert(node: Instruction) -> Instruction | None:
    """Reinterpretation as the same type, or twice at the same width."""
    x = node.operands[0]
    if x.shape == node.shape:
        return x
    if x.opcode == "bitcast-convert":
        return build.make(node, "bitcast-convert", node.shape, x.operands)
    return None


# Precision (with the hidden bit) and least and greatest binary exponent of each float type.
_FLOATS: dict[DType, tuple[int, int, int]] = {
    DType.F8E4M3FN: (4, -9, 8),
    DType.F8E5M2: (3, -16, 15),
    DType.BF16: (8, -133, 127),
    DType.F16: (11, -24, 15),
    DType.F32: (24, -149, 127),
    DType.F64: (53, -1074, 1023),
}


def widens(narrow: DType, wide: DType) -> bool:
    """Whether conversion keeps every value, and a conversion after it sees no difference.

    Integers count among integers alone: as floats they would convert back by saturating, not by
    wrapping.
    """
    if narrow is DType.PRED:
        return wide is not DType.PRED
    if narrow in _FLOATS and wide in _FLOATS:
        a, b = _FLOATS[narrow], _FLOATS[wide]
        has_infinity = DType.F8E4M3FN not in (narrow, wide)
        return has_infinity and a[0] <= b[0] and a[1] >= b[1] and a[2] <= b[2]
    if narrow.is_integer and wide.is_integer:
        if narrow.is_signed:
            return wide.is_signed and wide.bits >= narrow.bits
        return wide.bits >= narrow.bits + (1 if wide.is_signed else 0)
    return False
