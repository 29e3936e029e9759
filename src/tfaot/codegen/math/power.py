"""x^y = 2^(y log2 |x|), and its many special cases.

float32 is computed in float64. float64 needs log2 |x| to 65 bits or so, since its error is
multiplied by the result's exponent: it is a double-double.
"""

from __future__ import annotations

import math

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.doubled import Doubled, fast_two_sum, multiply, two_product, two_sum
from tfaot.codegen.math.exponential import FLOAT64
from tfaot.codegen.math.logarithm import exponent, split
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import F32, F64, bit_width, with_element
from tfaot.codegen.vector import VectorBuilder

INVERSE_LN2 = (float.fromhex("0x1.71547652b82fep+0"), float.fromhex("0x1.777d0ffda0d24p-56"))
THIRD = (float.fromhex("0x1.5555555555555p-2"), float.fromhex("0x1.5555555555555p-56"))
LN2 = math.log(2.0)


@math_function("power", 2, f32=(0.75, 0.75), f64=(1.5, 1.5))
def power(b: VectorBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The power x^y, special cases as in C."""
    if bit_width(x.type) == 64:
        return _special(b, x, y, _power_float64(b, b.abs(x), y))
    wide = with_element(x.type, F64)
    x, y = b.ir.fpext(x, wide), b.ir.fpext(y, wide)
    result = _special(b, x, y, _power_float32(b, b.abs(x), y))
    return b.ir.fptrunc(result, with_element(result.type, F32))


def _power_float32(b: VectorBuilder, a: ir.Value, y: ir.Value) -> ir.Value:
    """The power a^y in doubles, for normal a > 0 and finite y, to float32's accuracy."""
    shifted, m = split(b, a)
    f = b.sub(m, b.const(a, 1.0))
    s = b.div(f, b.add(f, b.const(a, 2.0)))
    z = b.mul(s, s)
    series = b.fma(z, horner(b, z, c.LOG2_TAIL_LOW), b.const(a, 2.0 / LN2))
    logarithm = b.fma(s, series, exponent(b, shifted, a))
    t = b.mul(y, logarithm)
    # Beyond these the float32 result is 0 or infinite.
    t = b.clamp(b.const(a, -300.0), t, b.const(a, 300.0))
    magic = b.const(a, FLOAT64.magic + FLOAT64.bias)
    bits = b.add(t, magic)
    r = b.sub(t, b.sub(bits, magic))
    field = b.float_bits(bits)
    scale = b.bits_float(b.ir.shl(field, b.const(field, 52)))
    return b.mul(horner(b, r, c.EXP2_LOW), scale)


def _log2(b: VectorBuilder, a: ir.Value) -> Doubled:
    """The log2 of a > 0 with a relative error of about 2^-68."""
    subnormal = b.lt(a, b.const(a, 2.0**-1022))
    lifted = b.select(subnormal, b.mul(a, b.const(a, 2.0**64)), a)
    shifted, m = split(b, lifted)
    k = exponent(b, shifted, a)
    k = b.select(subnormal, b.sub(k, b.const(a, 64.0)), k)
    two = b.const(a, 2.0)
    f = b.sub(m, b.const(a, 1.0))
    # s = f / (2 + f); ln m = 2 s (1 + s^2 / 3 + s^4 tail(s^2)).
    bottom = fast_two_sum(b, two, f)
    sh = b.div(f, bottom.high)
    product = two_product(b, sh, bottom.high)
    residual = b.sub(b.sub(b.sub(f, product.high), product.low), b.mul(sh, bottom.low))
    s = Doubled(sh, b.div(residual, bottom.high))
    z = multiply(b, s, s)
    third = multiply(b, z, Doubled(b.const(a, THIRD[0]), b.const(a, THIRD[1])))
    tail = b.mul(b.mul(z.high, z.high), horner(b, z.high, c.ATANH_TAIL2_F64))
    series = fast_two_sum(b, third.high, tail)
    series = Doubled(series.high, b.add(series.low, third.low))
    part = multiply(b, s, series)
    total = fast_two_sum(b, s.high, part.high)
    total = Doubled(total.high, b.add(total.low, b.add(s.low, part.low)))
    factor = Doubled(b.const(a, 2.0 * INVERSE_LN2[0]), b.const(a, 2.0 * INVERSE_LN2[1]))
    fraction = multiply(b, total, factor)
    high, low = two_sum(b, k, fraction.high)
    return fast_two_sum(b, high, b.add(low, fraction.low))


def _power_float64(b: VectorBuilder, a: ir.Value, y: ir.Value) -> ir.Value:
    """The power a^y for finite a > 0 and finite y."""
    logarithm = _log2(b, a)
    # |log2 a| > 2^-53: a larger y overflows or underflows as this one does.
    bound = b.const(a, 2.0**70)
    t = two_product(b, b.clamp(b.neg(bound), y, bound), logarithm.high)
    low = b.fma(y, logarithm.low, t.low)
    extreme = b.gt(b.abs(t.high), b.const(a, 1100.0))
    high = b.select(extreme, b.copysign(b.const(a, 1100.0), t.high), t.high)
    low = b.select(extreme, b.const(a, 0.0), low)
    magic = b.const(a, FLOAT64.magic + 2 * FLOAT64.bias)
    shifted = b.add(high, magic)
    n = b.sub(shifted, magic)
    r = b.mul(b.add(b.sub(high, n), low), b.const(a, LN2))
    value = horner(b, r, (1.0, 1.0, *FLOAT64.tail))
    bits = b.float_bits(shifted)
    # 2^n by two factors, as in exp.
    first = b.ir.and_(b.ir.shl(bits, b.const(bits, 51)), b.const(bits, 0x7FF << 52))
    second = b.ir.sub(b.ir.shl(bits, b.const(bits, 52)), first)
    return b.mul(b.mul(value, b.bits_float(first)), b.bits_float(second))


def _special(b: VectorBuilder, x: ir.Value, y: ir.Value, regular: ir.Value) -> ir.Value:
    """The result, where `regular` holds for 0 < |x| < inf and finite y."""
    zero, one, infinity = (b.const(x, v) for v in (0.0, 1.0, math.inf))
    a = b.abs(x)
    half = b.mul(y, b.const(x, 0.5))
    integral = b.eq(b.trunc(y), y)
    odd = b.ir.and_(integral, b.ne(b.trunc(half), half))
    finite_y = b.is_finite(y)

    # Of a base 0 or inf, or an exponent inf, only the direction counts.
    grows = b.ir.xor(b.gt(a, one), b.lt(y, zero))
    limit = b.select(grows, infinity, zero)
    outside = b.ir.or_(b.eq(a, zero), b.eq(a, infinity))
    outside = b.ir.or_(outside, b.eq(b.abs(y), infinity))
    value = b.select(outside, limit, regular)
    # y = +-inf of x = -1 gives 1.
    value = b.select(b.ir.and_(b.eq(a, one), b.eq(y, y)), one, value)
    sign = b.select(odd, x, one)
    value = b.copysign(value, sign)
    below = b.ir.and_(b.lt(x, zero), b.lt(a, infinity))
    invalid = b.ir.and_(below, b.ir.and_(b.not_(integral), finite_y))
    invalid = b.ir.or_(invalid, b.ir.fcmp_unordered("uno", x, y))
    value = b.select(invalid, b.const(x, math.nan), value)
    return b.select(b.ir.or_(b.eq(y, zero), b.eq(x, one)), one, value)
