"""Cases of dot: dense layers of straddling sizes, batch dimensions, all types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import (
    COMPLEX,
    FINITE,
    FLOATS,
    INTEGERS,
    SIZES,
    B,
    OpCase,
    bind,
    make_case,
)

_Axes = Sequence[int]
_Recipe = tuple[str, tuple[Dim, ...], tuple[Dim, ...], _Axes, _Axes, _Axes, _Axes]

_RECIPES: list[_Recipe] = [
    ("Bx7.7x5", (B, 7), (7, 5), (1,), (0,), (), ()),
    ("Bx17.33x17", (B, 17), (33, 17), (1,), (1,), (), ()),
    ("8xB.8x5", (8, B), (8, 5), (0,), (0,), (), ()),
    ("vector", (9,), (9,), (0,), (0,), (), ()),
    ("matrix-vector", (B, 17), (17,), (1,), (0,), (), ()),
    ("outer", (B,), (5,), (), (), (), ()),
    ("two-contracted", (B, 3, 5), (3, 5, 4), (1, 2), (0, 1), (), ()),
    ("two-swapped", (B, 3, 5), (5, 4, 3), (1, 2), (2, 0), (), ()),
    ("attention-scores", (B, 2, 7, 4), (B, 2, 9, 4), (3,), (3,), (0, 1), (0, 1)),
    ("attention-values", (B, 7, 2, 9), (B, 9, 2, 4), (3,), (1,), (0, 2), (0, 2)),
    ("static-batch", (3, 4, 5), (3, 5, 6), (2,), (1,), (0,), (0,)),
    ("sequence", (B, 6, 8), (8, 16), (2,), (0,), (), ()),
    ("nothing-contracted", (B, 0), (0, 5), (1,), (0,), (), ()),
]


def _dot(
    b: ModuleBuilder, dtype: DType, recipe: _Recipe, target: DType | None = None
) -> Instruction:
    _, left, right, lhs_axes, rhs_axes, lhs_batch, rhs_batch = recipe
    x, y = b.parameter(dtype, left), b.parameter(dtype, right)
    return b.dot(x, y, lhs_axes, rhs_axes, lhs_batch, rhs_batch, target)


def cases() -> Iterator[OpCase]:
    """All dimension numbers for f32, three for every type, layers of every size for f32."""
    for dtype in (*FLOATS, *COMPLEX, *INTEGERS, DType.PRED):
        recipes = _RECIPES if dtype is DType.F32 else [_RECIPES[k] for k in (1, 8, 10)]
        for recipe in recipes:
            yield make_case("dot", "dot", dtype, recipe[0], bind(_dot, dtype, recipe), FINITE)
    for source, target in (
        (DType.S8, DType.S32),
        (DType.U8, DType.S32),
        (DType.BF16, DType.F32),
        (DType.F16, DType.F32),
        (DType.F32, DType.F64),
    ):
        yield make_case(
            "dot",
            "dot",
            source,
            f"to-{target}",
            bind(_dot, source, _RECIPES[1], target),
            FINITE,
        )
    for inner in SIZES:
        for outer in (1, 2, 16, 33, 127) if inner in (7, 33, 64) else (32,):
            layer: _Recipe = (
                f"Bx{inner}.{inner}x{outer}",
                (B, inner),
                (inner, outer),
                (1,),
                (0,),
                (),
                (),
            )
            yield make_case(
                "dot",
                "dot",
                DType.F32,
                f"layer-{inner}-{outer}",
                bind(_dot, DType.F32, layer),
                FINITE,
            )
