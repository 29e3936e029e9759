"""From a model of TensorFlow's to numbers in C, C++ and Python: what a user does, on real models.

Models are made here, or read from the folder TFAOT_SHARED_MODELS. One TensorFlow worker serves all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tfaot.compiler import compile_model
from tfaot.options import make_options
from tfaot.packaging.manifest import read_manifest

pytestmark = pytest.mark.tensorflow

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TFAOT_SHARED_MODELS", ROOT.parent / "shared" / "models"))


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"there is no {path}: set TFAOT_SHARED_MODELS to a folder that has it")
    return path


@pytest.fixture(scope="session")
def worker():
    pytest.importorskip("tensorflow")
    from tfaot.frontend.session import TensorFlowSession

    with TensorFlowSession() as running:
        yield running


@pytest.fixture(scope="session")
def tf():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def compiled(worker, tmp_path_factory):
    """Compile a model, verified, once per path; returns the artifact."""
    known = {}

    def compile_once(model, **options):
        key = (str(model), repr(sorted(options.items())))
        if key not in known:
            made = make_options(tmp_path_factory.mktemp("artifact"), **options)
            known[key] = compile_model(made, model, lambda stage, detail: None, session=worker)
        return known[key]

    return compile_once


def poster(keras, width=128, layers=5, inputs=24):
    """Dense, ELU and batch normalisation with statistics as after training; softmax."""
    keras.utils.set_random_seed(3)
    x = start = keras.Input((inputs,), name="features")
    for _ in range(layers):
        x = keras.layers.Dense(width, activation="elu", bias_initializer="normal")(x)
        x = keras.layers.BatchNormalization(
            beta_initializer="normal",
            gamma_initializer=keras.initializers.RandomUniform(0.5, 1.5),
            moving_mean_initializer="normal",
            moving_variance_initializer=keras.initializers.RandomUniform(0.5, 2.0),
        )(x)
    return keras.Model(start, keras.layers.Dense(5, activation="softmax", name="p")(x))


def embedding(keras):
    """Categories through an embedding, beside numbers in float64; two outputs."""
    keras.utils.set_random_seed(4)
    numbers = keras.Input((3, 4), name="numbers", dtype="float64")
    category = keras.Input((2,), name="category", dtype="int32")
    rows = keras.layers.Embedding(17, 8)(category)
    x = keras.layers.Flatten()(keras.layers.Permute((2, 1))(rows))
    y = keras.layers.Flatten()(keras.layers.Reshape((4, 3))(numbers))
    y = keras.layers.Dense(9, activation="gelu", dtype="float64")(y)
    x = keras.layers.Concatenate()([x, keras.ops.cast(y, "float32")])
    x = keras.layers.LayerNormalization()(keras.layers.Dense(33, activation="tanh")(x))
    return keras.Model(
        [numbers, category],
        {"score": keras.layers.Dense(1, activation="sigmoid")(x), "hidden": y},
    )


MAKERS = {"poster": poster, "embedding": embedding}


@pytest.fixture(scope="session", params=MAKERS)
def made(request, tf, tmp_path_factory):
    """A SavedModel made here: its path."""
    import keras

    path = tmp_path_factory.mktemp("saved") / request.param
    MAKERS[request.param](keras).export(path, verbose=False)
    return path


def close(actual, expected):
    """Equal but for float32 roundings of the values that led there."""
    if expected.dtype == bool:
        np.testing.assert_array_equal(actual, expected)
    else:
        scale = float(np.abs(expected).max())
        np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6 * scale)


def test_made_models_meet_every_promise(made, compiled):
    artifact = compiled(made)
    manifest, model = read_manifest(artifact.manifest), artifact.load()

    assert manifest.verification["batch_sizes"] == [0, 1, 2, 3, 7, 8, 16, 33, 100, 1000]
    for output in manifest.verification["outputs"]:
        assert output["worst_ulp"] <= max(8, 2 * output["tensorflow_ulp"])
    assert manifest.weights_bytes <= 1.02 * manifest.parameter_bytes
    assert manifest.batch.rows_independent
    assert {model.workspace_bytes(n) for n in (0, 1, 300, 10**6)} == {manifest.workspace.bytes}
    if shutil.which("nm"):
        undefined = subprocess.run(["nm", "-u", artifact.object], capture_output=True, check=True)
        assert undefined.stdout == b""


def test_made_models_give_a_row_the_same_bits_in_every_batch(made, compiled):
    model = compiled(made).load()
    random = np.random.default_rng(1)
    rows = [
        random.integers(0, 17, (300, *t.shape(1)[1:])).astype(np.int32)
        if t.dtype == "s32"
        else random.normal(size=(300, *t.shape(1)[1:])).astype(t.ctype.numpy)
        for t in model.inputs
    ]
    outputs = [t.name for t in model.outputs]

    def run(arrays):
        result = model(*arrays)
        return [result[name] for name in outputs] if len(outputs) > 1 else [result]

    whole = run(rows)
    for n in range(1, 301):
        for first in {0, 300 - n}:
            part = run([r[first : first + n] for r in rows])
            for a, b in zip(part, whole, strict=True):
                assert a.tobytes() == b[first : first + n].tobytes(), (n, first)


def test_two_compiles_give_the_same_bytes(made, compiled, worker, tmp_path):
    first = compiled(made)

    again = compile_model(make_options(tmp_path), made, lambda s, d: None, session=worker)

    for one, other in zip(first.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.parametrize("name", ["test_simple", "test_multi"])
def test_saved_models_match_their_references(name, compiled):
    model = compiled(shared(f"{name}_saved_model")).load()
    with np.load(shared(f"reference_{name}.npz")) as reference:
        inputs = {k[3:]: v for k, v in reference.items() if k.startswith("in_")}
        expected = {k[4:]: v for k, v in reference.items() if k.startswith("out_")}

    result = model(**inputs)

    result = result if isinstance(result, dict) else {model.outputs[0].name: result}
    assert sorted(result) == sorted(expected)
    for key, value in expected.items():
        close(result[key], value)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("trackdnn_CKF_2021Run3", "*.pb"),
        ("emtf_displ_5", "*.pb"),
        ("l2tau_run3v1", "*.pb"),
        ("deepdoublex_102x_BvL", "*.h5"),
    ],
)
def test_trained_models_match_their_references(name, file, compiled):
    (model_file,) = shared(name).glob(file)
    artifact = compiled(model_file, name=name)
    manifest, model = read_manifest(artifact.manifest), artifact.load()
    with np.load(shared(name) / "reference.npz") as reference:
        inputs = [reference[f"in{i}"] for i in range(len(model.inputs))]
        (expected,) = (v for k, v in reference.items() if k.startswith("out_"))

    close(model(*inputs), expected)
    assert manifest.weights_bytes <= 1.02 * manifest.parameter_bytes


SIMPLE_C = r"""
#include "test_simple.h"
#include <stdio.h>

