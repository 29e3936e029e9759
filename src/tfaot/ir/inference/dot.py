"""Shape rule of `dot`."""

from __future__ import annotations

from tfaot.ir.attributes import Dot
from tfaot.ir.inference.registry import Query, rule
from tfaot.ir.shapes import AnyShape, Shape


def accumulated_type(query: Query) -> Shape:
    """A scalar of the result's type: the declared one, else the operands' common type."""
    if isinstance(query.result, Shape):
        return Shape(query.result.dtype)
    left, right = query.array(0), query.array(1)
    query.require(left.dtype is right.dtype, "operands of two types need a declared result")
    return Shape(left.dtype)


@rule("dot")
def _dot(query: Query) -> AnyShape:
    left, right = query.arrays
    attrs = query.attr(Dot)
    query.distinct("lhs dimensions", (*attrs.lhs_contracting, *attrs.lhs_batch), left.rank)
    query.distinct("rhs dimensions", (*attrs.rhs_contracting, *attrs.rhs_batch), right.rank)
    for what, ours, theirs in (
        ("contracting", attrs.lhs_contracting, attrs.rhs_contracting),
        ("batch", attrs.lhs_batch, attrs.rhs_batch),
    ):
        equal = len(ours) == len(theirs) and all(
            left.dims[a] == right.dims[b] for a, b in zip(ours, theirs, strict=True)
        )
        query.require(equal, f"{what} dimensions of both sides must be equal")
    batch = tuple(left.dims[d] for d in attrs.lhs_batch)
    used_left = {*attrs.lhs_contracting, *attrs.lhs_batch}
    used_right = {*attrs.rhs_contracting, *attrs.rhs_batch}
    free_left = tuple(n for d, n in enumerate(left.dims) if d not in used_left)
    free_right = tuple(n for d, n in enumerate(right.dims) if d not in used_right)
    return accumulated_type(query).with_dims((*batch, *free_left, *free_right))
