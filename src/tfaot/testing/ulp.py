"""Comparison in units in the last place (ULP) of the type under test.

The ULP of an expected value is the distance between the two numbers of the type around it, so an
error of 0.5 is the best that rounding allows and expected values in float64 give fractional errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.dtypes import DType

Array = NDArray[Any]

_MANTISSA_AND_LEAST_EXPONENT = {
    DType.F8E4M3FN: (3, -6),
    DType.F8E5M2: (2, -14),
    DType.F16: (10, -14),
    DType.BF16: (7, -126),
    DType.F32: (23, -126),
    DType.F64: (52, -1022),
}


@dataclass(frozen=True)
class WorstElement:
    """The element with the largest error.

    Attributes:
        ulp: its error in ULP; 0 for no elements, infinity where NaN or infinity differ.
        index: its position.
        actual: the value found.
        expected: the value wanted.
    """

    ulp: float
    index: tuple[int, ...]
    actual: Any
    expected: Any

    def __str__(self) -> str:
        return (
            f"worst element {list(self.index)}: {self.ulp:.4g} ULP, "
            f"actual {self.actual!r}, expected {self.expected!r}"
        )


def ulp_distance(
    actual: Array, expected64: Array, dtype: DType | None = None, *, strict: bool = False
) -> Array:
    """Error of each element in ULP of `dtype`, as float64.

    Args:
        actual: values found, of type `dtype` or wider.
        expected64: values wanted, broadcast against `actual`; best in float64 or complex128.
        dtype: the type whose ULP counts; by default that of `actual`. Integers and pred: the
            difference itself. Complex numbers: the larger error of both parts.
        strict: whether -0 and +0 differ (by an infinite error).

    Returns:
        0 where both are NaN, or the same infinity; infinity where only one is. A finite value
        beyond the type's range is compared as the infinity that it rounds to.
    """
    actual, expected64 = np.asarray(actual), np.asarray(expected64)
    dtype = dtype or DType.from_numpy(actual.dtype)
    if dtype.is_complex:
        parts = [
            ulp_distance(part(actual), part(expected64), dtype.real, strict=strict)
            for part in (np.real, np.imag)
        ]
        return np.asarray(np.maximum(*parts))
    with np.errstate(all="ignore"):
        if not dtype.is_float:
            return _integer_distance(actual, expected64)
        return _float_distance(actual, expected64, dtype, strict)


def _integer_distance(actual: Array, expected: Array) -> Array:
    if actual.dtype.kind == "u" and actual.dtype.itemsize == 8:
        high, low = np.maximum(actual, expected), np.minimum(actual, expected)
        return (high - low).astype(np.float64)
    a, e = actual.astype(np.int64), expected.astype(np.int64)
    # The unsigned difference can't overflow.
    return np.where(
        a > e, a.astype(np.uint64) - e.astype(np.uint64), e.astype(np.uint64) - a.astype(np.uint64)
    ).astype(np.float64)


def spacing(values: Array, dtype: DType) -> Array:
    """The distance between the neighbouring numbers of `dtype` around float64 `values`."""
    mantissa, least = _MANTISSA_AND_LEAST_EXPONENT[dtype]
    # frexp's exponent is one more than that of IEEE 754's normal form.
    exponent = np.where(values == 0, least, np.maximum(np.frexp(np.abs(values))[1] - 1, least))
    return np.asarray(np.ldexp(1.0, exponent - mantissa))


def _float_distance(actual: Array, expected: Array, dtype: DType, strict: bool) -> Array:
    a, e = (v.astype(np.float64) for v in np.broadcast_arrays(actual, expected))
    rounded = e.astype(dtype.numpy).astype(np.float64)
    e = np.where(np.isinf(rounded), rounded, e)
    scale = spacing(np.where(np.isfinite(e), e, 0.0), dtype)
    distance = np.abs(a - e) / scale
    distance = np.where(np.isfinite(a) & np.isfinite(e), distance, np.inf)
    distance = np.where((a == e) | (np.isnan(a) & np.isnan(e)), 0.0, distance)
    if strict:
        zeros = (a == 0) & (rounded == 0) & (np.signbit(a) != np.signbit(e))
        distance = np.where(zeros, np.inf, distance)
    return np.asarray(distance)


def worst(
    actual: Array, expected: Array, dtype: DType | None = None, *, strict: bool = False
) -> WorstElement:
    """The element with the largest error in ULP of `dtype` (by default that of `actual`)."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    distance = ulp_distance(actual, expected, dtype, strict=strict)
    if distance.size == 0:
        return WorstElement(0.0, (), None, None)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(distance)), distance.shape))
    wanted = np.broadcast_to(expected, distance.shape)[index]
    return WorstElement(float(distance[index]), index, actual[index], wanted)


def assert_within_ulp(
    actual: Array,
    expected: Array,
    max_ulp: float,
    dtype: DType | None = None,
    *,
    strict: bool = False,
) -> None:
    """Fails unless shapes are equal and no element is off by more than `max_ulp`.

    Raises:
        AssertionError: names the worst element, its index and both values, and how many miss.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        raise AssertionError(f"shape {actual.shape}, expected {expected.shape}")
    found = worst(actual, expected, dtype, strict=strict)
    if found.ulp <= max_ulp:
        return
    misses = int((ulp_distance(actual, expected, dtype, strict=strict) > max_ulp).sum())
    raise AssertionError(f"{found}; limit {max_ulp} ULP, missed by {misses} of {actual.size}")
