"""The profile: prepares models, measures what is not measured yet, gathers the results.

Input: `Settings`. Output: a `Profile`, and its files. What was measured is appended to
`profile.jsonl` in the output folder while it goes on, so that a stopped run goes on from there.
Measuring is done by processes of their own: one per model and number of threads for runtimes
(`runtime_worker.py`), one per engine and number of copies for memory.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfaot.artifact import check_output_dir
from tfaot.engines import OWN, EngineError
from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles, read_files
from tfaot.engines.native import TfaotNativeEngine, driver_path
from tfaot.engines.protocol import describe_error
from tfaot.errors import UsageError
from tfaot.profiling import memory
from tfaot.profiling.config import Settings
from tfaot.profiling.machine import describe_machine
from tfaot.profiling.prepare import Subject, default_work_folder, prepare, supported
from tfaot.profiling.results import (
    Bytes,
    Failure,
    MemoryResult,
    MemoryState,
    Profile,
    RuntimeResult,
)
from tfaot.profiling.runtime import Job
from tfaot.profiling.store import Store

JOURNAL = "profile.jsonl"
MEMORY_SECONDS = 600.0
KEYS = (
    *("kind", "digest", "engine", "version", "batch", "threads"),
    *("clock", "warmup", "first"),  # of runtimes
    "copies",  # of memory
)

Progress = Callable[[str, int, int], None]
"""Called with what is being done, and how much of how much is done (0 of 0 where not known)."""

WORKER = (sys.executable, "-m", "tfaot.profiling.runtime_worker")


def run_profile(
    settings: Settings,
    progress: Progress = lambda text, done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Profile:
    """Measure, and write the results where there is an output folder.

    Args:
        settings: what to measure.
        progress: is told how far it is.
        note: is told in one line what a user should know.

    Raises:
        TfaotError: a model, its inputs or a folder can't be used, or nothing could be measured.
    """
    work = settings.work or default_work_folder()
    check_output_dir(work)
    if settings.output is not None:
        check_output_dir(settings.output)
        with _locked(settings.output):
            return _run(settings, settings.output, work, progress, note)
    with tempfile.TemporaryDirectory(prefix="tfaot-profile-") as folder:
        return _run(settings, Path(folder), work, progress, note)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other runs from the same output folder."""
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / JOURNAL).open("a")
    except OSError as error:
        raise UsageError(f"can't write to '{folder}': {error.strerror} (-o)") from None
    with stream:
        directory = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another profile is writing to '{folder}': wait, or give another folder (-o)"
            ) from None
        else:
            yield
        finally:
            os.close(directory)


def _run(
    settings: Settings, output: Path, work: Path, progress: Progress, note: Callable[[str], None]
) -> Profile:
    header = {"format": 1, "machine": describe_machine()}
    store = Store(output / JOURNAL, header, KEYS)
    if store.set_aside is not None and store.set_aside.stat().st_size:
        note(f"earlier results are of another machine: they are {store.set_aside} now")
    with Converter() as converter:

        def say(text: str) -> None:
            progress(text, 0, 0)

        subjects = [prepare(m, settings, work, converter, say) for m in settings.models]
        profiler = Profiler(settings, store, subjects, progress)
        if "memory" in settings.measure:
            profiler.prepare_memory(work, converter)
    for subject in subjects:
        for name, reason in subject.failed.items():
            title = subject.engines[name].title
            text = reason.removeprefix(f"{title}: ")
            note(f"{subject.settings.label}: {title} is left out: {text}")
    profiler.measure()
    profile = profiler.results()
    if not profile.runtime and not profile.memory:
        reasons = dict.fromkeys(f"{f.title}: {f.reason}" for f in profile.failures)
        raise UsageError(f"nothing could be measured: {'; '.join(reasons)}")
    if settings.output is None:
        return profile
    files = profile.write(settings.output)
    return replace(profile, files=files)


