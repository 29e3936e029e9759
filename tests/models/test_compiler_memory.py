"""The memory that compiling a large model takes, in the compiler's process and in TensorFlow's."""

import json
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

MAKE = """
import keras, sys
keras.utils.set_random_seed(0)
keras.applications.ResNet50(weights=None, input_shape=(224, 224, 3)).save(sys.argv[1])
"""

COMPILE = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "tfaot", "compile", sys.argv[1], "-o", sys.argv[2],
                       "--name", "resnet50"])
largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps([done.returncode, largest]))
"""
"""The largest resident set of the command line's process and of those that it started."""


def test_resnet50_takes_no_more_than_four_times_its_weights_and_a_gigabyte(tmp_path):
    model, output = tmp_path / "resnet50.keras", tmp_path / "out"
    subprocess.run([sys.executable, "-c", MAKE, str(model)], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(model), str(output)],
        check=True,
        capture_output=True,
        text=True,
    )
    status, largest = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    weights = json.loads((output / "resnet50.json").read_text())["weights_bytes"]
    assert weights > 100_000_000
    assert largest < 4 * weights + 2**30
