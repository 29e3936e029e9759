"""Double-double arithmetic: an unevaluated sum of two floats, the second below half an ULP."""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from tfaot.codegen.vector import VectorBuilder


class Doubled(NamedTuple):
    """The sum high + low."""

    high: ir.Value
    low: ir.Value


def two_sum(b: VectorBuilder, x: ir.Value, y: ir.Value) -> Doubled:
    """The exact sum of two floats of any magnitudes."""
    total = b.add(x, y)
    part = b.sub(total, x)
    return Doubled(total, b.add(b.sub(x, b.sub(total, part)), b.sub(y, part)))


def fast_two_sum(b: VectorBuilder, x: ir.Value, y: ir.Value) -> Doubled:
    """The exact sum of two floats of which x is 0 or not the smaller."""
    total = b.add(x, y)
    return Doubled(total, b.add(b.sub(x, total), y))


def two_product(b: VectorBuilder, x: ir.Value, y: ir.Value) -> Doubled:
    """The exact product of two doubles (without FMA: below 2^995)."""
    product = b.mul(x, y)
    if b.has_fma:
        return Doubled(product, b.fma(x, y, b.neg(product)))
    (xh, xl), (yh, yl) = _halves(b, x), _halves(b, y)
    error = b.sub(b.mul(xh, yh), product)
    error = b.add(b.add(error, b.mul(xh, yl)), b.mul(xl, yh))
    return Doubled(product, b.add(error, b.mul(xl, yl)))


def _halves(b: VectorBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Splits x into a sum of two doubles of at most 26 bits."""
    scaled = b.mul(x, b.const(x, 2.0**27 + 1.0))
    high = b.sub(scaled, b.sub(scaled, x))
    return high, b.sub(x, high)


def multiply(b: VectorBuilder, x: Doubled, y: Doubled) -> Doubled:
    """The product of two double-doubles."""
    high, low = two_product(b, x.high, y.high)
    low = b.fma(x.high, y.low, low)
    return fast_two_sum(b, high, b.fma(x.low, y.high, low))
