"""Holds the outputs of a compiled model against float64 and against TensorFlow's own error.

Input: samples of one output at several batch sizes. Output: an `OutputReport` and what missed.

The bound is twice TensorFlow's worst error, at least `FLOOR_ULP`. Elements beyond it may be wrong
by what rounding can do there, a few times `rounding_spread`; TensorFlow's own error on such an
element says nothing about the others and is left out of the bound. Booleans and integers must be
equal to the float64 evaluation or to TensorFlow. Elements that are nowhere near TensorFlow's are
wrong whatever float64 gives, for then XLA's graph is not the model's, unless rounding explains it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.shapes import BatchDim
from tfaot.signature import TensorSpec
from tfaot.verification.accuracy import distance, same, scaled_ulp, typical_magnitude
from tfaot.verification.report import WORST_ROWS, OutputReport, RowReport

Array = NDArray[Any]

FLOOR_ULP = 8.0
"""Errors up to this are never refused: TensorFlow's own may be smaller by luck."""

ROUNDING_FACTOR = 4.0
"""How many times the spread of a few random roundings an excused element may be off."""

_SUSPICIOUS_ULP = 64.0
_SUSPICIOUS_RATIO = 16.0
"""TensorFlow's errors beyond both (the ratio is to its median) may be those of a threshold."""

_STRANGE = 0.5
"""The part of their magnitude by which elements that are the same can't differ."""

_FEATURE_ROWS = 16
"""Rows from which on each feature has a typical magnitude of its own."""


@dataclass(frozen=True)
class Sample:
    """One output at one batch size.

    Attributes:
        batch: the batch size.
        actual: the compiled model's values.
        tensorflow: TensorFlow's.
        expected: the float64 evaluation.
        spread: what rounding does to some rows (None: to all) of this output, until it is enough.
    """

    batch: int
    actual: Array
    tensorflow: Array
    expected: Array
    spread: Callable[[Array | None, Callable[[Array], bool]], Array]


@dataclass(frozen=True)
class Miss:
    """An output that missed its bound; `message` is for the user."""

    message: str
    count: int


def batch_axis(spec: TensorSpec) -> int | None:
    """The axis that is the batch; None where there is none, or where it isn't B itself."""
    axes = spec.batch_axes
    return axes[0] if len(axes) == 1 and spec.dims[axes[0]] == BatchDim(1) else None


def judge(spec: TensorSpec, samples: Sequence[Sample]) -> tuple[OutputReport, Miss | None]:
    """Hold all samples of one output against the bound."""
    filled = [s for s in samples if s.actual.size]
    if not filled:
        return OutputReport(spec.name, 0.0, 0.0, FLOOR_ULP, 0, (), 0.0, 0.0), None
    axis = batch_axis(spec)
    typical = _typical(axis, filled)
    units = [scaled_ulp(s.expected, spec.dtype, typical) for s in filled]
    exact = not (spec.dtype.is_float or spec.dtype.is_complex)
    reference = 0.0 if exact else _tensorflow_error(spec, axis, filled, units)
    bound = 0.0 if exact else max(FLOOR_ULP, 2.0 * reference)
    place: tuple[int, Any, Any, tuple[int, ...]] = (0, 0.0, 0.0, ())
    worst, misses, miss = -1.0, 0, None
    excused, excused_ulp, finite, total, worst_miss = 0, 0.0, 0, 0, -1.0
    rows: list[RowReport] = []
    for sample, unit in zip(filled, units, strict=True):
        apart = distance(sample.actual, sample.expected, spec.dtype)
        agrees = same(sample.actual, sample.tensorflow)
        # Where TensorFlow itself gives something else (NaN, infinity), agreeing with it is right.
        apart = np.where(agrees & (exact | ~np.isfinite(apart)), 0.0, apart)
        error = apart / unit
        beyond = error > bound
        if beyond.any():
            allowed = beyond & (apart <= ROUNDING_FACTOR * _spread(sample, axis, beyond, apart))
            excused += int(allowed.sum())
            finite_excused = error[allowed & np.isfinite(error)]
            excused_ulp = max(excused_ulp, float(finite_excused.max(initial=0.0)))
            error = np.where(allowed, 0.0, error)
            missed = beyond & ~allowed
            misses += int(missed.sum())
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(error)), error.shape))
        rows.extend(_worst_rows(sample, axis, error))
        finite += int(np.isfinite(sample.expected.astype(np.complex128)).sum())
        total += sample.expected.size
        if error[index] >= worst:
            worst = float(error[index])
            place = (sample.batch, sample.actual[index], sample.expected[index], index)
        if error[index] > bound and error[index] > worst_miss:
            worst_miss = float(error[index])
            miss = (
                f"output '{spec.name}' at batch {sample.batch}, {_where(spec, index)}: "
                f"{sample.actual[index]} where {_references(sample, index)}"
                + ("" if exact else f" ({worst_miss:.3g} ULP, allowed {bound:.3g})")
            )
    if miss is None and not exact:
        misses, miss = _strangers(spec, axis, filled)
    batch, actual, expected, where = place
    report = OutputReport(
        spec.name,
        worst,
        reference,
        bound,
        batch,
        where,
        float(np.real(actual)),
        float(np.real(expected)),
        finite / total,
        excused,
        excused_ulp,
        tuple(sorted(rows, key=lambda r: (-r.ulp, r.batch, r.index))[:WORST_ROWS]),
    )
    return report, None if miss is None else Miss(miss, misses)


