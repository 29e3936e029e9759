"""atan2.

With q = min(|x|, |y|) / max(|x|, |y|), moved to |q| <= 1/2, the angle is a multiple of pi/4
plus or minus atan(q). float32 is computed in float64.
"""

from __future__ import annotations

import math

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.polynomial import horner
from tfaot.codegen.math.registry import math_function
from tfaot.codegen.types import F32, F64, bit_width, with_element
from tfaot.codegen.vector import VectorBuilder

# pi/4 with three bits to spare, so that 2, 3 and 4 times it is exact, and what it lacks.
PI_QUARTER = (float.fromhex("0x1.921fb54442d10p-1"), float.fromhex("0x1.08d313198a2e0p-50"))


@math_function("atan2", 2, f32=(0.75, 0.75), f64=(2.25, 2.25))
def atan2(b: VectorBuilder, y: ir.Value, x: ir.Value) -> ir.Value:
    """The angle of the point (x, y), in [-pi, pi]; signs of zeros and infinities as in C."""
    if bit_width(x.type) == 32:
        wide = with_element(x.type, F64)
        angle = _atan2(b, b.ir.fpext(y, wide), b.ir.fpext(x, wide), c.ATAN_TAIL_LOW)
        return b.ir.fptrunc(angle, with_element(x.type, F32))
    return _atan2(b, y, x, c.ATAN_TAIL_F64)


def _atan2(b: VectorBuilder, y: ir.Value, x: ir.Value, tail: tuple[float, ...]) -> ir.Value:
    zero, one, infinity = (b.const(x, v) for v in (0.0, 1.0, math.inf))
    ax, ay = b.abs(x), b.abs(y)
    swap = b.gt(ay, ax)
    low, high = b.select(swap, ax, ay), b.select(swap, ay, ax)
    # Infinities and zeros become 1s with the same quotient; the huge must not overflow as a sum.
    unbounded = b.eq(high, infinity)
    low = b.select(unbounded, b.select(b.eq(low, infinity), one, zero), low)
    high = b.select(unbounded, one, high)
    high = b.select(b.eq(high, zero), one, high)
    scale = b.select(b.gt(high, b.const(x, 2.0**1000)), b.const(x, 2.0**-60), one)
    low, high = b.mul(low, scale), b.mul(high, scale)

    steep = b.gt(low, b.mul(high, b.const(x, 0.5)))
    numerator = b.select(steep, b.sub(low, high), low)
    q = b.div(numerator, b.select(steep, b.add(low, high), high))
    z = b.mul(q, q)
    small = b.fma(b.mul(q, z), horner(b, z, tail), q)

    # atan(low / high) = steep pi/4 + small; swapping takes it from pi/2, and x < 0 that from pi.
    eighths = b.select(steep, one, zero)
    eighths = b.select(swap, b.sub(b.const(x, 2.0), eighths), eighths)
    negative = b.lt(b.float_bits(x), b.const(b.float_bits(x), 0))
    eighths = b.select(negative, b.sub(b.const(x, 4.0), eighths), eighths)
    small = b.select(b.ir.xor(swap, negative), b.neg(small), small)
    rest = b.fma(eighths, b.const(x, PI_QUARTER[1]), small)
    angle = b.fma(eighths, b.const(x, PI_QUARTER[0]), rest)
    # An angle of 0 in all is +0 or -0 with y, tiny quotients keep their bits.
    angle = b.select(b.eq(eighths, zero), small, angle)
    angle = b.copysign(b.abs(angle), y)
    return b.select(b.ir.fcmp_unordered("uno", x, y), b.const(x, math.nan), angle)
