"""reduce against NumPy and hand-computed values."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder, binary_computation
from tfaot.testing.cases.reduce import argmax_reducer
from tfaot.testing.ulp import assert_within_ulp

NUMPY = {"add": np.sum, "multiply": np.prod, "maximum": np.max, "minimum": np.min}


def reduce(x, opcode, axes, initial):
    b = ModuleBuilder("reduce")
    dtype = DType.from_numpy(x.dtype)
    node = b.parameter(dtype, x.shape)
    reducer = binary_computation(opcode, dtype)
    root = b.reduce([node], [b.constant(initial, dtype)], axes, reducer)
    return evaluate(b.module(root), [x])[0]


@pytest.mark.parametrize("opcode", NUMPY)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (2, 0), (0, 1, 2)])
def test_known_reducers(opcode, axes):
    x = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    initial = {"add": 2.0, "multiply": 3.0, "maximum": 0.5, "minimum": -0.5}[opcode]
    exact = NUMPY[opcode](x.astype(np.float64), axis=axes)
    combine = {"add": np.add, "multiply": np.multiply}.get(opcode, getattr(np, opcode, None))
    np.testing.assert_allclose(reduce(x, opcode, axes, initial), combine(exact, initial), rtol=3e-5)


def test_integers_wrap_and_empty_reductions_give_the_initial_value():
    assert reduce(np.full((1, 3), 100, np.int8), "add", (1,), 1).tolist() == [45]
    assert reduce(np.zeros((2, 0), np.float32), "maximum", (1,), -7).tolist() == [-7, -7]
    assert reduce(np.array([[12, 10]], np.uint8), "and", (1,), 255).tolist() == [8]
    assert reduce(np.array([[12, 10]], np.int32), "and", (1,), -1).tolist() == [8]
    assert reduce(np.array([[True, False]]), "and", (1,), True).tolist() == [False]
    assert reduce(np.array([[True, False]]), "add", (1,), False).tolist() == [True]


def test_maximum_propagates_nan():
    assert np.isnan(reduce(np.array([[1, np.nan, 3]], np.float32), "maximum", (1,), 0)).all()


def test_half_precision_sums_accumulate_in_float32():
    x = np.full((1, 4096), 1, np.float16)
    assert reduce(x, "add", (1,), 0).tolist() == [4096]


def test_argmax_of_several_operands():
    x = np.array([[1, 5, 5, 2], [np.nan, 9, 1, np.nan], [-3, -2, -1, -1]], np.float32)
    b = ModuleBuilder("argmax")
    node = b.parameter(DType.F32, x.shape)
    initial = [b.constant(-np.inf, DType.F32), b.constant(0, DType.S32)]
    index = b.iota(DType.S32, x.shape, 1)
    pair = b.reduce([node, index], initial, (1,), argmax_reducer(DType.F32))
    value, where = evaluate(b.module(b.get(pair, 0), b.get(pair, 1)), [x])
    assert where.tolist() == [1, 0, 2]
    np.testing.assert_array_equal(value, np.array([5, np.nan, -1], np.float32))


def test_order_is_kept_for_reducers_that_do_not_commute():
    """`take the right one` gives the last element, wherever the tree splits."""
    b = ModuleBuilder("last")
    inner = ModuleBuilder("right")
    inner.parameter(DType.S32)
    right = inner.computation(inner.parameter(DType.S32))
    for size in (1, 2, 3, 5, 8, 13):
        b = ModuleBuilder("last")
        node = b.parameter(DType.S32, (size,))
        root = b.reduce([node], [b.constant(-1, DType.S32)], (0,), right)
        assert evaluate(b.module(root), [np.arange(size, dtype=np.int32)])[0] == size - 1


def test_reducers_that_cannot_be_vectorised_run_element_by_element():
    """A reducer with a conditional: the sum where it is even, else the first."""
    inner = ModuleBuilder("even_sum")
    x, y = inner.parameter(DType.S32), inner.parameter(DType.S32)
    total = inner.binary("add", x, y)
    branches = []
    for name in ("sum", "first"):
        branch = ModuleBuilder(name)
        branches.append(branch.computation(branch.parameter(DType.S32)))
    even = inner.compare(
        "EQ", inner.binary("and", total, inner.constant(1, DType.S32)), inner.constant(0, DType.S32)
    )
    reducer = inner.computation(inner.conditional(even, branches, [total, x]))
    b = ModuleBuilder("reduce")
    root = b.reduce([b.parameter(DType.S32, (2, 2))], [b.constant(0, DType.S32)], (1,), reducer)
    assert evaluate(b.module(root), [np.array([[2, 4], [2, 5]], np.int32)])[0].tolist() == [6, 2]


def test_float64_evaluation_is_exact_to_double():
    x = np.array([[1, 1e-8, -1]], np.float32)
    b = ModuleBuilder("sum")
    add = binary_computation("add", DType.F32)
    root = b.reduce([b.parameter(DType.F32, (1, 3))], [b.constant(0, DType.F32)], (1,), add)
    value = evaluate(b.module(root), [x], float64=True)[0]
    assert_within_ulp(value, np.array([float(np.float32(1e-8))]), 2.0, DType.F32)
