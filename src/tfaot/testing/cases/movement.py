"""Cases of data movement: broadcast, reshape, transpose, slice, concatenate, pad, and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import ALL_TYPES, ANY, SIZES, B, Limits, OpCase, bind, make_case

_Recipe = Callable[[ModuleBuilder, DType], Instruction]

# Sizes of one, two, four, eight and sixteen bytes.
_WIDTHS = (DType.PRED, DType.S8, DType.BF16, DType.F32, DType.F64, DType.C128)


def _scalars(b: ModuleBuilder, count: int) -> list[Instruction]:
    return [b.parameter(DType.S32) for _ in range(count)]


_RECIPES: dict[str, dict[str, _Recipe]] = {
    "broadcast": {
        "scalar": lambda b, t: b.broadcast(b.parameter(t), (17, 3)),
        "scalar-symbolic": lambda b, t: b.broadcast(b.parameter(t), (B, 3)),
        "row": lambda b, t: b.broadcast(b.parameter(t, (33,)), (B, 33), (1,)),
        "column": lambda b, t: b.broadcast(b.parameter(t, (B,)), (B, 17), (0,)),
        "middle": lambda b, t: b.broadcast(b.parameter(t, (B, 5)), (B, 7, 5), (0, 2)),
        "swapped": lambda b, t: b.broadcast(b.parameter(t, (3, 5)), (5, 2, 3), (2, 0)),
    },
    "reshape": {
        "flatten": lambda b, t: b.reshape(b.parameter(t, (B, 3, 5)), (B, 15)),
        "into-batch": lambda b, t: b.reshape(b.parameter(t, (B, 3, 5)), (B * 3, 5)),
        "scalar": lambda b, t: b.reshape(b.parameter(t, (1, 1)), ()),
        "split": lambda b, t: b.reshape(b.parameter(t, (63,)), (7, 9)),
    },
    "bitcast": {
        "flatten": lambda b, t: b.instruction(
            "bitcast", (x := b.parameter(t, (B, 3, 5))).array.with_dims((B, 15)), (x,)
        ),
    },
    "transpose": {
        "matrix": lambda b, t: b.transpose(b.parameter(t, (17, 9)), (1, 0)),
        "inner": lambda b, t: b.transpose(b.parameter(t, (B, 7, 5)), (0, 2, 1)),
        "batch-last": lambda b, t: b.transpose(b.parameter(t, (B, 3, 5)), (1, 2, 0)),
        "rank4": lambda b, t: b.transpose(b.parameter(t, (2, 3, 4, 5)), (3, 1, 0, 2)),
    },
    "copy": {"rows": lambda b, t: b.unary("copy", b.parameter(t, (B, 17)))},
    "slice": {
        "columns": lambda b, t: b.slice(b.parameter(t, (B, 17)), (0, 3), (B, 11)),
        "strided": lambda b, t: b.slice(b.parameter(t, (B, 17)), (0, 1), (B, 16), (1, 3)),
        "rows": lambda b, t: b.slice(b.parameter(t, (9, 5)), (2, 0), (8, 5), (2, 1)),
        "empty": lambda b, t: b.slice(b.parameter(t, (9, 5)), (4, 0), (4, 5)),
        "but-last-row": lambda b, t: b.slice(b.parameter(t, (B + 1, 3)), (1, 0), (B + 1, 3)),
    },
    "concatenate": {
        "columns": lambda b, t: b.concatenate([b.parameter(t, (B, n)) for n in (1, 7, 16)], 1),
        "rows": lambda b, t: b.concatenate([b.parameter(t, (n, 5)) for n in (2, 3)], 0),
        "batches": lambda b, t: b.concatenate([b.parameter(t, (B, 5)) for _ in range(2)], 0),
        "single": lambda b, t: b.concatenate([b.parameter(t, (B, 5))], 1),
    },
    "pad": {
        "around": lambda b, t: b.pad(b.parameter(t, (B, 5)), b.parameter(t), (0, 2), (0, 3)),
        "interior": lambda b, t: b.pad(
            b.parameter(t, (B, 5)), b.parameter(t), (0, 1), (0, 0), (0, 2)
        ),
        "negative": lambda b, t: b.pad(b.parameter(t, (B, 9)), b.parameter(t), (0, -2), (0, -3)),
        "negative-interior": lambda b, t: b.pad(
            b.parameter(t, (4, 5)), b.parameter(t), (1, -3), (-2, 2), (1, 3)
        ),
        "cut-all": lambda b, t: b.pad(b.parameter(t, (4,)), b.parameter(t), (-6,), (5,)),
        "rows": lambda b, t: b.pad(b.parameter(t, (B, 3)), b.parameter(t), (1, 0), (2, 0)),
    },
    "reverse": {
        "columns": lambda b, t: b.reverse(b.parameter(t, (B, 17)), (1,)),
        "both": lambda b, t: b.reverse(b.parameter(t, (3, 5, 7)), (0, 2)),
    },
    "dynamic-slice": {
        "columns": lambda b, t: b.dynamic_slice(b.parameter(t, (B, 17)), _scalars(b, 2), (B, 5)),
        "block": lambda b, t: b.dynamic_slice(b.parameter(t, (9, 8)), _scalars(b, 2), (2, 3)),
    },
    "dynamic-update-slice": {
        "columns": lambda b, t: b.dynamic_update_slice(
            b.parameter(t, (B, 17)), b.parameter(t, (B, 5)), _scalars(b, 2)
        ),
        "block": lambda b, t: b.dynamic_update_slice(
            b.parameter(t, (9, 8)), b.parameter(t, (2, 3)), _scalars(b, 2)
        ),
    },
    "get-dimension-size": {
        "batch": lambda b, t: b.get_dimension_size(b.parameter(t, (B, 3)), 0),
        "static": lambda b, t: b.get_dimension_size(b.parameter(t, (B, 3)), 1),
    },
}

_START = Limits(-4, 12, special=False)
_START_LIMITS: dict[str, tuple[Limits, ...]] = {
    "dynamic-slice": (ANY, _START, _START),
    "dynamic-update-slice": (ANY, ANY, _START, _START),
}


def _iota(b: ModuleBuilder, dtype: DType, dims: tuple[Dim, ...], axis: int) -> Instruction:
    return b.iota(dtype, dims, axis)


def _input_and_iota(b: ModuleBuilder, dtype: DType, axis: int) -> tuple[Instruction, ...]:
    # The batch size has to come from an input.
    return b.parameter(dtype, (B, 17)), b.iota(dtype, (B, 17), axis)


def _transposed(b: ModuleBuilder, size: int) -> Instruction:
    return b.transpose(b.parameter(DType.F32, (B, size)), (1, 0))


def cases() -> Iterator[OpCase]:
    """Every recipe on one type per width; iota on every type; copies of every size."""
    for opcode, recipes in _RECIPES.items():
        limits = _START_LIMITS.get(opcode, (ANY,))
        for variant, recipe in recipes.items():
            for dtype in _WIDTHS:
                yield make_case("movement", opcode, dtype, variant, bind(recipe, dtype), *limits)
    for dtype in ALL_TYPES[1:]:
        for axis in (0, 1):
            build = bind(_input_and_iota, dtype, axis)
            yield make_case("movement", "iota", dtype, f"Bx17-{axis}", build)
        yield make_case("movement", "iota", dtype, "99x3", bind(_iota, dtype, (99, 3), 0))
    for size in SIZES:
        build = bind(_transposed, size)
        yield make_case("movement", "transpose", DType.F32, f"Bx{size}", build)
