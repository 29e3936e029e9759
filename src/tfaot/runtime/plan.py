"""Which batch rules are best for an artifact with static sizes, by measuring them.

Input: a loaded model. Output: what a call of each compiled size takes, and for each number of rows
the parts that take least in sum.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from tfaot.errors import UsageError
from tfaot.packaging.batch_rules import rule_text
from tfaot.runtime.model import Model
from tfaot.runtime.samples import random_inputs
from tfaot.schedule.composition import Composition, cheapest

ROUNDS = 15
ROUND_SECONDS = 0.004

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PlannedBatch:
    """One batch size.

    Attributes:
        batch: rows.
        parts: the sizes that it is best composed of.
        seconds: one call composed like that, the median over rounds.
        default_seconds: one call without a rule.
    """

    batch: int
    parts: tuple[int, ...]
    seconds: float
    default_seconds: float

    @property
    def rule(self) -> str:
        """As `set_batch_rules` takes it."""
        return rule_text(self.batch, self.parts)


@dataclass(frozen=True)
class Plan:
    """What was measured.

    Attributes:
        seconds: one call of each compiled size, the median over rounds.
        batches: every other size up to the largest that was asked for.
    """

    seconds: dict[int, float]
    batches: tuple[PlannedBatch, ...]

    def rules(self, gain: float = 0.03) -> tuple[str, ...]:
        """The rules that save at least a share of the time of the default."""
        return tuple(b.rule for b in self.batches if b.seconds < (1 - gain) * b.default_seconds)


def plan(model: Model, up_to: int | None = None, progress: Progress = lambda text: None) -> Plan:
    """Measure the compiled sizes and find the best composition of every other.

    Args:
        model: a model with static sizes that are composed to others.
        up_to: the largest number of rows to plan for; by default the largest compiled size.
        progress: told what is measured.

    Raises:
        UsageError: the model has no sizes to compose.
    """
    batch = model.manifest.batch
    if not batch.is_composed:
        reason = (
            "takes any batch size in one call, so no rule makes it faster"
            if batch.kind == "symbolic"
            else "has no batch sizes to compose"
        )
        raise UsageError(
            f"model '{model.manifest.name}' {reason}: plan is for models compiled with "
            "--batch-sizes (and --static)"
        )
    most = batch.sizes[-1] if up_to is None else up_to
    model.set_batch_rules(None)
    progress(f"batch sizes {', '.join(map(str, batch.sizes))}")
    calls = {size: _call(model, size) for size in batch.sizes}
    seconds = _measure(calls)
    composition = cheapest(batch.sizes, lambda size: seconds[size] * 1e9)
    return Plan(seconds, tuple(_planned(model, composition, most, progress)))


def _planned(
    model: Model, composition: Composition, most: int, progress: Progress
) -> list[PlannedBatch]:
    found = []
    for rows in range(1, most + 1):
        if rows in composition.sizes:
            continue
        progress(f"{rows} rows")
        parts = composition.parts(rows)
        default = _call(model, rows)
        model.set_batch_rules({rows: parts})
        try:
            ruled = _call(model, rows)
        finally:
            model.set_batch_rules(None)
        seconds = _measure({0: default, 1: ruled})
        found.append(PlannedBatch(rows, parts, seconds[1], seconds[0]))
    return found


def _call(model: Model, rows: int) -> Callable[[], None]:
    return model.bind(*random_inputs(model.inputs, rows))


def _measure(calls: dict[int, Callable[[], None]]) -> dict[int, float]:
    """Seconds of one call of each, medians over rounds in which all take turns."""
    repeats = {key: _repeats(call) for key, call in calls.items()}
    samples: dict[int, list[float]] = {key: [] for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeats[key]):
                call()
            samples[key].append((time.perf_counter() - start) / repeats[key])
    return {key: statistics.median(values) for key, values in samples.items()}


def _repeats(call: Callable[[], None]) -> int:
    call()
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    return max(1, int(ROUND_SECONDS / max(once, 1e-7)))
