"""LLVM types of scalars and vectors, how they hold the model's types, and constants of them.

Element types in registers: `pred` is i1, `s4` and `u4` are i8 holding the extended value, integers
are iN, `f32` and `f64` are themselves, and the narrow floats (f16, bf16, f8) are `float` holding a
value that the narrow type can represent. In memory narrow floats are integers of their width and
`pred` is i8.
"""

from __future__ import annotations

import math
import struct
from typing import Union

from llvmlite import ir

from tfaot.ir.dtypes import DType

HALF = ir.HalfType()
F32 = ir.FloatType()
F64 = ir.DoubleType()
I1 = ir.IntType(1)
I8 = ir.IntType(8)
I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)

Number = Union[int, float, bool]


class LiteralConstant(ir.FormattedConstant):
    """A constant given by its text; llvmlite alone would split the text of a vector into lanes."""

    def __init__(self, type_: ir.Type, text: str) -> None:
        super().__init__(type_, text)
        self.constant = text


class Splat(LiteralConstant):
    """A constant whose lanes are all `number` (also the scalar constant of a scalar type)."""

    def __init__(self, type_: ir.Type, number: Number) -> None:
        element = element_type(type_)
        text = scalar_text(element, number)
        if isinstance(type_, ir.VectorType):
            text = f"splat ({element} {text})"
        super().__init__(type_, text)
        self.number = number


def element_type(type_: ir.Type) -> ir.Type:
    """The element type of a vector type, a scalar type itself."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def lane_count(type_: ir.Type) -> int | None:
    """The lanes of a vector type or of a struct of vectors, None for a scalar type."""
    if isinstance(type_, ir.LiteralStructType):
        return lane_count(type_.elements[0])
    return type_.count if isinstance(type_, ir.VectorType) else None


def vector_type(element: ir.Type, lanes: int | None) -> ir.Type:
    """A vector of `lanes` elements, or the scalar type where `lanes` is None."""
    return element if lanes is None else ir.VectorType(element, lanes)


def with_element(type_: ir.Type, element: ir.Type) -> ir.Type:
    """The type with the lanes of `type_` and another element type."""
    return vector_type(element, lane_count(type_))


def is_float(type_: ir.Type) -> bool:
    """Whether the elements are half, float or double."""
    return isinstance(element_type(type_), (ir.HalfType, ir.FloatType, ir.DoubleType))


def bit_width(type_: ir.Type) -> int:
    """Bits of one element."""
    element = element_type(type_)
    if isinstance(element, ir.IntType):
        return element.width
    return {"half": 16, "float": 32, "double": 64}[str(element)]


def integer_like(type_: ir.Type) -> ir.Type:
    """The integer type of the same lanes and width."""
    return with_element(type_, ir.IntType(bit_width(type_)))


def register_element(dtype: DType) -> ir.Type:
    """The element type that holds a `dtype` in registers (see the module docstring)."""
    if dtype is DType.PRED:
        return I1
    if dtype is DType.F64:
        return F64
    if dtype.is_float:
        return F32
    assert dtype.is_integer, dtype
    return ir.IntType(max(8, dtype.bits))


def memory_element(dtype: DType) -> ir.Type:
    """The element type that holds a `dtype` in memory (see the module docstring)."""
    if dtype in (DType.F32, DType.F64):
        return register_element(dtype)
    return ir.IntType(dtype.itemsize * 8)


def scalar_text(element: ir.Type, number: Number) -> str:
    """A number as LLVM writes a constant of the type."""
    if isinstance(element, ir.IntType):
        wrapped = int(number) & ((1 << element.width) - 1)
        if element.width == 1:
            return "true" if wrapped else "false"
        if wrapped >> (element.width - 1):
            wrapped -= 1 << element.width
        return str(wrapped)
    value = float(number)
    if isinstance(element, ir.FloatType):
        value = round_to_float32(value)
    # LLVM writes half, float and double constants alike: the bits of the equal double.
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def round_to_float32(value: float) -> float:
    """`value` rounded to the nearest float32; infinity beyond the largest."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