class Profiler:
    """What is to be measured, and what was."""

    def __init__(
        self, settings: Settings, store: Store, subjects: list[Subject], progress: Progress
    ) -> None:
        """Begin with what the store has."""
        self._settings, self._store, self._subjects = settings, store, subjects
        self._progress = progress
        self._failures: list[Failure] = []
        self._tiny: dict[str, ModelFiles] = {}
        self._program: Path | None = None
        self._done = 0
        self._total = 0
        for subject in subjects:
            for name, reason in subject.failed.items():
                for kind in settings.measure:
                    self._fail(kind, subject, name, reason)

    # What is there.

    def _samples(self, subject: Subject, engine: str, batch: int, threads: int) -> list[float]:
        chunks = self._store.select(**self._runtime_key("runtime", subject, engine, batch, threads))
        ordered = sorted(chunks, key=lambda c: int(c["first"]))
        return [float(value) for chunk in ordered for value in chunk["milliseconds"]]

    def _runtime_key(
        self, kind: str, subject: Subject, engine: str, batch: int, threads: int
    ) -> dict[str, Any]:
        return {
            "kind": kind,
            "digest": subject.digest,
            "engine": engine,
            "version": subject.versions[engine],
            "batch": batch,
            "threads": threads,
            "clock": self._settings.clock,
            "warmup": self._settings.warmup,
        }

    def _wanted(self, subject: Subject, threads: int) -> dict[int, dict[str, int]]:
        """Per batch size and engine, the repetitions that are missing."""
        wanted: dict[int, dict[str, int]] = {}
        for batch in subject.batches:
            for name in self._ready("runtime", subject, batch):
                have = len(self._samples(subject, name, batch, threads))
                if have < self._settings.repetitions:
                    wanted.setdefault(batch, {})[name] = self._settings.repetitions - have
        return wanted

    def _ready(self, kind: str, subject: Subject, batch: int | None = None) -> list[str]:
        """The engines that have not failed, at all or at this batch size."""
        failed = {
            f.engine
            for f in self._failures
            if f.kind == kind
            and f.model == subject.settings.label
            and f.batch_size in (None, batch)
            and f.copies is None
        }
        return [name for name in subject.versions if name not in failed]

    def _fail(
        self,
        kind: str,
        subject: Subject,
        engine: str,
        reason: str,
        batch: int | None = None,
        copies: int | None = None,
    ) -> None:
        title = subject.engines[engine].title
        text = describe_error(reason.removeprefix(f"{title}: "))
        failure = Failure(kind, subject.settings.label, engine, title, text, batch, copies)
        if failure not in self._failures:
            self._failures.append(failure)

    # Measuring.

    def measure(self) -> None:
        """Measure what is missing."""
        settings = self._settings
        runtimes = "runtime" in settings.measure
        jobs = [(s, t) for s in self._subjects for t in settings.runtime_threads if runtimes]
        for subject in self._subjects if runtimes else ():
            for name in subject.versions:
                for batch in subject.batches:
                    if not subject.engines[name].supports(batch):
                        self._fail(
                            "runtime", subject, name, "it is not tried at this batch size", batch
                        )
        for subject, threads in jobs:
            for wanted in self._wanted(subject, threads).values():
                self._total += sum(wanted.values())
        memories = self._memories() if "memory" in settings.measure else []
        weight = max(1, self._total // max(1, 4 * len(memories)))
        self._total += weight * len(memories)
        for subject, threads in jobs:
            self._measure_runtimes(subject, threads)
        for subject, engine, copies in memories:
            title = subject.engines[engine].title
            self._tell(f"{subject.settings.label}: memory, {title}, {_count(copies)}")
            self._measure_memory(subject, engine, copies)
            self._done += weight
        self._tell("done")

    def _tell(self, text: str) -> None:
        self._progress(text, self._done, self._total)

    def _measure_runtimes(self, subject: Subject, threads: int) -> None:
        """Run the worker until nothing is missing; who ends it is left out of the next."""
        while True:
            wanted = self._wanted(subject, threads)
            if not wanted:
                return
            engines = [n for n in subject.versions if any(n in cell for cell in wanted.values())]
            folder, inputs = str(subject.files.folder), str(subject.inputs)
            job = Job(
                folder,
                inputs,
                tuple(engines),
                wanted,
                threads,
                self._settings.warmup,
                self._settings.clock,
            )
            before = len(self._failures)
            engine, ending = self._run_worker(job, subject, threads)
            if ending:
                self._fail("runtime", subject, engine or engines[0], ending)
            elif len(self._failures) == before and self._wanted(subject, threads) == wanted:
                raise AssertionError("the worker measured nothing")

    def _run_worker(self, job: Job, subject: Subject, threads: int) -> tuple[str, str]:
        """The engine at work when the worker ended before its time, and how; empty where it ended.

        Events are recorded as they come.
        """
        label = subject.settings.label
        engine, ended = "", False
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                WORKER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=worker_environment(),
                text=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(job.to_json() + "\n")
                process.stdin.close()
                for line in process.stdout:
                    event = json.loads(line)
                    match event["event"]:
                        case "doing":
                            engine = event["engine"]
                            title = subject.engines[engine].title
                            self._tell(f"{label}: {title}, {event['what']}")
                        case "failed":
                            batch = event["batch"]
                            self._fail("runtime", subject, event["engine"], event["reason"], batch)
                        case "note":
                            self._add(subject, event, threads, "note", {"note": event["note"]})
                        case "samples":
                            self._add_samples(subject, event, threads)
                            self._tell(f"{label}: batch size {event['batch']}")
                        case "end":
                            ended = True
            except BaseException:
                process.kill()
                raise
            finally:
                process.stdout.close()
                status = process.wait()
            if ended:
                return "", ""
            errors.seek(0)
            last = [line for line in errors.read().splitlines() if line.strip()]
        return engine, _ending(status, last[-1] if last else "")

    def _add(
        self,
        subject: Subject,
        event: Mapping[str, Any],
        threads: int,
        kind: str,
        values: Mapping[str, Any],
    ) -> None:
        key = self._runtime_key(kind, subject, event["engine"], event["batch"], threads)
        self._store.add([{**key, **values}])

    def _add_samples(self, subject: Subject, event: Mapping[str, Any], threads: int) -> None:
        for name, found in event["milliseconds"].items():
            have = len(self._samples(subject, name, event["batch"], threads))
            values = {"first": have, "milliseconds": found}
            self._add(subject, {**event, "engine": name}, threads, "runtime", values)
            self._done += len(found)

    # Memory.

    def prepare_memory(self, work: Path, converter: Converter) -> None:
        """The tiny model for every engine, and the C program."""
        if not Path("/proc/self/smaps_rollup").exists():
            for subject in self._subjects:
                for name in subject.versions:
                    self._fail("memory", subject, name, "memory is measured on Linux alone")
            return
        for subject in self._subjects:
            for name in self._ready("memory", subject):
                self._progress(f"preparing {subject.engines[name].title} for memory", 0, 0)
                try:
                    self._tiny[f"{subject.digest} {name}"] = self._prepare_tiny(
                        work, subject, name, converter
                    )
                except EngineError as error:
                    self._fail("memory", subject, name, str(error))

    def _prepare_tiny(
        self, work: Path, subject: Subject, name: str, converter: Converter
    ) -> ModelFiles:
        engine = subject.engines[name]
        batch = self._memory_batch(subject, name)
        if name in OWN:
            from tfaot.engines.compiled import source_digest

            files = memory.tiny_artifact(work / f"tiny-{source_digest()}")
            if isinstance(engine, TfaotNativeEngine):
                self._program = memory.build_program(work)
        else:
            folder = work / "tiny"
            if not (folder / "graph.json").exists():
                folder.mkdir(parents=True, exist_ok=True)
                converter.call("tiny", folder=str(folder))
            files = read_files(folder)
        engine.prepare(files, [batch], converter)
        return files

    def _memory_batch(self, subject: Subject, name: str) -> int:
        """The largest batch size that the engine takes."""
        sizes = supported(subject.engines[name], subject.batches)
        if not sizes:
            raise EngineError("it is not tried at these batch sizes")
        return max(sizes)

    def _memory_key(self, subject: Subject, engine: str, copies: int) -> dict[str, Any]:
        return {
            "kind": "memory",
            "digest": subject.digest,
            "engine": engine,
            "version": subject.versions[engine],
            "batch": self._memory_batch(subject, engine),
            "threads": ",".join(map(str, self._settings.memory_threads)),
            "copies": copies,
        }

    def _memories(self) -> list[tuple[Subject, str, int]]:
        """What is to be measured."""
        return [
            (subject, name, copies)
            for subject in self._subjects
            for name in self._ready("memory", subject)
            for copies in self._settings.copies
            if not self._store.has(**self._memory_key(subject, name, copies))
        ]

    def _measure_memory(self, subject: Subject, engine: str, copies: int) -> None:
        key = self._memory_key(subject, engine, copies)
        threads, tiny = self._settings.memory_threads, self._tiny[f"{subject.digest} {engine}"]
        with tempfile.TemporaryDirectory(
            prefix="copies-", dir=subject.files.folder.parent
        ) as scratch:
            folders = [Path(scratch) / f"copy_{n}" for n in range(copies)]
            for folder in folders:
                memory.copy_prepared(subject.files.folder, folder)
                _own_artifact(folder)
            if engine == memory.NATIVE:
                assert self._program is not None
                states, reason = memory.native_states(
                    subject.files,
                    key["batch"],
                    threads,
                    driver_path(tiny),
                    [driver_path(read_files(folder)) for folder in folders],
                    self._program,
                    MEMORY_SECONDS,
                )
            else:
                states, reason = memory.process_states(
                    engine, key["batch"], threads, tiny.folder, folders, MEMORY_SECONDS
                )
        if reason:
            self._fail("memory", subject, engine, reason, copies=copies)
        else:
            self._store.add([{**key, "states": states}])

    # Results.

    def results(self) -> Profile:
        """What the store has of what was asked for."""
        settings = self._settings
        runtimes, memories = [], []
        for subject in self._subjects:
            label = subject.settings.label
            for name, version in subject.versions.items():
                title, shown = subject.engines[name].title, version.split()[0]
                for threads in settings.runtime_threads:
                    for batch in subject.batches:
                        samples = self._samples(subject, name, batch, threads)
                        if not samples or "runtime" not in settings.measure:
                            continue
                        chosen = tuple(samples[: settings.repetitions])
                        note = self._note(subject, name, batch, threads)
                        runtimes.append(
                            RuntimeResult(label, name, title, shown, batch, threads, chosen, note)
                        )
                for copies in settings.copies if name in self._ready("memory", subject) else ():
                    if "memory" not in settings.measure:
                        break
                    key = self._memory_key(subject, name, copies)
                    for record in self._store.select(**key):
                        states = tuple(map(_state, record["states"]))
                        memories.append(
                            MemoryResult(label, name, title, shown, key["batch"], copies, states)
                        )
        return Profile(
            describe_machine(),
            _described(settings, self._subjects),
            tuple(runtimes),
            tuple(memories),
            tuple(self._failures),
        )

    def _note(self, subject: Subject, engine: str, batch: int, threads: int) -> str:
        found = self._store.select(**self._runtime_key("note", subject, engine, batch, threads))
        notes = [str(record["note"]) for record in found]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        if cores and threads > cores:
            notes.append(f"{threads} threads on {cores} cores")
        return "; ".join(notes)


def worker_environment() -> dict[str, str]:
    """The environment of processes that measure: this Python's modules, no graphics card."""
    return {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(p for p in sys.path if p)),
    }


