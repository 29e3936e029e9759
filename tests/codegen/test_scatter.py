"""Scatter: updates in order, windows that leave the operand skipped whole, no memory outside."""

import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Scatter
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder, binary_computation
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import B
from tfaot.testing.ulp import assert_within_ulp

CASES = [c for c in op_cases(["gather"]) if c.opcode == "scatter"]


def check(module, inputs, batch, target="x86-64-v3"):
    found = compile_module(module, target)(inputs, batch)
    for actual, wanted in zip(found, evaluate(module, inputs, batch=batch), strict=True):
        assert_within_ulp(actual, wanted, 0)


@pytest.mark.parametrize("dtype", sorted({str(c.dtype) for c in CASES}))
def test_op_cases(dtype):
    for case in CASES:
        if str(case.dtype) == dtype:
            for batch in (1, 4) if case.symbolic else (1,):
                check(case.module(), case.inputs(0, batch), batch)


def rows_module(dtype, index, opcode="add", width=5):
    """Rows of a table are updated, one index each."""
    b = ModuleBuilder("rows")
    attrs = Scatter((1,), (0,), (0,), 1, binary_computation(opcode, dtype))
    table, where = b.parameter(dtype, (9, width)), b.parameter(index, (B,))
    return b.module(b.scatter([table], where, [b.parameter(dtype, (B, width))], attrs))


@pytest.mark.parametrize("index", [DType.S8, DType.S32, DType.S64, DType.U8, DType.U32, DType.U64])
def test_index_types_and_bounds(index):
    limits = np.iinfo(index.numpy)
    where = np.array([0, 8, 9, limits.max, limits.min, 3, 3], index.numpy)
    table = np.arange(45, dtype=np.float32).reshape(9, 5)
    update = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    check(rows_module(DType.F32, index), [table, where, update], 7)


def test_complex_updates():
    rng = np.random.default_rng(1)
    table, update = (
        (rng.normal(size=(n, 5)) + 1j * rng.normal(size=(n, 5))).astype(np.complex64)
        for n in (9, 4)
    )
    check(rows_module(DType.C64, DType.S32), [table, np.array([1, 1, -1, 8], np.int32), update], 4)


def test_windows_larger_than_what_is_left_are_skipped():
    """A window that does not fit as a whole writes nothing, not even its part inside."""
    b = ModuleBuilder("windows")
    attrs = Scatter((1, 2), (), (0, 1), 1, binary_computation("add", DType.S32))
    table = b.parameter(DType.S32, (6, 20))
    where, update = b.parameter(DType.S32, (B, 2)), b.parameter(DType.S32, (B, 3, 18))
    module = b.module(b.scatter([table], where, [update], attrs))
    starts = np.array([[0, 0], [3, 2], [4, 0], [0, 3], [-1, 0], [3, 2], [2, -1]], np.int32)
    ones = np.ones((7, 3, 18), np.int32)
    check(module, [np.zeros((6, 20), np.int32), starts, ones], 7)


def two_sums():
    """Two arrays scattered to at once: the second takes the first's old value along."""
    inner = ModuleBuilder("both")
    a, b = inner.parameter(DType.F32), inner.parameter(DType.S32)
    x, y = inner.parameter(DType.F32), inner.parameter(DType.S32)
    moved = inner.binary("add", b, inner.convert(inner.binary("multiply", a, x), DType.S32))
    combiner = inner.computation(inner.tuple(x, inner.binary("add", moved, y)))
    b = ModuleBuilder("two")
    first, second = b.parameter(DType.F32, (7,)), b.parameter(DType.S32, (7,))
    where = b.parameter(DType.S32, (B, 1))
    updates = [b.parameter(DType.F32, (B,)), b.parameter(DType.S32, (B,))]
    attrs = Scatter((), (0,), (0,), 1, combiner)
    return b, b.scatter([first, second], where, updates, attrs)


def test_several_operands():
    inputs = [
        np.arange(7, dtype=np.float32),
        np.arange(7, dtype=np.int32),
        np.array([[1], [1], [6], [7], [1]], np.int32),
        np.array([2, 3, 4, 5, 6], np.float32),
        np.array([10, 20, 30, 40, 50], np.int32),
    ]
    b, pair = two_sums()
    check(b.module(b.get(pair, 0), b.get(pair, 1)), inputs, 5)
    b, pair = two_sums()
    check(b.module(b.get(pair, 1)), inputs, 5)


@pytest.mark.parametrize("at_end", [True, False])
def test_no_memory_outside(at_end):
    for width in (1, 5, 16, 17):
        module = rows_module(DType.F32, DType.S32, width=width)
        inputs = [
            np.zeros((9, width), np.float32),
            np.array([-1, 9, 2**31 - 1, -(2**31), 8, 0], np.int32),
            np.ones((6, width), np.float32),
        ]
        found = run_between_guard_pages(compile_module(module), inputs, 6, at_end=at_end)
        assert (found[0] == evaluate(module, inputs, batch=6)[0]).all()


def test_rows_have_the_same_bits_in_every_batch():
    case = next(c for c in CASES if c.name == "gather/scatter/f32/add-batched")
    run = compile_module(case.module())
    inputs = case.inputs(0, 33)
    (whole,) = run(inputs, 33)
    for start, stop in ((0, 1), (3, 10), (16, 33)):
        (part,) = run([x[start:stop] for x in inputs], stop - start)
        assert part.tobytes() == whole[start:stop].tobytes()


@pytest.mark.parametrize("target", ["x86-64-v2", "native"])
def test_targets(target):
    for case in CASES:
        if case.name.startswith("gather/scatter/f32/"):
            check(case.module(), case.inputs(0, 3), 3, target)
