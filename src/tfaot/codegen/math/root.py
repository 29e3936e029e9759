"""sqrt, rsqrt and cbrt."""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import F32, F64, bit_width, with_element
from tfaot.codegen.vector import VectorBuilder


@math_function("sqrt", f32=(0.5, 0.5), f64=(0.5, 0.5))
def sqrt(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The square root, correctly rounded."""
    return b.sqrt(x)


@math_function("rsqrt", f32=(1.5, 1.5), f64=(1.5, 1.5))
def rsqrt(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """1 / sqrt(x), each rounded; infinite of zero, with its sign."""
    return b.div(b.const(x, 1.0), b.sqrt(x))


@math_function("cbrt", f32=(0.75, 0.75), f64=(1.0, 1.0))
def cbrt(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The cube root; float32 in float64."""
    if bit_width(x.type) == 64:
        return _cbrt(b, x)
    wide = b.ir.fpext(x, with_element(x.type, F64))
    return b.ir.fptrunc(_cbrt(b, wide), with_element(x.type, F32))


def _cbrt(b: VectorBuilder, x: ir.Value) -> ir.Value:
    a = b.abs(x)
    subnormal = b.lt(a, b.const(x, 2.0**-1022))
    lifted = b.select(subnormal, b.mul(a, b.const(x, 2.0**54)), a)
    # a = 2^(3k) m with 1 <= m < 8; the exponent field is small enough for a product to divide it.
    bits = b.float_bits(lifted)
    field = b.ir.lshr(bits, b.const(bits, 52))
    third = b.ir.lshr(b.ir.mul(field, b.const(bits, 0x5556)), b.const(bits, 16))
    triple = b.ir.mul(third, b.const(bits, 3))
    m = b.bits_float(
        b.ir.sub(bits, b.ir.shl(b.ir.sub(triple, b.const(bits, 1023)), b.const(bits, 52)))
    )
    t = horner(b, m, c.CBRT_START)
    # Halley's step triples the bits, 10 to 30; Newton's doubles them.
    cube = b.mul(b.mul(t, t), t)
    numerator, denominator = b.add(cube, b.add(m, m)), b.add(b.add(cube, cube), m)
    t = b.mul(t, b.div(numerator, denominator))
    # With t of 24 bits its square is exact, and only the correction's last bit is lost.
    mask = b.const(bits, -(1 << 29))
    t = b.bits_float(b.ir.and_(b.float_bits(t), mask))
    ratio = b.div(m, b.mul(t, t))
    correction = b.div(b.sub(ratio, t), b.add(b.add(t, t), ratio))
    t = b.fma(t, correction, t)
    # field = 3k + 1023 with 1023 = 3 * 341; a lifted argument's root is 2^18 too large.
    exponent = b.ir.add(third, b.const(bits, 1023 - 341))
    exponent = b.ir.sub(exponent, b.select(subnormal, b.const(bits, 18), b.const(bits, 0)))
    root = b.mul(t, b.bits_float(b.ir.shl(exponent, b.const(bits, 52))))
    root = b.copysign(root, x)
    ordinary = b.ir.and_(b.is_finite(x), b.ne(x, b.const(x, 0.0)))
    return b.select(ordinary, root, x)
