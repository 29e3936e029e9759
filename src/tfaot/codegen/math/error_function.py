"""erf: an odd polynomial near 0, and beyond it what is near 1 directly."""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.exponential import exp_nonpositive
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import bit_width
from tfaot.codegen.vector import VectorBuilder


@math_function("erf", f32=(1.5, 1.75), f64=(1.75, 2.5))
def erf(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The error function."""
    return _erf_float32(b, x) if bit_width(x.type) == 32 else _erf_float64(b, x)


def _erf_float32(b: VectorBuilder, x: ir.Value) -> ir.Value:
    z = b.mul(x, x)
    a = b.min(b.abs(x), b.const(x, 4.0))
    small = b.fma(x, horner(b, z, c.ERF_SMALL_F32), x)
    large = horner(b, b.sub(a, b.const(x, c.ERF_CENTER_F32)), c.ERF_LARGE_F32)
    return b.select(b.lt(a, b.const(x, 1.125)), small, b.copysign(large, x))


def _erf_float64(b: VectorBuilder, x: ir.Value) -> ir.Value:
    a = b.min(b.abs(x), b.const(x, 6.0))
    z = b.mul(a, a)
    small = b.fma(x, horner(b, z, c.ERF_SMALL_F64), x)
    scaled = horner(b, b.sub(a, b.const(x, 2.0)), c.ERFCX_F64)
    large = b.fma(b.neg(exp_nonpositive(b, b.neg(z))), scaled, b.const(x, 1.0))
    return b.select(b.lt(a, b.const(x, 1.25)), small, b.copysign(large, x))
