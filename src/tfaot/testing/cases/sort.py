"""Cases of sort and of XLA's TopK call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Dim, Shape, TupleShape
from tfaot.testing.build import ModuleBuilder, comparator
from tfaot.testing.cases.case import (
    ANY,
    FINITE,
    FLOATS,
    INTEGERS,
    SIZES,
    B,
    OpCase,
    bind,
    make_case,
)


def _sort(
    b: ModuleBuilder, dtype: DType, dims: Sequence[Dim], axis: int, direction: str
) -> Instruction:
    order = "TOTALORDER" if dtype.is_float else None
    compare = comparator(direction, dtype, order=order)
    return b.sort([b.parameter(dtype, dims)], axis, compare)


def _argsort(
    b: ModuleBuilder, dtype: DType, dims: Sequence[Dim], direction: str
) -> tuple[Instruction, Instruction]:
    x, index = b.parameter(dtype, dims), b.iota(DType.S32, dims, 1)
    order = "TOTALORDER" if dtype.is_float else None
    pair = b.sort([x, index], 1, comparator(direction, dtype, DType.S32, order=order))
    return b.get(pair, 0), b.get(pair, 1)


def two_key_comparator() -> Computation:
    """By the first operand downwards, ties by the second upwards."""
    b = ModuleBuilder("two_keys")
    x, y = b.parameter(DType.S32), b.parameter(DType.S32)
    u, v = b.parameter(DType.F32), b.parameter(DType.F32)
    tie = b.binary("and", b.compare("EQ", x, y), b.compare("LT", u, v))
    return b.computation(b.binary("or", b.compare("GT", x, y), tie))


def _two_keys(b: ModuleBuilder, size: int) -> tuple[Instruction, Instruction]:
    # Few different first keys, so that the second decides often.
    x = b.parameter(DType.S32, (B, size))
    key = b.binary("remainder", x, b.splat(4, x))
    pair = b.sort([key, b.parameter(DType.F32, (B, size))], 1, two_key_comparator())
    return b.get(pair, 0), b.get(pair, 1)


def _top_k(
    b: ModuleBuilder, dtype: DType, size: int, count: int
) -> tuple[Instruction, Instruction]:
    x = b.parameter(dtype, (B, size))
    shape = TupleShape((Shape(dtype, (B, count)), Shape(DType.S32, (B, count))))
    pair = b.custom_call("TopK", shape, [x])
    return b.get(pair, 0), b.get(pair, 1)


def cases() -> Iterator[OpCase]:
    """Both directions, all types, several operands, comparators of several ops."""
    for dtype in (*FLOATS, *INTEGERS):
        for direction in ("LT", "GT"):
            build = bind(_sort, dtype, (B, 17), 1, direction)
            yield make_case("sort", "sort", dtype, f"{direction}-Bx17", build)
        build = bind(_argsort, dtype, (B, 33), "GT")
        yield make_case("sort", "sort", dtype, "argsort-Bx33", build)
        build = bind(_top_k, dtype, 40, 6)
        yield make_case("sort", "custom-call", dtype, "top-k-Bx40", build)
    yield make_case("sort", "sort", DType.F32, "17xB-0", bind(_sort, DType.F32, (17, B), 0, "LT"))
    for size in SIZES:
        build = bind(_argsort, DType.F32, (B, size), "LT")
        yield make_case("sort", "sort", DType.F32, f"argsort-up-Bx{size}", build)
        build = bind(_two_keys, size)
        yield make_case("sort", "sort", DType.S32, f"two-keys-Bx{size}", build, ANY, FINITE)
        build = bind(_top_k, DType.F32, size, (size + 1) // 2)
        yield make_case("sort", "custom-call", DType.F32, f"top-k-Bx{size}", build)
