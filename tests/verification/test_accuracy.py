"""Distances in ULP."""

import ml_dtypes
import numpy as np
import pytest

from tfaot.ir.dtypes import DType
from tfaot.verification.accuracy import distance, scaled_ulp, typical_magnitude


def test_a_feature_has_its_own_typical_magnitude():
    values = np.array([[0.0, 1e6], [2.0, 3e6], [-4.0, 2e6], [3.0, np.nan]])
    np.testing.assert_array_equal(typical_magnitude(values, 0), [[3.0, 2e6]])


def test_zeros_say_nothing_about_magnitude():
    assert typical_magnitude(np.array([0.0, 0.0, 0.0, 5.0])) == 5.0
    assert typical_magnitude(np.zeros(3)) == 0.0
    assert typical_magnitude(np.zeros((0, 3)), 0).shape == (1, 3)


def test_units_follow_the_larger_of_value_and_typical():
    unit = scaled_ulp(np.array([1.0, 1e-9, 4.0]), DType.F32)
    np.testing.assert_array_equal(unit, [2.0**-23, 2.0**-23, 2.0**-21])
    assert scaled_ulp(np.array([0.0]), DType.F32)[0] == 2.0**-149
    assert scaled_ulp(np.array([1.0]), DType.F16)[0] == 2.0**-10


def test_nan_equals_nan_only():
    value = np.array([np.nan, np.nan, 1.0], np.float32)
    expected = np.array([np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(distance(value, expected, DType.F32), [0.0, np.inf, np.inf])


@pytest.mark.parametrize(
    ("dtype", "expected", "apart"),
    [
        (DType.F16, 7e4, 0.0),
        (DType.F32, 7e4, np.inf),
        (DType.F32, 1e39, 0.0),
        (DType.F32, -1e39, np.inf),
        (DType.BF16, 7e4, np.inf),
        (DType.F64, 1e300, np.inf),
    ],
)
def test_infinity_is_right_beyond_the_range_only(dtype, expected, apart):
    value = np.array([np.inf]).astype(dtype.numpy)
    assert distance(value, np.array([expected]), dtype)[0] == apart


def test_integers_and_booleans_are_equal_or_not():
    value = np.array([1, 2, 200], np.uint8)
    np.testing.assert_array_equal(
        distance(value, np.array([1, 3, 1], np.uint8), DType.U8), [0.0, 1.0, 199.0]
    )
    flags = np.array([True, False])
    np.testing.assert_array_equal(distance(flags, ~flags, DType.PRED), [1.0, 1.0])
    big = np.array([2**63 + 1], np.uint64)
    assert distance(big, big - np.uint64(1), DType.U64)[0] == 1.0


def test_half_types_are_measured_in_double():
    value = np.array([1.0], ml_dtypes.bfloat16)
    assert distance(value, np.array([1.001]), DType.BF16)[0] == pytest.approx(0.001)
