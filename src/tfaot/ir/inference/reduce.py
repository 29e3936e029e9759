"""Shape rules of reductions and sorting."""

from __future__ import annotations

from tfaot.ir.attributes import Reduce, Sort
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import Query, one_or_tuple, rule, scalars
from tfaot.ir.module import Computation
from tfaot.ir.shapes import AnyShape, Shape


def split_reduction(query: Query) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """The k arrays and the k initial values among the operands, checked against each other."""
    arrays = query.arrays
    query.require(len(arrays) % 2 == 0, "takes as many initial values as arrays")
    half = len(arrays) // 2
    values, initial = arrays[:half], arrays[half:]
    for value, start in zip(values, initial, strict=True):
        query.require(value.dims == values[0].dims, "arrays must have equal dimensions")
        query.require(not start.dims, "initial values must be scalars")
    return values, initial


def check_reducer(query: Query, reducer: Computation, values: tuple[Shape, ...]) -> None:
    """Require `reducer` to take two scalars per value and to return one each."""
    accumulators = scalars(values)
    result = query.signature("to_apply", reducer, (*accumulators, *accumulators))
    wanted = one_or_tuple(accumulators)
    query.require(result == wanted, f"to_apply must return {wanted}, not {result}")


@rule("reduce")
def _reduce(query: Query) -> AnyShape:
    values, initial = split_reduction(query)
    attrs = query.attr(Reduce)
    rank = values[0].rank
    query.distinct("dimensions", attrs.dimensions, rank)
    matched = all(v.dtype is i.dtype for v, i in zip(values, initial, strict=True))
    query.require(matched, "initial values must have the arrays' types")
    check_reducer(query, attrs.to_apply, initial)
    kept = tuple(n for d, n in enumerate(values[0].dims) if d not in attrs.dimensions)
    return one_or_tuple(tuple(i.with_dims(kept) for i in initial))


@rule("sort")
def _sort(query: Query) -> AnyShape:
    arrays = query.arrays
    attrs = query.attr(Sort)
    query.require(all(a.dims == arrays[0].dims for a in arrays), "operands must have equal shapes")
    query.distinct("dimensions", (attrs.dimension,), arrays[0].rank)
    pairs = tuple(s for scalar in scalars(arrays) for s in (scalar, scalar))
    result = query.signature("to_apply", attrs.to_apply, pairs)
    query.require(result == Shape(DType.PRED), "to_apply must return pred[]")
    return one_or_tuple(arrays)
