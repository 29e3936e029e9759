"""sin, cos and tan for every finite argument.

float32 is computed in float64, whose rounding alone then makes the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.angle import reduce_float32, reduce_float64
from tfaot.codegen.math.doubled import Doubled
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import F32, F64, bit_width, with_element
from tfaot.codegen.vector import VectorBuilder


@dataclass(frozen=True)
class Turned:
    """An angle's quadrant (lowest two bits), and sine and cosine of the rest."""

    quadrant: ir.Value
    sine: ir.Value
    cosine: ir.Value


def _turned_float32(b: VectorBuilder, x: ir.Value) -> Turned:
    """Of a float32 argument, in doubles of float32's accuracy."""
    quadrant, r = reduce_float32(b, b.ir.fpext(x, with_element(x.type, F64)))
    z = b.mul(r, r)
    one = b.const(r, 1.0)
    sine = b.mul(r, b.fma(z, horner(b, z, c.SIN_TAIL_LOW), one))
    cosine = b.fma(z, horner(b, z, c.COS_TAIL_LOW), one)
    return Turned(quadrant, sine, cosine)


def _turned_float64(b: VectorBuilder, x: ir.Value) -> tuple[Turned, Doubled]:
    """Of |x|; also the rest itself."""
    quadrant, rest = reduce_float64(b, b.abs(x))
    r, low = rest
    z = b.mul(r, r)
    half = b.mul(z, b.const(x, 0.5))
    one = b.const(x, 1.0)
    # sin(r + low) = r + (r z tail + low cos r), cos(r + low) = 1 - z/2 + (z^2 tail - r low).
    inner = b.fma(low, b.sub(one, half), b.mul(b.mul(r, z), horner(b, z, c.SIN_TAIL_F64)))
    sine = b.add(r, inner)
    whole = b.sub(one, half)
    lost = b.sub(b.sub(one, whole), half)
    inner = b.fma(b.mul(z, z), horner(b, z, c.COS_TAIL_F64), b.sub(lost, b.mul(r, low)))
    return Turned(quadrant, sine, b.add(whole, inner)), rest


def _bit(b: VectorBuilder, quadrant: ir.Value, mask: int) -> ir.Value:
    return b.ne(b.ir.and_(quadrant, b.const(quadrant, mask)), b.const(quadrant, 0))


def _wave(b: VectorBuilder, t: Turned) -> ir.Value:
    """The sine of an angle."""
    value = b.select(_bit(b, t.quadrant, 1), t.cosine, t.sine)
    return b.select(_bit(b, t.quadrant, 2), b.neg(value), value)


def _advanced(b: VectorBuilder, t: Turned) -> Turned:
    """A quarter turn on."""
    return Turned(b.ir.add(t.quadrant, b.const(t.quadrant, 1)), t.sine, t.cosine)


def _tangent(b: VectorBuilder, t: Turned) -> ir.Value:
    odd = _bit(b, t.quadrant, 1)
    numerator = b.select(odd, b.neg(t.cosine), t.sine)
    return b.div(numerator, b.select(odd, t.sine, t.cosine))


def _round32(b: VectorBuilder, x: ir.Value) -> ir.Value:
    return b.ir.fptrunc(x, with_element(x.type, F32))


def _invalid(b: VectorBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The value y, but NaN where x is infinite or NaN."""
    return b.select(b.is_finite(x), y, b.const(y, math.nan))


@math_function("sine", f32=(0.75, 0.75), f64=(1.0, 1.0))
def sin(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The sine."""
    if bit_width(x.type) == 32:
        return _round32(b, _wave(b, _turned_float32(b, x)))
    turned, _ = _turned_float64(b, x)
    y = b.xor(_wave(b, turned), b.and_(x, b.const(x, -0.0)))
    return _invalid(b, x, y)


@math_function("cosine", f32=(0.75, 0.75), f64=(1.0, 1.0))
def cos(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The cosine."""
    if bit_width(x.type) == 32:
        return _round32(b, _wave(b, _advanced(b, _turned_float32(b, x))))
    turned, _ = _turned_float64(b, x)
    return _invalid(b, x, _wave(b, _advanced(b, turned)))


@math_function("tan", f32=(0.75, 0.75), f64=(2.5, 2.5))
def tan(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The tangent."""
    if bit_width(x.type) == 32:
        return _round32(b, _tangent(b, _turned_float32(b, x)))
    turned, _ = _turned_float64(b, x)
    y = b.xor(_tangent(b, turned), b.and_(x, b.const(x, -0.0)))
    return _invalid(b, x, y)