def _ending(status: int, last: str) -> str:
    if status < 0:
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"its process was ended by {name}"
    return f"its process ended with status {status}: {last}"


def _own_artifact(folder: Path) -> None:
    """Copy a given artifact into the folder of a copied model, which then refers to it."""
    files = read_files(folder)
    if not files.artifact:
        return
    source = Path(files.artifact)
    for made in source.parent.glob(f"{source.stem}.*"):
        shutil.copy2(made, folder / made.name)
    replace(files, artifact=str(folder / source.name)).write()


def _state(data: Mapping[str, Any]) -> MemoryState:
    amount = Bytes(int(data["resident"]), int(data["private"]))
    return MemoryState(str(data["stage"]), int(data["models"]), int(data["threads"]), amount)


def _described(settings: Settings, subjects: list[Subject]) -> dict[str, Any]:
    """How it was measured, for the results."""
    return {
        "repetitions": settings.repetitions,
        "warmup": settings.warmup,
        "clock": settings.clock,
        "threads": list(settings.runtime_threads),
        "memory_threads": list(settings.memory_threads),
        "copies": list(settings.copies),
        "measure": list(settings.measure),
        "models": [
            {
                "label": s.settings.label,
                "model": None if s.settings.model is None else str(s.settings.model),
                "artifact": None if s.settings.artifact is None else str(s.settings.artifact),
                "inputs": (s.settings.inputs or settings.inputs).describe(),
                "batch_sizes": list(s.batches),
                "target": s.settings.target,
                "engines": {name: v.split()[0] for name, v in s.versions.items()},
            }
            for s in subjects
        ],
    }


def _count(copies: int) -> str:
    return "1 model" if copies == 1 else f"{copies} models"
