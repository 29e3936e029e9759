"""Cases of reduce-window and select-and-scatter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfaot.ir.attributes import WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder, binary_computation, comparator
from tfaot.testing.cases.case import FINITE, B, Limits, OpCase, bind, make_case
from tfaot.testing.cases.reduce import argmax_reducer

_ONE = WindowDimension(1)
_Window = tuple[WindowDimension, ...]

WINDOWS: dict[str, tuple[tuple[Dim, ...], _Window]] = {
    "pool-2x2": ((B, 8, 6, 3), (_ONE, WindowDimension(2, 2), WindowDimension(2, 2), _ONE)),
    "pool-3-same": ((B, 7, 7, 5), (_ONE, *(WindowDimension(3, 2, 1, 1),) * 2, _ONE)),
    "pool-1d": ((B, 33, 2), (_ONE, WindowDimension(4, 3), _ONE)),
    "global": ((B, 5, 4, 3), (_ONE, WindowDimension(5), WindowDimension(4), _ONE)),
    "prefix": ((B, 17), (_ONE, WindowDimension(17, padding_low=16))),
    "suffix": ((B, 17), (_ONE, WindowDimension(17, padding_high=16))),
    "dilated": ((B, 17), (_ONE, WindowDimension(3, 2, window_dilation=2))),
    "base-dilated": ((B, 9), (_ONE, WindowDimension(3, 1, 1, 2, base_dilation=2))),
    "negative-padding": ((B, 9), (_ONE, WindowDimension(2, 1, -1, -2))),
}
"""Shapes and windows by name."""


def _reduce_window(
    b: ModuleBuilder, opcode: str, dtype: DType, dims: Sequence[Dim], window: _Window
) -> Instruction:
    x, initial = b.parameter(dtype, dims), b.parameter(dtype)
    return b.reduce_window([x], [initial], window, binary_computation(opcode, dtype))


def _argmax(
    b: ModuleBuilder, dims: Sequence[Dim], window: _Window
) -> tuple[Instruction, Instruction]:
    """Several operands and a reducer of several ops."""
    x = b.parameter(DType.F32, dims)
    index = b.iota(DType.S32, dims, 1)
    initial = [b.constant(float("-inf"), DType.F32), b.constant(0, DType.S32)]
    pair = b.reduce_window([x, index], initial, window, argmax_reducer(DType.F32))
    return b.get(pair, 0), b.get(pair, 1)


def _select_and_scatter(
    b: ModuleBuilder, dtype: DType, dims: Sequence[Dim], window: _Window
) -> Instruction:
    x, initial = b.parameter(dtype, dims), b.constant(0, dtype)
    add = binary_computation("add", dtype)
    pooled = b.reduce_window([x], [initial], window, add)
    source = b.parameter(dtype, pooled.array.dims)
    return b.select_and_scatter(x, source, initial, window, comparator("GE", dtype), add)


def cases() -> Iterator[OpCase]:
    """Pooling, prefix sums and the odd windows; for several reducers and types."""
    for variant, (dims, window) in WINDOWS.items():
        for opcode in ("add", "maximum", "multiply"):
            for dtype in (DType.F32, DType.F64, DType.F16, DType.BF16, DType.S32, DType.U8):
                limits = Limits(-2, 2) if opcode == "multiply" else FINITE
                if dtype.is_unsigned:
                    limits = Limits(0, 3)
                build = bind(_reduce_window, opcode, dtype, dims, window)
                name = f"{opcode}-{variant}"
                yield make_case("window", "reduce-window", dtype, name, build, limits)
        build = bind(_argmax, dims, window)
        yield make_case("window", "reduce-window", DType.F32, f"argmax-{variant}", build)
    for variant in ("pool-2x2", "pool-3-same", "pool-1d"):
        dims, window = WINDOWS[variant]
        for dtype in (DType.F32, DType.F64, DType.S32):
            build = bind(_select_and_scatter, dtype, dims, window)
            limits = Limits(-100, 100, special=False)
            yield make_case("window", "select-and-scatter", dtype, variant, build, limits)
