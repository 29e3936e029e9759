"""exp and expm1.

exp(x) = 2^k exp(r) with k = round(x / ln 2) and r = x - k ln 2. k is had by adding a large number
whose unit in the last place is 1: the sum's low bits are k, plus what makes them an exponent field.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import bit_width
from tfaot.codegen.vector import VectorBuilder


@dataclass(frozen=True)
class ExpFormat:
    """What exp needs to know of a floating-point format.

    Attributes:
        mantissa: explicit mantissa bits.
        bias: exponent bias.
        ln2_nearest: ln 2, rounded.
        ln2_rest: what `ln2_nearest` lacks.
        ln2_high: ln 2 with so few bits that its products with k are exact.
        ln2_low: what `ln2_high` lacks.
        tail: coefficients of (expm1(r) - r) / r^2.
        lowest: exp is 0 below (by less than a factor of 2 of the smallest subnormal).
        highest: exp overflows above.
        saturated: expm1 is -1 below.
        large: from here on expm1 needs a guard against an overflowing intermediate.
    """

    mantissa: int
    bias: int
    ln2_nearest: float
    ln2_rest: float
    ln2_high: float
    ln2_low: float
    tail: tuple[float, ...]
    lowest: float
    highest: float
    saturated: float
    large: float

    @property
    def magic(self) -> float:
        """Adding it rounds to an integer, whose bits end up lowest."""
        return 1.5 * 2.0**self.mantissa


FLOAT32 = ExpFormat(
    mantissa=23,
    bias=127,
    ln2_nearest=float.fromhex("0x1.62e430p-1"),
    ln2_rest=float.fromhex("-0x1.05c610p-29"),
    ln2_high=float.fromhex("0x1.62e400p-1"),
    ln2_low=float.fromhex("0x1.7f7d1cp-20"),
    tail=c.EXPM1_TAIL_F32,
    lowest=-104.0,
    highest=89.0,
    saturated=-40.0,
    large=64.0,
)
FLOAT64 = ExpFormat(
    mantissa=52,
    bias=1023,
    ln2_nearest=float.fromhex("0x1.62e42fefa39efp-1"),
    ln2_rest=float.fromhex("0x1.abc9e3b39803fp-56"),
    ln2_high=float.fromhex("0x1.62e42fee00000p-1"),
    ln2_low=float.fromhex("0x1.a39ef35793c76p-33"),
    tail=c.EXPM1_TAIL_F64,
    lowest=-746.0,
    highest=710.0,
    saturated=-80.0,
    large=512.0,
)


def exp_format(x: ir.Value) -> ExpFormat:
    """The constants for the type of x."""
    return FLOAT32 if bit_width(x.type) == 32 else FLOAT64


def reduce(
    b: VectorBuilder, x: ir.Value, offset: int, *, scale: int = 1, fine: bool = True
) -> tuple[ir.Value, ir.Value]:
    """Splits `scale * x` into k ln 2 + scale * r, |scale * r| <= ln 2 / 2.

    Args:
        b: the builder.
        x: the argument, small enough for k not to leave the exponent field.
        offset: added to k.
        scale: a power of two.
        fine: whether r has full accuracy for large |k|; else, with FMA, it lacks the
            part k * `ln2_rest`, of the order of an ULP of k.

    Returns:
        Integers whose lowest bits are k + offset, and r.
    """
    form = exp_format(x)
    magic = b.const(x, form.magic + offset)
    shifted = b.fma(x, b.const(x, scale / math.log(2.0)), magic)
    k = b.sub(shifted, magic)
    high, low = (form.ln2_nearest, form.ln2_rest) if b.has_fma else (form.ln2_high, form.ln2_low)
    r = b.fma(k, b.const(x, -high / scale), x)
    if fine or not b.has_fma:
        r = b.fma(k, b.const(x, -low / scale), r)
    return b.float_bits(shifted), r


def expm1_reduced(b: VectorBuilder, r: ir.Value, *, scale: int = 1) -> ir.Value:
    """expm1(scale * r) / scale for a reduced argument, 0.5 ULP or little more."""
    tail = [t * scale ** (j + 1) for j, t in enumerate(exp_format(r).tail)]
    return b.fma(b.mul(r, r), horner(b, r, tail), r)


def power_of_two(b: VectorBuilder, exponent: ir.Value, like: ir.Value) -> ir.Value:
    """2^k from integers whose lowest bits are k + bias."""
    return b.bits_float(b.ir.shl(exponent, b.const(exponent, exp_format(like).mantissa)))


@math_function("exponential", f32=(1.0, 1.5), f64=(1.0, 1.5))
def exp(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The function e^x, through gradual underflow and to infinity."""
    form = exp_format(x)
    x = b.clamp(b.const(x, form.lowest), x, b.const(x, form.highest))
    bits, r = reduce(b, x, 2 * form.bias)
    p = horner(b, r, (1.0, 1.0, *form.tail))
    # 2^k may be out of range where the result isn't: multiply by two powers of half the size.
    field = b.const(bits, ((2 << (bit_width(x.type) - 2 - form.mantissa)) - 1) << form.mantissa)
    first = b.ir.and_(b.ir.shl(bits, b.const(bits, form.mantissa - 1)), field)
    second = b.ir.sub(b.ir.shl(bits, b.const(bits, form.mantissa)), first)
    return b.mul(b.mul(p, b.bits_float(first)), b.bits_float(second))


