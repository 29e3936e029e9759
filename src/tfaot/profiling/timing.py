"""Timing of calls: repetitions with their spread, and whether outputs agree.

Input: a bound call of an engine. Output: seconds per call, medians with bands.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.engines.protocol import BoundCall

SECONDS = 2e-3
"""Of each timing: long against the clock, short against the machine's moods."""

TOLERANCE = 1e-4
"""Of outputs against TensorFlow's, relative to the largest of each output."""


@dataclass(frozen=True)
class Spread:
    """Values over all rounds: the median, the 16th and the 84th percentile, the least."""

    median: float
    low: float
    high: float
    least: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value."""
        low, high = np.percentile(values, [16, 84])
        return cls(statistics.median(values), float(low), float(high), min(values))


def calls_for(once: float, seconds: float = SECONDS) -> int:
    """How many calls of `once` seconds take about `seconds`: one at least."""
    return max(1, round(seconds / max(once, 1e-9)))


class Timing:
    """One engine's call in one cell, with the number of calls per timing."""

    def __init__(self, call: BoundCall) -> None:
        """Warm up, and find how many calls a timing takes."""
        self.call = call
        once = call.seconds(1)
        if once < SECONDS:
            count = calls_for(once, SECONDS / 4)
            once = min(call.seconds(count) / count for _ in range(3))
        self.calls = calls_for(once)

    def take(self) -> float:
        """Seconds per call, after one call that brings code and weights back into the caches."""
        if self.calls > 1:
            self.call.call()
        return self.call.seconds(self.calls) / self.calls


def mismatch(results: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> str:
    """What is wrong with outputs, empty where they agree with TensorFlow's.

    An engine may give the bytes alone (uint8), where it doesn't know shapes or types.
    """
    if len(results) != len(expected):
        return f"{len(results)} outputs instead of {len(expected)}"
    for number, (given, wanted) in enumerate(zip(results, expected, strict=True)):
        result = given
        if result.dtype == np.uint8 and wanted.dtype != np.uint8 and result.nbytes == wanted.nbytes:
            result = result.view(wanted.dtype).reshape(wanted.shape)
        if result.shape != wanted.shape:
            return f"output {number} has the shape {result.shape} instead of {wanted.shape}"
        if wanted.dtype.kind not in "fc":
            if not np.array_equal(result, wanted):
                return f"output {number} differs"
            continue
        # Where TensorFlow has NaN or an infinity, so must the engine.
        alike = (np.isnan(result) & np.isnan(wanted)) | (result == wanted)
        scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted))))
        with np.errstate(invalid="ignore"):
            errors = np.where(alike, 0.0, np.abs(result.astype(wanted.dtype) - wanted))
        error = float(np.max(errors, initial=0.0))
        if not error <= TOLERANCE * scale:
            return f"output {number} is off by {error:.2g} (largest value {scale:.2g})"
    return ""
