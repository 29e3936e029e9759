"""Cases of reduce and map: reducers known by name, others, several operands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder, binary_computation
from tfaot.testing.cases.case import (
    FINITE,
    FLOATS,
    INTEGERS,
    SIZES,
    B,
    Limits,
    OpCase,
    bind,
    make_case,
)

_REDUCERS: dict[str, tuple[DType, ...]] = {
    "add": (DType.PRED, *FLOATS, DType.C64, *INTEGERS),
    "multiply": (DType.PRED, *FLOATS, *INTEGERS),
    "maximum": (DType.PRED, *FLOATS, *INTEGERS),
    "minimum": (DType.PRED, *FLOATS, *INTEGERS),
    "and": (DType.PRED, *INTEGERS),
    "or": (DType.PRED, *INTEGERS),
    "xor": (DType.S32, DType.U8),
}
_SHAPES: list[tuple[str, tuple[Dim, ...], tuple[int, ...]]] = [
    ("Bx17-1", (B, 17), (1,)),
    ("Bx17-0", (B, 17), (0,)),
    ("Bx5x7-1", (B, 5, 7), (1,)),
    ("4x5x6-02", (4, 5, 6), (0, 2)),
    ("9-all", (9,), (0,)),
    ("3x0-1", (3, 0), (1,)),
]


def _reduce(
    b: ModuleBuilder, opcode: str, dtype: DType, dims: Sequence[Dim], axes: Sequence[int]
) -> Instruction:
    x, initial = b.parameter(dtype, dims), b.parameter(dtype)
    return b.reduce([x], [initial], axes, binary_computation(opcode, dtype))


def argmax_reducer(dtype: DType) -> Computation:
    """(value, index) of the maximum; the first one wins a tie, NaN wins over numbers."""
    b = ModuleBuilder(f"argmax_{dtype}")
    x, i = b.parameter(dtype), b.parameter(DType.S32)
    y, j = b.parameter(dtype), b.parameter(DType.S32)
    better = b.compare("GT", x, y)
    if dtype.is_float:
        better = b.binary("or", better, b.compare("NE", x, x))
    earlier = b.binary("and", b.compare("EQ", x, y), b.compare("LT", i, j))
    keep = b.binary("or", better, earlier)
    return b.computation(b.tuple(b.select(keep, x, y), b.select(keep, i, j)))


def _argmax(
    b: ModuleBuilder, dtype: DType, dims: Sequence[Dim], axis: int
) -> tuple[Instruction, ...]:
    x = b.parameter(dtype, dims)
    index = b.iota(DType.S32, dims, axis)
    lowest = float("-inf") if dtype.is_float else 0
    initial = [b.constant(lowest, dtype), b.constant(0, DType.S32)]
    pair = b.reduce([x, index], initial, (axis,), argmax_reducer(dtype))
    return b.get(pair, 0), b.get(pair, 1)


def _sum_in_f32(b: ModuleBuilder, dtype: DType) -> Instruction:
    """A sum whose reducer converts to f32 and back, as XLA writes it for narrow floats."""
    inner = ModuleBuilder("add_in_f32")
    x, y = inner.parameter(dtype), inner.parameter(dtype)
    total = inner.binary("add", inner.convert(x, DType.F32), inner.convert(y, DType.F32))
    reducer = inner.computation(inner.convert(total, dtype))
    return b.reduce([b.parameter(dtype, (B, 17))], [b.constant(0, dtype)], (1,), reducer)


def _largest_magnitude(b: ModuleBuilder) -> Instruction:
    """A reducer by no single op: the value of largest magnitude, its sign kept."""
    inner = ModuleBuilder("largest_magnitude")
    x, y = inner.parameter(DType.F32), inner.parameter(DType.F32)
    larger = inner.compare("GE", inner.unary("abs", x), inner.unary("abs", y))
    reducer = inner.computation(inner.select(larger, x, y))
    return b.reduce([b.parameter(DType.F32, (B, 17))], [b.constant(0, DType.F32)], (1,), reducer)


def _affine_map(b: ModuleBuilder) -> Instruction:
    inner = ModuleBuilder("affine")
    x, y = inner.parameter(DType.F32), inner.parameter(DType.F32)
    half = inner.constant(0.5, DType.F32)
    function = inner.computation(inner.binary("add", inner.binary("multiply", x, half), y))
    return b.map(function, b.parameter(DType.F32, (B, 17)), b.parameter(DType.F32, (B, 17)))


def cases() -> Iterator[OpCase]:
    """All reducers over several axes; rows of every size; argmax; reducers of several ops."""
    for opcode, types in _REDUCERS.items():
        for dtype in types:
            limits = FINITE if opcode in ("add", "multiply") else Limits()
            for variant, dims, axes in _SHAPES:
                yield make_case(
                    "reduce",
                    "reduce",
                    dtype,
                    f"{opcode}-{variant}",
                    bind(_reduce, opcode, dtype, dims, axes),
                    limits,
                )
    for opcode in ("add", "maximum"):
        for size in SIZES:
            yield make_case(
                "reduce",
                "reduce",
                DType.F32,
                f"{opcode}-Bx{size}",
                bind(_reduce, opcode, DType.F32, (B, size), (1,)),
                FINITE,
            )
    for dtype in (*FLOATS, DType.U8, DType.U32):
        yield make_case("reduce", "reduce", dtype, "argmax-Bx17", bind(_argmax, dtype, (B, 17), 1))
    yield make_case(
        "reduce", "reduce", DType.F32, "argmax-17xB", lambda b: _argmax(b, DType.F32, (17, B), 0)
    )
    for dtype in (DType.F16, DType.BF16):
        yield make_case("reduce", "reduce", dtype, "sum-in-f32", bind(_sum_in_f32, dtype), FINITE)
    yield make_case("reduce", "reduce", DType.F32, "largest-magnitude", _largest_magnitude, FINITE)
    yield make_case("reduce", "map", DType.F32, "affine-Bx17", _affine_map)
