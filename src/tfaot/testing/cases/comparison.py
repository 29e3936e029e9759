"""Cases of compare, select and clamp."""

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
    FLOATS,
    INTEGERS,
    B,
    Limits,
    OpCase,
    bind,
    make_case,
    shapes_for,
)

_DIRECTIONS = ("EQ", "NE", "GE", "GT", "LE", "LT")


def _compare(
    b: ModuleBuilder, direction: str, order: str | None, dtype: DType, dims: tuple[Dim, ...]
) -> Instruction:
    return b.compare(direction, b.parameter(dtype, dims), b.parameter(dtype, dims), order)


def _select(b: ModuleBuilder, dtype: DType, dims: tuple[Dim, ...]) -> Instruction:
    chosen = b.parameter(DType.PRED, dims)
    return b.select(chosen, b.parameter(dtype, dims), b.parameter(dtype, dims))


def _clamp(
    b: ModuleBuilder, dtype: DType, limits: tuple[Dim, ...], dims: tuple[Dim, ...]
) -> Instruction:
    low, x, high = b.parameter(dtype, limits), b.parameter(dtype, dims), b.parameter(dtype, limits)
    return b.clamp(low, x, high)


def cases() -> Iterator[OpCase]:
    """All directions and both float orders; scalar and elementwise limits of clamp."""
    for dtype in ALL_TYPES:
        directions = ("EQ", "NE") if dtype in COMPLEX else _DIRECTIONS
        # Few values, so that equality happens.
        limits = Limits(-2, 2) if dtype.is_signed else Limits(0, 3) if dtype.is_unsigned else ANY
        for direction in directions:
            for variant, dims in shapes_for(dtype)[-2:]:
                build = bind(_compare, direction, None, dtype, dims)
                name = f"{direction}-{variant}"
                yield make_case("comparison", "compare", dtype, name, build, limits)
        for variant, dims in shapes_for(dtype):
            build = bind(_select, dtype, dims)
            yield make_case("comparison", "select", dtype, variant, build)
    for dtype in FLOATS:
        for direction in _DIRECTIONS:
            build = bind(_compare, direction, "TOTALORDER", dtype, (B, 3))
            yield make_case("comparison", "compare", dtype, f"{direction}-total-Bx3", build)
    for dtype in (*FLOATS, *INTEGERS):
        top = Limits(0, 100, special=False)
        bottom = Limits(0 if dtype.is_unsigned else -100, 0, special=False)
        for variant, dims in shapes_for(dtype):
            build = bind(_clamp, dtype, dims, dims)
            yield make_case("comparison", "clamp", dtype, variant, build, bottom, ANY, top)
        build = bind(_clamp, dtype, (), (B, 3))
        yield make_case("comparison", "clamp", dtype, "scalar-Bx3", build, bottom, ANY, top)
