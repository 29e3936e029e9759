"""Models with constants of 500 MB: the compiler takes at most four times that, TensorFlow too."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

MODEL_BYTES = 500_000_000
MOST = 2.5 * MODEL_BYTES
"""Of one process: tfaot's, or the one that TensorFlow runs in."""

MOST_TOGETHER = 4 * MODEL_BYTES + 150_000_000
"""Of both; Python, NumPy and LLVM take the second part, whatever the model."""

_FROM_HLO = """
import sys
from pathlib import Path
import numpy as np
sys.path[:0] = {paths!r}
from compiled import signature_of
from consumer_models import Model, compile_to
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.testing.build import ModuleBuilder

side = 5000
b = ModuleBuilder("large")
x = b.parameter(DType.F32, (BatchDim(1), side))
for layer in range(5):
    w = np.random.default_rng(layer).random((side, side), np.float32)
    x = b.unary("tanh", b.matmul(x, b.constant(w)))
module = b.module(x)
compile_to(Path(sys.argv[1]), Model("large", module, signature_of(module), 20 * side**2))
"""

_SAVED = """
import sys
import numpy as np
import tensorflow as tf

side = 5000
class Large(tf.Module):
    def __init__(self):
        self.w = [tf.Variable(np.random.default_rng(n).random((side, side), np.float32))
                  for n in range(5)]
    @tf.function(input_signature=[tf.TensorSpec([None, side])])
    def __call__(self, x):
        for w in self.w:
            x = tf.tanh(x @ w)
        return {"y": x}
model = Large()
tf.saved_model.save(model, sys.argv[1], signatures=model.__call__)
"""


def resident(pid: int) -> list[int]:
    """Bytes in memory of a process and of each below it; of pages that they share, a part each."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it is gone
        return []
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
    return [own, *(size for child in children for size in resident(int(child)))]


def peaks_of(*command: str | Path) -> tuple[int, int]:
    """The most memory that one process of a command has, and that all have at once.

    They are looked at every 20 ms.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    one, all_together = 0, 0

    def watch() -> None:
        nonlocal one, all_together
        while process.poll() is None:
            sizes = resident(process.pid)
            one = max([one, *sizes])
            all_together = max(all_together, sum(sizes))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, error = process.communicate()
    watcher.join()
    assert process.returncode == 0, error.decode()
    print(f"\n{one / MODEL_BYTES:.2f} and {all_together / MODEL_BYTES:.2f} times the model")
    return one, all_together


def check(out: Path, name: str, peak: int) -> None:
    weights = json.loads((out / f"{name}.json").read_text())["weights_bytes"]
    assert weights >= MODEL_BYTES
    assert (out / f"{name}.o").stat().st_size < weights + 2**20
    assert peak < MOST, f"{peak / MODEL_BYTES:.2f} times the model"


def test_from_hlo(tmp_path):
    tests = Path(__file__).parents[1]
    paths = [str(tests / "support"), str(tests / "consumer")]
    _, peak = peaks_of(sys.executable, "-c", _FROM_HLO.format(paths=paths), tmp_path)

    check(tmp_path, "large", peak)


@pytest.mark.tensorflow
def test_from_tensorflow(tmp_path):
    """With verification, which runs the model in TensorFlow, in float64 and from the object."""
    model, out = tmp_path / "saved", tmp_path / "out"
    subprocess.run([sys.executable, "-c", _SAVED, model], check=True, capture_output=True)
    command = [sys.executable, "-m", "tfaot", "compile", model, "-o", out, "--name", "large"]
    peak, together = peaks_of(*command)

    check(out, "large", peak)
    assert together < MOST_TOGETHER, f"{together / MODEL_BYTES:.2f} times the model"
