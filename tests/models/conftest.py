"""Models compiled in one TensorFlow worker, and checks of what every artifact promises."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiled import GuardedBuffer

from tfaot.codegen.entry import UNKNOWN_BATCH
from tfaot.compiler import compile_model
from tfaot.frontend.session import TensorFlowSession
from tfaot.options import make_options
from tfaot.runtime.arrays import numpy_dtype
from tfaot.runtime.elf import LoadedObject
from tfaot.runtime.model import Model, load


@pytest.fixture(scope="session")
def session() -> Iterator[TensorFlowSession]:
    pytest.importorskip("tensorflow")
    with TensorFlowSession() as running:
        yield running


@pytest.fixture(scope="session")
def tf() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture
def keras(tf: Any) -> Any:
    module = pytest.importorskip("keras")
    module.utils.set_random_seed(1)
    return module


@pytest.fixture
def function(tf: Any) -> Callable[..., Any]:
    """A tf.function with a signature of (shape, type) pairs."""

    def make(body: Callable[..., Any], *specs: tuple[list[int | None], str]) -> Any:
        signature = [tf.TensorSpec(shape, tf.as_dtype(dtype)) for shape, dtype in specs]
        return tf.function(body, input_signature=signature)

    return make


def stays_inside(model: Model, code: LoadedObject, batch: int) -> None:
    """A call writes its outputs and its workspace alone, wherever indices among the inputs lead."""
    random = np.random.default_rng(batch)
    inputs, outputs = [], []
    for tensor in model.inputs:
        values = random.normal(0, 50, tensor.shape(batch)).astype(numpy_dtype(tensor))
        inputs.append(GuardedBuffer(values.nbytes, content=values.tobytes()))
    for tensor in model.outputs:
        shape = tensor.shape(batch)
        if min(shape, default=0) < 0:
            return
        outputs.append(GuardedBuffer(math.prod(shape) * numpy_dtype(tensor).itemsize))
    workspace = GuardedBuffer(model.workspace_bytes(batch))
    buffers = [*inputs, *outputs, workspace]
    run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, *[ctypes.c_void_p] * len(buffers))
    symbol = model.manifest.symbols.run
    status = run(code.address(symbol))(batch, *(b.address for b in buffers))
    # What has no meaning without rows (the first of them) is refused, and writes nothing.
    assert status == 0 or (batch == 0 and status == UNKNOWN_BATCH)
    for number, buffer in enumerate(buffers):
        buffer.check(f"buffer {number} of {len(buffers)} (batch {batch})")


@pytest.fixture
def compiled(tmp_path: Path, session: TensorFlowSession) -> Callable[..., Model]:
    """Compile, verify, check the object and load a model."""

    def run(model: object, **options: Any) -> Model:
        arguments = make_options(tmp_path / "out", name="model", **options)
        artifact = compile_model(arguments, model, lambda stage, detail: None, session=session)
        loaded = load(artifact.manifest)
        manifest = loaded.manifest
        # Constants of the graph and alignment weigh nothing in models of a useful size.
        assert manifest.weights_bytes <= 1.02 * manifest.parameter_bytes + 2048
        assert manifest.verification is not None
        if shutil.which("nm"):
            command = ["nm", "-u", str(tmp_path / "out" / "model.o")]
            assert subprocess.run(command, capture_output=True, check=True).stdout == b""
        for batch in manifest.batch.sizes or (0, 5):
            stays_inside(loaded, LoadedObject(tmp_path / "out" / "model.o"), batch)
        return loaded

    return run


@pytest.fixture
def shake() -> Callable[[Any], Any]:
    """A Keras model with other weights than the initial ones, so that none acts as 0 or 1."""

    def run(model: Any) -> Any:
        random = np.random.default_rng(5)
        for variable in model.weights:
            value = variable.numpy()
            if "variance" in variable.name:
                variable.assign(random.uniform(0.5, 2, value.shape))
            elif np.issubdtype(value.dtype, np.floating):
                variable.assign(value + random.normal(0, 0.1, value.shape))
        return model

    return run
