"""Conversions among all types of HLO, narrow floats and look-up tables, beside arithmetic.

Input: an `ir.IRBuilder` and what the target can do (`has_fma`, `has_f16c`).
Output: `VectorBuilder`, which has all of `codegen.arithmetic` too and keeps the same promises.

How types are held in registers and memory is told in `codegen.types`; `from_memory` and `to_memory`
convert between the two. `convert` takes a complex number only to the same type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.arithmetic import Arithmetic
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
    bit_width,
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


class VectorBuilder(Arithmetic):
    """Emits arithmetic, conversions and look-ups at the position of an `ir.IRBuilder`.

    Attributes:
        has_f16c: whether the target converts half to float and back in hardware.
    """

    def __init__(
        self, builder: ir.IRBuilder, *, has_fma: bool = True, has_f16c: bool = True
    ) -> None:
        super().__init__(builder, has_fma=has_fma)
        self.has_f16c = has_f16c

    # Narrow floats

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
        # Of a scalar that was just rounded from double, LLVM makes one rounding, and that a call.
        if form is FLOAT16 and self.has_f16c and lane_count(a.type):
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

    # Register and memory types

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
