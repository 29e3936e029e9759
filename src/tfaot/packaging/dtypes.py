"""Element types as C sees them: spelling, bytes and number in the ABI.

Kept apart from `tfaot.ir.dtypes` so that loading an artifact needs NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CType:
    """One element type.

    Attributes:
        name: its HLO name (`f32`, `pred`).
        enum: the enumerator of `enum tfaot_dtype` in `templates/abi.h`.
        code: that enumerator's value; never changes between ABI versions.
        c: the C and C++ spelling of one element.
        size: bytes of one element.
        numpy: name of the NumPy type (of `ml_dtypes` where NumPy has none).
        bits: the NumPy type of the same bytes that NumPy itself has.
    """

    name: str
    enum: str
    code: int
    c: str
    size: int
    numpy: str
    bits: str


CTYPES: dict[str, CType] = {
    t.name: t
    for t in (
        CType("pred", "TFAOT_PRED", 1, "tfaot_bool", 1, "bool", "bool"),
        CType("s4", "TFAOT_S4", 2, "int8_t", 1, "int4", "int8"),
        CType("s8", "TFAOT_S8", 3, "int8_t", 1, "int8", "int8"),
        CType("s16", "TFAOT_S16", 4, "int16_t", 2, "int16", "int16"),
        CType("s32", "TFAOT_S32", 5, "int32_t", 4, "int32", "int32"),
        CType("s64", "TFAOT_S64", 6, "int64_t", 8, "int64", "int64"),
        CType("u4", "TFAOT_U4", 7, "uint8_t", 1, "uint4", "uint8"),
        CType("u8", "TFAOT_U8", 8, "uint8_t", 1, "uint8", "uint8"),
        CType("u16", "TFAOT_U16", 9, "uint16_t", 2, "uint16", "uint16"),
        CType("u32", "TFAOT_U32", 10, "uint32_t", 4, "uint32", "uint32"),
        CType("u64", "TFAOT_U64", 11, "uint64_t", 8, "uint64", "uint64"),
        CType("f8e4m3fn", "TFAOT_F8E4M3FN", 12, "tfaot_float8", 1, "float8_e4m3fn", "uint8"),
        CType("f8e5m2", "TFAOT_F8E5M2", 13, "tfaot_float8", 1, "float8_e5m2", "uint8"),
        CType("f16", "TFAOT_F16", 14, "tfaot_float16", 2, "float16", "float16"),
        CType("bf16", "TFAOT_BF16", 15, "tfaot_bfloat16", 2, "bfloat16", "uint16"),
        CType("f32", "TFAOT_F32", 16, "float", 4, "float32", "float32"),
        CType("f64", "TFAOT_F64", 17, "double", 8, "float64", "float64"),
        CType("c64", "TFAOT_C64", 18, "tfaot_complex64", 8, "complex64", "complex64"),
        CType("c128", "TFAOT_C128", 19, "tfaot_complex128", 16, "complex128", "complex128"),
    )
}
