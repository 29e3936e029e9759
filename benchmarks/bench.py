"""The benchmark: tfaot next to the engines that a user could pick instead.

Parts: `grid` (the poster's models), `shapes` (other models), `real` (trained models where they are
at hand), `cold` (batch 1 with cold caches), `memory`, `cost`, and `poster`
(tfaot alone, for several targets, next to the machine's limits). What was measured is
kept in the work folder, and a stopped run goes on from there. One process pinned to one core, every
engine on one thread, engines interleaved round by round.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import cost
import machine
import memory
from bench_models import (
    BenchModel,
    grid_models,
    quick_models,
    real_models,
    shape_models,
    shared_models_folder,
)
from limits import Limits, build_limits
from prepare import default_work_folder, freeze, make_models, prepare_engines
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rounds import Cell, load_subject, measure_cell, measure_cold

from tfaot.engines import ENGINES, Engine, EngineError, make_engine
from tfaot.engines.compiled import NAME, artifact_folder
from tfaot.engines.converter import Converter
from tfaot.errors import TfaotError
from tfaot.packaging.manifest import read_manifest
from tfaot.profiling.machine import pin_to_cores
from tfaot.profiling.store import Store

HERE = Path(__file__).resolve().parent
TIMED = ("grid", "shapes", "real", "cold")
PARTS = (*TIMED, "memory", "cost", "poster")
ROUNDS = 30
KEYS = ("part", "model", "batch", "engine", "variant")


def models_of(part: str, *, quick: bool) -> list[BenchModel]:
    """The models of a part that is timed."""
    match part:
        case "grid":
            return quick_models() if quick else grid_models()
        case "cold":
            chosen = quick_models() if quick else grid_models()
            return [BenchModel(m.name, m.family, (1,), m.flops) for m in chosen]
        case "shapes":
            return shape_models()
        case _:
            return real_models(shared_models_folder())


class Bench:
    """One run of the benchmark."""

    def __init__(
        self,
        work: Path,
        store: Store,
        engines: Mapping[str, Engine],
        rounds: int,
        console: Console,
    ) -> None:
        """Build the loops at the machine's limits."""
        self.work, self.store, self.engines = work, store, engines
        self.rounds, self.console = rounds, console
        self.limits = Limits(build_limits(work / "limits"))

    def prepare(self, models: Sequence[BenchModel], progress: Progress) -> None:
        """Make and convert what the cells that are left need, on all cores."""
        task = progress.add_task("preparing", total=len(models))
        make_models(self.work, models)
        with Converter() as converter:
            for model in models:
                progress.update(task, description=f"{model.name}: freezing")
                try:
                    files = freeze(self.work, model, converter)
                except EngineError:
                    progress.advance(task)
                    continue

                def show(text: str) -> None:
                    progress.update(task, description=text)

                prepare_engines(files, self.engines, model.batches, converter, show)
                progress.advance(task)
        progress.remove_task(task)

    def time(self, part: str, models: Sequence[BenchModel], progress: Progress) -> None:
        """Measure the cells of a part that are not in the store."""
        task = progress.add_task(part, total=sum(len(m.batches) for m in models))
        for model in models:
            left = self.left(part, model)
            progress.advance(task, len(model.batches) - len(left))
            if left:
                self._time_model(part, model, left, progress, task)
        progress.remove_task(task)

    def left(self, part: str, model: BenchModel) -> list[int]:
        """The batch sizes that were not measured."""
        return [
            b for b in model.batches if not self.store.has(part=part, model=model.name, batch=b)
        ]

    def _time_model(
        self,
        part: str,
        model: BenchModel,
        batches: Sequence[int],
        progress: Progress,
        task: object,
    ) -> None:
        number = task  # rich's TaskID, an int
        assert isinstance(number, int)
        with Converter() as converter:
            try:
                files = freeze(self.work, model, converter)
            except EngineError as error:
                self._note_failure(part, model, batches, str(error))
                progress.advance(number, len(batches))  # type: ignore[arg-type]
                return
            failed = prepare_engines(files, self.engines, model.batches, converter)
        subject = load_subject(files, self.engines, failed)
        manifest = artifact_folder(files) / f"{NAME}.json"
        if manifest.exists():
            known = read_manifest(manifest)
            self.limits.use_weights(manifest.parent / known.object.file, known.weights_bytes)
        for batch in batches:
            cell = Cell(part, model.name, batch, model.flops)
            progress.update(number, description=f"{part}: {model.name}, batch {batch}")  # type: ignore[arg-type]
            started = time.perf_counter()
            try:
                if part == "cold":
                    records = measure_cold(cell, subject, self.engines, self.limits, self.rounds)
                else:
                    records = measure_cell(cell, subject, self.engines, self.limits, self.rounds)
            except EngineError as error:
                self._note_failure(part, model, [batch], str(error))
            else:
                elapsed = time.perf_counter() - started
                self.store.add([{**r, "family": model.family, "elapsed": elapsed} for r in records])
                for record in records:
                    if record["status"] == "wrong":
                        self.console.print(
                            f"wrong: {record['engine']}, {model.name}, batch {batch}: "
                            f"{record['reason']}",
                            markup=False,
                        )
            progress.advance(number)  # type: ignore[arg-type]

    def _note_failure(
        self, part: str, model: BenchModel, batches: Sequence[int], reason: str
    ) -> None:
        self.console.print(f"left out: {model.name}: {reason}", markup=False)
        common = {"part": part, "model": model.name, "family": model.family, "engine": "tensorflow"}
        self.store.add(
            [{**common, "batch": b, "status": "failed", "reason": reason} for b in batches]
        )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="a tenth of the grid, nothing else")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="what to measure")
    parser.add_argument("--models", nargs="+", help="only models of these names")
    parser.add_argument("--batches", nargs="+", type=int, help="only these batch sizes")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", type=Path, default=default_work_folder())
    parser.add_argument("--output", type=Path, default=None, help="folder of the results")
    parser.add_argument("--docs", type=Path, default=None, help="page to write, for the full run")
    parser.add_argument("--report-only", action="store_true", help="from what is measured already")
    options = parser.parse_args(arguments)
    options.work = options.work.resolve()
    return options


