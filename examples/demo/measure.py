"""Evaluate the demo's model in a process of its own: outputs, time per call, resident memory.

Usage: measure.py tfaot MANIFEST | tensorflow SAVED_MODEL, then FEATURES RESULT BATCH...
RESULT is an .npz file with the outputs and the microseconds per call of each batch size.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECONDS = 0.3  # of timed calls per batch size
Array = NDArray[np.float32]


def tfaot_model(path: str) -> Callable[[Any], Array]:
    """The compiled model."""
    import tfaot

    return tfaot.load(path)


def tensorflow_model(path: str) -> Callable[[Any], Any]:
    """The SavedModel in TensorFlow, on one thread as the compiled one."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(path)
    function = loaded.signatures["serving_default"]

    def run(features: Any) -> Any:
        (output,) = function(tf.constant(features)).values()
        return output.numpy()

    run.keep_alive = loaded  # type: ignore[attr-defined]
    return run


def microseconds(function: Callable[[Any], Any], argument: Array) -> float:
    """CPU time of a call, the fastest of many: other programs on the machine count for little."""
    for _ in range(3):
        function(argument)
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.process_time()
        function(argument)
        times.append(time.process_time() - start)
    return min(times) * 1e6


def resident_bytes() -> int:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Load, run, time, write."""
    kind, path, features_path, result_path, *batches = sys.argv[1:]
    model = tfaot_model(path) if kind == "tfaot" else tensorflow_model(path)
    features: Array = np.load(features_path)
    results: dict[str, Any] = {}
    for batch in map(int, batches):
        results[f"output{batch}"] = model(features[:batch])
        results[f"microseconds{batch}"] = microseconds(model, features[:batch])
    results["resident"] = resident_bytes()
    np.savez(result_path, **results)


if __name__ == "__main__":
    main()