def exp_nonpositive(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """exp(x) for x <= 0 (any value for x > 0), with the bits of `exp` for normal results."""
    form = exp_format(x)
    x = b.max(x, b.const(x, form.lowest))
    # Results are made larger by 2^guard, so that a single power of two reaches the subnormals.
    guard = form.mantissa + 1
    # With an even offset, as in exp, halves (which occur without FMA) are rounded to the same k.
    guard += (form.bias + guard) % 2
    bits, r = reduce(b, x, form.bias + guard)
    p = horner(b, r, (1.0, 1.0, *form.tail))
    return b.mul(b.mul(p, power_of_two(b, bits, x)), b.const(x, 2.0**-guard))


def expm1_nonpositive(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """expm1(x) for x <= 0 (any value for x > 0): what ELU, SELU and CELU select.

    The bits are those of `expm1`, but -0 gives +0.
    """
    form = exp_format(x)
    bits, r = reduce(b, b.max(x, b.const(x, form.saturated)), form.bias, fine=False)
    p = expm1_reduced(b, r)
    s = power_of_two(b, bits, x)
    return b.fma(s, p, b.sub(s, b.const(x, 1.0)))


@math_function("exponential-minus-one", f32=(1.5, 1.75), f64=(1.75, 1.75))
def expm1(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The function e^x - 1."""
    form = exp_format(x)
    bounded = b.clamp(b.const(x, form.saturated), x, b.const(x, form.highest))
    bits, r = reduce(b, bounded, form.bias, fine=False)
    positive = b.gt(x, b.const(x, 0.0))
    if b.has_fma:
        k = b.sub(b.bits_float(bits), b.const(x, form.magic + form.bias))
        r = b.select(positive, b.fma(k, b.const(x, -form.ln2_rest), r), r)
    square = b.mul(r, r)
    tail = horner(b, r, form.tail)
    # 2^k overflows before the result does.
    large = b.gt(x, b.const(x, form.large))
    bits = b.ir.add(bits, b.ir.sext(large, bits.type))
    s = power_of_two(b, bits, x)
    whole = b.sub(s, b.const(x, 1.0))
    # Where k is positive, the rounding of p itself would be magnified.
    above = b.fma(s, b.mul(square, tail), b.fma(s, r, whole))
    below = b.fma(s, b.fma(square, tail, r), whole)
    y = b.select(positive, above, below)
    return b.copysign(b.select(large, b.add(y, y), y), x)
