"""The poster model next to what the machine can do: peak multiply-adds, and reading its weights.

One thread on one core, in CPU time of that thread. Each round measures every batch size from C and
from Python, with its ceiling directly before and after, so that what the machine's other users do
to caches and clock falls on both alike; fractions are taken within a round. Results go to
benchmarks/results/poster.json and poster.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ceilings import ceilings_object, flops_per_iteration, vector_lanes
from rich.console import Console
from rich.table import Table

import tfaot
from tfaot.artifact import Artifact
from tfaot.compiler import compile_model
from tfaot.errors import ArtifactError
from tfaot.options import make_options
from tfaot.packaging.manifest import Manifest, read_manifest

HERE = Path(__file__).resolve().parent
SIZES = {"25x256": (25, 256), "5x128": (5, 128)}
TARGETS = ("native", "x86-64-v3", "x86-64-v4")
BATCHES = (1, 8, 32, 256)
SECONDS = 3e-3
"""Of each timing: long against the clock, short against the machine's moods."""

console = Console(highlight=False)


@dataclass(frozen=True)
class CompileTime:
    """Seconds of one compile: importing and loading in TensorFlow, verification, all the rest.

    `stages` has the parts of the rest.
    """

    load: float
    verify: float
    rest: float
    stages: dict[str, float]


@dataclass(frozen=True)
class Spread:
    """Values over all rounds."""

    median: float
    low: float
    high: float
    best: float

    @classmethod
    def of(cls, values: Sequence[float], *, best: Callable[..., float] = max) -> Spread:
        """The median, the 16th and 84th percentiles, and the best."""
        low, high = np.percentile(values, [16, 84])
        return cls(statistics.median(values), float(low), float(high), best(values))


@dataclass(frozen=True)
class Result:
    """One model, target and batch size; `fraction` is of reading for one row, else of the peak."""

    model: str
    target: str
    batch: int
    c_microseconds: Spread
    python_microseconds: Spread
    gflops: Spread
    gigabytes_per_second: Spread
    fraction: Spread


