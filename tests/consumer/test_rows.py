"""Programs in C and C++ that run a model for every batch size in exactly sized buffers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from consumer_models import Model
from numpy.typing import NDArray

from tfaot.artifact import Artifact
from tfaot.interpreter import evaluate
from tfaot.packaging.manifest import Manifest, read_manifest
from tfaot.verification.verify import scaled_ulp

SOURCE = Path(__file__).with_name("rows.c")
LAST = 300
STANDARDS = ("c11", "c++17")


def make_inputs(model: Model, rows: int) -> list[NDArray]:
    random = np.random.default_rng(5)
    arrays = []
    for spec in model.signature.inputs:
        shape = spec.shape.at(rows).static_dims
        values = random.normal(size=shape) * 2
        if spec.dtype.is_integer:
            values = random.integers(0, 10, shape)
        arrays.append(np.asarray(values).astype(spec.dtype.numpy))
    return arrays


def write_model_header(folder: Path, manifest: Manifest) -> None:
    """Calls of one model behind names that rows.c knows."""
    arguments = [f"(const {t.ctype.c} *)(in)[{i}].data" for i, t in enumerate(manifest.inputs)]
    arguments += [f"({t.ctype.c} *)(out)[{i}].data" for i, t in enumerate(manifest.outputs)]
    (folder / "model.h").write_text(
        f'#include "{manifest.name}.h"\n'
        f"#define MODEL_INFO() {manifest.name}_info()\n"
        f"#define MODEL_WORKSPACE_BYTES(n) {manifest.name}_workspace_bytes(n)\n"
        f"#define MODEL_RUN(n, in, out, workspace) "
        f"{manifest.name}_run((n), {', '.join(arguments)}, (workspace))\n"
    )


def run(command: list[str | Path], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr


def build(
    build_program: Callable[..., Path], folder: Path, artifact: Artifact, standard: str = "c11"
) -> Path:
    write_model_header(folder, read_manifest(artifact.manifest))
    return build_program(folder / "program", SOURCE, standard, artifact.object)


def write_inputs(folder: Path, arrays: list[NDArray]) -> None:
    for index, array in enumerate(arrays):
        array.tofile(folder / f"in{index}")


def read_outputs(folder: Path, model: Model) -> list[NDArray]:
    return [
        np.fromfile(folder / f"out{i}", spec.dtype.numpy).reshape(spec.shape.at(LAST).static_dims)
        for i, spec in enumerate(model.signature.outputs)
    ]


@pytest.mark.parametrize("standard", STANDARDS)
def test_every_batch_size_keeps_bits_and_canaries(
    model, artifact, standard, build_program, tmp_path
):
    program = build(build_program, tmp_path, artifact, standard)
    inputs = make_inputs(model, LAST)
    write_inputs(tmp_path, inputs)

    run([program, str(LAST), "1", "0"], tmp_path)

    outputs = read_outputs(tmp_path, model)
    batch = LAST if model.module.batch else None
    exact = evaluate(model.module, inputs, batch=batch, float64=True)
    for spec, output, expected in zip(model.signature.outputs, outputs, exact, strict=True):
        if not spec.dtype.is_float:
            np.testing.assert_array_equal(output, expected)
        elif model.name == "mixing":  # a sum over 300 rows cancels
            np.testing.assert_allclose(output, expected, rtol=0, atol=1e-4)
        else:
            errors = np.abs(output - expected) / scaled_ulp(expected, spec.dtype)
            worst = np.unravel_index(np.argmax(errors), errors.shape)
            assert errors[worst] <= 32, (worst, output[worst], expected[worst])


def test_python_and_c_give_the_same_bits(model, artifact, build_program, tmp_path):
    program = build(build_program, tmp_path, artifact)
    inputs = make_inputs(model, LAST)
    write_inputs(tmp_path, inputs)
    run([program, str(LAST), str(LAST), "0"], tmp_path)

    result = artifact.load()(*inputs)

    arrays = list(result.values()) if isinstance(result, dict) else [result]
    for output, array in zip(read_outputs(tmp_path, model), arrays, strict=True):
        assert output.tobytes() == array.tobytes()


def test_valgrind_finds_no_error(model, artifact, build_program, tool, tmp_path):
    valgrind = tool("valgrind")
    program = build(build_program, tmp_path, artifact)
    write_inputs(tmp_path, make_inputs(model, 41))
    command = [valgrind, "-q", "--error-exitcode=9", "--leak-check=full", program]

    run([*command, "41", "1", "1"], tmp_path)


def test_rows_keep_their_bits_at_every_position(artifacts):
    model = artifacts["dense"].load()
    row = np.linspace(-2, 2, 9, dtype=np.float32)
    others = np.random.default_rng(1).normal(size=(LAST, 9)).astype(np.float32)
    alone = model(row[None]).tobytes()

    for position in range(LAST):
        batch = others.copy()
        batch[position] = row
        assert model(batch)[position].tobytes() == alone, position


def test_no_rows_still_write_what_does_not_depend_on_rows(artifacts):
    result = artifacts["mixing"].load()(np.empty((0, 6), np.float32))

    assert result["y"].shape == (0, 6)
    np.testing.assert_array_equal(result["total"], np.zeros(6, np.float32))
