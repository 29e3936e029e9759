"""Reduction of angles to [-pi/4, pi/4], exact for every argument (Payne and Hanek's method).

The product of x and 2/pi is needed modulo 4 only, so the digits of 2/pi whose products with x are
multiples of 4 are left out: which ones depends on the exponent of x alone.
"""

from __future__ import annotations

from functools import cache

from llvmlite import ir

from tfaot.codegen.math import coefficients as c
from tfaot.codegen.math.doubled import Doubled, multiply
from tfaot.codegen.types import F64, I64, with_element
from tfaot.codegen.vector import VectorBuilder

_HIGH_BITS = 29
_FIRST, _LAST = 24, 127
_WORD_OFFSET = 12
_TURN_WORDS = 21

PI_HALF = (float.fromhex("0x1.921fb54442d18p+0"), float.fromhex("0x1.1a62633145c07p-54"))


def two_over_pi_bits(start: int, count: int) -> int:
    """Bits start, start + 1, ... of 2/pi after the binary point; bit 1 weighs 1/2."""
    assert start >= 1
    end = start + count - 1
    assert end <= c.TWO_OVER_PI_BITS
    return (c.TWO_OVER_PI >> (c.TWO_OVER_PI_BITS - end)) & ((1 << count) - 1)


@cache
def _float32_digits() -> tuple[list[float], list[float]]:
    """Per exponent 24, 25, ...: the digits of 2/pi that count, the first 29 and the next 53."""
    high, low = [], []
    for exponent in range(_FIRST, _LAST + 1):
        start = max(1, exponent - _FIRST)
        middle = start + _HIGH_BITS
        high.append(two_over_pi_bits(start, _HIGH_BITS) * 2.0 ** -(middle - 1))
        low.append(two_over_pi_bits(middle, 53) * 2.0 ** -(middle + 52))
    return high, low


