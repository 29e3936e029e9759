"""The whole way once: train a model, compile it, run it from C++, compare it with TensorFlow.

Run it by `make demo`. Files are left in demo-out/, to look at.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "demo-out"
BATCHES = (1, 8, 64, 256, 1000)
WARNINGS = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
CLASSES = 5
TOLERANCE = 2e-6
"""Of probabilities: some thirty float32 roundings of values near 1."""

Array = NDArray[np.float32]
console = Console(highlight=False)


@dataclass(frozen=True)
class Measured:
    """One way to run the model: outputs and microseconds per batch size, resident bytes."""

    outputs: dict[int, Array]
    microseconds: dict[int, float]
    resident: float


def fail(message: str) -> None:
    """End with a message."""
    console.print(f"demo: {message}", style="bold red", markup=False)
    sys.exit(1)


def step(title: str, command: list[str | Path], *, chatty: bool = False) -> str:
    """Run a command, shown as the user would type it; its standard output.

    The standard error of a chatty command (TensorFlow logs a lot) is shown only where it fails.
    """
    words = [str(word) for word in command]
    console.print(f"\n{title}", style="bold", markup=False)
    shown = shlex.join(_short(word) for word in words)
    console.print(f"  $ {shown}", style="cyan", markup=False, soft_wrap=True)
    start = time.perf_counter()
    lines: list[str] = []
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=log if chatty else None,
            text=True,
            cwd=OUT.parent,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("  "):
                console.print(line.rstrip(), markup=False)
        if process.wait() != 0:
            log.seek(0)
            sys.stderr.write(log.read())
            fail(f"'{_short(words[0])}' ended with status {process.returncode} (see above)")
    console.print(f"  {time.perf_counter() - start:.1f} s", style="dim")
    return "".join(lines)


def _short(word: str) -> str:
    """Paths below the project as they are typed there."""
    path = Path(word)
    if path.parent == Path(sys.executable).parent:
        return path.name
    root = OUT.parent
    return str(path.relative_to(root)) if path.is_relative_to(root) else word


def measure_cpp(program: Path, features: Array) -> Measured:
    """Run the C++ program, and read what it wrote."""
    raw, written = OUT / "features.f32", OUT / "outputs.f32"
    features.tofile(raw)
    *lines, memory = step(
        "Run it from C++", [program, raw, written, *map(str, BATCHES)]
    ).splitlines()
    values = np.fromfile(written, np.float32).reshape(-1, CLASSES)
    ends = np.cumsum(BATCHES)
    outputs = {b: values[end - b : end] for b, end in zip(BATCHES, ends, strict=True)}
    times = {int(batch): float(value) for batch, value in map(str.split, lines)}
    return Measured(outputs, times, int(memory) * 1024)


def measure_python(title: str, kind: str, model: Path) -> Measured:
    """Run the model from Python, in a process of its own."""
    result = OUT / f"{kind}.npz"
    command: list[str | Path] = [sys.executable, HERE / "measure.py", kind, model]
    step(title, [*command, OUT / "poster.npy", result, *map(str, BATCHES)], chatty=True)
    with np.load(result) as file:
        return Measured(
            {b: file[f"output{b}"] for b in BATCHES},
            {b: float(file[f"microseconds{b}"]) for b in BATCHES},
            float(file["resident"]),
        )


def ulp(a: Array, b: Array) -> int:
    """The most float32 numbers that lie between two elements (all are positive)."""
    return int(np.abs(a.view(np.int32).astype(np.int64) - b.view(np.int32)).max())


def table(cpp: Measured, python: Measured, tensorflow: Measured) -> Table:
    """Differences, times and memory, side by side."""
    result = Table(title="poster: 5 layers of 128, one thread", title_style="bold")
    for heading in (
        "batch",
        "difference",
        "ULP",
        "C++",
        "Python",
        "TensorFlow",
        "ratio",
    ):
        result.add_column(heading, justify="right")
    for b in BATCHES:
        ours, theirs = cpp.outputs[b], tensorflow.outputs[b]
        result.add_row(
            str(b),
            f"{np.abs(ours - theirs).max():.1e}",
            str(ulp(ours, theirs)),
            f"{cpp.microseconds[b]:.1f} µs",
            f"{python.microseconds[b]:.1f} µs",
            f"{tensorflow.microseconds[b]:.1f} µs",
            f"{tensorflow.microseconds[b] / cpp.microseconds[b]:.0f}x",
        )
    result.add_section()
    memory = [f"{m.resident / 1e6:.0f} MB" for m in (cpp, python, tensorflow)]
    ratio = f"{tensorflow.resident / cpp.resident:.0f}x"
    result.add_row("memory", "", "", *memory, ratio)
    return result


def check(cpp: Measured, python: Measured, tensorflow: Measured) -> None:
    """End with a message where outputs are not what was promised."""
    largest = cpp.outputs[max(BATCHES)]
    for b in BATCHES:
        if cpp.outputs[b].tobytes() != largest[:b].tobytes():
            fail(f"rows of batch {b} have other bits than the same rows of a larger batch")
        if cpp.outputs[b].tobytes() != python.outputs[b].tobytes():
            fail(f"C++ and Python differ at batch {b}")
        difference = float(np.abs(cpp.outputs[b] - tensorflow.outputs[b]).max())
        if not difference <= TOLERANCE:
            fail(f"outputs at batch {b} differ from TensorFlow's by {difference:.1e}")


def main() -> None:
    """Train, compile, build, run, compare."""
    start = time.perf_counter()
    compiler = shlex.split(os.environ.get("CXX", "")) or ["g++" if shutil.which("g++") else "c++"]
    if shutil.which(compiler[0]) is None:
        fail(
            f"there is no C++ compiler '{compiler[0]}': apt-get install g++ (or set CXX), "
            "then make demo again"
        )
    if OUT.exists():
        shutil.rmtree(OUT)
    OUT.mkdir()
    tfaot = Path(sys.executable).with_name("tfaot")

    saved_model, program = OUT / "poster", OUT / "program"
    step(
        "Train a model in TensorFlow and save it",
        [sys.executable, HERE / "train.py", saved_model],
        chatty=True,
    )
    command: list[str | Path] = [tfaot, "compile", saved_model, "-o", OUT, "--target", "native"]
    step("Compile and verify it", command)
    flags: list[str | Path] = [*WARNINGS, "-I", OUT]
    step(
        "Build a C++ program with the header and the object, and nothing else",
        [*compiler, *flags, HERE / "main.cpp", OUT / "poster.o", "-o", program],
    )
    cpp = measure_cpp(program, np.load(OUT / "poster.npy"))
    python = measure_python("Run it from Python, without TensorFlow", "tfaot", OUT / "poster.json")
    tensorflow = measure_python("Run the SavedModel in TensorFlow", "tensorflow", saved_model)
    check(cpp, python, tensorflow)
    console.print()
    console.print(table(cpp, python, tensorflow))
    report = json.loads((OUT / "poster.json").read_text())["verification"]["outputs"][0]
    console.print(
        "difference, ULP: the largest between C++ and TensorFlow; against float64 the compiled "
        f"model is at most {report['worst_ulp']:.0f} ULP off, TensorFlow "
        f"{report['tensorflow_ulp']:.0f}.\n"
        "times: CPU time of a call, the fastest of many; ratio: TensorFlow to C++; memory: "
        "resident, of the process.\n"
        "Rows have the same bits in C++ and Python, and at every batch size.\n"
        f"Took {time.perf_counter() - start:.0f} s. The files are in {_short(str(OUT))}/."
    )


if __name__ == "__main__":
    main()
