"""Memory as the poster has it: processes with 1, 4 and 12 models of 25 x 256, and up to 32 threads.

Every engine runs in a Python process of its own, tfaot also as a C++ program.
"""

from __future__ import annotations

import math
import mmap
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench_models import BenchModel, definitions_digest
from prepare import freeze, make_models
from rich.progress import Progress

from tfaot.engines import Engine, EngineError
from tfaot.engines.compiled import TARGET, source_digest
from tfaot.engines.converter import Converter, freeze_model
from tfaot.engines.files import ModelFiles, Origin
from tfaot.packaging.manifest import read_manifest
from tfaot.profiling.memory import copy_prepared, parse_state, process_states
from tfaot.profiling.store import Store

HERE = Path(__file__).resolve().parent
MODEL, TINY = "25x256", "1x32"
COUNTS = (1, 4, 12)
THREADS = (1, 2, 8, 16, 32)
BATCH = 64
CALLS = 1_000_000
NATIVE = "tfaot-c"
LIMIT_SECONDS = 600


def measure(
    work: Path, store: Store, engines: Mapping[str, Engine], progress: Progress, *, quick: bool
) -> None:
    """Measure what is not in the store, one process after the other."""
    chosen = {name: e for name, e in engines.items() if name != "tfaot-call"}
    counts = COUNTS[:2] if quick else COUNTS
    task = progress.add_task("memory", total=len(chosen) * len(counts))
    make_models(work, [BenchModel(m, "grid", (BATCH,)) for m in (MODEL, TINY)])
    with Converter() as converter:
        tiny = freeze(work, BenchModel(TINY, "grid", (BATCH,)), converter)
        copies = [_copy(work, n, converter) for n in range(max(counts))]
        for name, engine in chosen.items():
            for count in counts:
                progress.update(task, description=f"memory: {engine.title}, {count} models")
                if not store.has(part="memory", engine=name, variant=str(count)):
                    states = _states(name, engine, tiny, copies[:count], converter)
                    store.add([{**_record(name, count), **states}])
                progress.advance(task)
    progress.remove_task(task)


def _record(engine: str, count: int) -> dict[str, Any]:
    return {"part": "memory", "model": MODEL, "engine": engine, "variant": str(count)}


def _copy(work: Path, number: int, converter: Converter) -> ModelFiles:
    """The model in a folder of its own, so that no two processes' models share pages."""
    folder = work / f"memory-{definitions_digest()}" / f"copy_{number}"
    source = work / f"models-{definitions_digest()}" / f"{MODEL}.keras"
    return freeze_model(Origin(str(source)), folder, converter)


def _states(
    name: str,
    engine: Engine,
    tiny: ModelFiles,
    copies: Sequence[ModelFiles],
    converter: Converter,
) -> dict[str, Any]:
    """The states of one process, or why there are none."""
    try:
        if name == NATIVE:
            return {"status": "ok", **native_states(copies, tiny, converter)}
        engine.prepare(tiny, [BATCH], converter)
        engine.prepare(copies[0], [BATCH], converter)
        for other in copies[1:]:
            copy_prepared(copies[0].folder, other.folder)
    except EngineError as error:
        return {"status": "failed", "reason": str(error)}
    states, reason = process_states(
        name, BATCH, THREADS, tiny.folder, [c.folder for c in copies], LIMIT_SECONDS
    )
    if reason:
        return {"status": "failed", "reason": reason, "states": states}
    return {"status": "ok", "states": states}


def native_states(
    copies: Sequence[ModelFiles], tiny: ModelFiles, converter: Converter
) -> dict[str, Any]:
    """The states of the C++ program, and of one that makes a million calls.

    Threads at work, idle threads and calls are counted in a process each; `start` and `load` are
    the first one's. `weights_bytes` is the sum over the models, `thread_bytes` what each thread
    needs: workspace, inputs and outputs; `thread_page_bytes` the same in whole pages.

    Raises:
        EngineError: a compiler fails.
    """
    artifacts = [_artifact(c, f"model_{n}", converter) for n, c in enumerate(copies)]
    described = [read_manifest(a) for a in artifacts]
    program = _program(artifacts, BATCH)
    growth = _program([_artifact(tiny, "tiny", converter)], 1)
    others = [*_run(program, "idle", THREADS), *_run(growth, "call", [CALLS])]
    first = described[0]
    groups = (first.inputs, first.outputs)
    buffers = [4 * sum(math.prod(t.shape(BATCH)) for t in tensors) for tensors in groups]
    buffers.append(first.workspace.bytes or 0)
    return {
        "states": [
            *_run(program, "run", THREADS),
            *(s for s in others if s["stage"] in ("idle", "before", "after")),
        ],
        "weights_bytes": sum(m.weights_bytes for m in described),
        "thread_bytes": sum(buffers),
        "thread_page_bytes": sum(-(-b // mmap.PAGESIZE) * mmap.PAGESIZE for b in buffers),
    }


def _artifact(files: ModelFiles, name: str, converter: Converter) -> Path:
    """The manifest of a model under a name of its own."""
    from tfaot.compiler import compile_model
    from tfaot.options import make_options

    folder = files.folder / f"named-{source_digest()}-{TARGET}"
    manifest = folder / f"{name}.json"
    if not manifest.exists():
        options = make_options(folder, name=name, target=TARGET, verify=False)
        compile_model(
            options, files.origin.path, lambda stage, detail: None, session=converter.session
        )
    return manifest


def _program(manifests: Sequence[Path], batch: int) -> Path:
    """The C++ program with these models, built beside the first."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise EngineError("tfaot (C): there is no C++ compiler: apt-get install g++ (or set CXX)")
    folder = manifests[0].parent
    described = [read_manifest(m) for m in manifests]
    headers = folder / f"models_{len(manifests)}.h"
    headers.write_text("".join(f'#include "{path.with_suffix(".h")}"\n' for path in manifests))
    rows = [
        f"M({m.name}, {math.prod(m.inputs[0].shape(1))}, {math.prod(m.outputs[0].shape(1))})"
        for m in described
    ]
    program = folder / f"memory_{len(manifests)}"
    objects = [str(path.with_suffix(".o")) for path in manifests]
    command = [
        compiler,
        "-std=c++20",
        "-O2",
        "-pthread",
        f"-DBATCH={batch}",
        f'-DHEADERS="{headers}"',
        f"-DMODELS={' '.join(rows)}",
        str(HERE / "memory.cpp"),
        *objects,
        "-o",
        str(program),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EngineError(f"tfaot (C): the memory program does not build: {done.stderr[:300]}")
    return program


def _run(program: Path, stage: str, numbers: Sequence[int]) -> list[dict[str, Any]]:
    command = [str(program), stage, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [parse_state(line) for line in done.stdout.splitlines()]
