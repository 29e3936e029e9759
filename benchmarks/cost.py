"""What a compile costs and gives: seconds, bytes, and how soon a C program has its first result."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_models import BenchModel, definitions_digest
from prepare import make_models
from rich.progress import Progress

from tfaot.compiler import compile_model
from tfaot.engines import Engine
from tfaot.engines.native import find_compiler
from tfaot.errors import TfaotError, UsageError
from tfaot.options import make_options
from tfaot.packaging.manifest import Manifest, read_manifest
from tfaot.profiling.store import Store
from tfaot.profiling.timing import Spread

HERE = Path(__file__).resolve().parent
MODELS = ("1x32", "5x128", "25x256", "transformer", "mobilenet-v2", "resnet50")
STARTS = 30


def measure(work: Path, store: Store, engines: Mapping[str, Engine], progress: Progress) -> None:
    """Compile each model as a user would, with a TensorFlow of its own, and start its program."""
    task = progress.add_task("cost", total=len(MODELS))
    make_models(work, [BenchModel(name, "grid", (1,)) for name in MODELS])
    for name in MODELS:
        progress.update(task, description=f"cost: {name}")
        if not store.has(part="cost", model=name):
            source = work / f"models-{definitions_digest()}" / f"{name}.keras"
            common = {"part": "cost", "model": name, "engine": "tfaot-c"}
            try:
                record = {**common, "status": "ok", **measure_one(source)}
            except TfaotError as error:
                record = {**common, "status": "failed", "reason": str(error)}
            store.add([record])
        progress.advance(task)
    progress.remove_task(task)


def measure_one(source: Path) -> dict[str, Any]:
    """Seconds of a compile by stage, bytes of its object, milliseconds to the first result.

    `seconds` are those beyond TensorFlow's own share (import, load, lowering) and verification.
    """
    stages: dict[str, float] = {}
    name, since = "", time.perf_counter()

    def progress(stage: str, detail: str) -> None:
        nonlocal name, since
        now = time.perf_counter()
        if name and stage != "note":
            stages[name] = stages.get(name, 0.0) + now - since
        if stage != "note":
            name, since = stage, now

    with tempfile.TemporaryDirectory(prefix="tfaot-bench-") as scratch:
        folder = Path(scratch)
        artifact = compile_model(
            make_options(folder, name="model", target="native"), source, progress
        )
        progress("", "")
        manifest = read_manifest(artifact.manifest)
        verify = stages.get("verify", 0.0)
        tensorflow = stages.get("load", 0.0) + stages.get("lower", 0.0)
        return {
            "stages": stages,
            "tensorflow_seconds": tensorflow,
            "verify_seconds": verify,
            "seconds": sum(stages.values()) - tensorflow - verify,
            "object_bytes": artifact.object.stat().st_size,
            "code_bytes": manifest.code_bytes,
            "weights_bytes": manifest.weights_bytes,
            "parameter_bytes": manifest.parameter_bytes,
            "first_result_milliseconds": asdict(first_result(manifest, folder)),
        }


def first_result(manifest: Manifest, folder: Path) -> Spread:
    """Milliseconds from the start of a C program to its first result, batch 1."""
    compiler = find_compiler()
    if compiler is None:
        raise UsageError("there is no C compiler: apt-get install gcc (or set CC)")
    program = folder / "first_result"
    pointers = ", ".join(f"p[{n}]" for n in range(len(manifest.tensors)))
    sizes = [math.prod(t.shape(1)) * t.ctype.size for t in manifest.tensors]
    command = [
        compiler,
        "-std=c11",
        "-O2",
        f'-DHEADER="{manifest.name}.h"',
        f"-DWORKSPACE={manifest.symbols.workspace_bytes}",
        f"-DCALL={manifest.symbols.run}(batch, {pointers}, workspace)",
        f"-DSIZES={', '.join(map(str, sizes))}",
        f"-I{folder}",
        str(HERE / "first_result.c"),
        str(folder / manifest.object.file),
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True)
    return Spread.of([_start(program) for _ in range(STARTS)])


def _start(program: Path) -> float:
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_CLOSE, reading)]
    begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    child = os.posix_spawn(str(program), [str(program)], {}, file_actions=actions)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return (int(text) - begin) * 1e-6
