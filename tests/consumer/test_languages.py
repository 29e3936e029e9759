"""Models in Rust and Fortran, and in a program that knows nothing of them: the examples, tried."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to, poster
from numpy.typing import NDArray

from tfaot.artifact import Artifact
from tfaot.packaging.manifest import read_manifest

EXAMPLES = Path(__file__).parents[2] / "examples"
ROWS = 7
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory) -> Artifact:
    """The model that the examples are written for, in a folder of its own."""
    return compile_to(tmp_path_factory.mktemp("out"), poster("tagger", (4, 16, 2)), "portable")


@pytest.fixture(scope="module")
def features() -> NDArray[np.float32]:
    return np.random.default_rng(4).normal(size=(ROWS, 4)).astype(np.float32)


def call(*command: str | Path, text: str = "", cwd: Path | None = None, **more: str) -> str:
    done = subprocess.run(
        command, input=text, cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, **more},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(text: str) -> NDArray[np.float32]:
    return np.array([line.split() for line in text.splitlines()], np.float32)


# Rust


@pytest.fixture(scope="module")
def package(tool, tmp_path_factory) -> Path:
    """A copy of the example, so that nothing is built beside it."""
    tool("cargo")
    tool("rustc")
    return shutil.copytree(EXAMPLES / "rust", tmp_path_factory.mktemp("rust") / "package")


@pytest.fixture(scope="module")
def cargo(tool) -> str:
    """A cargo that works: rustup's stand-in for it does not before a toolchain is chosen."""
    path = tool("cargo")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        pytest.skip(f"needs a cargo that runs (apt-get install cargo): {reason}")
    return path


def test_rust_example(package, tagger, features, cargo):
    folder = str(tagger.object.parent)
    command = (cargo, "run", "--quiet", "--offline", "--locked")

    output = call(
        *command, text=" ".join(map(str, features.ravel())), cwd=package,
        TFAOT_MODEL_DIR=folder, RUSTFLAGS="-D warnings",
    )  # fmt: skip

    np.testing.assert_array_equal(numbers(output), tagger.load()(features))


@pytest.mark.slow
def test_rust_example_passes_its_own_tests(package, tagger, cargo, tool, tmp_path):
    """With the model in a static library."""
    call(tool("ar"), "rcs", tmp_path / "libtagger.a", tagger.object)
    command = (cargo, "test", "--quiet", "--offline", "--locked")

    output = call(*command, cwd=package, TFAOT_MODEL_DIR=str(tmp_path))

    assert "6 passed" in output


# Fortran


@pytest.mark.parametrize("flags", [("-fopenmp",), ("-fcheck=all", "-fno-openmp", "-static")])
def test_fortran_example(flags, tagger, features, tool, tmp_path):
    files = [EXAMPLES / "fortran" / "tagger.f90", EXAMPLES / "fortran" / "main.f90", tagger.object]
    warnings = ("-std=f2018", *WARNINGS, "-Wimplicit-interface", "-Wno-maybe-uninitialized")
    call(tool("gfortran"), *warnings, "-O2", *flags, *files, "-o", tmp_path / "main", cwd=tmp_path)

    text = f"{ROWS}\n" + "\n".join(" ".join(map(str, row)) for row in features)
    output = call(tmp_path / "main", text=text)

    np.testing.assert_array_equal(numbers(output), tagger.load()(features))
    assert call(tmp_path / "main", text="0\n") == ""


# Any model


@pytest.fixture(scope="module")
def host(tagger, tool, tmp_path_factory) -> Path:
    """The program, compiled with nothing but one model's header."""
    program = tmp_path_factory.mktemp("host") / "host"
    source = EXAMPLES / "generic_host" / "host.cpp"
    folder = tagger.header.parent
    flags = ("-std=c++17", "-O1", *WARNINGS, f"-I{folder}", "-fsanitize=address,undefined")
    call(tool("c++"), *flags, source, "-ldl", "-o", program)
    return program


def test_generic_host_runs_every_model(model, artifact, host, tool, tmp_path):
    library = tmp_path / "libmodel.so"
    call(tool("cc"), "-shared", "-nostdlib", artifact.object, "-o", library)
    batch = model.static[-1] if model.static else ROWS

    lines = call(host, library, model.name, str(batch)).splitlines()

    manifest = read_manifest(artifact.manifest)
    results = artifact.load()(*filled(manifest, batch))
    results = results if isinstance(results, dict) else {manifest.outputs[0].name: results}
    for name, array in results.items():
        (line,) = (line for line in lines if line.startswith(f"{name} ="))
        words = line.split("=")[1].split()
        values = [float.fromhex(w) if array.dtype.kind == "f" else int(w) for w in words]
        assert values == array.ravel()[:8].tolist()


def filled(manifest, batch: int):
    """The inputs as the program fills them."""
    for tensor in manifest.inputs:
        shape = tensor.shape(batch)
        pattern = np.arange(int(np.prod(shape))) % 7
        scale = 0.25 if tensor.dtype.startswith("f") else 1
        yield (scale * pattern).astype(tensor.ctype.numpy).reshape(shape)


def test_generic_host_chooses_the_instruction_set(tagger, host, tool, tmp_path):
    library = tmp_path / "libtagger.so"
    call(tool("cc"), "-shared", tagger.object, "-o", library)

    best = call(host, library, "tagger", "5").splitlines()
    limited = call(host, library, "tagger", "5", "2").splitlines()

    assert limited[0] == "level 2"
    assert limited[1:-1] == best[:-1]


def test_generic_host_refuses_what_a_model_refuses(tagger, host, tool, tmp_path):
    library = tmp_path / "libtagger.so"
    call(tool("cc"), "-shared", tagger.object, "-o", library)

    done = subprocess.run([host, library, "other"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "no model 'other' in there\n")


NULLS = r"""
#include "tagger.h"
#include <stdio.h>
int main(void) {
  const struct tfaot_model_info *info = tagger_info();
  static _Alignas(64) unsigned char workspace[TAGGER_WORKSPACE_BYTES + 64];
  float x[4] = {0}, y[2];
  const void *inputs[] = {x}, *no_input[] = {NULL};
  void *outputs[] = {y}, *no_output[] = {NULL};
  printf("%d %d %d ", info->run(1, NULL, outputs, workspace), info->run(1, inputs, NULL, workspace),
         info->run(1, no_input, outputs, workspace));
  printf("%d %d ", info->run(1, inputs, no_output, workspace),
         info->run(-1, inputs, outputs, NULL));
  printf("%d %d ", info->run(1, inputs, outputs, workspace + 1),
         info->run(1, inputs, outputs, workspace));
  printf("%d %d\n", info->workspace_bytes_for(3) == tagger_workspace_bytes(3),
         info->set_max_isa(-1) == tagger_set_max_isa(-1));
  return 0;
}
"""


def test_pointers_in_arrays_are_checked_as_arguments_are(tagger, build_program, tmp_path):
    (tmp_path / "nulls.c").write_text(NULLS)

    program = build_program(tmp_path / "nulls", tmp_path / "nulls.c", "c11", tagger.object)

    assert call(program) == "2 2 2 2 1 3 0 1 1\n"