def _worst_rows(sample: Sample, axis: int | None, error: Array) -> list[RowReport]:
    """The rows of a sample with the largest errors, if they have any."""
    rows = np.moveaxis(error, axis, 0) if axis is not None else error[None]
    flat = rows.reshape(len(rows), -1)
    places = np.argmax(flat, axis=1)
    worst = flat[np.arange(len(flat)), places]
    found = []
    for row in np.argsort(-worst, kind="stable")[:WORST_ROWS]:
        if not 0 < worst[row] < np.inf:
            continue
        inner = [int(i) for i in np.unravel_index(int(places[row]), rows.shape[1:])]
        if axis is not None:
            inner.insert(axis, int(row))
        index = tuple(inner)
        actual, expected = (float(np.real(x[index])) for x in (sample.actual, sample.expected))
        found.append(RowReport(sample.batch, index, actual, expected, float(worst[row])))
    return found


def _strangers(
    spec: TensorSpec, axis: int | None, samples: Sequence[Sample]
) -> tuple[int, str | None]:
    """How many elements differ from TensorFlow's by half their magnitude, and the first's message.

    The magnitude is the typical one where the element is smaller.
    """
    count, message = 0, None
    for sample in samples:
        actual, reference = (
            x.astype(np.complex128 if spec.dtype.is_complex else np.float64)
            for x in (sample.actual, sample.tensorflow)
        )
        finite = np.isfinite(actual) & np.isfinite(reference)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.where(finite, np.abs(actual - reference), 0.0)
        typical = typical_magnitude(np.where(finite, reference, 0.0))
        scale = np.maximum(np.maximum(np.abs(actual), np.abs(reference)), typical)
        wrong = finite & (apart > _STRANGE * scale)
        if wrong.any():
            wrong &= apart > ROUNDING_FACTOR * _spread(sample, axis, wrong, apart)
        count += int(wrong.sum())
        if message is None and wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            message = (
                f"output '{spec.name}' at batch {sample.batch}, {_where(spec, index)}: XLA's graph "
                f"gives {sample.actual[index]} where TensorFlow gives {sample.tensorflow[index]}"
            )
    return count, message


def _typical(axis: int | None, samples: Sequence[Sample]) -> Array:
    largest = max(samples, key=lambda s: s.expected.size).expected
    per_feature = axis is not None and largest.shape[axis] >= _FEATURE_ROWS
    return typical_magnitude(largest, axis if per_feature else None)


def _tensorflow_error(
    spec: TensorSpec, axis: int | None, samples: Sequence[Sample], units: Sequence[Array]
) -> float:
    """TensorFlow's worst error, of the elements that aren't at the mercy of rounding."""
    distances = [distance(s.tensorflow, s.expected, spec.dtype) for s in samples]
    errors = [d / u for d, u in zip(distances, units, strict=True)]
    every = np.concatenate([e[np.isfinite(e)] for e in errors])
    if not every.size:
        return 0.0
    suspicious = max(_SUSPICIOUS_ULP, _SUSPICIOUS_RATIO * float(np.median(every)))
    worst = 0.0
    for sample, error, apart in zip(samples, errors, distances, strict=True):
        counted = np.isfinite(error)
        beyond = counted & (error > suspicious)
        if beyond.any():
            spread = _spread(sample, axis, beyond, apart)
            counted &= ~(beyond & (apart <= ROUNDING_FACTOR * spread))
        worst = max(worst, float(np.where(counted, error, 0.0).max(initial=0.0)))
    return worst


def _spread(sample: Sample, axis: int | None, wanted: Array, apart: Array) -> Array:
    """What rounding does to the wanted elements; 0 in rows without one, where it is not known.

    It may be smaller than it could be found to be where it explains all distances already.
    """

    def enough(spread: Array) -> bool:
        return bool((apart <= ROUNDING_FACTOR * spread)[wanted].all())

    if axis is None:
        return sample.spread(None, enough)
    others = tuple(n for n in range(wanted.ndim) if n != axis)
    return sample.spread(np.flatnonzero(wanted.any(axis=others)), enough)


def _references(sample: Sample, index: tuple[int, ...]) -> str:
    theirs = sample.tensorflow[index]
    if sample.expected is sample.tensorflow:
        return f"TensorFlow gives {theirs}"
    return f"float64 gives {sample.expected[index]} and TensorFlow {theirs}"


def _where(spec: TensorSpec, index: tuple[int, ...]) -> str:
    axis = next((n for n, d in enumerate(spec.dims) if isinstance(d, BatchDim)), None)
    if axis is None:
        return f"element {list(index)}"
    return f"row {index[axis]}, element {list(index)}"
