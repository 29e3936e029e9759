"""tanh and logistic, from the parts of exp(-|x|), which can't overflow."""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.math.exponential import (
    exp_format,
    exp_nonpositive,
    expm1_reduced,
    power_of_two,
    reduce,
)
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.vector import VectorBuilder


@math_function("logistic", f32=(1.5, 2.0), f64=(1.5, 2.0))
def logistic(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """1 / (1 + e^-x), through gradual underflow."""
    e = exp_nonpositive(b, b.neg(b.abs(x)))
    one = b.const(x, 1.0)
    numerator = b.select(b.lt(x, b.const(x, 0.0)), e, one)
    return b.div(numerator, b.add(one, e))


@math_function("tanh", f32=(1.5, 2.0), f64=(1.5, 2.0))
def tanh(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """(1 - e) / (1 + e) with e = exp(-2|x|) = s (1 + 2p), s a power of two.

    Numerator and denominator are doubled, and each is rounded once.
    """
    form = exp_format(x)
    y = b.max(b.neg(b.abs(x)), b.const(x, form.saturated / 2))
    bits, r = reduce(b, y, form.bias + 1, scale=2, fine=False)
    p = expm1_reduced(b, r, scale=2)
    s = power_of_two(b, bits, x)
    one, half = b.const(x, 1.0), b.const(x, 0.5)
    # s is 2 * 2^k here. p vanishes with x, and so does 1 - s/2.
    numerator = b.fma(b.neg(s), p, b.fma(s, b.neg(half), one))
    denominator = b.fma(s, p, b.fma(s, half, one))
    return b.copysign(b.div(numerator, denominator), x)
