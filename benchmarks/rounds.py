"""Timing: medians with bands over rounds, engines interleaved, outputs checked first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from limits import Limits

from tfaot.engines import BoundCall, Engine, EngineError, Runner
from tfaot.engines.files import ModelFiles
from tfaot.profiling.timing import Spread, Timing, mismatch

REFERENCE = "tensorflow"
NATIVE = "tfaot-c"


@dataclass
class Subject:
    """A model with the engines that loaded it; those that did not have a reason."""

    files: ModelFiles
    runners: dict[str, Runner]
    reasons: dict[str, tuple[str, str]]


def load_subject(
    files: ModelFiles, engines: Mapping[str, Engine], failed: Mapping[str, str]
) -> Subject:
    """Load a model in each engine but those whose preparation failed."""
    subject = Subject(files, {}, {name: ("failed", reason) for name, reason in failed.items()})
    for name, engine in engines.items():
        if name in failed:
            continue
        try:
            subject.runners[name] = engine.load(files)
        except EngineError as error:
            subject.reasons[name] = ("failed", str(error))
    return subject


@dataclass(frozen=True)
class Cell:
    """What is measured at once: a model at a batch size."""

    part: str
    model: str
    batch: int
    flops: int


def bind_checked(
    subject: Subject, engines: Mapping[str, Engine], batch: int
) -> tuple[dict[str, BoundCall], dict[str, tuple[str, str]]]:
    """The calls of all engines that agree with TensorFlow, and why the others are left out.

    Raises:
        EngineError: TensorFlow itself fails, so nothing can be checked.
    """
    inputs = subject.files.random_inputs(batch)
    reasons = dict(subject.reasons)
    if REFERENCE not in subject.runners:
        _, reason = reasons.get(REFERENCE, ("", "it is not among the engines"))
        raise EngineError(f"nothing to check outputs against: TensorFlow: {reason}")
    expected = subject.runners[REFERENCE].bind(inputs).run()
    calls: dict[str, BoundCall] = {}
    for name, runner in subject.runners.items():
        if not engines[name].supports(batch):
            continue
        try:
            call = runner.bind(inputs)
            # Twice: an engine may spoil the inputs that it keeps.
            wrong = mismatch(call.run(), expected) or mismatch(call.run(), expected)
        except EngineError as error:
            reasons[name] = ("failed", str(error))
            continue
        if wrong:
            reasons[name] = ("wrong", wrong)
        else:
            calls[name] = call
    return calls, reasons


def measure_cell(
    cell: Cell,
    subject: Subject,
    engines: Mapping[str, Engine],
    limits: Limits,
    rounds: int,
    tick: Callable[[int], None] = lambda number: None,
) -> list[dict[str, Any]]:
    """The records of one cell: every engine once a round, the machine's limits next to tfaot's C.

    A record has `microseconds` (per call), and the one of tfaot's C `fraction`: of the peak of
    multiply-adds, or for one row of the reading bandwidth.
    """
    calls, reasons = bind_checked(subject, engines, cell.batch)
    if not calls:
        rounds = 0
    timings = {name: Timing(call) for name, call in calls.items()}
    names = list(timings)
    times: dict[str, list[float]] = {name: [] for name in names}
    fractions: list[float] = []
    peaks: list[float] = []
    for number in range(rounds):
        turn = number % len(names)
        for name in [*names[turn:], *names[:turn]]:
            if name == NATIVE and cell.flops:
                before = limits.ceiling(cell.batch)
                times[name].append(timings[name].take())
                peak = (before + limits.ceiling(cell.batch)) / 2
                work = cell.flops * cell.batch if cell.batch > 1 else limits.weight_bytes
                peaks.append(peak)
                fractions.append(work / times[name][-1] / peak)
            else:
                times[name].append(timings[name].take())
        tick(number + 1)
    common = {"part": cell.part, "model": cell.model, "batch": cell.batch}
    records: list[dict[str, Any]] = []
    for name, values in times.items():
        record: dict[str, Any] = {**common, "engine": name, "status": "ok", "rounds": rounds}
        record["microseconds"] = asdict(Spread.of([v * 1e6 for v in values]))
        record["calls"] = timings[name].calls
        if name == NATIVE and fractions:
            kind = "reading" if cell.batch == 1 else "peak"
            record["ceiling"] = {"kind": kind, "units": asdict(Spread.of(peaks))}
            record["fraction"] = asdict(Spread.of(fractions))
        records.append(record)
    for name, (status, reason) in reasons.items():
        records.append({**common, "engine": name, "status": status, "reason": reason})
    return records


def measure_cold(
    cell: Cell,
    subject: Subject,
    engines: Mapping[str, Engine],
    limits: Limits,
    rounds: int,
) -> list[dict[str, Any]]:
    """Single calls, each after everything was pushed out of the caches; wall-clock time."""
    calls, reasons = bind_checked(subject, engines, cell.batch)
    for call in calls.values():
        Timing(call)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            limits.evict()
            times[name].append(call.once())
    common = {"part": cell.part, "model": cell.model, "batch": cell.batch}
    records: list[dict[str, Any]] = [
        {
            **common,
            "engine": name,
            "status": "ok",
            "rounds": rounds,
            "microseconds": asdict(Spread.of([v * 1e6 for v in values])),
        }
        for name, values in times.items()
    ]
    for name, (status, reason) in reasons.items():
        records.append({**common, "engine": name, "status": status, "reason": reason})
    return records
