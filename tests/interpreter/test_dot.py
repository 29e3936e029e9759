"""dot against einsum in float64 and exact integers."""

import ml_dtypes
import numpy as np
import pytest

from tfaot.interpreter import evaluate
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
