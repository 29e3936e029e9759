"""Time over batch size: how long a loaded artifact takes for ever more rows.

Input: a loaded model. Output: a `BatchTime` per batch size, the median of some samples with the
band that holds 68 % of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from tfaot.errors import InputError
from tfaot.packaging.manifest import Batch
from tfaot.runtime.model import Model
from tfaot.runtime.samples import random_inputs

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SAMPLES = 21
SECONDS_EACH = 0.2
"""Time for one batch size, unless a single call takes longer."""

SECONDS_ALL = 6.0
"""Larger batch sizes are left out once all so far, and the next one, take longer than this."""


@dataclass(frozen=True)
class BatchTime:
    """One batch size; times in seconds per call.

    Attributes:
        batch: rows of a call.
        median: of the samples, each the mean of some calls.
        low: 16 % of the samples are faster.
        high: 16 % of them are slower.
    """

    batch: int
    median: float
    low: float
    high: float


def batch_sizes(batch: Batch) -> tuple[int, ...]:
    """The batch sizes worth measuring, ascending."""
    if batch.kind == "none":
        return (1,)
    if batch.kind == "static" and not batch.is_composed:
        return batch.sizes
    if batch.kind == "static":
        return tuple(sorted({*batch.sizes, *BATCH_SIZES[:8]}))
    return BATCH_SIZES


def time_over_batch(
    model: Model, sizes: Iterable[int], progress: Callable[[str, str], None]
) -> tuple[BatchTime, ...]:
    """Measure a model on random inputs.

    Args:
        model: the loaded artifact.
        sizes: batch sizes, ascending; those that would take too long are left out.
        progress: told of each.
    """
    found: list[BatchTime] = []
    start = time.perf_counter()
    for size in sizes:
        spent = time.perf_counter() - start
        if found:
            longest = found[-1].median * size / found[-1].batch
            if spent + max(SECONDS_EACH, 3 * longest) > SECONDS_ALL:
                break
        progress("measure", f"batch {size}")
        try:
            found.append(_time(model, size))
        except InputError:  # a size at which the model's shapes have no meaning
            continue
    return tuple(found)


def _time(model: Model, size: int) -> BatchTime:
    call = model.bind(*random_inputs(model.inputs, size))
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    samples = max(3, min(SAMPLES, int(SECONDS_EACH / once)))
    count = max(1, math.ceil(SECONDS_EACH / samples / once))
    taken = []
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(count):
            call()
        taken.append((time.perf_counter() - start) / count)
    low, median, high = (float(x) for x in np.percentile(taken, (16, 50, 84)))
    return BatchTime(size, median, low, high)
