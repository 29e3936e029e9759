"""ULP distances by hand."""

import ml_dtypes
import numpy as np
import pytest

from tfaot.ir.dtypes import DType
from tfaot.testing.ulp import assert_within_ulp, ulp_distance, worst

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_neighbours_are_one_ulp_apart(kind):
    for start in (1.0, 1.5, 3.0, 1e-3, 100.0):
        x = np.array(start, kind)
        assert ulp_distance(np.nextafter(x, np.array(INF, kind)), x) == 1


def test_fractions_of_an_ulp_against_float64():
    exact = np.array([1 + 2.0**-24])
    assert ulp_distance(np.array([1], np.float32), exact) == [0.5]


def test_denormals_have_a_fixed_spacing():
    tiny = np.array([2.0**-149], np.float32)
    assert ulp_distance(tiny * 3, tiny) == [2]
    assert ulp_distance(np.zeros(1, np.float32), tiny) == [1]


def test_special_values():
    actual = np.array([NAN, INF, -INF, NAN, 1, INF, 0.0], np.float32)
    expected = np.array([NAN, INF, INF, 1, NAN, 1e39, -0.0])
    assert ulp_distance(actual, expected).tolist() == [0, 0, INF, INF, INF, 0, 0]
    assert ulp_distance(actual[-1:], expected[-1:], strict=True).tolist() == [INF]


def test_integers_differ_without_overflow():
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    assert ulp_distance(np.array([low]), np.array([high])) == [2.0**64]
    big = np.array([2**64 - 1], np.uint64)
    assert ulp_distance(big, np.array([0], np.uint64)) == [2.0**64]
    assert ulp_distance(np.array([True]), np.array([False])) == [1]


def test_complex_takes_the_worse_part():
    actual = np.array([1 + 1j], np.complex64)
    assert ulp_distance(actual, np.array([1 + (1 + 2.0**-22) * 1j])) == [2]


def test_worst_names_index_and_values():
    actual = np.array([[1, 2], [3, 4]], np.float32)
    expected = actual.astype(np.float64)
    expected[1, 0] += 2.0**-20
    found = worst(actual, expected)
    assert (found.ulp, found.index, found.actual) == (4, (1, 0), 3)
    with pytest.raises(AssertionError, match=r"\[1, 0\]: 4 ULP.*missed by 1 of 4"):
        assert_within_ulp(actual, expected, 3.5)
    assert_within_ulp(actual, expected, 4)


def test_wider_values_are_judged_by_the_narrow_type():
    assert_within_ulp(np.array([1.001]), np.array([1.0]), 1.1, DType.F16)


def test_shapes_have_to_agree_and_nothing_is_within_zero():
    with pytest.raises(AssertionError, match="shape"):
        assert_within_ulp(np.zeros(2), np.zeros(3), 1)
    assert_within_ulp(np.zeros((0, 3)), np.zeros((0, 3)), 0)