int main(void) {
  static _Alignas(TEST_SIMPLE_WORKSPACE_ALIGNMENT) unsigned char
      workspace[TEST_SIMPLE_WORKSPACE_BYTES];
  const float input[4] = {0, 1, 2, 3};
  float output[2];
  if (test_simple_run(1, input, output, workspace) != TFAOT_OK) return 1;
  if (test_simple_run(-1, input, output, workspace) != TFAOT_NEGATIVE_BATCH) return 2;
  printf("%.6f, %.6f\n", (double)output[0], (double)output[1]);
  return 0;
}
"""

SIMPLE_CPP = r"""
#include "test_simple.h"
#include <cstdio>

int main() {
  const tfaot_model::test_simple model;
  std::vector<float> output;
  model.run_or_throw(1, std::vector<float>{0, 1, 2, 3}, output);
  std::printf("%.6f, %.6f\n", static_cast<double>(output[0]), static_cast<double>(output[1]));
}
"""


@pytest.mark.parametrize(
    ("compiler", "standard", "source"),
    [("cc", "c11", SIMPLE_C), ("c++", "c++17", SIMPLE_CPP)],
    ids=["C", "C++"],
)
def test_simple_from_c(compiler, standard, source, compiled, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}: apt-get install g++")
    artifact = compiled(shared("test_simple_saved_model"))
    path = tmp_path / ("main.c" if compiler == "cc" else "main.cpp")
    path.write_text(source)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = [compiler, f"-std={standard}", *warnings, f"-I{artifact.header.parent}"]
    program = tmp_path / "program"
    subprocess.run([*command, path, artifact.object, "-o", program], check=True)

    done = subprocess.run([program], capture_output=True, text=True, check=True)

    assert done.stdout == "0.648093, 0.351907\n"
    if shutil.which("valgrind"):
        subprocess.run(
            ["valgrind", "-q", "--error-exitcode=9", program], check=True, stdout=subprocess.DEVNULL
        )


def test_simple_from_python(compiled):
    model = compiled(shared("test_simple_saved_model")).load()

    (row,) = model(np.array([[0, 1, 2, 3]], np.float32))

    assert [f"{v:.6f}" for v in row] == ["0.648093", "0.351907"]
