"""Shape rules of ops that move data without computing."""

from __future__ import annotations

from tfaot.ir.attributes import (
    Broadcast,
    Concatenate,
    GetDimensionSize,
    Pad,
    Reverse,
    Slice,
    Transpose,
)
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import Query, at_least, polynomial, rule
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape


@rule("broadcast")
def _broadcast(query: Query) -> AnyShape:
    operand, result = query.array(0), query.declared_array
    dims = query.attr(Broadcast).dimensions
    query.require(len(dims) == operand.rank, "needs one dimension per operand dimension")
    query.distinct("dimensions", dims, result.rank)
    query.require(operand.dtype is result.dtype, "the element type must stay")
    fits = all(result.dims[d] == n for d, n in zip(dims, operand.dims, strict=True))
    query.require(fits, "operand dimensions must reappear in the result")
    return result


@rule("reshape")
def _reshape(query: Query) -> AnyShape:
    operand, result = query.array(0), query.declared_array
    query.require(operand.dtype is result.dtype, "the element type must stay")
    equal = polynomial(operand.dims) == polynomial(result.dims)
    query.require(equal, "the number of elements must stay, for every batch size")
    return result


@rule("bitcast")
def _bitcast(query: Query) -> AnyShape:
    operand, result = query.array(0), query.declared_array
    old = polynomial((*operand.dims, operand.dtype.itemsize))
    new = polynomial((*result.dims, result.dtype.itemsize))
    query.require(old == new, "the number of bytes must stay, for every batch size")
    return result


@rule("transpose")
def _transpose(query: Query) -> AnyShape:
    operand, order = query.array(0), query.attr(Transpose).permutation
    query.require(len(order) == operand.rank, "the permutation must name every dimension")
    query.distinct("permutation", order, operand.rank)
    return operand.with_dims(tuple(operand.dims[d] for d in order))


@rule("copy")
def _copy(query: Query) -> AnyShape:
    return query.operands[0]


@rule("slice")
def _slice(query: Query) -> AnyShape:
    operand, attrs = query.array(0), query.attr(Slice)
    lengths = {len(attrs.starts), len(attrs.limits), len(attrs.strides)}
    query.require(lengths == {operand.rank}, "needs start, limit and stride per dimension")
    dims: list[Dim] = []
    for size, start, limit, stride in zip(
        operand.dims, attrs.starts, attrs.limits, attrs.strides, strict=True
    ):
        query.require(stride >= 1, "strides must be positive")
        inside = at_least(start, 0) and at_least(limit, start) and at_least(size, limit)
        query.require(inside, f"[{start}:{limit}] leaves dimension {size} for some batch size")
        dims.append(strided_size(query, limit - start, stride))
    return operand.with_dims(tuple(dims))


def strided_size(query: Query, size: Dim, stride: int) -> Dim:
    """ceil(size / stride), which must be affine in the batch size."""
    if isinstance(size, int) or stride == 1:
        return -(-size // stride) if isinstance(size, int) else size
    query.require(size.scale % stride == 0, f"stride {stride} over {size} is not affine in B")
    return BatchDim(size.scale // stride, -(-size.offset // stride))


@rule("concatenate")
def _concatenate(query: Query) -> AnyShape:
    first, *others = query.arrays
    axis = query.attr(Concatenate).dimension
    query.distinct("dimension", (axis,), first.rank)
    total = first.dims[axis]
    for other in others:
        fits = (
            other.dtype is first.dtype
            and other.rank == first.rank
            and all(first.dims[d] == other.dims[d] for d in range(first.rank) if d != axis)
        )
        query.require(fits, f"operands must agree in type and dimensions other than {axis}")
        total = total + other.dims[axis]
    return first.with_dims((*first.dims[:axis], total, *first.dims[axis + 1 :]))


@rule("pad")
def _pad(query: Query) -> AnyShape:
    operand, value = query.arrays
    attrs = query.attr(Pad)
    lengths = {len(attrs.low), len(attrs.high), len(attrs.interior)}
    query.require(lengths == {operand.rank}, "needs padding for every dimension")
    query.require(value == Shape(operand.dtype), "the padding value must be a scalar of the type")
    dims: list[Dim] = []
    for size, low, high, interior in zip(
        operand.dims, attrs.low, attrs.high, attrs.interior, strict=True
    ):
        query.require(interior >= 0, "interior padding must not be negative")
        between = (size - 1) * interior if interior and size != 0 else 0
        total = size + between + low + high
        query.require(at_least(total, 0), f"dimension {size} is padded to a negative size {total}")
        dims.append(total)
    return operand.with_dims(tuple(dims))


@rule("reverse")
def _reverse(query: Query) -> AnyShape:
    operand = query.array(0)
    query.distinct("dimensions", query.attr(Reverse).dimensions, operand.rank)
    return operand


@rule("get-dimension-size")
def _get_dimension_size(query: Query) -> AnyShape:
    axis = query.attr(GetDimensionSize).dimension
    query.distinct("dimensions", (axis,), query.array(0).rank)
    return Shape(DType.S32)
