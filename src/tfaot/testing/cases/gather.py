"""Cases of gather and scatter: embeddings, windows, batching dimensions, indices out of bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tfaot.ir.attributes import Gather, Parameter, Scatter
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction
from tfaot.testing.build import ModuleBuilder, binary_computation
from tfaot.testing.cases.case import ANY, FINITE, SIZES, B, Limits, OpCase, bind, make_case

_WIDTHS = (DType.PRED, DType.S8, DType.BF16, DType.F32, DType.F64)
_INDEX = Limits(-3, 14, special=True)
_UNSIGNED_INDEX = Limits(0, 14, special=True)

_ROWS = Gather((1,), (0,), (0,), 1, (1, 5))
_COLUMNS = Gather((0,), (1,), (1,), 1, (B, 1))
_POINTS = Gather((), (0, 1), (0, 1), 1, (1, 1))
_SWAPPED = Gather((1, 2), (), (1, 0), 1, (2, 3))
_WINDOWS = Gather((0, 2), (), (0, 1), 0, (3, 2))
_BATCHED = Gather((2,), (1,), (1,), 2, (1, 1, 5), (0,), (0,))

_GATHERS: dict[str, Callable[[ModuleBuilder, DType, DType], Instruction]] = {
    "rows": lambda b, t, i: b.gather(b.parameter(t, (9, 5)), b.parameter(i, (B, 1)), _ROWS),
    "embedding": lambda b, t, i: b.take_rows(b.parameter(t, (9, 17)), b.parameter(i, (B, 3))),
    "columns": lambda b, t, i: b.gather(b.parameter(t, (B, 9)), b.parameter(i, (4, 1)), _COLUMNS),
    "points": lambda b, t, i: b.gather(b.parameter(t, (9, 8)), b.parameter(i, (B, 2)), _POINTS),
    "swapped": lambda b, t, i: b.gather(b.parameter(t, (9, 8)), b.parameter(i, (B, 2)), _SWAPPED),
    "windows": lambda b, t, i: b.gather(b.parameter(t, (9, 8)), b.parameter(i, (2, B)), _WINDOWS),
    "batched": lambda b, t, i: b.gather(
        b.parameter(t, (B, 9, 5)), b.parameter(i, (B, 4, 1)), _BATCHED
    ),
}


def _embedding(b: ModuleBuilder, width: int) -> Instruction:
    return b.take_rows(b.parameter(DType.F32, (9, width)), b.parameter(DType.S32, (B,)))


def replace_combiner(dtype: DType) -> Computation:
    """The combiner of a plain scatter: the update replaces what was there."""
    b = ModuleBuilder(f"replace_{dtype}")
    parameters = [b.parameter(dtype), b.parameter(dtype)]
    assert parameters[1].attr(Parameter).number == 1
    return b.computation(parameters[1])


def _scatter_rows(b: ModuleBuilder, dtype: DType, combiner: Computation) -> Instruction:
    attrs = Scatter((1,), (0,), (0,), 1, combiner)
    x, indices = b.parameter(dtype, (9, 5)), b.parameter(DType.S32, (B, 1))
    return b.scatter([x], indices, [b.parameter(dtype, (B, 5))], attrs)


def _scatter_windows(b: ModuleBuilder, dtype: DType, combiner: Computation) -> Instruction:
    attrs = Scatter((1, 2), (), (0, 1), 1, combiner)
    x, indices = b.parameter(dtype, (9, 8)), b.parameter(DType.S32, (B, 2))
    return b.scatter([x], indices, [b.parameter(dtype, (B, 2, 3))], attrs)


def _scatter_batched(b: ModuleBuilder, dtype: DType, combiner: Computation) -> Instruction:
    attrs = Scatter((2,), (1,), (1,), 2, combiner, (0,), (0,))
    x, indices = b.parameter(dtype, (B, 9, 5)), b.parameter(DType.S32, (B, 4, 1))
    return b.scatter([x], indices, [b.parameter(dtype, (B, 4, 5))], attrs)


def _scatter_mean(b: ModuleBuilder) -> Instruction:
    """A combiner of several ops: (old + new) * 0.5, applied in the order of the updates."""
    inner = ModuleBuilder("mean")
    x, y = inner.parameter(DType.F32), inner.parameter(DType.F32)
    half = inner.constant(0.5, DType.F32)
    combiner = inner.computation(inner.binary("multiply", inner.binary("add", x, y), half))
    return _scatter_rows(b, DType.F32, combiner)


_SCATTERS = {"rows": _scatter_rows, "windows": _scatter_windows, "batched": _scatter_batched}


def cases() -> Iterator[OpCase]:
    """Dimension numbers of every kind, index types, and what happens out of bounds."""
    for variant, recipe in _GATHERS.items():
        for dtype in _WIDTHS:
            yield make_case(
                "gather",
                "gather",
                dtype,
                variant,
                bind(recipe, dtype, DType.S32),
                ANY,
                _INDEX,
            )
    for index in (DType.S8, DType.S64, DType.U8, DType.U32, DType.U64):
        limits = _INDEX if index.is_signed else _UNSIGNED_INDEX
        yield make_case(
            "gather",
            "gather",
            DType.F32,
            f"embedding-{index}",
            bind(_GATHERS["embedding"], DType.F32, index),
            ANY,
            limits,
        )
    for width in SIZES:
        yield make_case(
            "gather",
            "gather",
            DType.F32,
            f"embedding-{width}",
            bind(_embedding, width),
            ANY,
            _INDEX,
        )
    for variant, scatter in _SCATTERS.items():
        for opcode in ("add", "maximum", "multiply"):
            for dtype in (DType.F32, DType.F64, DType.S32, DType.U8):
                yield make_case(
                    "gather",
                    "scatter",
                    dtype,
                    f"{opcode}-{variant}",
                    bind(scatter, dtype, binary_computation(opcode, dtype)),
                    FINITE,
                    _INDEX,
                    FINITE,
                )
        for dtype in _WIDTHS:
            yield make_case(
                "gather",
                "scatter",
                dtype,
                f"replace-{variant}",
                bind(scatter, dtype, replace_combiner(dtype)),
                ANY,
                _INDEX,
                ANY,
            )
    yield make_case(
        "gather", "scatter", DType.F32, "mean-rows", _scatter_mean, FINITE, _INDEX, FINITE
    )
