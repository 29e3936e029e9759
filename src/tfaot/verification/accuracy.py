"""Distances between arrays of outputs, in units in the last place (ULP)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.dtypes import DType
from tfaot.verification.rounding import MANTISSA_BITS

Array = NDArray[Any]

_LEAST_EXPONENT = {DType.F16: -14, DType.BF16: -126, DType.F32: -126, DType.F64: -1022}
_LAST_BEFORE_INFINITY = {
    DType.F16: 65_000.0,
    DType.BF16: 3.35e38,
    DType.F32: 3.4028e38,
    DType.F64: 1.797693e308,
}
_TYPICAL_ROWS = 128
"""Rows that tell an output's typical magnitudes; more add nothing."""


def typical_magnitude(expected: Array, axis: int | None = None) -> Array:
    """The median magnitude of the values that are finite and not zero.

    Args:
        expected: one output.
        axis: the batch axis: each feature then has a magnitude of its own (kept as an axis of size
            1), as features may differ by orders of magnitude; None for one magnitude of all.

    Returns:
        An array that broadcasts against `expected`; 0 where no value is finite and not zero.
    """
    magnitude = np.abs(expected.astype(np.complex128))
    whole = _median(magnitude.reshape(-1, 1)).reshape(())
    if axis is None:
        return np.asarray(whole)
    rows = np.moveaxis(magnitude, axis, 0)[:_TYPICAL_ROWS]
    features = rows.shape[1:]
    columns = rows.reshape(len(rows), math.prod(features))
    typical = _median(columns).reshape(features)
    typical = np.where(typical > 0, typical, whole)
    return np.asarray(np.expand_dims(typical, axis))


def _median(columns: Array) -> Array:
    """Per column, the median of the values that are finite and above zero; 0 if there is none."""
    counted = np.isfinite(columns) & (columns > 0)
    ordered = np.sort(np.where(counted, columns, np.inf), axis=0)
    count = counted.sum(axis=0)
    if not len(ordered):
        return np.zeros(columns.shape[1:])
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    return np.where(count > 0, middle, 0.0)


def scaled_ulp(expected: Array, dtype: DType, typical: Array | None = None) -> Array:
    """ULP of each element, taken at the typical magnitude where the element is smaller.

    Args:
        expected: values, real or complex.
        dtype: the type whose ULP is meant; 1 for types that are exact.
        typical: as `typical_magnitude` gives it; by default that of all elements.
    """
    bits = MANTISSA_BITS.get(dtype.real)
    if bits is None:
        return np.ones(expected.shape)
    magnitude = np.abs(expected.astype(np.complex128))
    if typical is None:
        typical = typical_magnitude(expected)
    least = _LEAST_EXPONENT[dtype.real]
    scale = np.maximum(np.where(np.isfinite(magnitude), magnitude, 1.0), typical)
    exponent = np.floor(np.log2(np.maximum(scale, 2.0**least)))
    return np.asarray(np.exp2(exponent - bits))


def distance(value: Array, expected: Array, dtype: DType) -> Array:
    """How far each element is from what is expected: 0 where equal, infinite where one is NaN.

    Args:
        value: an output of type `dtype`.
        expected: the same output in the widest type.
        dtype: a value beyond its range counts as infinite.
    """
    if dtype.is_complex:
        return np.hypot(
            distance(value.real, expected.real, dtype.real),
            distance(value.imag, expected.imag, dtype.real),
        )
    if not dtype.is_float:
        exact = expected.astype(value.dtype)
        apart = np.abs(value.astype(np.float64) - expected.astype(np.float64))
        return np.where(value == exact, 0.0, np.maximum(apart, 1.0))
    wide, exact = value.astype(np.float64), expected.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = exact.astype(dtype.numpy).astype(np.float64)
        apart = np.abs(wide - exact)
        # The last values before infinity may round either way.
        beyond = np.abs(exact) > _LAST_BEFORE_INFINITY[dtype]
        over = np.isinf(wide) & (np.sign(wide) == np.sign(exact)) & beyond
    equal = same(wide, exact) | same(wide, rounded) & ~np.isfinite(wide) | over
    return np.where(equal, 0.0, np.where(np.isnan(apart), np.inf, apart))


def same(a: Array, b: Array) -> Array:
    """Where two arrays are equal, NaN being equal to NaN."""
    return np.asarray((a == b) | ((a != a) & (b != b)))
