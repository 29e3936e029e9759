"""Shape rules of ops without array operands."""

from __future__ import annotations

from tfaot.ir.attributes import Constant, Iota, Parameter, RngBitGenerator
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.registry import Query, rule
from tfaot.ir.opcodes import NUMBER
from tfaot.ir.shapes import AnyShape, Shape, TupleShape


@rule("parameter")
def _parameter(query: Query) -> AnyShape:
    query.require(query.attr(Parameter).number >= 0, "its number must not be negative")
    return query.declared


@rule("constant")
def _constant(query: Query) -> AnyShape:
    value = query.attr(Constant).value
    return Shape(DType.from_numpy(value.dtype), tuple(value.shape))


@rule("iota")
def _iota(query: Query) -> AnyShape:
    result = query.declared_array
    query.require(result.dtype in NUMBER, f"element type {result.dtype} is not allowed")
    query.distinct("iota_dimension", (query.attr(Iota).dimension,), result.rank)
    return result


@rule("rng-bit-generator")
def _rng_bit_generator(query: Query) -> AnyShape:
    state, result = query.array(0), query.declared
    algorithm = query.attr(RngBitGenerator).algorithm.upper()
    known = algorithm in ("RNG_DEFAULT", "RNG_THREE_FRY", "RNG_PHILOX")
    query.require(known, f"algorithm '{algorithm}' is unknown")
    query.require(state.dtype.is_unsigned, "the state must be unsigned")
    parts = result.elements if isinstance(result, TupleShape) else ()
    if len(parts) != 2 or not all(isinstance(p, Shape) for p in parts):
        query.fail("must give the new state and the bits")
    query.require(parts[0] == state, "the new state must have the state's shape")
    bits = parts[1]
    assert isinstance(bits, Shape)
    query.require(bits.dtype.is_integer, "the bits must be of integer type")
    return result
