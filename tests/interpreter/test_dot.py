"""dot against einsum in float64 and exact integers."""

import ml_dtypes
import numpy as np
import pytest

from tfaot.interpreter import context, evaluate
from tfaot.interpreter import dot as dot_rule
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder


def dot(x, y, *axes, dtype=None, float64=False):
    b = ModuleBuilder("dot")
    nodes = [b.parameter(DType.from_numpy(v.dtype), v.shape) for v in (x, y)]
    return evaluate(b.module(b.dot(*nodes, *axes, dtype=dtype)), [x, y], float64=float64)[0]


@pytest.mark.parametrize(
    ("left", "right", "axes", "formula"),
    [
        ((5, 7), (7, 3), ((1,), (0,)), "ik,kj->ij"),
        ((7, 5), (3, 7), ((0,), (1,)), "ki,jk->ij"),
        ((5, 3, 4), (4, 6, 3), ((1, 2), (2, 0)), "iab,bja->ij"),
        ((2, 6, 3, 4), (2, 5, 3, 4), ((3,), (3,), (0, 2), (0, 2)), "bihk,bjhk->bhij"),
        ((6, 3, 2), (3, 5, 6, 2), ((0,), (2,), (1, 2), (0, 3)), "kab,ajkb->abj"),
        ((4,), (4,), ((0,), (0,)), "k,k->"),
        ((4,), (3,), ((), ()), "i,j->ij"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.int32])
def test_dimension_numbers(left, right, axes, formula, dtype):
    generator = np.random.default_rng(0)
    x = generator.integers(-9, 9, left).astype(dtype)
    y = generator.integers(-9, 9, right).astype(dtype)
    np.testing.assert_array_equal(dot(x, y, *axes), np.einsum(formula, x, y))


def test_integers_wrap_and_widen():
    x, y = np.full((1, 4), 100, np.int8), np.full((4, 1), 100, np.int8)
    assert dot(x, y, (1,), (0,)).tolist() == [[np.array(40000).astype(np.int8)]]
    assert dot(x, y, (1,), (0,), dtype=DType.S32).tolist() == [[40000]]


def test_narrow_floats_accumulate_in_float32():
    for kind in (np.float16, ml_dtypes.bfloat16):
        x = np.ones((1, 4096), kind)
        assert dot(x, x, (1,), (1,)).astype(float).tolist() == [[4096]]


def test_pred_dot_is_or_of_ands():
    x, y = np.array([[True, True], [False, True]]), np.array([[True], [False]])
    assert dot(x, y, (1,), (0,)).tolist() == [[True], [False]]


def test_float64_evaluation_widens_before_the_product():
    x = np.array([[2**13, 1]], np.float32)
    exact = 2.0**26 + 1
    assert dot(x, x, (1,), (1,), float64=True).tolist() == [[exact]]


@pytest.mark.parametrize(
    ("left", "right", "axes", "formula"),
    [
        ((5, 7), (7, 33), ((1,), (0,)), "ik,kj->ij"),
        ((5, 7), (33, 7), ((1,), (1,)), "ik,jk->ij"),
        ((2, 6, 3, 4), (2, 15, 3, 4), ((3,), (3,), (0, 2), (0, 2)), "bihk,bjhk->bhij"),
        ((4,), (4,), ((0,), (0,)), "k,k->"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16])
@pytest.mark.parametrize("side", [0, 1])
def test_large_constants_are_widened_in_parts(left, right, axes, formula, dtype, side, monkeypatch):
    """As a whole they would take twice their memory; the result is that of float64 all the same."""
    monkeypatch.setattr(context, "LARGE_CONSTANT", 1)
    monkeypatch.setattr(dot_rule, "BLOCK", 64)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=shape).astype(dtype) for shape in (left, right)]
    b = ModuleBuilder("dot")
    kind = DType.from_numpy(values[0].dtype)
    nodes = [b.parameter(kind, values[1 - side].shape), b.constant(values[side])]
    root = b.dot(*(nodes if side else reversed(nodes)), *axes)

    (actual,) = evaluate(b.module(root), [values[1 - side]], float64=True)

    wide = [v.astype(np.float64) for v in values]
    assert actual.dtype == np.float64
    np.testing.assert_allclose(actual, np.einsum(formula, *wide), rtol=1e-12, atol=1e-12)


def test_a_large_constant_that_other_ops_take_too_is_float64_to_all(monkeypatch):
    monkeypatch.setattr(context, "LARGE_CONSTANT", 1)
    w = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    b = ModuleBuilder("dot")
    x, constant = b.parameter(DType.F32, (7, 7)), b.constant(w)
    squared = b.binary("multiply", constant, constant)
    module = b.module(b.matmul(x, constant), squared, b.matmul(x, squared), constant)

    found = evaluate(module, [w], float64=True)

    wide = w.astype(np.float64)
    assert all(f.dtype == np.float64 for f in found)
    for actual, expected in zip(found, (wide @ wide, wide**2, wide @ wide**2, wide), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-12)


def test_rows_of_a_large_table_are_widened_after_they_are_taken(monkeypatch):
    monkeypatch.setattr(context, "LARGE_CONSTANT", 1)
    table = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    b = ModuleBuilder("rows")
    rows = b.take_rows(b.constant(table), b.parameter(DType.S32, (3,)))
    third = b.constant(np.full((3, 4), 3, np.float32))

    (actual,) = evaluate(
        b.module(b.binary("divide", rows, third)), [np.array([8, 0, 2], np.int32)], float64=True
    )

    np.testing.assert_array_equal(actual, table[[8, 0, 2]].astype(np.float64) / 3)
