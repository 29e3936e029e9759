"""Rounds over engines that are made for the test: order, samples, failures, threads."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfaot.engines import BoundCall, EngineError
from tfaot.engines.files import Input, ModelFiles, Origin
from tfaot.profiling import runtime
from tfaot.profiling.inputs import write_inputs
from tfaot.profiling.runtime import Job, Team, measure, read_job


class FakeRunner:
    """Doubles its input; counts its calls."""

    def __init__(self, name: str, calls: list[str], factor: float) -> None:
        self.name, self.calls, self.factor = name, calls, factor

    def bind(self, inputs: Sequence[Any]) -> BoundCall:
        if self.name == "picky" and len(inputs[0]) > 2:
            raise EngineError("picky: two rows are enough")
        results = [inputs[0] * self.factor]
        call = BoundCall(lambda: None, lambda: results)

        def once() -> float:
            self.calls.append(self.name)
            return 5e-3 if self.name == "slow" else 1e-3

        call.once = once
        return call


class FakeEngine:
    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def load(self, files: ModelFiles) -> FakeRunner:
        if self.name == "broken":
            raise EngineError("broken: it can't be loaded")
        return FakeRunner(self.name, self.calls, 3.0 if self.name == "wrong" else 2.0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    monkeypatch.setattr(runtime, "make_engine", lambda name: FakeEngine(name, calls))
    files = ModelFiles(tmp_path, Origin(""), (Input("x", "float32", (None, 3)),), ("y",), False)
    files.write()
    write_inputs(tmp_path / "rows.npz", [np.ones((8, 3), np.float32)])

    def measured(cells: Mapping[int, Mapping[str, int]], **options: Any) -> list[dict[str, Any]]:
        names = tuple(dict.fromkeys(itertools.chain.from_iterable(cells.values())))
        job = Job(str(tmp_path), str(tmp_path / "rows.npz"), names, cells, **options)
        events: list[dict[str, Any]] = []
        measure(read_job(job.to_json()), lambda event: events.append(dict(event)))
        return events

    measured.calls = calls
    return measured


def samples(events: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], list[float]]:
    found: dict[tuple[int, str], list[float]] = {}
    for e in events:
        for name, values in e.get("milliseconds", {}).items():
            found.setdefault((e["batch"], name), []).extend(values)
    return found


def test_every_engine_gets_its_repetitions(run) -> None:
    found = samples(run({1: {"a": 3, "slow": 2}, 4: {"slow": 1}}))
    assert found == {(1, "a"): [1.0] * 3, (1, "slow"): [5.0] * 2, (4, "slow"): [5.0]}


def test_rounds_take_engines_in_turn_from_another_one_each_time(run) -> None:
    run({1: {"slow": 3, "b": 3}}, warmup=0)
    order = run.calls
    # One call each to see whether it is short, then the rounds.
    assert order[2:] == ["slow", "b", "b", "slow", "slow", "b"]


def test_an_engine_that_fails_leaves_the_others(run) -> None:
    events = run({1: {"broken": 2, "picky": 2, "a": 2}, 4: {"picky": 2, "a": 2}})
    failed = [(e["engine"], e["batch"], e["reason"]) for e in events if e["event"] == "failed"]
    assert failed == [
        ("broken", None, "broken: it can't be loaded"),
        ("picky", 4, "picky: two rows are enough"),
    ]
    assert set(samples(events)) == {(1, "picky"), (1, "a"), (4, "a")}


def test_outputs_that_differ_from_those_of_tensorflow_are_noted(run) -> None:
    events = run({1: {"wrong": 1, "a": 1, "tensorflow": 1}})
    (note,) = [e for e in events if e["event"] == "note"]
    assert (note["engine"], note["batch"]) == ("wrong", 1)
    assert note["note"].startswith("differs from TensorFlow: output 0 is off by 1")
    assert (1, "wrong") in samples(events)


def test_samples_are_handed_over_while_it_goes_on(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "REPORT_SECONDS", 0.0)
    events = [e for e in run({1: {"a": 5}}) if e["event"] == "samples"]
    assert len(events) == 5


def test_what_was_measured_before_an_error_is_handed_over(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = itertools.count()

    def take(timer: object) -> list[float]:
        if next(taken) == 3:
            raise KeyboardInterrupt
        return [1e-3]

    monkeypatch.setattr(runtime.Timer, "take", take)
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(runtime, "_measure_cell", _telling(runtime._measure_cell, events))
    with pytest.raises(KeyboardInterrupt):
        run({1: {"a": 9}})
    assert samples(events) == {(1, "a"): [1.0] * 3}


def _telling(function, events):
    def called(*arguments):
        return function(*arguments[:-1], lambda event: events.append(dict(event)))

    return called


def test_threads_call_at_once() -> None:
    together = threading.Barrier(3, timeout=30)
    first = [True] * 3

    def call(number: int) -> BoundCall:
        def loop(calls: int) -> float:
            if first[number]:
                first[number] = False
                together.wait()  # which only threads at work at the same time pass
            return 1.0

        bound = BoundCall(lambda: None, list, loop=loop)
        bound.once = lambda: 1.0
        return bound

    team = Team([call(n) for n in range(3)], 0)
    (seconds,) = team.take()
    team.close()
    assert seconds > 0


def test_the_clock_of_the_cpu_is_taken_over_many_calls(run) -> None:
    ((_, values),) = samples(run({1: {"a": 2}}, clock="cpu")).items()
    assert len(values) == 2
    assert run.calls == ["a"]
