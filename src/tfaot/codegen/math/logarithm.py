"""log and log1p.

The argument is 2^k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), and log is k ln 2 + log1p(f).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.exponential import exp_format
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import F32, F64, bit_width, with_element
from tfaot.codegen.vector import VectorBuilder


@dataclass(frozen=True)
class LogFormat:
    """What log needs to know of a floating-point format.

    Attributes:
        root_half: bits of sqrt(1/2), rounded.
        smallest_normal: the smallest normal number.
        lift: a power of two that makes subnormals normal.
        flat: above this, 1 + x is x.
    """

    root_half: int
    smallest_normal: float
    lift: int
    flat: float


_FORMATS = {
    32: LogFormat(0x3F3504F3, 2.0**-126, 32, 2.0**40),
    64: LogFormat(0x3FE6A09E667F3BCD, 2.0**-1022, 64, 2.0**80),
}


def log_format(x: ir.Value) -> LogFormat:
    """The constants for the type of x."""
    return _FORMATS[bit_width(x.type)]


def split(b: VectorBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Splits x > 0, normal, into 2^k m; gives the integer k << mantissa, and m."""
    form, exp = log_format(x), exp_format(x)
    bits = b.float_bits(x)
    above = b.ir.sub(bits, b.const(bits, form.root_half))
    shifted = b.ir.and_(above, b.const(bits, -(1 << exp.mantissa)))
    return shifted, b.bits_float(b.ir.sub(bits, shifted))


def exponent(b: VectorBuilder, shifted: ir.Value, like: ir.Value) -> ir.Value:
    """The float k of an integer k << mantissa."""
    k = b.ir.ashr(shifted, b.const(shifted, exp_format(like).mantissa))
    if bit_width(like.type) == 32:
        return b.int_to_float(k, F32)
    # Few targets convert 64-bit integers in vectors.
    narrow = b.ir.trunc(k, with_element(k.type, ir.IntType(32)))
    return b.int_to_float(narrow, F64)


def log1p_reduced(
    b: VectorBuilder, f: ir.Value, k: ir.Value, correction: ir.Value | None = None
) -> ir.Value:
    """The sum k ln 2 + log1p(f), for a small f and an integral float k.

    Args:
        b: the builder.
        f: the fraction, sqrt(1/2) <= 1 + f <= sqrt(2).
        k: the exponent.
        correction: added to the result before the last rounding.
    """
    exp = exp_format(f)
    square = b.mul(f, f)
    half = b.const(f, -0.5)
    low = b.const(f, exp.ln2_low)
    if bit_width(f.type) == 32:
        tail = b.mul(b.mul(square, f), horner(b, f, c.LOG_TAIL_F32))
        small = b.fma(square, half, tail)
        small = b.fma(k, low, small)
    else:
        # log1p(f) = 2 atanh(s) = f - h + s (h + R) with h = f^2 / 2, R = 2 atanh(s) / s - 2.
        s = b.div(f, b.add(f, b.const(f, 2.0)))
        z = b.mul(s, s)
        h = b.mul(square, b.const(f, 0.5))
        series = b.mul(z, horner(b, z, c.ATANH_TAIL_F64))
        small = b.fma(s, b.add(h, series), b.mul(k, low))
        small = b.sub(small, h)
    if correction is not None:
        small = b.add(small, correction)
    high = b.mul(k, b.const(f, exp.ln2_high))
    return b.add(high, b.add(f, small))


@math_function("log", f32=(1.0, 1.0), f64=(1.0, 1.0))
def log(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The natural logarithm; -inf of zeros, NaN below."""
    form = log_format(x)
    subnormal = b.lt(x, b.const(x, form.smallest_normal))
    lifted = b.select(subnormal, b.mul(x, b.const(x, 2.0**form.lift)), x)
    shifted, m = split(b, lifted)
    k = exponent(b, shifted, x)
    k = b.select(subnormal, b.sub(k, b.const(x, form.lift)), k)
    y = log1p_reduced(b, b.sub(m, b.const(x, 1.0)), k)
    return _special(b, x, y, b.const(x, 0.0))


def _special(b: VectorBuilder, x: ir.Value, y: ir.Value, pole: ir.Value) -> ir.Value:
    """The value y, but x where x is inf or NaN, -inf at the pole and NaN below it."""
    y = b.select(b.lt(x, b.const(x, math.inf)), y, x)
    y = b.select(b.lt(x, pole), b.const(x, math.nan), y)
    return b.select(b.eq(x, pole), b.const(x, -math.inf), y)


@math_function("log-plus-one", f32=(1.5, 1.5), f64=(1.5, 1.5))
def log1p(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """log(1 + x)."""
    form = log_format(x)
    one = b.const(x, 1.0)
    shifted, m = split(b, b.add(x, one))
    k = exponent(b, shifted, x)
    # 1 + x lost bits of x, which f = 2^-k x + (2^-k - 1) has; 2^-k is normal but for huge x.
    scale = b.bits_float(b.ir.sub(b.float_bits(one), shifted))
    f = b.fma(x, scale, b.sub(scale, one))
    f = b.select(b.gt(x, b.const(x, form.flat)), b.sub(m, one), f)
    y = log1p_reduced(b, f, k)
    y = b.select(b.eq(x, b.const(x, 0.0)), x, y)
    return _special(b, x, y, b.const(x, -1.0))
