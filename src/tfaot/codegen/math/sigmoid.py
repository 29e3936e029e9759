"""tanh and logistic, from exp(y) = s (1 + p) with s a power of two and p = expm1(r).

exp(y) itself is never rounded: 1 + exp(y) is the sum of s p and the exact 1 + s.
"""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.math.exponential import exp_format, expm1_reduced, power_of_two, reduce
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.vector import VectorBuilder


@math_function("logistic", f32=(1.5, 2.5), f64=(1.5, 2.75))
def logistic(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """1 / (1 + e^-x), through gradual underflow."""
    form = exp_format(x)
    # Above, the result is 1; below, it is 0.
    x = b.clamp(b.const(x, form.lowest), x, b.const(x, -form.saturated))
    # Scaled by 2^-guard, the power of two stays in range down to the smallest subnormal result.
    guard = form.mantissa + 9
    bits, r = reduce(b, x, form.bias - guard, scale=-1)
    p = b.neg(expm1_reduced(b, r, scale=-1))
    s = power_of_two(b, bits, x)
    unit = b.const(x, 2.0**-guard)
    denominator = b.fma(s, p, b.add(s, unit))
    quotient = b.div(unit, denominator)
    if not b.has_fma:
        return quotient
    # The rounding errors of denominator and quotient, which FMA tells exactly, make half the error.
    lost = b.fma(s, p, b.add(b.sub(s, denominator), unit))
    negated = b.neg(quotient)
    residual = b.fma(negated, lost, b.fma(negated, denominator, unit))
    return b.fma(residual, b.mul(quotient, b.const(x, 2.0**guard)), quotient)


@math_function("tanh", f32=(2.5, 2.5), f64=(2.75, 2.75))
def tanh(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """-m / (2 + m) with m = expm1(-2|x|), which is never less than -1."""
    form = exp_format(x)
    y = b.max(b.neg(b.abs(x)), b.const(x, form.saturated / 2))
    bits, r = reduce(b, y, form.bias + 1, scale=2, fine=False)
    p = expm1_reduced(b, r, scale=2)
    # m = s p + (s / 2 - 1), of which the second term is exact, and 0 near 0.
    s = power_of_two(b, bits, x)
    m = b.fma(s, p, b.fma(s, b.const(x, 0.5), b.const(x, -1.0)))
    return b.copysign(b.div(m, b.add(m, b.const(x, 2.0))), x)
