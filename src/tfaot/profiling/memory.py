"""Memory of an engine with models and threads, measured in a process of its own.

Input: prepared models in folders. Output: states of the process, with its resident and its private
bytes: at its start, with the engine's runtime (shown by a tiny model), with the models loaded, and
while threads evaluate them. Private bytes are those that no other process shares.

Engines run in a Python process (`memory_worker.py`), tfaot's C in a C program (`memory.c`).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfaot.engines.protocol import EngineError, describe_error

if TYPE_CHECKING:
    from tfaot.engines.files import ModelFiles

NATIVE = "tfaot-c"
HERE = Path(__file__).resolve().parent

TINY = """
HloModule tiny
ENTRY e {
  x = f32[B,4] parameter(0)
  ROOT y = f32[B,4] add(x, x)
}
"""
"""The model that shows what tfaot's runtime takes."""


def process_states(
    engine: str,
    batch: int,
    threads: Sequence[int],
    tiny: Path,
    folders: Sequence[Path],
    limit_seconds: float,
) -> tuple[list[dict[str, Any]], str]:
    """The states of a Python process with an engine, and why it failed (empty where it did not).

    Args:
        engine: its name.
        batch: the batch size of the calls.
        threads: numbers of threads that evaluate all models, ascending.
        tiny: folder of the prepared tiny model.
        folders: of the prepared models; no two share files.
        limit_seconds: after which the process is ended.
    """
    counts = ",".join(map(str, threads))
    command = [
        sys.executable,
        "-m",
        "tfaot.profiling.memory_worker",
        engine,
        str(batch),
        counts,
        str(tiny),
        *map(str, folders),
    ]
    return _states(command, limit_seconds)


def native_states(
    files: ModelFiles,
    batch: int,
    threads: Sequence[int],
    tiny: Path,
    libraries: Sequence[Path],
    program: Path,
    limit_seconds: float,
) -> tuple[list[dict[str, Any]], str]:
    """The same for the C program, which opens the models' shared libraries."""
    from tfaot.engines.compiled import manifest_path
    from tfaot.packaging.manifest import read_manifest
    from tfaot.runtime.arrays import numpy_dtype

    manifest = read_manifest(manifest_path(files))
    sizes = []
    for tensor in manifest.tensors:
        count = 1
        for size in tensor.shape(batch):
            count *= size
        sizes.append(str(count * numpy_dtype(tensor).itemsize))
    counts = ",".join(map(str, threads))
    command = [str(program), str(batch), counts, ",".join(sizes), str(tiny), *map(str, libraries)]
    return _states(command, limit_seconds)


def _states(command: Sequence[str], limit_seconds: float) -> tuple[list[dict[str, Any]], str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=limit_seconds
        )
    except subprocess.TimeoutExpired:
        return [], f"it takes more than {limit_seconds:g} s"
    states = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        return states, describe_error(last)
    return states, ""


def build_program(folder: Path) -> Path:
    """The C program, built in `folder` unless it is there.

    Raises:
        EngineError: the C compiler is missing or fails.
    """
    from tfaot.engines.files import new_file
    from tfaot.engines.native import find_compiler

    source, program = HERE / "memory.c", folder / "memory"
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    compiler = find_compiler()
    if compiler is None:
        raise EngineError("tfaot (C): there is no C compiler: apt-get install gcc (or set CC)")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread"]
    with new_file(program) as path:
        done = subprocess.run(
            [compiler, *flags, str(source), "-o", str(path), "-ldl"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineError(f"tfaot (C): {describe_error(done.stderr)}")
    return program


def tiny_artifact(folder: Path) -> ModelFiles:
    """A compiled model of one addition, made without TensorFlow unless it is there."""
    from tfaot.artifact import write_artifact
    from tfaot.codegen.target import resolve_targets
    from tfaot.compiler import Lowered, Origin, build
    from tfaot.engines import files as engine_files
    from tfaot.ir.text import parse_module
    from tfaot.options import CompileOptions
    from tfaot.packaging.manifest import Source
    from tfaot.signature import Signature, TensorSpec

    manifest = folder / "tiny.json"
    if not manifest.exists():
        module = parse_module(TINY)
        (x,), root = module.entry.parameters, module.entry.root
        signature = Signature(
            (TensorSpec("x", x.array.dtype, x.array.dims),),
            (TensorSpec("y", root.array.dtype, root.array.dims),),
        )
        compiled = build(
            "tiny",
            signature,
            Lowered((module,), (None,)),
            resolve_targets("native"),
            CompileOptions(folder),
            Origin(Source("hlo"), 0),
        )
        write_artifact(folder, "tiny", compiled.header, compiled.object, compiled.manifest, {})
    files = engine_files.ModelFiles(
        folder,
        engine_files.Origin(""),
        (engine_files.Input("x", "float32", (None, 4)),),
        ("y",),
        False,
        artifact=str(manifest.resolve()),
    )
    files.write()
    return files


def copy_prepared(source: Path, target: Path) -> None:
    """Copy the files of a prepared model to a folder of their own; what is there is kept."""
    target.mkdir(parents=True, exist_ok=True)
    for made in source.iterdir():
        place = target / made.name
        if place.exists() or made.name.startswith("inputs-"):
            continue
        if made.is_dir():
            shutil.copytree(made, place)
        else:
            shutil.copy2(made, place)


def parse_state(line: str) -> dict[str, Any]:
    """One line of the benchmark's program: stage, models, threads, resident and private bytes."""
    stage, models, threads, resident, private = line.split()
    return {
        "stage": stage,
        "models": int(models),
        "threads": int(threads),
        "resident": int(resident),
        "private": int(private),
    }
