"""compare, select and clamp against hand-computed values."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder

NAN, INF = float("nan"), float("inf")


def compare(direction, x, y, order=None):
    b = ModuleBuilder("compare")
    operands = [b.parameter(DType.from_numpy(v.dtype), v.shape) for v in (x, y)]
    return evaluate(b.module(b.compare(direction, *operands, order=order)), [x, y])[0].tolist()


def test_nan_compares_unequal():
    x, y = np.array([NAN, NAN, 1, -0.0], "f4"), np.array([NAN, 1, NAN, 0.0], "f4")
    assert compare("EQ", x, y) == [False, False, False, True]
    assert compare("NE", x, y) == [True, True, True, False]
    assert compare("LE", x, y) == [False, False, False, True]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_total_order(dtype):
    ordered = np.array([-NAN, -INF, -1, -0.0, 0.0, 1, INF, NAN], dtype)
    ordered[0] = np.copysign(dtype(NAN), dtype(-1))
    below, above = ordered[:-1], ordered[1:]
    assert all(compare("LT", below, above, "TOTALORDER"))
    assert not any(compare("GE", below, above, "TOTALORDER"))
    assert all(compare("EQ", ordered, ordered, "TOTALORDER"))


def test_unsigned_and_pred_order():
    assert compare("GT", np.array([255], np.uint8), np.array([1], np.uint8)) == [True]
    assert compare("LT", np.array([False]), np.array([True])) == [True]


def test_clamp_with_scalar_limits():
    b = ModuleBuilder("clamp")
    x = b.parameter(DType.F32, (5,))
    root = b.clamp(b.constant(-1, DType.F32), x, b.constant(2, DType.F32))
    value = evaluate(b.module(root), [np.array([-3, 0, 3, NAN, INF], np.float32)])[0]
    np.testing.assert_array_equal(value, np.array([-1, 0, 2, NAN, 2], np.float32))


def test_select():
    b = ModuleBuilder("select")
    chosen = b.parameter(DType.PRED, (2,))
    root = b.select(chosen, b.parameter(DType.S8, (2,)), b.parameter(DType.S8, (2,)))
    inputs = [np.array([True, False]), np.array([1, 2], np.int8), np.array([3, 4], np.int8)]
    assert evaluate(b.module(root), inputs)[0].tolist() == [1, 4]
