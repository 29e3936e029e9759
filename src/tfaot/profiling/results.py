"""What was measured, as typed results, JSON and CSV.

Output files: `profile.json` holds everything; `runtime.csv` has medians with their band, and what
could not be measured with its reason; `samples.csv` every repetition; `memory.csv` every state.
Times are milliseconds, memory is bytes.
"""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfaot.errors import UsageError
from tfaot.profiling.timing import Spread

FORMAT = "tfaot-profile"
VERSION = 1

RUNTIME_COLUMNS = [
    "model",
    "engine",
    "threads",
    "batch_size",
    "status",
    "repetitions",
    "median_ms",
    "p16_ms",
    "p84_ms",
    "median_ms_per_row",
    "p16_ms_per_row",
    "p84_ms_per_row",
    "note",
]
SAMPLE_COLUMNS = ["model", "engine", "threads", "batch_size", "runtime_ms"]
MEMORY_COLUMNS = [
    "model",
    "engine",
    "batch_size",
    "status",
    "copies",
    "stage",
    "threads",
    "resident_bytes",
    "private_bytes",
    "note",
]


@dataclass(frozen=True)
class RuntimeResult:
    """The runtime of one model in one engine at one batch size.

    Attributes:
        model: the model's label.
        engine: identifier, as in `tfaot.engines.ENGINES`.
        title: the engine's name for people.
        version: the engine's version.
        batch_size: rows per call.
        threads: how many threads called the model at once.
        milliseconds: of each repetition, per call.
        note: what is to be known of it, such as outputs that differ; empty where nothing is.
    """

    model: str
    engine: str
    title: str
    version: str
    batch_size: int
    threads: int
    milliseconds: tuple[float, ...]
    note: str = ""

    @property
    def spread(self) -> Spread:
        """Median, 16th and 84th percentile of a call's milliseconds."""
        return Spread.of(self.milliseconds)

    @property
    def spread_per_row(self) -> Spread:
        """The same per row."""
        return Spread.of([value / self.batch_size for value in self.milliseconds])


@dataclass(frozen=True)
class Bytes:
    """Memory of a process, or a difference of two states: resident, and shared with no other."""

    resident: int
    private: int

    def __sub__(self, other: Bytes) -> Bytes:
        """The difference."""
        return Bytes(self.resident - other.resident, self.private - other.private)


@dataclass(frozen=True)
class MemoryState:
    """A process at one moment.

    Attributes:
        stage: `start`, `runtime` (the engine has run a tiny model), `load`, `run`.
        copies: models loaded.
        threads: threads that evaluate all of them.
        memory: its bytes.
    """

    stage: str
    copies: int
    threads: int
    memory: Bytes


@dataclass(frozen=True)
class MemoryResult:
    """The memory of a process with copies of one model in one engine.

    Attributes:
        model: the model's label.
        engine: identifier.
        title: the engine's name for people.
        version: the engine's version.
        batch_size: rows per call.
        copies: models loaded, each from files of its own.
        states: of the process, in order.
    """

    model: str
    engine: str
    title: str
    version: str
    batch_size: int
    copies: int
    states: tuple[MemoryState, ...]

    def at(self, stage: str, threads: int | None = None) -> Bytes:
        """The process at a stage; the first with as many threads where these are given."""
        for state in self.states:
            if state.stage == stage and threads in (None, state.threads):
                return state.memory
        raise KeyError(f"{stage} with {threads} threads")

    @property
    def threads(self) -> tuple[int, ...]:
        """The numbers of threads measured."""
        return tuple(s.threads for s in self.states if s.stage == "run")

    @property
    def runtime(self) -> Bytes:
        """What the engine itself takes, over the bare process."""
        return self.at("runtime") - self.at("start")

    @property
    def models(self) -> Bytes:
        """What all copies take over the runtime, once the fewest threads have called each."""
        return self.at("run") - self.at("runtime")

    def over_start(self, threads: int) -> Bytes:
        """The process over the bare one while `threads` threads evaluate all models."""
        return self.at("run", threads) - self.at("start")


@dataclass(frozen=True)
class Failure:
    """What could not be measured.

    Attributes:
        kind: `runtime` or `memory`.
        model: the model's label.
        engine: identifier.
        title: the engine's name for people.
        reason: why, with what to do where that is known.
        batch_size: the batch size, None where it is all of them.
        copies: models in the process, None for runtimes.
    """

    kind: str
    model: str
    engine: str
    title: str
    reason: str
    batch_size: int | None = None
    copies: int | None = None


