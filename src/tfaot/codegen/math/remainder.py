"""The floating-point remainder with the sign of the dividend, exact (C's fmod).

The dividend is reduced by multiples of the divisor that are exact products, at most 25 quotient
bits in each step of a loop; usually one step does. float32 is computed in float64.
"""

from __future__ import annotations

import math

from llvmlite import ir

from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import F32, F64, bit_width, lane_count, with_element
from tfaot.codegen.vector import VectorBuilder

_STEP_BITS = 24


@math_function("remainder", 2, f32=(0.0, 0.0), f64=(0.0, 0.0))
def remainder(b: VectorBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The exact x - y trunc(x / y); NaN of an infinite x or a zero y.

    Emits a loop: afterwards the builder is in another basic block.
    """
    if bit_width(x.type) == 64:
        return _remainder(b, x, y)
    wide = with_element(x.type, F64)
    result = _remainder(b, b.ir.fpext(x, wide), b.ir.fpext(y, wide))
    return b.ir.fptrunc(result, with_element(x.type, F32))


def _remainder(b: VectorBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    zero = b.const(x, 0.0)
    divisor = b.abs(y)
    valid = b.ir.and_(b.is_finite(x), b.gt(divisor, zero))
    start = b.select(valid, b.abs(x), zero)
    bits = b.float_bits(divisor)
    head = b.bits_float(b.ir.and_(bits, b.const(bits, -(1 << 26))))
    tail = b.sub(divisor, head)
    size = _exponent(b, divisor)

    before = b.ir.block
    test = b.ir.append_basic_block("remainder.test")
    step = b.ir.append_basic_block("remainder.step")
    done = b.ir.append_basic_block("remainder.done")
    b.ir.branch(test)
    b.ir.position_at_end(test)
    a = b.ir.phi(x.type)
    a.add_incoming(start, before)
    pending = b.ir.and_(b.ge(a, divisor), valid)
    b.ir.cbranch(_any(b, pending), step, done)

    b.ir.position_at_end(step)
    excess = b.ir.sub(_exponent(b, a), b.ir.add(size, b.const(size, _STEP_BITS)))
    shift = b.max(excess, b.const(size, 0))
    reduced = _reduce(b, a, shift, divisor, head, tail)
    a.add_incoming(b.select(pending, reduced, a), b.ir.block)
    b.ir.branch(test)

    b.ir.position_at_end(done)
    return b.select(valid, b.copysign(a, x), b.const(x, math.nan))


def _reduce(
    b: VectorBuilder,
    a: ir.Value,
    shift: ir.Value,
    divisor: ir.Value,
    head: ir.Value,
    tail: ir.Value,
) -> ir.Value:
    """The remainder of a by divisor * 2^shift; head + tail is the divisor, halves of its bits."""
    # The power may be out of range where its product with the divisor is not.
    for _ in range(3):
        part = b.min(shift, b.const(shift, 1000))
        power = _power(b, part)
        divisor, head, tail = (b.mul(v, power) for v in (divisor, head, tail))
        shift = b.ir.sub(shift, part)
    quotient = b.trunc(b.div(a, divisor))
    # Both products and both differences are exact.
    rest = b.sub(b.sub(a, b.mul(quotient, head)), b.mul(quotient, tail))
    # The division may have rounded up to the next integer.
    return b.select(b.lt(rest, b.const(rest, 0.0)), b.add(rest, divisor), rest)


def _exponent(b: VectorBuilder, a: ir.Value) -> ir.Value:
    """The exponents of positive doubles, subnormals included."""
    subnormal = b.lt(a, b.const(a, 2.0**-1022))
    bits = b.float_bits(b.select(subnormal, b.mul(a, b.const(a, 2.0**64)), a))
    field = b.ir.lshr(bits, b.const(bits, 52))
    return b.ir.sub(field, b.select(subnormal, b.const(bits, 1087), b.const(bits, 1023)))


def _power(b: VectorBuilder, exponent: ir.Value) -> ir.Value:
    field = b.ir.add(exponent, b.const(exponent, 1023))
    return b.bits_float(b.ir.shl(field, b.const(field, 52)))


def _any(b: VectorBuilder, condition: ir.Value) -> ir.Value:
    """Whether any lane is set."""
    lanes = lane_count(condition.type)
    if lanes is None:
        return condition
    mask = b.ir.bitcast(condition, ir.IntType(lanes))
    return b.ne(mask, b.const(mask, 0))
