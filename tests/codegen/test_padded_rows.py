"""Rows of intermediate values that lie further apart than they are long (`schedule.padding`)."""

import numpy as np
import pytest
from compiled import compile_module

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.schedule.control import schedule
from tfaot.schedule.padding import row_lengths
from tfaot.testing.build import ModuleBuilder, canonical_convolution

BATCH = BatchDim(1)
COLUMNS = 512
"""Of float32: rows of 2 KiB."""


def random(*dims):
    return np.random.default_rng(len(dims)).uniform(-0.1, 0.1, dims).astype(np.float32)


def lengths(module):
    return sorted(row_lengths(schedule(run_passes(module, default_passes()).entry)).values())


def check(module, inner):
    """Right for every batch size, and the same bits of a row in each."""
    rows = np.random.default_rng(3).uniform(-1, 1, (40, *inner)).astype(np.float32)
    for target in ("x86-64-v2", "x86-64-v3"):
        compiled = compile_module(module, target)
        (whole,) = compiled([rows], 40)
        for batch in (0, 1, 5, 40):
            x = rows[40 - batch :]
            (ours,) = compiled([x], batch)
            (wanted,) = evaluate(module, [x], batch=batch, float64=True)
            np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)
            assert ours.tobytes() == whole[40 - batch :].tobytes()


def test_rows_between_dots_are_padded():
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BATCH, 6))
    first = b.unary("tanh", b.matmul(x, b.constant(random(6, COLUMNS))))
    second = b.matmul(first, b.constant(random(COLUMNS, COLUMNS)))
    second = b.binary("add", second, first)
    module = b.module(b.matmul(second, b.constant(random(COLUMNS, 3))))
    assert lengths(module) == [COLUMNS + 16] * 2
    check(module, (6,))


def test_rows_of_several_dimensions_are_padded():
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BATCH, 3, 6))
    rows = b.reshape(x, (BatchDim(3), 6))
    hidden = b.matmul(rows, b.constant(random(6, COLUMNS)))
    hidden = b.unary("tanh", b.reshape(hidden, (BATCH, 3, COLUMNS)))
    hidden = b.matmul(b.reshape(hidden, (BatchDim(3), COLUMNS)), b.constant(random(COLUMNS, 2)))
    module = b.module(b.reshape(hidden, (BATCH, 3, 2)))
    assert lengths(module) == [COLUMNS + 16]
    check(module, (3, 6))


@pytest.mark.parametrize("size", [1, 3])
def test_rows_between_convolutions_are_padded(size):
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BATCH, 5, 4, 2))
    side = size // 2
    window = WindowDimension(size, padding_low=side, padding_high=side)
    attrs = canonical_convolution((window, window))
    first = b.convolution(x, b.constant(random(size, size, 2, COLUMNS)), attrs)
    first = b.unary("tanh", first)
    second = b.convolution(first, b.constant(random(size, size, COLUMNS, COLUMNS)), attrs)
    second = b.binary("add", b.unary("tanh", second), first)
    module = b.module(b.convolution(second, b.constant(random(size, size, COLUMNS, 3)), attrs))
    assert lengths(module) == [COLUMNS + 16] * 2
    check(module, (5, 4, 2))


@pytest.mark.parametrize(("positions", "side"), [(9, 0), (40, 1)])
def test_neighbouring_taps_of_padded_rows_are_apart(positions, side):
    """Where all taps of a register tile's rows are inside: everywhere, or between the ends."""
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BATCH, positions, 2))
    window = WindowDimension(3, padding_low=side, padding_high=side)
    attrs = canonical_convolution((window,))
    first = b.unary("tanh", b.convolution(x, b.constant(random(3, 2, COLUMNS)), attrs))
    second = b.unary("tanh", b.convolution(first, b.constant(random(3, COLUMNS, COLUMNS)), attrs))
    module = b.module(b.convolution(second, b.constant(random(3, COLUMNS, 3)), attrs))
    assert lengths(module) == [COLUMNS + 16] * 2
    check(module, (positions, 2))


def test_outputs_and_what_other_kernels_read_are_not():
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BATCH, 6))
    first = b.unary("tanh", b.matmul(x, b.constant(random(6, COLUMNS))))
    second = b.unary("tanh", b.matmul(first, b.constant(random(COLUMNS, COLUMNS))))
    turned = b.transpose(second, (1, 0))
    third = b.matmul(second, b.constant(random(COLUMNS, 3)))
    assert lengths(b.module(first, third, turned)) == []


def test_other_lengths_are_not():
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BATCH, 6))
    first = b.unary("tanh", b.matmul(x, b.constant(random(6, 256))))
    assert lengths(b.module(b.matmul(first, b.constant(random(256, 3))))) == []