def _exponent(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """The exponents of doubles, 1024 for inf and NaN."""
    bits = b.float_bits(x)
    field = b.ir.and_(b.ir.lshr(bits, b.const(bits, 52)), b.const(bits, 0x7FF))
    return b.ir.sub(field, b.const(bits, 1023))


def reduce_float32(b: VectorBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The quadrant (mod 4, in the lowest bits) and the rest of doubles that are float32 values.

    The rest has a relative error below 2^-25 in the worst case, and about 2^-50 mostly.
    """
    bounded = b.clamp(b.const(with_element(x.type, I64), _FIRST), _exponent(b, x), _last(b, x))
    index = b.ir.sub(bounded, b.const(bounded, _FIRST))
    high_digits, low_digits = _float32_digits()
    high = b.gather(b.table("tfaot.angle32.high", F64, high_digits), index)
    low = b.gather(b.table("tfaot.angle32.low", F64, low_digits), index)
    # 24 bits times 29 bits: exact.
    product = b.mul(x, high)
    rest = b.mul(x, low)
    magic = b.const(x, 1.5 * 2.0**52)
    shifted = b.add(b.add(product, rest), magic)
    turns = b.add(b.sub(product, b.sub(shifted, magic)), rest)
    return b.float_bits(shifted), b.mul(turns, b.const(x, PI_HALF[0]))


def _last(b: VectorBuilder, x: ir.Value) -> ir.Value:
    return b.const(with_element(x.type, I64), _LAST)


@cache
def _turn_words() -> list[int]:
    """Words of 1 / (2 pi) after 64 zero bits, highest first."""
    bits = _TURN_WORDS * 64 - 66
    value = two_over_pi_bits(1, bits)
    return [(value >> (64 * i)) & (2**64 - 1) for i in reversed(range(_TURN_WORDS))]


def _multiply_wide(b: VectorBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """The high and low 64 bits of the product of unsigned 64-bit integers."""
    half, mask = b.const(x, 32), b.const(x, 0xFFFFFFFF)
    xh, xl = b.ir.lshr(x, half), b.ir.and_(x, mask)
    yh, yl = b.ir.lshr(y, half), b.ir.and_(y, mask)
    low = b.ir.mul(xl, yl)
    cross, other = b.ir.mul(xl, yh), b.ir.mul(xh, yl)
    middle = b.ir.add(b.ir.lshr(low, half), b.ir.and_(cross, mask))
    middle = b.ir.add(middle, b.ir.and_(other, mask))
    high = b.ir.add(b.ir.mul(xh, yh), b.ir.lshr(cross, half))
    high = b.ir.add(b.ir.add(high, b.ir.lshr(other, half)), b.ir.lshr(middle, half))
    return high, b.ir.or_(b.ir.shl(middle, half), b.ir.and_(low, mask))


def reduce_float64(b: VectorBuilder, a: ir.Value) -> tuple[ir.Value, Doubled]:
    """The quadrant (mod 4) and the rest of doubles a >= 0; for inf and NaN any values."""
    integer = with_element(a.type, I64)
    bits = b.float_bits(a)
    mantissa = b.ir.and_(bits, b.const(bits, (1 << 52) - 1))
    mantissa = b.ir.or_(mantissa, b.const(bits, 1 << 52))
    exponent = b.clamp(b.const(integer, -1), _exponent(b, a), b.const(integer, 1023))
    position = b.ir.add(exponent, b.const(bits, _WORD_OFFSET))
    word, bit = b.ir.lshr(position, b.const(bits, 6)), b.ir.and_(position, b.const(bits, 63))
    table = b.table("tfaot.angle64.words", I64, _turn_words())
    words = [b.gather(table, b.ir.add(word, b.const(bits, i))) for i in range(4)]
    w0, w1, w2 = (b.funnel_shift_left(words[i], words[i + 1], bit) for i in range(3))
    # The product's integral part, in turns, drops out of the 128 bits that are kept.
    top = b.ir.mul(mantissa, w0)
    high1, low1 = _multiply_wide(b, mantissa, w1)
    high2, _ = _multiply_wide(b, mantissa, w2)
    low = b.ir.add(low1, high2)
    carry = b.ir.zext(b.lt(low, low1, signed=False), integer)
    high = b.ir.add(b.ir.add(top, high1), carry)
    quadrant = b.ir.lshr(b.ir.add(high, b.const(bits, 1 << 61)), b.const(bits, 62))
    high = b.ir.sub(high, b.ir.shl(quadrant, b.const(bits, 62)))
    turns = _signed_fraction(b, high, low, a.type)
    rest = multiply(b, turns, Doubled(b.const(a, PI_HALF[0]), b.const(a, PI_HALF[1])))
    tiny = b.lt(a, b.const(a, 0.75))
    zero = b.const(a, 0.0)
    quadrant = b.select(tiny, b.const(bits, 0), quadrant)
    return quadrant, Doubled(b.select(tiny, a, rest.high), b.select(tiny, zero, rest.low))


def _signed_fraction(b: VectorBuilder, high: ir.Value, low: ir.Value, type_: ir.Type) -> Doubled:
    """The signed 128-bit integer (high, low) times 2^-126."""
    sign = b.ir.ashr(high, b.const(high, 63))
    high, low = b.ir.xor(high, sign), b.ir.xor(low, sign)
    # A double is never closer to a multiple of pi/2 than about 2^-61: 59 zeros may be shifted out.
    zeros = b.min(b.count_leading_zeros(high), b.const(high, 59))
    first = b.funnel_shift_left(high, low, zeros)
    second = b.ir.shl(low, zeros)
    top = b.int_to_float(b.ir.lshr(first, b.const(high, 11)), F64)
    tail = b.ir.shl(b.ir.and_(first, b.const(high, 0x7FF)), b.const(high, 42))
    tail = b.ir.or_(tail, b.ir.lshr(second, b.const(high, 22)))
    field = b.ir.sub(b.const(high, 1023 - 51), zeros)
    scale = b.bits_float(b.ir.shl(field, b.const(high, 52)))
    scale = b.or_(scale, b.bits_float(b.ir.and_(sign, b.const(high, -(2**63)))))
    unit = b.const(type_, 2.0**-53)
    return Doubled(b.mul(top, scale), b.mul(b.int_to_float(tail, F64), b.mul(scale, unit)))
