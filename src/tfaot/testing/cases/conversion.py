"""Cases of convert between all pairs of types, bitcast-convert and reduce-precision."""

from __future__ import annotations

from collections.abc import Iterator

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import (
    ALL_TYPES,
    COMPLEX,
    FLOATS,
    INTEGERS,
    B,
    OpCase,
    bind,
    make_case,
    shapes_for,
)

_SMALL = (DType.S4, DType.U4, DType.F8E4M3FN, DType.F8E5M2)


def _convert(b: ModuleBuilder, source: DType, target: DType, dims: tuple[Dim, ...]) -> Instruction:
    return b.convert(b.parameter(source, dims), target)


def _bitcast(b: ModuleBuilder, source: DType, target: DType, dims: tuple[Dim, ...]) -> Instruction:
    return b.bitcast_convert(b.parameter(source, dims), target)


def _reduce_precision(
    b: ModuleBuilder, dtype: DType, exponent: int, mantissa: int, dims: tuple[Dim, ...]
) -> Instruction:
    return b.reduce_precision(b.parameter(dtype, dims), exponent, mantissa)


def cases() -> Iterator[OpCase]:
    """Every pair of types in one shape, the common ones in all."""
    for source in (*ALL_TYPES, *_SMALL):
        for target in (*ALL_TYPES, *_SMALL):
            if source in COMPLEX and target not in COMPLEX:
                continue
            main = {source, target} <= {DType.F32, DType.S32, DType.F16, DType.PRED}
            for variant, dims in shapes_for(source) if main else [("17", (17,))]:
                build = bind(_convert, source, target, dims)
                yield make_case("conversion", "convert", source, f"{target}-{variant}", build)
    for source in (*FLOATS, *INTEGERS):
        for target in (*FLOATS, *INTEGERS):
            last = max(target.itemsize // source.itemsize, 1)
            shape: tuple[Dim, ...] = (B, 3) if last == 1 else (B, 3, last)
            build = bind(_bitcast, source, target, shape)
            yield make_case("conversion", "bitcast-convert", source, f"{target}-Bx3", build)
    for dtype in FLOATS:
        for exponent, mantissa in ((8, 7), (5, 10), (5, 2), (4, 3), (8, 23), (2, 0)):
            build = bind(_reduce_precision, dtype, exponent, mantissa, (B, 17))
            name = f"e{exponent}m{mantissa}-Bx17"
            yield make_case("conversion", "reduce-precision", dtype, name, build)
