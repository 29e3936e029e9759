"""Cases of elementwise arithmetic, logic, bit operations and transcendental functions."""

from __future__ import annotations

from collections.abc import Iterator

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import (
    ALL_TYPES,
    ANY,
    COMPLEX,
    FINITE,
    FLOATS,
    INTEGERS,
    NUMBERS,
    SIGNED,
    Limits,
    OpCase,
    bind,
    make_case,
    shapes_for,
)

_REAL = (*FLOATS, *INTEGERS)
_BITS = (DType.PRED, *INTEGERS)
_CONTINUOUS = (*FLOATS, *COMPLEX)

BINARY: dict[str, tuple[DType, ...]] = {
    "add": ALL_TYPES,
    "subtract": NUMBERS,
    "multiply": ALL_TYPES,
    "divide": NUMBERS,
    "remainder": _REAL,
    "maximum": (DType.PRED, *_REAL),
    "minimum": (DType.PRED, *_REAL),
    "power": _REAL,
    "and": _BITS,
    "or": _BITS,
    "xor": _BITS,
    "shift-left": INTEGERS,
    "shift-right-logical": INTEGERS,
    "shift-right-arithmetic": INTEGERS,
    "atan2": FLOATS,
    "complex": (DType.F32, DType.F64),
}
"""Ops of two operands and the types that they take."""

UNARY: dict[str, tuple[DType, ...]] = {
    "abs": (*FLOATS, *COMPLEX, *SIGNED),
    "negate": NUMBERS,
    "sign": (*FLOATS, *COMPLEX, *SIGNED),
    "floor": FLOATS,
    "ceil": FLOATS,
    "round-nearest-even": FLOATS,
    "round-nearest-afz": FLOATS,
    "not": _BITS,
    "popcnt": INTEGERS,
    "count-leading-zeros": INTEGERS,
    "is-finite": FLOATS,
    "real": COMPLEX,
    "imag": COMPLEX,
    "sqrt": _CONTINUOUS,
    "rsqrt": _CONTINUOUS,
    "cbrt": FLOATS,
    "exponential": _CONTINUOUS,
    "exponential-minus-one": _CONTINUOUS,
    "log": _CONTINUOUS,
    "log-plus-one": _CONTINUOUS,
    "logistic": _CONTINUOUS,
    "tanh": _CONTINUOUS,
    "sine": _CONTINUOUS,
    "cosine": _CONTINUOUS,
    "tan": FLOATS,
    "erf": FLOATS,
}
"""Ops of one operand and the types that they take."""


def _unary(b: ModuleBuilder, opcode: str, dtype: DType, dims: tuple[Dim, ...]) -> Instruction:
    return b.unary(opcode, b.parameter(dtype, dims))


def _binary(b: ModuleBuilder, opcode: str, dtype: DType, dims: tuple[Dim, ...]) -> Instruction:
    return b.binary(opcode, b.parameter(dtype, dims), b.parameter(dtype, dims))


def _limits(opcode: str, dtype: DType) -> tuple[Limits, ...]:
    if opcode == "power" and dtype.is_integer:
        # XLA:CPU reads six bits of the exponent; powers beyond them differ between backends.
        return ANY, Limits(0 if dtype.is_unsigned else -3, 63)
    # The specification leaves infinite and huge complex arguments to the implementation.
    if not dtype.is_complex:
        return (ANY,)
    return (Limits(-3.0, 3.0, special=False) if opcode != "abs" else FINITE,)


def cases() -> Iterator[OpCase]:
    """Every op on every type that it takes."""
    for opcode, types in BINARY.items():
        for dtype in types:
            for variant, dims in shapes_for(dtype):
                build = bind(_binary, opcode, dtype, dims)
                limits = _limits(opcode, dtype)
                yield make_case("elementwise", opcode, dtype, variant, build, *limits)
    for opcode, types in UNARY.items():
        for dtype in types:
            for variant, dims in shapes_for(dtype):
                build = bind(_unary, opcode, dtype, dims)
                limits = _limits(opcode, dtype)
                yield make_case("elementwise", opcode, dtype, variant, build, *limits)