@dataclass(frozen=True)
class Profile:
    """All results of one run.

    Attributes:
        machine: CPU, cores, system and Python.
        settings: how it was measured.
        runtime: runtimes, by model, engine, threads and batch size.
        memory: memory, by model, engine and copies.
        failures: what could not be measured, and why.
        files: what was written; empty for a profile that was read.
    """

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    runtime: tuple[RuntimeResult, ...] = ()
    memory: tuple[MemoryResult, ...] = ()
    failures: tuple[Failure, ...] = ()
    files: tuple[Path, ...] = field(default=(), compare=False)

    def to_json(self) -> str:
        """The text of `profile.json`."""
        data = {
            "format": FORMAT,
            "version": VERSION,
            "machine": dict(self.machine),
            "settings": dict(self.settings),
            "runtime": [{**asdict(r), "spread": asdict(r.spread)} for r in self.runtime],
            "memory": [
                {**asdict(m), "runtime": asdict(m.runtime), "models": asdict(m.models)}
                for m in self.memory
            ],
            "failures": [asdict(f) for f in self.failures],
        }
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"

    def runtime_csv(self) -> str:
        """The text of `runtime.csv`."""
        rows: list[list[Any]] = []
        for r in self.runtime:
            spreads = (r.spread, r.spread_per_row)
            values = [_number(v) for s in spreads for v in (s.median, s.low, s.high)]
            where = [r.model, r.engine, r.threads, r.batch_size]
            rows.append([*where, "ok", len(r.milliseconds), *values, r.note])
        for f in (f for f in self.failures if f.kind == "runtime"):
            batch = "" if f.batch_size is None else f.batch_size
            rows.append([f.model, f.engine, "", batch, "failed", 0, *[""] * 6, f.reason])
        return _csv(RUNTIME_COLUMNS, rows)

    def samples_csv(self) -> str:
        """The text of `samples.csv`."""
        return _csv(
            SAMPLE_COLUMNS,
            (
                [r.model, r.engine, r.threads, r.batch_size, _number(value)]
                for r in self.runtime
                for value in r.milliseconds
            ),
        )

    def memory_csv(self) -> str:
        """The text of `memory.csv`."""
        rows: list[list[Any]] = []
        for m in self.memory:
            for s in m.states:
                where = [m.model, m.engine, m.batch_size, "ok", m.copies]
                rows.append([*where, s.stage, s.threads, s.memory.resident, s.memory.private, ""])
        for f in (f for f in self.failures if f.kind == "memory"):
            copies = "" if f.copies is None else f.copies
            rows.append([f.model, f.engine, "", "failed", copies, *[""] * 4, f.reason])
        return _csv(MEMORY_COLUMNS, rows)

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write the files for what there is; each is replaced whole.

        Raises:
            UsageError: the folder can't be written to.
        """
        kinds = {f.kind for f in self.failures}
        texts = {"profile.json": self.to_json()}
        if self.runtime or "runtime" in kinds:
            texts["runtime.csv"] = self.runtime_csv()
            texts["samples.csv"] = self.samples_csv()
        if self.memory or "memory" in kinds:
            texts["memory.csv"] = self.memory_csv()
        return tuple(_write(folder / name, text) for name, text in texts.items())


def read_profile(path: str | Path) -> Profile:
    """The results in a `profile.json`, or in a CSV file as MLProf writes it.

    MLProf's files have a batch size and milliseconds in each line, and no header; the model is
    called by the file's name.

    Raises:
        UsageError: the file is missing or none of these.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "profile.json"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"there is no result file '{path}'") from None
    except UnicodeDecodeError:
        raise UsageError(f"'{path}' is no result of tfaot profile: it is not text") from None
    except OSError as error:
        raise UsageError(f"can't read '{path}': {error.strerror}") from None
    if path.suffix == ".csv":
        return _read_mlprof(path, text)
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise KeyError(data["format"])
        version = int(data["version"])
        if version > VERSION:
            raise UsageError(f"'{path}' is of a later tfaot (format {version}): use that one")
        return Profile(
            data["machine"],
            data["settings"],
            tuple(_runtime(r) for r in data["runtime"]),
            tuple(_memory(m) for m in data["memory"]),
            tuple(Failure(**f) for f in data["failures"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"'{path}' is no result of tfaot profile: give its profile.json") from None


def _runtime(data: dict[str, Any]) -> RuntimeResult:
    del data["spread"]
    return RuntimeResult(**{**data, "milliseconds": tuple(data["milliseconds"])})


def _memory(data: dict[str, Any]) -> MemoryResult:
    del data["runtime"], data["models"]
    states = tuple(
        MemoryState(**{**state, "memory": Bytes(**state["memory"])}) for state in data["states"]
    )
    return MemoryResult(**{**data, "states": states})


def _read_mlprof(path: Path, text: str) -> Profile:
    times: dict[int, list[float]] = {}
    try:
        for row in csv.reader(io.StringIO(text)):
            batch, value = row
            times.setdefault(int(float(batch)), []).append(float(value))
    except ValueError:
        raise UsageError(
            f"'{path}' has no lines 'batch size,milliseconds' as MLProf writes them: "
            "give that, or a profile.json"
        ) from None
    if not times:
        raise UsageError(f"'{path}' is empty")
    name = path.stem
    return Profile(
        {},
        {},
        tuple(
            RuntimeResult(name, "mlprof", "MLProf", "", batch, 1, tuple(values))
            for batch, values in sorted(times.items())
        ),
    )


def _number(value: float) -> str:
    """Nanoseconds and better, without noise in the digits."""
    return f"{value:.9g}"


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _write(path: Path, text: str) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except OSError as error:
        raise UsageError(f"can't write '{path}': {error.strerror} (-o)") from None
    return path
