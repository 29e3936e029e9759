"""Arithmetic on scalars and vectors of any lane count, as LLVM IR that never becomes a call.

Input: an `ir.IRBuilder` and what the target can do (`has_fma`, `has_f16c`).
Output: instructions whose lanes are computed alike whatever the lane count, so that a scalar and
every vector width give the same bits. No fast-math flags, no approximate instructions, and no
intrinsic that a target lacking it would lower to a library call.

How types are held in registers and memory is told in `codegen.types`; `from_memory` and `to_memory`
convert between the two. A complex number is a struct of two parts (`parts`,
`pair`), each a scalar or vector; of all methods only `select`, `splat` and `convert` to the same
type take it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.types import (
    F32,
    F64,
    HALF,
    I1,
    I8,
    I16,
    I32,
    LiteralConstant,
    Number,
    Splat,
    bit_width,
    element_type,
    integer_like,
    is_float,
    lane_count,
    register_element,
    scalar_text,
    with_element,
)
from tfaot.ir.dtypes import DType


@dataclass(frozen=True)
class FloatFormat:
    """A binary floating-point format narrower than float32.

    Attributes:
        bits: total width.
        mantissa: explicit mantissa bits.
        bias: exponent bias.
        max_code: largest finite code without sign.
        overflow_code: what a magnitude beyond the largest finite value rounds to.
        nan_code: the code of NaN without sign.
        has_infinity: whether codes above `max_code` begin with an infinity.
    """

    bits: int
    mantissa: int
    bias: int
    max_code: int
    overflow_code: int
    nan_code: int
    has_infinity: bool


FLOAT16 = FloatFormat(16, 10, 15, 0x7BFF, 0x7C00, 0x7E00, True)
FLOAT8_E5M2 = FloatFormat(8, 2, 15, 0x7B, 0x7C, 0x7E, True)
FLOAT8_E4M3FN = FloatFormat(8, 3, 7, 0x7E, 0x7F, 0x7F, False)

_NARROW: dict[DType, FloatFormat] = {
    DType.F16: FLOAT16,
    DType.F8E5M2: FLOAT8_E5M2,
    DType.F8E4M3FN: FLOAT8_E4M3FN,
}


class VectorBuilder:
    """Emits arithmetic at the position of an `ir.IRBuilder`.

    All operands of one call have the same type, unless a docstring says otherwise. Comparisons
    give i1 lanes.

    Attributes:
        ir: the wrapped builder.
        has_fma: whether the target has fused multiply-add; else `fma` is a multiply and an add.
        has_f16c: whether the target converts half to float and back in hardware.
    """

    def __init__(
        self, builder: ir.IRBuilder, *, has_fma: bool = True, has_f16c: bool = True
    ) -> None:
        self.ir = builder
        self.has_fma = has_fma
        self.has_f16c = has_f16c

    # Constants and shapes

    def const(self, like: ir.Type | ir.Value, number: Number) -> ir.Value:
        """`number` in every lane, of the type `like` or of the type of the value `like`."""
        return Splat(like.type if isinstance(like, ir.Value) else like, number)

    def const_bits(self, like: ir.Type | ir.Value, bits: int) -> ir.Value:
        """The float with the given bit pattern in every lane."""
        type_ = like.type if isinstance(like, ir.Value) else like
        form = {16: ("<H", "<e"), 32: ("<I", "<f"), 64: ("<Q", "<d")}[bit_width(type_)]
        return Splat(type_, struct.unpack(form[1], struct.pack(form[0], bits))[0])

    def lanes(self, element: ir.Type, numbers: Sequence[Number]) -> ir.Value:
        """A constant vector of different lanes."""
        text = ", ".join(f"{element} {scalar_text(element, n)}" for n in numbers)
        return LiteralConstant(ir.VectorType(element, len(numbers)), f"<{text}>")

    def iota(self, type_: ir.Type) -> ir.Value:
        """0, 1, 2, ... in the lanes of a vector type; 0 for a scalar type."""
        lanes = lane_count(type_)
        if lanes is None:
            return self.const(type_, 0)
        return self.lanes(element_type(type_), range(lanes))

    def splat(self, scalar: ir.Value, lanes: int | None) -> ir.Value:
        """A vector with `scalar` in every lane; `scalar` itself where `lanes` is None."""
        if lanes is None:
            return scalar
        if isinstance(scalar.type, ir.LiteralStructType):
            return self.pair(*(self.splat(part, lanes) for part in self.parts(scalar)))
        type_ = ir.VectorType(scalar.type, lanes)
        if isinstance(scalar, Splat):
            return Splat(type_, scalar.number)
        undefined = LiteralConstant(type_, "poison")
        first = self.ir.insert_element(undefined, scalar, ir.Constant(I32, 0))
        mask = ir.Constant(ir.VectorType(I32, lanes), [ir.Constant(I32, 0)] * lanes)
        return self.ir.shuffle_vector(first, undefined, mask)

    # Complex numbers

    def parts(self, z: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Real and imaginary part of a complex number."""
        return self.ir.extract_value(z, 0), self.ir.extract_value(z, 1)

    def pair(self, real: ir.Value, imaginary: ir.Value) -> ir.Value:
        """The complex number of two parts."""
        type_ = ir.LiteralStructType([real.type, imaginary.type])
        half = self.ir.insert_value(ir.Constant(type_, ir.Undefined), real, 0)
        return self.ir.insert_value(half, imaginary, 1)

    # Floating point and integer arithmetic

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The sum; integers wrap."""
        return self.ir.fadd(a, b) if is_float(a.type) else self.ir.add(a, b)

    def sub(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The difference; integers wrap."""
        return self.ir.fsub(a, b) if is_float(a.type) else self.ir.sub(a, b)

    def mul(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The product; integers wrap."""
        return self.ir.fmul(a, b) if is_float(a.type) else self.ir.mul(a, b)

    def neg(self, a: ir.Value) -> ir.Value:
        """-a; of a float only the sign bit changes."""
        return self.ir.fneg(a) if is_float(a.type) else self.ir.sub(self.const(a, 0), a)

    def abs(self, a: ir.Value) -> ir.Value:
        """|a|; the smallest signed integer stays itself."""
        if is_float(a.type):
            return self._intrinsic("fabs", a)
        return self.select(self.lt(a, self.const(a, 0)), self.neg(a), a)

    def fma(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """The value of a * b + c, rounded once, or twice where the target lacks the instruction."""
        if self.has_fma:
            return self._intrinsic("fma", a, b, c)
        return self.ir.fadd(self.ir.fmul(a, b), c)

    def div(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """The quotient; of integers as in HLO: x / 0 = -1 (all ones), INT_MIN / -1 = INT_MIN."""
        if is_float(a.type):
            return self.ir.fdiv(a, b)
        quotient = self._divide(a, b, signed)
        if isinstance(b, Splat) and b.number != 0:
            return quotient
        return self.select(self.eq(b, self.const(b, 0)), self.const(a, -1), quotient)

    def rem(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """Integer remainder with the sign of a, as HLO: x % 0 = x, INT_MIN % -1 = 0."""
        assert not is_float(a.type), "the floating-point remainder is tfaot.codegen.math's"
        # The quotient of a zero divisor is finite here, so a - q * 0 = a needs no select.
        return self.ir.sub(a, self.ir.mul(self._divide(a, b, signed), b))

    def _divide(self, a: ir.Value, b: ir.Value, signed: bool) -> ir.Value:
        """The quotient where it is defined, any value where b is 0, INT_MIN for INT_MIN / -1."""
        width = bit_width(a.type)
        if width == 1:
            return a
        if isinstance(b, Splat):
            if b.number == 0:
                return a
            if signed and int(b.number) & ((1 << width) - 1) == (1 << width) - 1:
                return self.neg(a)
            return self.ir.sdiv(a, b) if signed else self.ir.udiv(a, b)
        if width <= 32 and lane_count(a.type) is not None:
            return self._divide_by_float64(a, b, signed)
        unsafe = self.eq(b, self.const(b, 0))
        if signed:
            minus_one = self.eq(b, self.const(b, -1))
            divisor = self.select(self.ir.or_(unsafe, minus_one), self.const(b, 1), b)
            return self.select(minus_one, self.neg(a), self.ir.sdiv(a, divisor))
        return self.ir.udiv(a, self.select(unsafe, self.const(b, 1), b))

    def _divide_by_float64(self, a: ir.Value, b: ir.Value, signed: bool) -> ir.Value:
        """Vector division of at most 32 bits, for which targets have no instruction.

        The double quotient of two 32-bit integers is never rounded up to the next integer.
        """
        divisor = self.select(self.eq(b, self.const(b, 0)), self.const(b, 1), b)
        quotient = self.ir.fdiv(
            self.int_to_float(a, F64, signed=signed), self.int_to_float(divisor, F64, signed=signed)
        )
        if bit_width(a.type) < 32:
            return self.ir.trunc(self.ir.fptosi(quotient, with_element(a.type, I32)), a.type)
        if not signed:
            return self.ir.fptoui(quotient, a.type)
        # INT_MIN / -1 = 2^31 does not fit and has to wrap.
        limit = self.const(quotient, 2.0**31)
        wrapped = self.const(quotient, -(2.0**31))
        quotient = self.select(self.ge(quotient, limit), wrapped, quotient)
        return self.ir.fptosi(quotient, a.type)

    def max(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """The larger operand; NaN where either is NaN. Zeros of either sign compare equal."""
        return self._extremum(a, b, ">", "smax" if signed else "umax")

    def min(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """The smaller operand; NaN where either is NaN. Zeros of either sign compare equal."""
        return self._extremum(a, b, "<", "smin" if signed else "umin")

    def _extremum(self, a: ir.Value, b: ir.Value, op: str, intrinsic: str) -> ir.Value:
        if not is_float(a.type):
            return self._intrinsic(intrinsic, a, b)
        if isinstance(b, Splat):
            a, b = b, a
        # Where either is NaN this picks b (the meaning of x86's maxps), so only a NaN in a is lost.
        picked = self.select(self.ir.fcmp_ordered(op, a, b), a, b)
        if isinstance(a, Splat):
            return a if math.isnan(a.number) else picked
        # a + a is that NaN too; LLVM would merge the two choices were it a itself, into code whose
        # result waits for two comparisons of b instead of one operation.
        return self.select(self.is_nan(a), self.ir.fadd(a, a), picked)

    def clamp(self, low: ir.Value, x: ir.Value, high: ir.Value, *, signed: bool = True) -> ir.Value:
        """min(max(x, low), high); NaN stays NaN."""
        return self.min(self.max(x, low, signed=signed), high, signed=signed)

    def copysign(self, magnitude: ir.Value, sign: ir.Value) -> ir.Value:
        """`magnitude` with the sign bit of `sign`."""
        return self._intrinsic("copysign", magnitude, sign)

    def sqrt(self, a: ir.Value) -> ir.Value:
        """The correctly rounded square root; NaN below zero."""
        return self._intrinsic("sqrt", a)

    def sign(self, a: ir.Value, *, signed: bool = True) -> ir.Value:
        """-1, 0 or 1; zeros keep their sign and NaN stays NaN."""
        zero, one = self.const(a, 0), self.const(a, 1)
        if is_float(a.type):
            nonzero = self.ir.fcmp_ordered("!=", a, zero)
            return self.select(nonzero, self.copysign(one, a), a)
        positive = self.select(self.eq(a, zero), zero, one)
        if not signed:
            return positive
        return self.select(self.lt(a, zero), self.const(a, -1), positive)

    # Rounding to integral values

    def round_even(self, a: ir.Value) -> ir.Value:
        """The nearest integral value, halves to even."""
        return self._intrinsic("roundeven", a)

    def round_afz(self, a: ir.Value) -> ir.Value:
        """The nearest integral value, halves away from zero."""
        whole = self.trunc(a)
        away = self.ir.fadd(whole, self.copysign(self.const(a, 1.0), a))
        fraction = self.abs(self.ir.fsub(a, whole))
        return self.select(self.ge(fraction, self.const(a, 0.5)), away, whole)

    def floor(self, a: ir.Value) -> ir.Value:
        """The largest integral value not above a."""
        return self._intrinsic("floor", a)

    def ceil(self, a: ir.Value) -> ir.Value:
        """The smallest integral value not below a."""
        return self._intrinsic("ceil", a)

    def trunc(self, a: ir.Value) -> ir.Value:
        """The integral part of a."""
        return self._intrinsic("trunc", a)

    # Comparison and selection

    def select(self, condition: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """Lanes of a where `condition` (i1) is set, else of b; also of complex numbers."""
        if isinstance(a.type, ir.LiteralStructType):
            one, two = self.parts(a), self.parts(b)
            return self.pair(*map(self.ir.select, (condition, condition), one, two))
        return self.ir.select(condition, a, b)

    def eq(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Whether a equals b; false with NaN."""
        return self._compare("==", a, b, True)

    def ne(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Whether a differs from b; true with NaN."""
        if is_float(a.type):
            return self.ir.fcmp_unordered("!=", a, b)
        return self._compare("!=", a, b, True)

    def lt(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """Whether a < b; false with NaN."""
        return self._compare("<", a, b, signed)

    def le(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """Whether a <= b; false with NaN."""
        return self._compare("<=", a, b, signed)

    def gt(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """Whether a > b; false with NaN."""
        return self._compare(">", a, b, signed)

    def ge(self, a: ir.Value, b: ir.Value, *, signed: bool = True) -> ir.Value:
        """Whether a >= b; false with NaN."""
        return self._compare(">=", a, b, signed)

    def compare(
        self, direction: str, a: ir.Value, b: ir.Value, *, signed: bool = True, total: bool = False
    ) -> ir.Value:
        """HLO's compare; `direction` is EQ, NE, LT, LE, GT or GE.

        With `total`, floats are in the total order: -NaN < -inf < ... < -0 < +0 < ... < NaN.
        Unsigned integers and pred need `signed=False`.
        """
        if total and is_float(a.type):
            a, b = self.total_order_key(a), self.total_order_key(b)
        op = {"EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}[direction]
        if direction == "NE":
            return self.ne(a, b)
        return self._compare(op, a, b, signed)

    def total_order_key(self, a: ir.Value) -> ir.Value:
        """Signed integers that compare as the floats `a` do in the total order."""
        bits = self.float_bits(a)
        width = bit_width(bits.type)
        negative = self.ir.ashr(bits, self.const(bits, width - 1))
        return self.ir.xor(bits, self.ir.lshr(negative, self.const(bits, 1)))

    def _compare(self, op: str, a: ir.Value, b: ir.Value, signed: bool) -> ir.Value:
        if is_float(a.type):
            return self.ir.fcmp_ordered(op, a, b)
        return self.ir.icmp_signed(op, a, b) if signed else self.ir.icmp_unsigned(op, a, b)

    def is_nan(self, a: ir.Value) -> ir.Value:
        """Whether a is NaN."""
        return self.ir.fcmp_unordered("uno", a, a)

    def is_finite(self, a: ir.Value) -> ir.Value:
        """Whether a is neither infinite nor NaN."""
        return self.lt(self.abs(a), self.const(a, math.inf))

    # Bits

    def float_bits(self, a: ir.Value) -> ir.Value:
        """The bit patterns of floats, as integers of the same width."""
        return self.ir.bitcast(a, integer_like(a.type))

    def bits_float(self, a: ir.Value) -> ir.Value:
        """The floats with the bit patterns in the 16-, 32- or 64-bit integers `a`."""
        element = {16: HALF, 32: F32, 64: F64}[bit_width(a.type)]
        return self.ir.bitcast(a, with_element(a.type, element))

    def and_(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Bitwise and, of floats on their bits."""
        return self._bitwise("and_", a, b)

    def or_(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Bitwise or, of floats on their bits."""
        return self._bitwise("or_", a, b)

    def xor(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Bitwise exclusive or, of floats on their bits."""
        return self._bitwise("xor", a, b)

    def _bitwise(self, op: str, a: ir.Value, b: ir.Value) -> ir.Value:
        emit = {"and_": self.ir.and_, "or_": self.ir.or_, "xor": self.ir.xor}[op]
        if is_float(a.type):
            return self.bits_float(emit(self.float_bits(a), self.float_bits(b)))
        return emit(a, b)

    def not_(self, a: ir.Value) -> ir.Value:
        """Bitwise complement of integers and i1."""
        return self.ir.xor(a, self.const(a, -1))

    def shift_left(self, a: ir.Value, amount: ir.Value) -> ir.Value:
        """Shifts left; 0 where `amount`, taken as unsigned, reaches the width."""
        shifted = self.ir.shl(a, amount)
        return self.select(self._in_width(amount), shifted, self.const(a, 0))

    def shift_right_logical(self, a: ir.Value, amount: ir.Value) -> ir.Value:
        """Shifts right, filling with zeros; 0 where `amount` reaches the width."""
        shifted = self.ir.lshr(a, amount)
        return self.select(self._in_width(amount), shifted, self.const(a, 0))

    def shift_right_arithmetic(self, a: ir.Value, amount: ir.Value) -> ir.Value:
        """Shifts right, filling with the sign; all sign where `amount` reaches the width."""
        limit = self.const(amount, bit_width(amount.type) - 1)
        return self.ir.ashr(a, self._intrinsic("umin", amount, limit))

    def _in_width(self, amount: ir.Value) -> ir.Value:
        return self.lt(amount, self.const(amount, bit_width(amount.type)), signed=False)

    def funnel_shift_left(self, high: ir.Value, low: ir.Value, amount: ir.Value) -> ir.Value:
        """The upper half of (high, low) << amount; `amount` is taken modulo the width."""
        return self._intrinsic("fshl", high, low, amount)

    def popcount(self, a: ir.Value) -> ir.Value:
        """The number of set bits."""
        return self._intrinsic("ctpop", a)

    def count_leading_zeros(self, a: ir.Value) -> ir.Value:
        """The number of leading zero bits; the width for 0."""
        return self.ir.call(self._declare("ctlz", a.type, (a.type, I1)), [a, ir.Constant(I1, 0)])

    # Conversions

    def float_to_int(
        self, a: ir.Value, element: ir.IntType, *, signed: bool = True, bits: int | None = None
    ) -> ir.Value:
        """Truncation toward zero, saturating; NaN gives 0.

        Args:
            a: float or double.
            element: the integer element type of the result.
            signed: whether the result is signed.
            bits: the width whose range saturates, where narrower than `element` (4-bit types).
        """
        width = bits or element.width
        low = -(2 ** (width - 1)) if signed else 0
        high = 2 ** (width - 1) - 1 if signed else 2**width - 1
        limit = self.const(a, float(high + 1))
        # Only values whose truncation fits are converted: the others would be poison.
        fits = self.ir.and_(self.lt(a, limit), self._above(a, low, signed))
        safe = self.select(fits, a, self.const(a, 0.0))
        native = ir.IntType(32 if element.width < 32 else element.width)
        wide = with_element(a.type, native)
        if signed or element.width < 32:
            whole = self.ir.fptosi(safe, wide)
        else:
            whole = self.ir.fptoui(safe, wide)
        whole = self.select(self.ge(a, limit), self.const(wide, high), whole)
        if signed:
            under = self.lt(a, self.const(a, float(low)))
            whole = self.select(under, self.const(wide, low), whole)
        target = with_element(a.type, element)
        return whole if wide == target else self.ir.trunc(whole, target)

    def _above(self, a: ir.Value, low: int, signed: bool) -> ir.Value:
        if not signed:
            return self.gt(a, self.const(a, -1.0))
        return self.ge(a, self.const(a, float(low)))

    def int_to_float(self, a: ir.Value, element: ir.Type, *, signed: bool = True) -> ir.Value:
        """The nearest float or double."""
        target = with_element(a.type, element)
        return self.ir.sitofp(a, target) if signed else self.ir.uitofp(a, target)

    def int_to_int(self, a: ir.Value, element: ir.IntType, *, signed: bool = True) -> ir.Value:
        """Wraps to a narrower type; extends to a wider one (`signed` is the source's)."""
        target, width = with_element(a.type, element), bit_width(a.type)
        if element.width == width:
            return a
        if element.width < width:
            return self.ir.trunc(a, target)
        return self.ir.sext(a, target) if signed else self.ir.zext(a, target)

    def float64_to_float32_odd(self, a: ir.Value) -> ir.Value:
        """Double to float, inexact results to the neighbour whose last bit is set.

        Rounding the result once more, to a type with at least two mantissa bits fewer, then gives
        what rounding `a` at once would give.
        """
        single = with_element(a.type, F32)
        rounded = self.ir.fptrunc(a, single)
        back = self.ir.fpext(rounded, a.type)
        bits = self.float_bits(rounded)
        too_large = self.gt(self.abs(back), self.abs(a))
        toward_zero = self.ir.add(bits, self.ir.sext(too_large, bits.type))
        inexact = self.ir.fcmp_ordered("!=", back, a)
        odd = self.ir.or_(toward_zero, self.ir.zext(inexact, bits.type))
        return self.bits_float(odd)

    def bfloat16_bits(self, a: ir.Value) -> ir.Value:
        """Float to the bits of the nearest bfloat16, as i16."""
        bits = self.float_bits(a)
        low = self.ir.and_(self.ir.lshr(bits, self.const(bits, 16)), self.const(bits, 1))
        rounded = self.ir.add(self.ir.add(bits, self.const(bits, 0x7FFF)), low)
        quiet = self.ir.or_(bits, self.const(bits, 0x400000))
        chosen = self.select(self.is_nan(a), quiet, rounded)
        shifted = self.ir.lshr(chosen, self.const(bits, 16))
        return self.ir.trunc(shifted, with_element(a.type, I16))

    def bfloat16_value(self, bits: ir.Value) -> ir.Value:
        """The float of bfloat16 bits (i16)."""
        wide = self.ir.zext(bits, with_element(bits.type, I32))
        return self.bits_float(self.ir.shl(wide, self.const(wide, 16)))

    def narrow_bits(self, a: ir.Value, form: FloatFormat) -> ir.Value:
        """Float to the bits of the nearest value of a narrow format, halves to even."""
        target = with_element(a.type, ir.IntType(form.bits))
        if form is FLOAT16 and self.has_f16c:
            half = self.ir.fptrunc(a, with_element(a.type, HALF))
            return self.ir.bitcast(half, target)
        bits = self.float_bits(a)
        magnitude = self.ir.and_(bits, self.const(bits, 0x7FFFFFFF))
        drop = 23 - form.mantissa
        low = self.ir.and_(self.ir.lshr(magnitude, self.const(bits, drop)), self.const(bits, 1))
        rebias = ((127 - form.bias) << 23) - ((1 << (drop - 1)) - 1)
        normal = self.ir.add(self.ir.sub(magnitude, self.const(bits, rebias)), low)
        normal = self.ir.lshr(normal, self.const(bits, drop))
        # Adding this power of two aligns the mantissa so that the hardware rounds a subnormal.
        anchor_exponent = 23 - (form.mantissa + form.bias - 1)
        anchor = self.const(a, 2.0**anchor_exponent)
        aligned = self.ir.fadd(self.bits_float(magnitude), anchor)
        subnormal = self.ir.sub(self.float_bits(aligned), self.float_bits(anchor))
        smallest_normal = self.const(bits, (128 - form.bias) << 23)
        code = self.select(self.lt(magnitude, smallest_normal), subnormal, normal)
        over = self.gt(code, self.const(bits, form.max_code))
        code = self.select(over, self.const(bits, form.overflow_code), code)
        code = self.select(self.is_nan(a), self.const(bits, form.nan_code), code)
        sign = self.ir.lshr(bits, self.const(bits, 32 - form.bits))
        sign = self.ir.and_(sign, self.const(bits, 1 << (form.bits - 1)))
        return self.ir.trunc(self.ir.or_(code, sign), target)

    def narrow_value(self, code: ir.Value, form: FloatFormat) -> ir.Value:
        """The float of the bits of a narrow format (exact)."""
        single = with_element(code.type, F32)
        if form is FLOAT16 and self.has_f16c:
            return self.ir.fpext(self.ir.bitcast(code, with_element(code.type, HALF)), single)
        wide = self.ir.zext(code, with_element(code.type, I32))
        magnitude = self.ir.and_(wide, self.const(wide, (1 << (form.bits - 1)) - 1))
        aligned = self.ir.shl(magnitude, self.const(wide, 23 - form.mantissa))
        # A multiplication rebiases the exponent and makes subnormals normal.
        scaled = self.ir.fmul(
            self.bits_float(aligned), self.const(single, 2.0 ** (127 - form.bias))
        )
        bits = self.float_bits(scaled)
        special = self.gt(magnitude, self.const(wide, form.max_code))
        ones = 0x7F800000 if form.has_infinity else 0x7FC00000
        bits = self.select(special, self.ir.or_(aligned, self.const(wide, ones)), bits)
        sign = self.ir.shl(wide, self.const(wide, 32 - form.bits))
        sign = self.ir.and_(sign, self.const(wide, -(2**31)))
        return self.bits_float(self.ir.or_(bits, sign))

    def from_memory(self, value: ir.Value, dtype: DType) -> ir.Value:
        """A loaded `memory_element(dtype)` as a register value."""
        if dtype is DType.PRED:
            return self.ne(value, self.const(value, 0))
        if dtype is DType.BF16:
            return self.bfloat16_value(value)
        if dtype in _NARROW:
            return self.narrow_value(value, _NARROW[dtype])
        # Only the low half of a 4-bit type's byte counts.
        return self.wrap_to(value, dtype)

    def to_memory(self, value: ir.Value, dtype: DType) -> ir.Value:
        """A register value as the `memory_element(dtype)` to store; narrow floats are rounded."""
        if dtype is DType.PRED:
            return self.ir.zext(value, with_element(value.type, I8))
        if dtype is DType.BF16:
            return self.bfloat16_bits(value)
        if dtype in _NARROW:
            return self.narrow_bits(value, _NARROW[dtype])
        return value

    def round_to(self, value: ir.Value, dtype: DType) -> ir.Value:
        """A float rounded to what the narrow float type `dtype` holds; other types unchanged."""
        if dtype is DType.BF16 or dtype in _NARROW:
            return self.from_memory(self.to_memory(value, dtype), dtype)
        return value

    def wrap_to(self, value: ir.Value, dtype: DType) -> ir.Value:
        """An i8 wrapped to the 4-bit types' range after arithmetic; other types unchanged."""
        if dtype is DType.U4:
            return self.ir.and_(value, self.const(value, 15))
        if dtype is DType.S4:
            high = self.ir.shl(value, self.const(value, 4))
            return self.ir.ashr(high, self.const(value, 4))
        return value

    def convert(self, value: ir.Value, source: DType, target: DType) -> ir.Value:
        """HLO's convert between register values of real types.

        Floats to integers truncate and saturate, NaN gives 0; to pred, all but zero is true.
        Integers wrap; integers to a narrow float round to float first, as XLA does.
        """
        if source is target:
            return value
        if target is DType.PRED:
            return self.ne(value, self.const(value, 0))
        element = register_element(target)
        signed = source.is_signed
        if not source.is_float:
            if isinstance(element, ir.IntType):
                return self.wrap_to(self.int_to_int(value, element, signed=signed), target)
            return self.round_to(self.int_to_float(value, element, signed=signed), target)
        if isinstance(element, ir.IntType):
            return self.float_to_int(value, element, signed=target.is_signed, bits=target.bits)
        if target is DType.F64:
            return self.ir.fpext(value, with_element(value.type, F64))
        if source is DType.F64:
            if target is DType.F32:
                return self.ir.fptrunc(value, with_element(value.type, F32))
            value = self.float64_to_float32_odd(value)
        return self.round_to(value, target)

    # Tables

    def table(self, name: str, element: ir.Type, numbers: Sequence[Number]) -> ir.GlobalVariable:
        """A read-only table private to the module; made once for each name."""
        known = self.ir.module.globals.get(name)
        if isinstance(known, ir.GlobalVariable):
            return known
        type_ = ir.ArrayType(element, len(numbers))
        text = ", ".join(f"{element} {scalar_text(element, n)}" for n in numbers)
        variable = ir.GlobalVariable(self.ir.module, type_, name)
        variable.initializer = LiteralConstant(type_, f"[{text}]")
        variable.linkage = "internal"
        variable.global_constant = True
        variable.unnamed_addr = True
        variable.align = 64
        return variable

    def gather(self, table: ir.GlobalVariable, index: ir.Value) -> ir.Value:
        """The elements of a table at integer indices within its bounds."""
        assert isinstance(table.value_type, ir.ArrayType)
        element, lanes = table.value_type.element, lane_count(index.type)
        address = self.ir.gep(table, [index], source_etype=element)
        if lanes is None:
            return self.ir.load(address, typ=element)
        # llvmlite takes the result for one pointer, while LLVM gives one for each index.
        pointers = ir.VectorType(ir.PointerType(), lanes)
        address.type = pointers
        result = ir.VectorType(element, lanes)
        mask = ir.VectorType(I1, lanes)
        kind = f"{'i' if isinstance(element, ir.IntType) else 'f'}{bit_width(element)}"
        name = f"llvm.masked.gather.v{lanes}{kind}.v{lanes}p0"
        known = self.ir.module.globals.get(name)
        if not isinstance(known, ir.Function):
            signature = ir.FunctionType(result, [pointers, I32, mask, result])
            known = ir.Function(self.ir.module, signature, name)
        align = ir.Constant(I32, bit_width(element) // 8)
        arguments = [address, align, self.const(mask, 1), LiteralConstant(result, "poison")]
        return self.ir.call(known, arguments)

    # Intrinsics

    def _intrinsic(self, name: str, *args: ir.Value) -> ir.Value:
        type_ = args[0].type
        return self.ir.call(self._declare(name, type_, tuple(a.type for a in args)), list(args))

    def _declare(self, name: str, type_: ir.Type, parameters: tuple[ir.Type, ...]) -> ir.Function:
        element = element_type(type_)
        suffix = f"{'i' if isinstance(element, ir.IntType) else 'f'}{bit_width(type_)}"
        lanes = lane_count(type_)
        full = f"llvm.{name}.{'' if lanes is None else f'v{lanes}'}{suffix}"
        module = self.ir.module
        known = module.globals.get(full)
        if isinstance(known, ir.Function):
            return known
        return ir.Function(module, ir.FunctionType(type_, parameters), full)
