"""Shape rules of tuples, control flow and custom calls."""

from __future__ import annotations

from tfaot.ir.attributes import Call, Conditional, CustomCall, GetTupleElement, While
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import Query, at_least, rule
from tfaot.ir.shapes import AnyShape, Shape, TupleShape

_PREDICATE = Shape(DType.PRED)


@rule("tuple")
def _tuple(query: Query) -> AnyShape:
    return TupleShape(query.operands)


@rule("get-tuple-element")
def _get_tuple_element(query: Query) -> AnyShape:
    shape, index = query.operands[0], query.attr(GetTupleElement).index
    if not isinstance(shape, TupleShape):
        query.fail("takes a tuple")
    query.require(0 <= index < len(shape.elements), f"the tuple has no element {index}")
    return shape.elements[index]


@rule("opt-barrier")
def _opt_barrier(query: Query) -> AnyShape:
    return query.operands[0]


@rule("call", "fusion")
def _call(query: Query) -> AnyShape:
    return query.signature("the computation", query.attr(Call).to_apply, query.operands)


@rule("while")
def _while(query: Query) -> AnyShape:
    attrs, carried = query.attr(While), query.operands
    condition = query.signature("the condition", attrs.condition, carried)
    query.require(condition == _PREDICATE, f"the condition must return pred[], not {condition}")
    body = query.signature("the body", attrs.body, carried)
    query.require(body == carried[0], f"the body must return what it takes, not {body}")
    return carried[0]


@rule("conditional")
def _conditional(query: Query) -> AnyShape:
    branches, selector = query.attr(Conditional).branches, query.operands[0]
    query.require(len(query.operands) == len(branches) + 1, "needs one argument per branch")
    if selector == _PREDICATE:
        query.require(len(branches) == 2, "a predicate chooses between two branches")
    else:
        query.require(selector == Shape(DType.S32), "the branch index must be pred[] or s32[]")
    results = [
        query.signature(f"branch {i}", branch, (argument,))
        for i, (branch, argument) in enumerate(zip(branches, query.operands[1:], strict=True))
    ]
    query.require(all(r == results[0] for r in results), "branches must return equal shapes")
    return results[0]


@rule("custom-call")
def _custom_call(query: Query) -> AnyShape:
    match query.attr(CustomCall).target:
        case "TopK":
            _check_top_k(query)
        case "SliceToDynamic":
            _check_slice_to_dynamic(query)
    return query.declared


def _check_slice_to_dynamic(query: Query) -> None:
    """An array and its size along each dimension: the same array, zeros beyond these."""
    query.require(bool(query.operands), "SliceToDynamic takes an array and its sizes")
    operand, *sizes = query.arrays
    scalars_only = all(size == Shape(DType.S32) for size in sizes)
    query.require(
        len(sizes) == operand.rank and scalars_only,
        "SliceToDynamic takes an s32 scalar per dimension, its size",
    )
    query.require(query.declared == operand, f"SliceToDynamic gives {operand} at most")


def _check_top_k(query: Query) -> None:
    query.require(len(query.operands) == 1, "TopK takes one operand")
    operand, result = query.array(0), query.declared
    parts = result.elements if isinstance(result, TupleShape) else ()
    if len(parts) != 2 or not all(isinstance(p, Shape) for p in parts):
        query.fail("TopK gives values and indices")
    values, indices = parts
    assert isinstance(values, Shape)
    assert isinstance(indices, Shape)
    fits = (
        operand.rank >= 1
        and values.dtype is operand.dtype
        and indices.dtype.is_integer
        and values.dims == indices.dims
        and values.dims[:-1] == operand.dims[:-1]
        and at_least(operand.dims[-1], values.dims[-1])
    )
    query.require(fits, "TopK takes the last dimension's k largest, values and indices alike")
