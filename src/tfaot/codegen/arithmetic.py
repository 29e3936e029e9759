"""Arithmetic on scalars and vectors of any lane count, as LLVM IR that never becomes a call.

Input: an `ir.IRBuilder` and whether the target has fused multiply-add.
Output: instructions whose lanes are computed alike whatever the lane count, so that a scalar and
every vector width give the same bits. No fast-math flags, no approximate instructions, and no
intrinsic that a target lacking it would lower to a library call.

Values have register types (see `codegen.types`). A complex number is a struct of two parts
(`parts`, `pair`), each a scalar or vector; of all methods only `select` and `splat` take it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.types import (
    F32,
    F64,
    HALF,
    I1,
    I32,
    LiteralConstant,
    Number,
    Splat,
    bit_width,
    element_type,
    integer_like,
    is_float,
    lane_count,
    scalar_text,
    with_element,
)


class Arithmetic:
    """Emits arithmetic at the position of an `ir.IRBuilder`.

    All operands of one call have the same type, unless a docstring says otherwise. Comparisons
    give i1 lanes.

    Attributes:
        ir: the wrapped builder.
        has_fma: whether the target has fused multiply-add; else `fma` is a multiply and an add.
    """

    def __init__(self, builder: ir.IRBuilder, *, has_fma: bool = True) -> None:
        self.ir = builder
        self.has_fma = has_fma

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

    # Conversions between integers and floats

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
