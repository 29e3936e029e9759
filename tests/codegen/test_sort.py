"""Sort and TopK: the interpreter's order, bit by bit, and nothing lost where there is no order."""

from dataclasses import replace

import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import CustomCall
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import Shape, TupleShape
from tfaot.testing.build import ModuleBuilder, comparator
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import ANY, B, values

SPECIAL = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45]


def assert_same_bits(found, expected):
    for actual, wanted in zip(found, expected, strict=True):
        assert actual.shape == wanted.shape
        assert actual.dtype == wanted.dtype
        # NaNs of one sign are alike for the order; what a sort moves it moves bit by bit.
        assert actual.tobytes() == np.ascontiguousarray(wanted).tobytes()


FAST = ("bf16", "f32", "s32", "u64")
TYPES = sorted({str(c.dtype) for c in op_cases(["sort"])})


@pytest.mark.parametrize(
    "dtype", [t if t in FAST else pytest.param(t, marks=pytest.mark.slow) for t in TYPES]
)
def test_op_cases(dtype):
    for case in op_cases(["sort"]):
        if str(case.dtype) != dtype:
            continue
        run = compile_module(case.module())
        for batch in (0, 1, 5):
            inputs = case.inputs(0, batch)
            assert_same_bits(run(inputs, batch), evaluate(case.module(), inputs, batch=batch))


def argsort(dims, axis, order="TOTALORDER", direction="LT"):
    b = ModuleBuilder("argsort")
    x = b.parameter(DType.F32, dims)
    compare = comparator(direction, DType.F32, DType.S32, order=order)
    pair = b.sort([x, b.iota(DType.S32, dims, axis)], axis, compare)
    return b.module(b.get(pair, 0), b.get(pair, 1))


@pytest.mark.parametrize("size", [2, 16, 17, 32, 33, 100, 257, 1000])
def test_ties_keep_their_order(size):
    module = argsort((B, size), 1)
    x = np.random.default_rng(size).integers(0, 5, (3, size)).astype(np.float32)
    assert_same_bits(compile_module(module)([x]), evaluate(module, [x], batch=3))


@pytest.mark.parametrize("axis", [0, 1])
def test_inner_axes(axis):
    module = argsort((37, 41, 3), axis)
    x = np.random.default_rng(axis).normal(size=(37, 41, 3)).astype(np.float32)
    assert_same_bits(compile_module(module)([x]), evaluate(module, [x]))


def test_along_the_batch():
    module = argsort((B, 3), 0)
    run = compile_module(module)
    for batch in (1, 2, 16, 17, 70):
        x = np.random.default_rng(batch).normal(size=(batch, 3)).astype(np.float32)
        assert_same_bits(run([x], batch), evaluate(module, [x], batch=batch))


def test_one_result_of_several_operands():
    b = ModuleBuilder("keys")
    keys, payload = b.parameter(DType.S32, (B, 50)), b.parameter(DType.C64, (B, 50))
    unused = b.parameter(DType.F64, (B, 50))
    compare = comparator("GT", DType.S32, DType.C64, DType.F64)
    module = b.module(b.get(b.sort([keys, payload, unused], 1, compare), 1))
    rng = np.random.default_rng(1)
    k = rng.integers(0, 9, (2, 50)).astype(np.int32)
    p = (rng.normal(size=(2, 50)) + 1j).astype(np.complex64)
    (found,) = compile_module(module)([k, p, np.zeros((2, 50))])
    order = np.argsort(-k, axis=1, kind="stable")
    assert found.tobytes() == np.take_along_axis(p, order, 1).tobytes()


@pytest.mark.parametrize("size", [5, 16, 40, 200])
def test_nothing_is_lost_where_nan_has_no_place(size):
    """With NaN `<` is no order: the result is some permutation, always the same one."""
    run = compile_module(argsort((B, size), 1, order="FLOAT"))
    x = np.random.default_rng(size).normal(size=(20, size)).astype(np.float32)
    x[np.random.default_rng(0).random(x.shape) < 0.3] = np.nan
    found, places = run([x])
    assert (np.sort(places, axis=1) == np.arange(size)).all()
    assert found.tobytes() == np.take_along_axis(x, places, 1).tobytes()
    assert_same_bits(run([x[7:8]]), [found[7:8], places[7:8]])


def test_rows_have_the_same_bits_in_every_batch():
    run = compile_module(argsort((B, 45), 1, direction="GT"))
    x = values((33, 45), DType.F32, ANY, np.random.default_rng(5))
    whole = run([x])
    for start, stop in ((0, 1), (3, 10), (16, 33)):
        assert_same_bits(run([x[start:stop]]), [w[start:stop] for w in whole])


def top_k(dtype, size, count, smallest=False):
    b = ModuleBuilder("top_k")
    x = b.parameter(dtype, (B, size))
    shape = TupleShape((Shape(dtype, (B, count)), Shape(DType.S32, (B, count))))
    pair = b.custom_call("TopK", shape, [x])
    if smallest:
        called = (comparator("LT", dtype),)
        pair = replace(pair, attrs=CustomCall("TopK", called=called))
    return b.module(b.get(pair, 0), b.get(pair, 1))


@pytest.mark.parametrize(
    "dtype", [DType.F16, DType.BF16, DType.F32, DType.F64, DType.S8, DType.U8, DType.S32, DType.U64]
)
@pytest.mark.parametrize("smallest", [False, True])
def test_top_k_of_types(dtype, smallest):
    for size, count in ((1, 1), (20, 3), (100, 100), (300, 17)):
        module = top_k(dtype, size, count, smallest)
        x = values((4, size), dtype, ANY, np.random.default_rng(size))
        assert_same_bits(compile_module(module)([x]), evaluate(module, [x], batch=4))


def test_top_k_orders_special_values():
    module = top_k(DType.F32, 16, 16)
    x = np.array([SPECIAL + SPECIAL[::-1]], np.float32)
    assert_same_bits(compile_module(module)([x]), evaluate(module, [x], batch=1))


def test_top_k_of_equal_elements_takes_the_first():
    module = top_k(DType.S32, 500, 7)
    found, places = compile_module(module)([np.full((2, 500), -(2**31), np.int32)])
    assert (found == -(2**31)).all()
    assert (places == np.arange(7)).all()


@pytest.mark.parametrize("at_end", [True, False])
def test_no_memory_outside(at_end):
    for module, size in (
        (argsort((B, 33), 1), 33),
        (argsort((B, 33), 1, order="FLOAT"), 33),
        (top_k(DType.F32, 33, 5), 33),
        (top_k(DType.F32, 3, 2), 3),
    ):
        x = np.random.default_rng(2).normal(size=(3, size)).astype(np.float32)
        found = run_between_guard_pages(compile_module(module), [x], 3, at_end=at_end)
        assert_same_bits(found, evaluate(module, [x], batch=3))


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3", "native"])
def test_targets(target):
    for module in (argsort((B, 45), 1), top_k(DType.F64, 45, 9)):
        dtype = module.entry.parameters[0].array.dtype
        x = values((3, 45), dtype, ANY, np.random.default_rng(3))
        assert_same_bits(compile_module(module, target)([x]), evaluate(module, [x], batch=3))
