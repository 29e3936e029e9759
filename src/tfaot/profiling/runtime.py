"""Runtime of one model in several engines, in rounds that take every engine in turn.

Input: a `Job`. Output: events, in the order in which they happen, each a mapping with `event`:

    doing    engine, what                         a step that may end the process
    failed   engine, batch or None, reason        what can't be measured
    note     engine, batch, note                  outputs that differ from TensorFlow's
    samples  batch, milliseconds {engine: [...]}  repetitions since the last such event

A repetition is one call (one per thread, where there are several), after an untimed one where
calls are short: the engines before it had the caches to themselves.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfaot.engines import BoundCall, EngineError, Runner, make_engine
from tfaot.engines.files import ModelFiles, read_files
from tfaot.profiling.inputs import Array, first_rows, read_inputs
from tfaot.profiling.timing import SECONDS, Timing, calls_for, mismatch

REFERENCE = "tensorflow"
REPORT_SECONDS = 0.5
"""How often samples are handed over, so that a stopped run loses little."""

TEAM_SECONDS = 1e-2
"""Of a repetition of several threads: long against their start."""

Tell = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
        folder: of the prepared model.
        inputs: the .npz file with the rows of all inputs.
        engines: names, prepared and not known to fail.
        cells: per batch size the repetitions that each engine still needs.
        threads: how many threads call the model at once.
        warmup: untimed calls before the first repetition.
        clock: `wall`, or `cpu` for the CPU time of the process, over as many calls as take 2 ms.
    """

    folder: str
    inputs: str
    engines: tuple[str, ...]
    cells: Mapping[int, Mapping[str, int]]
    threads: int = 1
    warmup: int = 10
    clock: str = "wall"

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))


def read_job(text: str) -> Job:
    """A job from its line."""
    data = json.loads(text)
    cells = {int(batch): dict(wanted) for batch, wanted in data.pop("cells").items()}
    return Job(**{**data, "engines": tuple(data["engines"]), "cells": cells})


def measure(job: Job, tell: Tell) -> None:
    """Do a job; whatever is found goes to `tell`."""
    files = read_files(Path(job.folder))
    rows = read_inputs(Path(job.inputs), files.inputs)
    runners: dict[str, Runner] = {}
    for name in job.engines:
        tell({"event": "doing", "engine": name, "what": "loading the model"})
        try:
            runners[name] = make_engine(name).load(files)
        except EngineError as error:
            tell({"event": "failed", "engine": name, "batch": None, "reason": str(error)})
    for batch, wanted in job.cells.items():
        present = {name: runners[name] for name in wanted if name in runners}
        _measure_cell(job, files, batch, wanted, present, first_rows(rows, files, batch), tell)


def _measure_cell(
    job: Job,
    files: ModelFiles,
    batch: int,
    wanted: Mapping[str, int],
    runners: Mapping[str, Runner],
    inputs: Sequence[Array],
    tell: Tell,
) -> None:
    timers: dict[str, Timer] = {}
    expected: list[Array] | None = None
    for name in sorted(runners, key=lambda name: name != REFERENCE):
        tell({"event": "doing", "engine": name, "what": f"batch size {batch}"})
        try:
            calls = [runners[name].bind(inputs) for _ in range(job.threads)]
            results = calls[0].run()
            timers[name] = make_timer(calls, job)
        except EngineError as error:
            tell({"event": "failed", "engine": name, "batch": batch, "reason": str(error)})
            continue
        if name == REFERENCE:
            expected = results
        elif expected is not None:
            wrong = mismatch(results, expected)
            if wrong:
                note = f"differs from TensorFlow: {wrong}"
                tell({"event": "note", "engine": name, "batch": batch, "note": note})
    names = [name for name in wanted if name in timers]
    try:
        _rounds(batch, wanted, {name: timers[name] for name in names}, tell)
    finally:
        for timer in timers.values():
            timer.close()


def _rounds(batch: int, wanted: Mapping[str, int], timers: Mapping[str, Timer], tell: Tell) -> None:
    names = list(timers)
    found: dict[str, list[float]] = {name: [] for name in names}
    since = time.perf_counter()

    def report() -> None:
        nonlocal since
        if any(found.values()):
            milliseconds = {name: list(values) for name, values in found.items() if values}
            tell({"event": "samples", "batch": batch, "milliseconds": milliseconds})
        for values in found.values():
            values.clear()
        since = time.perf_counter()

    try:
        for number in range(max((wanted[name] for name in names), default=0)):
            turn = number % len(names)
            for name in [*names[turn:], *names[:turn]]:
                if number < wanted[name]:
                    found[name] += [round(s * 1e3, 7) for s in timers[name].take()]
            if time.perf_counter() - since > REPORT_SECONDS:
                report()
    finally:
        report()


class Timer:
    """Repetitions of one engine's call on one thread."""

    def __init__(self, call: BoundCall, clock: str, warmup: int) -> None:
        """Warm up."""
        self._call = call
        for _ in range(warmup):
            call.call()
        self._timing = Timing(call) if clock == "cpu" else None
        self._short = call.once() < SECONDS

    def take(self) -> list[float]:
        """Seconds of one repetition."""
        if self._timing is not None:
            return [self._timing.take()]
        if self._short:
            self._call.call()
        return [self._call.once()]

    def close(self) -> None:
        """Nothing is to be done."""


class Team(Timer):
    """Threads that call a model at once, each with buffers of its own.

    Each thread makes as many calls as take 10 ms, so that all are at work for most of the time.
    What is taken is the wall-clock time in which each makes one: threads that wait for each other,
    such as for Python's lock, have made no more calls in that time than one alone.
    """

    def __init__(self, calls: Sequence[BoundCall], warmup: int) -> None:
        """Start the threads."""
        for call in calls:
            for _ in range(warmup):
                call.call()
        once = min(calls[0].once() for _ in range(3))
        self._count = calls_for(once, TEAM_SECONDS)
        self._start = threading.Barrier(len(calls) + 1)
        self._end = threading.Barrier(len(calls) + 1)
        self._times = [(0.0, 0.0)] * len(calls)
        self._over = False
        self._threads = [
            threading.Thread(target=self._work, args=(number, call), daemon=True)
            for number, call in enumerate(calls)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int, call: BoundCall) -> None:
        while True:
            self._start.wait()
            if self._over:
                return
            start = time.perf_counter()
            call.seconds(self._count)
            self._times[number] = (start, time.perf_counter())
            self._end.wait()

    def take(self) -> list[float]:
        """The seconds from the first start to the last end, per call of a thread."""
        self._start.wait()
        self._end.wait()
        starts, ends = zip(*self._times, strict=True)
        return [(max(ends) - min(starts)) / self._count]

    def close(self) -> None:
        """End the threads."""
        self._over = True
        self._start.wait()
        for thread in self._threads:
            thread.join()


def make_timer(calls: Sequence[BoundCall], job: Job) -> Timer:
    """What times the calls, one per thread."""
    if len(calls) == 1:
        return Timer(calls[0], job.clock, job.warmup)
    return Team(calls, job.warmup)