class Subject:
    """A compiled model, its timing loops in C, and its callable in Python."""

    def __init__(self, name: str, target: str, artifact: Artifact) -> None:
        """Build the timing loops and load the model.

        Raises:
            ArtifactError: this CPU can't run it.
        """
        self.name, self.target = name, target
        self.manifest: Manifest = read_manifest(artifact.manifest)
        self.model = artifact.load()
        self.library = build_library(artifact.object.parent, self.manifest)
        self.flops = dense_flops(name)
        (features,) = self.manifest.inputs
        (scores,) = self.manifest.outputs
        random = np.random.default_rng(1)
        self.input = random.normal(size=features.shape(max(BATCHES))).astype(np.float32)
        self.output = np.empty(scores.shape(max(BATCHES)), np.float32)
        size = self.manifest.workspace.bytes
        assert size is not None
        self.memory = np.empty(size + 64, np.uint8)
        self.workspace = -(-self.memory.ctypes.data // 64) * 64
        # The same bytes in the same kind of pages as the weights: those of the object's file.
        with artifact.object.open("rb") as file:
            self.file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.bytes = np.frombuffer(self.file, np.uint8)[: self.manifest.weights_bytes]
        self.calls: dict[tuple[str, int], int] = {}

    def c(self, batch: int) -> float:
        """Seconds per call from C."""

        def run(calls: int) -> float:
            seconds: float = self.library.benchmark_model(
                batch, calls, self.input.ctypes.data, self.output.ctypes.data, self.workspace
            )
            return seconds

        return self._timed(("c", batch), run)

    def python(self, batch: int) -> float:
        """Seconds per call from Python."""
        x = self.input[:batch]

        def run(calls: int) -> float:
            start = time.thread_time()
            for _ in range(calls):
                self.model(x)
            return (time.thread_time() - start) / calls

        return self._timed(("python", batch), run)

    def read(self) -> float:
        """Seconds per pass over the weights' bytes in a plain loop."""

        def run(calls: int) -> float:
            count = len(self.bytes)
            seconds: float = self.library.benchmark_read(self.bytes.ctypes.data, count, calls)
            return seconds

        return self._timed(("read", 0), run)

    def fma(self) -> float:
        """Seconds per iteration of the multiply-add chains."""

        def run(calls: int) -> float:
            seconds: float = self.library.benchmark_fma(calls * 1000)
            return seconds

        return self._timed(("fma", 0), run)

    def _timed(self, key: tuple[str, int], run: Callable[[int], float]) -> float:
        """Run for about `SECONDS`; the number of calls is found at the first time."""
        if key not in self.calls:
            once = min(run(1) for _ in range(3))
            scale = 1000 if key[0] == "fma" else 1
            self.calls[key] = max(1, round(SECONDS / (once * scale)))
        return run(self.calls[key])


def dense_flops(name: str) -> int:
    """Multiplications and additions of the dense layers per row; activations are not counted."""
    layers, width = SIZES[name]
    return 2 * (layers * width * width + width * 10)


def build_library(folder: Path, manifest: Manifest) -> ctypes.CDLL:
    """Compile driver.c with the model and the ceilings."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("bench: there is no C compiler: apt-get install gcc (or set CC)")
    (folder / "ceilings.o").write_bytes(ceilings_object())
    library = folder / "driver.so"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    defines = [f"-DMODEL={manifest.name}", f'-DHEADER="{manifest.name}.h"', f"-I{folder}"]
    objects = [folder / manifest.object.file, folder / "ceilings.o"]
    subprocess.run(
        [compiler, *flags, *defines, HERE / "driver.c", HERE / "limits.c", *objects, "-o", library],
        check=True,
    )
    loaded = ctypes.CDLL(str(library))
    number, pointer = ctypes.c_int64, ctypes.c_void_p
    declared: tuple[tuple[Any, list[Any]], ...] = (
        (loaded.benchmark_model, [number, number, pointer, pointer, pointer]),
        (loaded.benchmark_fma, [number]),
        (loaded.benchmark_read, [pointer, number, number]),
    )
    for function, arguments in declared:
        function.argtypes, function.restype = arguments, ctypes.c_double
    return loaded


def timed_compile(
    model: Path, folder: Path, name: str, target: str
) -> tuple[Artifact, CompileTime]:
    """Compile a model in a TensorFlow process of its own; the artifact and where time went."""
    stages: dict[str, float] = {}
    last: tuple[str, float] = ("", time.perf_counter())

    def progress(stage: str, detail: str) -> None:
        nonlocal last
        moment = time.perf_counter()
        stages[last[0]] = stages.get(last[0], 0.0) + moment - last[1]
        last = (stage, moment)

    artifact = compile_model(make_options(folder, name=name, target=target), model, progress)
    progress("", "")
    stages.pop("")
    load, verify = stages.pop("load"), stages.pop("verify")
    return artifact, CompileTime(load, verify, sum(stages.values()), stages)


def measure(subjects: Sequence[Subject], rounds: int) -> tuple[list[Result], dict[str, Spread]]:
    """All subjects, round by round."""
    seen: dict[tuple[int, str, int], list[float]] = {}
    peaks: list[float] = []
    reads: dict[str, list[float]] = {s.name: [] for s in subjects}

    def ceiling(subject: Subject, batch: int) -> float:
        """Reading the weights for one row, multiply-adds for more."""
        if batch == 1:
            reads[subject.name].append(len(subject.bytes) / subject.read() * 1e-9)
            return reads[subject.name][-1]
        peaks.append(flops_per_iteration() / subject.fma() * 1e-9)
        return peaks[-1]

    def note(index: int, kind: str, batch: int, value: float) -> None:
        seen.setdefault((index, kind, batch), []).append(value)

    with console.status("measuring") as status:
        for number in range(rounds):
            status.update(f"round {number + 1} of {rounds}")
            for index, subject in enumerate(subjects):
                for batch in BATCHES:
                    before = ceiling(subject, batch)
                    seconds = subject.c(batch)
                    limit = (before + ceiling(subject, batch)) / 2
                    speed = subject.flops * batch / seconds * 1e-9
                    rate = len(subject.bytes) / seconds * 1e-9
                    note(index, "c", batch, seconds * 1e6)
                    note(index, "python", batch, subject.python(batch) * 1e6)
                    note(index, "gflops", batch, speed)
                    note(index, "rate", batch, rate)
                    note(index, "fraction", batch, (rate if batch == 1 else speed) / limit)
    results = [
        Result(
            subject.name,
            subject.target,
            batch,
            Spread.of(seen[index, "c", batch], best=min),
            Spread.of(seen[index, "python", batch], best=min),
            *(Spread.of(seen[index, k, batch]) for k in ("gflops", "rate", "fraction")),
        )
        for index, subject in enumerate(subjects)
        for batch in BATCHES
    ]
    ceilings = {"peak GFLOP/s": Spread.of(peaks)}
    ceilings.update({f"read GB/s, {name}": Spread.of(v) for name, v in reads.items()})
    return results, ceilings


HEADINGS = (
    "model",
    "target",
    "batch",
    "C µs",
    "Python µs",
    "GFLOP/s",
    "of peak",
    "GB/s of weights",
    "of reading",
)


def rows_of(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The table: median, 16th to 84th percentile, best."""

    def show(s: Spread, form: str) -> str:
        return f"{s.median:{form}} ({s.low:{form}}-{s.high:{form}}, {s.best:{form}})"

    rows = []
    for r in results:
        speed = [show(r.gflops, ".0f"), show(r.fraction, ".2f")]
        rate = [show(r.gigabytes_per_second, ".1f"), show(r.fraction, ".2f")]
        cells = ["", "", *rate] if r.batch == 1 else [*speed, "", ""]
        times = [show(r.c_microseconds, ".1f"), f"{r.python_microseconds.median:.1f}"]
        rows.append((r.model, r.target, str(r.batch), *times, *cells))
    return rows


def cpu_name() -> str:
    """The CPU's model name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def markdown(
    rows: Sequence[tuple[str, ...]],
    ceilings: dict[str, Spread],
    compiles: dict[str, CompileTime],
    rounds: int,
) -> str:
    """The report."""
    lines = [
        "# Poster model against the machine",
        "",
        f"{cpu_name()}, one thread on one core, {vector_lanes()} float32 lanes, {rounds} rounds, "
        f"tfaot {tfaot.__version__}. CPU time of the thread; each cell: median (16th-84th "
        "percentile, best). Fractions are of the ceiling measured right before and after, in the "
        "same round. GFLOP/s count the dense layers alone; the time holds activations, batch "
        "normalisation and softmax too.",
        "",
        "| ceiling | median | 16-84 % | best |",
        "| --- | --- | --- | --- |",
    ]
    for name, s in ceilings.items():
        lines.append(f"| {name} | {s.median:.1f} | {s.low:.1f}-{s.high:.1f} | {s.best:.1f} |")
    lines += ["", f"| {' | '.join(HEADINGS)} |", f"| {' | '.join('---' for _ in HEADINGS)} |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += [
        "",
        "| compile | TensorFlow import and load, s | compile, s | verification, s |",
        "| --- | --- | --- | --- |",
    ]
    for name, c in compiles.items():
        lines.append(f"| {name} | {c.load:.1f} | {c.rest:.1f} | {c.verify:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the models, compile, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--models", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--output", type=Path, default=HERE / "results")
    options = parser.parse_args()
    subjects: list[Subject] = []
    compiles: dict[str, CompileTime] = {}
    with tempfile.TemporaryDirectory(prefix="tfaot-bench-") as scratch:
        for name in options.models:
            model = Path(scratch) / name
            with console.status(f"making {name}"):
                command = [sys.executable, HERE / "make_model.py", model, *map(str, SIZES[name])]
                subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
            for target in options.targets:
                folder = Path(scratch) / f"{name}-{target}"
                with console.status(f"compiling {name} for {target}"):
                    artifact, seconds = timed_compile(model, folder, "poster", target)
                compiles[f"{name}, {target}"] = seconds
                parts = ", ".join(f"{k} {v:.1f}" for k, v in seconds.stages.items())
                console.print(
                    f"compiled {name} for {target}: {seconds.rest:.1f} s beyond TensorFlow's "
                    f"import and load ({seconds.load:.1f} s), verification {seconds.verify:.1f} s\n"
                    f"  {parts}"
                )
                try:
                    subjects.append(Subject(name, target, artifact))
                except ArtifactError as error:
                    console.print(f"left out: {error}", markup=False)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        results, ceilings = measure(subjects, options.rounds)
    rows = rows_of(results)
    for title, spread in ceilings.items():
        console.print(
            f"{title}: {spread.median:.1f} ({spread.low:.1f}-{spread.high:.1f}, "
            f"best {spread.best:.1f})"
        )
    table = Table(*HEADINGS, caption="median (16th-84th percentile, best)")
    for row in rows:
        table.add_row(*row)
    wide = Console(highlight=False, width=max(160, console.width))
    wide.print(table)
    options.output.mkdir(parents=True, exist_ok=True)
    data = {
        "cpu": cpu_name(),
        "rounds": options.rounds,
        "ceilings": {k: asdict(v) for k, v in ceilings.items()},
        "compile_seconds": {k: asdict(v) for k, v in compiles.items()},
        "results": [asdict(r) for r in results],
    }
    (options.output / "poster.json").write_text(json.dumps(data, indent=1) + "\n")
    text = markdown(rows, ceilings, compiles, options.rounds)
    (options.output / "poster.md").write_text(text)
    console.print(f"written: {options.output / 'poster.json'}, {options.output / 'poster.md'}")


if __name__ == "__main__":
    main()
