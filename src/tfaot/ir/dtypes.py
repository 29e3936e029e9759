"""Element types of HLO, with their NumPy and C counterparts."""

from __future__ import annotations

from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np

from tfaot.errors import UnsupportedError


class DType(Enum):
    """An HLO element type; the value is its name in HLO text (`f32`, `pred`, ...)."""

    PRED = "pred"
    S4 = "s4"
    S8 = "s8"
    S16 = "s16"
    S32 = "s32"
    S64 = "s64"
    U4 = "u4"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    F8E4M3FN = "f8e4m3fn"
    F8E5M2 = "f8e5m2"
    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"
    C64 = "c64"
    C128 = "c128"

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy type of the same bytes (4-bit types take a byte an element)."""
        return _NUMPY[self]

    @property
    def itemsize(self) -> int:
        """Bytes an element takes in memory."""
        return int(self.numpy.itemsize)

    @property
    def bits(self) -> int:
        """Bits of the value: 1 for pred, 4 for s4 and u4, else 8 times `itemsize`."""
        return {"pred": 1, "s4": 4, "u4": 4}.get(self.value, self.itemsize * 8)

    @property
    def is_float(self) -> bool:
        """Whether this is a real floating-point type."""
        return self.value[0] == "f" or self is DType.BF16

    @property
    def is_complex(self) -> bool:
        """Whether this is a complex type."""
        return self.value[0] == "c"

    @property
    def is_signed(self) -> bool:
        """Whether this is a signed integer type."""
        return self.value[0] == "s"

    @property
    def is_unsigned(self) -> bool:
        """Whether this is an unsigned integer type."""
        return self.value[0] == "u"

    @property
    def is_integer(self) -> bool:
        """Whether this is an integer type (pred is not)."""
        return self.is_signed or self.is_unsigned

    @property
    def real(self) -> DType:
        """The type of the real part of a complex type; any other type itself."""
        return {DType.C64: DType.F32, DType.C128: DType.F64}.get(self, self)

    def __str__(self) -> str:
        return self.value

    @classmethod
    def from_name(cls, name: str) -> DType:
        """The type called `name` in HLO text; UnsupportedError if there is none."""
        try:
            return cls(name)
        except ValueError:
            raise UnsupportedError(f"element type '{name}' is not supported") from None

    @classmethod
    def from_numpy(cls, dtype: np.dtype[Any]) -> DType:
        """The type of a NumPy array; UnsupportedError if HLO has none."""
        try:
            return _FROM_NUMPY[np.dtype(dtype)]
        except KeyError:
            raise UnsupportedError(f"NumPy type '{dtype}' has no HLO counterpart") from None


_NUMPY: dict[DType, np.dtype[Any]] = {
    DType.PRED: np.dtype(np.bool_),
    DType.S4: np.dtype(ml_dtypes.int4),
    DType.S8: np.dtype(np.int8),
    DType.S16: np.dtype(np.int16),
    DType.S32: np.dtype(np.int32),
    DType.S64: np.dtype(np.int64),
    DType.U4: np.dtype(ml_dtypes.uint4),
    DType.U8: np.dtype(np.uint8),
    DType.U16: np.dtype(np.uint16),
    DType.U32: np.dtype(np.uint32),
    DType.U64: np.dtype(np.uint64),
    DType.F8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    DType.F8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    DType.F16: np.dtype(np.float16),
    DType.BF16: np.dtype(ml_dtypes.bfloat16),
    DType.F32: np.dtype(np.float32),
    DType.F64: np.dtype(np.float64),
    DType.C64: np.dtype(np.complex64),
    DType.C128: np.dtype(np.complex128),
}
_FROM_NUMPY: dict[np.dtype[Any], DType] = {v: k for k, v in _NUMPY.items()}
