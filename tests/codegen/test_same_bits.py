"""The bits of a row: in a million rows, from threads, of composed static sizes, on another CPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from compiled import NAME, compile_module, signature_of
from models import MODELS, inputs_of

from tfaot.artifact import write_artifact
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Origin, build
from tfaot.lowering import Lowered
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source, read_manifest
from tfaot.runtime.model import load
from tfaot.symbolic import specialise

sys.path.insert(0, str(Path(__file__).parents[1] / "consumer"))

from test_rows import SOURCE, write_inputs, write_model_header  # of the consumers

MILLION = 1_000_003
STATIC = (1, 2, 5, 8)
APART = [name for name in MODELS if MODELS[name].rows_apart]


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array)[..., None].view(np.uint8)


def taken(name: str, inputs, rows) -> list[np.ndarray]:
    return [x if fixed else x[rows] for x, fixed in zip(inputs, MODELS[name].fixed, strict=True)]


@pytest.mark.parametrize(
    "name", [n if n == APART[0] else pytest.param(n, marks=pytest.mark.slow) for n in APART]
)
def test_a_million_rows(name):
    run = compile_module(MODELS[name].build())
    inputs = inputs_of(name, 300)
    reference = [bits(y) for y in run(inputs, 300)]
    rows = np.arange(MILLION) % 300

    outputs = run(taken(name, inputs, rows), MILLION)

    for whole, part in zip(reference, outputs, strict=True):
        found = bits(part)
        for start in range(0, MILLION, 300):
            block = found[start : start + 300]
            assert np.array_equal(block, whole[: len(block)]), (name, start)


@pytest.mark.parametrize("name", APART)
def test_static_sizes_give_the_bits_of_the_symbolic_batch(name, tmp_path):
    module = MODELS[name].build()
    lowered = Lowered(tuple(specialise(module, s) for s in STATIC), STATIC, "asked")
    signature = signature_of(module)
    if not all(s.rows_lead for s in (*signature.inputs, *signature.outputs)):
        pytest.skip("rows don't come first: static sizes are not composed")
    made = build(
        NAME,
        signature,
        lowered,
        resolve_targets("x86-64-v3"),
        CompileOptions(tmp_path),
        Origin(Source("test")),
    )
    artifact = write_artifact(tmp_path, NAME, made.header, made.object, made.manifest)
    model = load(artifact.manifest)
    model.set_batch_rules("3:5 7:2,5 6:1,5 9:5,5")
    symbolic = compile_module(module)
    inputs = inputs_of(name, 40)
    reference = [bits(y) for y in symbolic(inputs, 40)]

    for batch in (*range(1, 12), 23, 40):
        rows = (np.arange(batch) + batch) % 40
        result = model(*taken(name, inputs, rows))
        outputs = result.values() if isinstance(result, dict) else [result]
        for whole, part in zip(reference, outputs, strict=True):
            assert np.array_equal(bits(part), whole[rows]), batch


@pytest.mark.parametrize("name", APART)
def test_threads_at_once(name, tmp_path):
    module = MODELS[name].build()
    made = build(
        NAME,
        signature_of(module),
        Lowered((module,), (None,)),
        resolve_targets("portable"),
        CompileOptions(tmp_path),
        Origin(Source("test")),
    )
    artifact = write_artifact(tmp_path, NAME, made.header, made.object, made.manifest)
    inputs = inputs_of(name, 64)
    reference = [bits(y) for y in compile_module(module)(inputs, 64)]
    model = load(artifact.manifest)
    start = threading.Barrier(8)
    wrong: list[int] = []

    def work(thread: int) -> None:
        start.wait()
        for turn in range(20):
            rows = (np.arange(1 + (7 * thread + turn) % 30) + thread) % 64
            result = model(*taken(name, inputs, rows))
            outputs = result.values() if isinstance(result, dict) else [result]
            pairs = zip(reference, outputs, strict=True)
            if not all(np.array_equal(bits(part), whole[rows]) for whole, part in pairs):
                wrong.append(thread)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("name", MODELS)
def test_another_cpu(name, tmp_path):
    for program in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        if shutil.which(program) is None:
            pytest.skip(
                f"needs {program}: apt-get install qemu-user gcc-aarch64-linux-gnu "
                "libc6-dev-arm64-cross"
            )
    module = MODELS[name].build()
    signature = signature_of(module)
    known = {"pred", "s32", "f32", "f64"}
    if not {s.dtype.value for s in (*signature.inputs, *signature.outputs)} <= known:
        pytest.skip("the program in C knows no such type")
    made = build(
        NAME,
        signature,
        Lowered((module,), (None,)),
        resolve_targets("aarch64-linux"),
        CompileOptions(tmp_path),
        Origin(Source("test")),
    )
    artifact = write_artifact(tmp_path, NAME, made.header, made.object, made.manifest)
    write_model_header(tmp_path, read_manifest(artifact.manifest))
    batch = 19
    inputs = inputs_of(name, batch)
    write_inputs(tmp_path, inputs)
    program = tmp_path / "program"
    command = ["aarch64-linux-gnu-gcc", "-std=c11", "-O1", "-static", f"-I{tmp_path}"]
    subprocess.run([*command, SOURCE, artifact.object, "-o", program], check=True)
    step = "1" if MODELS[name].rows_apart and not any(MODELS[name].fixed) else str(batch)
    done = subprocess.run(
        ["qemu-aarch64", program, str(batch), step, "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr

    for number, wanted in enumerate(compile_module(module)(inputs, batch)):
        found = np.fromfile(tmp_path / f"out{number}", wanted.dtype)
        assert found.tobytes() == wanted.tobytes(), number