def chosen(models: Sequence[BenchModel], options: argparse.Namespace) -> list[BenchModel]:
    """The models and batch sizes that the command line names; all without."""
    found = []
    for model in models:
        if options.models and model.name not in options.models:
            continue
        sizes = tuple(b for b in model.batches if not options.batches or b in options.batches)
        if sizes:
            found.append(
                BenchModel(model.name, model.family, sizes, model.flops, origin=model.origin)
            )
    return found


def run(options: argparse.Namespace, console: Console) -> None:
    """Measure what is left, and report."""
    import report

    started = time.perf_counter()
    parts = options.parts or (["grid"] if options.quick else list(PARTS))
    console.print("engines:")
    engines = machine.print_engines(console, {n: make_engine(n) for n in options.engines})
    header = {**machine.describe(engines), "rounds": options.rounds, "quick": options.quick}
    kind = "quick" if options.quick else "full"
    store = Store(options.work / f"results-{kind}.jsonl", header, KEYS)
    if not options.report_only:
        measure_parts(options, parts, engines, store, console)
    output = options.output or HERE / "results" / ("quick" if options.quick else "")
    docs = options.docs or (None if options.quick else HERE.parent / "docs" / "benchmarks.md")
    report.write(output, docs, store.header, store.all(), engines)
    minutes = (time.perf_counter() - started) / 60
    console.print(f"written: {output} ({minutes:.1f} minutes)")


def measure_parts(
    options: argparse.Namespace,
    parts: Sequence[str],
    engines: Mapping[str, Engine],
    store: Store,
    console: Console,
) -> None:
    """Prepare, then pin this process to a core and measure part by part."""
    bench = Bench(options.work, store, engines, options.rounds, console)
    plan = {
        part: chosen(models_of(part, quick=options.quick), options)
        for part in TIMED
        if part in parts
    }
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        unfinished: dict[str, BenchModel] = {}
        for part, models in plan.items():
            for model in models:
                if bench.left(part, model):
                    unfinished.setdefault(model.name, model)
        bench.prepare(list(unfinished.values()), progress)
        cores = os.sched_getaffinity(0)
        pin_to_cores(1)
        for part, models in plan.items():
            bench.time(part, models, progress)
        os.sched_setaffinity(0, cores)
        if "memory" in parts:
            memory.measure(bench.work, store, engines, progress, quick=options.quick)
        if "cost" in parts:
            cost.measure(bench.work, store, engines, progress)
    if "poster" in parts and not store.has(part="poster"):
        output = options.output or HERE / "results"
        command = [sys.executable, str(HERE / "poster.py"), "--output", str(output)]
        subprocess.run(command, check=True)
        store.add([{"part": "poster", "status": "ok", "engine": "tfaot-c", "model": "poster"}])


def main() -> None:
    """Run the benchmark; what was measured survives an interruption."""
    console = Console(highlight=False, stderr=True)
    try:
        run(parse_arguments(), console)
    except KeyboardInterrupt:
        console.print("stopped: the same command goes on from here")
        sys.exit(130)
    except TfaotError as error:
        console.print(f"bench: {error}", markup=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
