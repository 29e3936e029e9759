"""Shape rules of elementwise ops."""

from __future__ import annotations

from tfaot.ir.attributes import Call, Compare, ReducePrecision
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import Query, rule, scalars
from tfaot.ir.opcodes import OPCODES
from tfaot.ir.shapes import AnyShape, Shape

_COMPLEX = {DType.F32: DType.C64, DType.F64: DType.C128}
_DIRECTIONS = frozenset({"EQ", "NE", "GE", "GT", "LE", "LT"})


def check_type(query: Query, shape: Shape) -> None:
    """Require the element type to be one that the opcode allows."""
    allowed = shape.dtype in OPCODES[query.opcode].types
    query.require(allowed, f"element type {shape.dtype} is not allowed")


def _same(query: Query) -> Shape:
    first, *others = query.arrays
    check_type(query, first)
    for other in others:
        query.require(other == first, "operands must have equal shapes and types")
    return first


@rule(
    "add",
    "multiply",
    "subtract",
    "divide",
    "power",
    "remainder",
    "maximum",
    "minimum",
    "and",
    "or",
    "xor",
    "atan2",
    "shift-left",
    "shift-right-arithmetic",
    "shift-right-logical",
    "negate",
    "sign",
    "not",
    "popcnt",
    "count-leading-zeros",
    "ceil",
    "floor",
    "round-nearest-afz",
    "round-nearest-even",
    "erf",
    "exponential",
    "exponential-minus-one",
    "log",
    "log-plus-one",
    "logistic",
    "sqrt",
    "rsqrt",
    "cbrt",
    "sine",
    "cosine",
    "tan",
    "tanh",
)
def _like_operands(query: Query) -> AnyShape:
    return _same(query)


@rule("abs", "real", "imag")
def _real_part(query: Query) -> AnyShape:
    shape = _same(query)
    return shape.with_dtype(shape.dtype.real)


@rule("is-finite")
def _is_finite(query: Query) -> AnyShape:
    return _same(query).with_dtype(DType.PRED)


@rule("complex")
def _complex(query: Query) -> AnyShape:
    shape = _same(query)
    return shape.with_dtype(_COMPLEX[shape.dtype])


@rule("compare")
def _compare(query: Query) -> AnyShape:
    shape = _same(query)
    attrs = query.attr(Compare)
    query.require(attrs.direction in _DIRECTIONS, f"direction '{attrs.direction}' is unknown")
    ordered = not shape.dtype.is_complex or attrs.direction in ("EQ", "NE")
    query.require(ordered, "complex numbers compare only with EQ and NE")
    kinds = {"FLOAT", "TOTALORDER"} if shape.dtype.is_float else {"FLOAT"}
    if not shape.dtype.is_float and not shape.dtype.is_complex:
        kinds = {"SIGNED"} if shape.dtype.is_signed else {"UNSIGNED"}
    query.require(attrs.order in kinds, f"order {attrs.order} does not fit {shape.dtype}")
    return shape.with_dtype(DType.PRED)


@rule("select")
def _select(query: Query) -> AnyShape:
    predicate, on_true, on_false = query.arrays
    query.require(predicate.dtype is DType.PRED, "the first operand must be pred")
    query.require(on_true == on_false, "both choices must have equal shapes and types")
    fits = predicate.dims in ((), on_true.dims)
    query.require(fits, "the predicate must be a scalar or have the choices' dimensions")
    return on_true


@rule("clamp")
def _clamp(query: Query) -> AnyShape:
    low, value, high = query.arrays
    for bound in (low, high):
        fits = bound.dtype is value.dtype and bound.dims in ((), value.dims)
        query.require(fits, "bounds must be scalars or shaped as the value, of its type")
    query.require(not value.dtype.is_complex, "complex numbers have no order")
    return value


@rule("convert")
def _convert(query: Query) -> AnyShape:
    result = query.declared_array
    query.require(result.dims == query.array(0).dims, "dimensions must stay equal")
    return result


@rule("bitcast-convert")
def _bitcast_convert(query: Query) -> AnyShape:
    operand, result = query.array(0), query.declared_array
    old, new = operand.dtype.bits, result.dtype.bits
    query.require(
        operand.dtype.is_complex == result.dtype.is_complex, "complex and real types don't mix"
    )
    if old == new:
        fits = operand.dims == result.dims
    elif old > new:
        fits = old % new == 0 and result.dims == (*operand.dims, old // new)
    else:
        fits = new % old == 0 and operand.dims == (*result.dims, new // old)
    query.require(fits, "dimensions don't follow from the ratio of the types' widths")
    return result


@rule("reduce-precision")
def _reduce_precision(query: Query) -> AnyShape:
    attrs = query.attr(ReducePrecision)
    query.require(
        attrs.exponent_bits >= 1 and attrs.mantissa_bits >= 0,
        "needs at least 1 exponent bit and no negative mantissa bits",
    )
    return _same(query)


@rule("map")
def _map(query: Query) -> AnyShape:
    arrays = query.arrays
    query.require(all(a.dims == arrays[0].dims for a in arrays), "operands must have equal shapes")
    result = query.signature("to_apply", query.attr(Call).to_apply, scalars(arrays))
    if not isinstance(result, Shape) or result.dims:
        query.fail("to_apply must return a scalar")
    return arrays[0].with_dtype(result.dtype)
