"""Public SavedModels through their aot_config.yaml, behind classes in tfcompile's shape."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tfcompile_reader import read_tfcompile_header

from tfaot.cli.main import run as run_command
from tfaot.packaging.manifest import read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("TFAOT_SHARED_MODELS", ROOT.parent / "shared" / "models"))
SIZES = (1, 2, 4)
ROWS = 32

PROGRAM = r"""
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include "NAME_bs1.h"
#include "NAME_bs2.h"
#include "NAME_bs4.h"

/* Reads the arguments of one batch after the other, and writes the results of each. */
static void evaluate(tensorflow::XlaCompiledCpuFunction &&model) {
  for (;;) {
    for (int i = 0; i < model.num_args(); ++i) {
      const auto bytes = static_cast<std::size_t>(model.arg_size(i));
      if (std::fread(model.arg_data(static_cast<std::size_t>(i)), 1, bytes, stdin) != bytes) return;
    }
    if (!model.Run()) std::exit(1);
    for (int i = 0; i < model.num_results(); ++i) {
      const auto bytes = static_cast<std::size_t>(model.result_size(i));
      std::fwrite(model.result_data(static_cast<std::size_t>(i)), 1, bytes, stdout);
    }
  }
}

int main(int, char **arguments) {
  switch (std::atoi(arguments[1])) {
    case 1: evaluate(tfaot_model::NAME_bs1()); break;
    case 2: evaluate(tfaot_model::NAME_bs2()); break;
    case 4: evaluate(tfaot_model::NAME_bs4()); break;
  }
}
"""

CONFIG = """
model:
  name: NAME
  version: "1.0.0"
compilation:
  batch_sizes: [1, 2, 4]
  namespace: null
"""


def configuration(name: str, folder: Path) -> Path:
    """The configuration that comes with the model, or the least one, beside its `saved_model`."""
    given = MODELS / f"{name}_aot_config.yaml"
    if given.exists():
        return given
    shutil.copytree(MODELS / f"{name}_saved_model", folder / "saved_model")
    path = folder / "aot_config.yaml"
    path.write_text(CONFIG.replace("NAME", name))
    return path


@pytest.mark.parametrize("name", ["test_simple", "test_multi"])
def test_against_the_reference(name, build_program, tmp_path, capsys):
    if not (MODELS / f"{name}_saved_model").is_dir():
        pytest.skip(f"no model in {MODELS}: set TFAOT_SHARED_MODELS")
    out = tmp_path / "out"
    config = configuration(name, tmp_path)
    command = ["compile", "--config", str(config), "-o", str(out), "--interface", "tfcompile"]
    assert run_command(command) == 0
    written = capsys.readouterr().out.split()
    manifest = read_manifest(out / f"{name}.json")
    assert written[-len(manifest.headers) :] == [str(out / path) for path in manifest.headers]
    assert manifest.batch.kind == "symbolic"
    assert not manifest.batch.sizes
    for size in SIZES:
        header = read_tfcompile_header(out / f"{name}_bs{size}.h")
        assert (header.namespace, header.class_name) == ("tfaot_model", name)
        assert (len(header.args), len(header.results)) == (
            len(manifest.inputs),
            len(manifest.outputs),
        )

    reference = np.load(MODELS / f"reference_{name}.npz")
    inputs = [reference[f"in_{t.name}"][:ROWS] for t in manifest.inputs]
    expected = [reference[f"out_{t.name}"][:ROWS] for t in manifest.outputs]
    source = tmp_path / "main.cpp"
    source.write_text(PROGRAM.replace("NAME", name))
    program = build_program(tmp_path / "program", source, "c++17", out / f"{name}.o")
    for size in SIZES:
        batches = [
            array[row : row + size].tobytes() for row in range(0, ROWS, size) for array in inputs
        ]
        done = subprocess.run(
            [str(program), str(size)], input=b"".join(batches), capture_output=True, check=True
        )
        record = np.dtype([(str(i), a.dtype, (size, *a.shape[1:])) for i, a in enumerate(expected)])
        found = np.frombuffer(done.stdout, record)
        for i, array in enumerate(expected):
            values = found[str(i)].reshape(array.shape)
            if array.dtype == np.bool_:
                np.testing.assert_array_equal(values, array)
            else:
                np.testing.assert_allclose(values, array, rtol=4e-6, atol=4e-6)
