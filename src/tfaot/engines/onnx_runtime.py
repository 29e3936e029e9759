"""ONNX Runtime: tf2onnx's model on the CPU provider, called through an I/O binding."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles
from tfaot.engines.protocol import (
    Array,
    Availability,
    BoundCall,
    Engine,
    Runner,
    packages_availability,
    reported,
)


def onnx_file(files: ModelFiles, converter: Converter) -> Path:
    """The model as ONNX, converted unless it is there.

    Raises:
        EngineError: tf2onnx can't convert it.
    """
    path = onnx_path(files)
    if not path.exists():
        converter.call("onnx", folder=str(files.folder), path=str(path))
    return path


def onnx_path(files: ModelFiles) -> Path:
    """Where the model as ONNX is."""
    return files.folder / f"tf2onnx-{importlib.metadata.version('tf2onnx')}.onnx"


class OnnxRuntimeEngine(Engine):
    """ONNX Runtime with all graph optimisations, no thread but the caller's."""

    name = "onnxruntime"
    title = "ONNX Runtime"
    color = "#5778a4"

    def availability(self) -> Availability:
        """Whether `onnxruntime` and `tf2onnx` can be imported."""
        return packages_availability(
            self.title, ["onnxruntime", "tf2onnx"], ["onnxruntime", "tf2onnx"]
        )

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Convert to ONNX."""
        onnx_file(files, converter)

    def load(self, files: ModelFiles) -> Runner:
        """Open a session."""
        ort: Any = importlib.import_module("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        with reported("ONNX Runtime"):
            session = ort.InferenceSession(
                str(onnx_path(files)), options, providers=["CPUExecutionProvider"]
            )
        return _OrtRunner(ort, session)


class _OrtRunner(Runner):
    def __init__(self, ort: Any, session: Any) -> None:
        self._ort, self._session = ort, session
        self._inputs = [i.name for i in session.get_inputs()]
        self._outputs = [o.name for o in session.get_outputs()]

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """Inputs and outputs are bound to NumPy arrays: nothing is copied in a call."""
        # The session has the model's inputs in their order, without those that nothing depends on.
        feeds = {f"input_{n}:0": array for n, array in enumerate(inputs)}
        used = {name: feeds[name] for name in self._inputs}
        with reported("ONNX Runtime"):
            results = [np.ascontiguousarray(r) for r in self._session.run(self._outputs, used)]
            binding = self._session.io_binding()
            kept: list[Any] = []
            for name, array in used.items():
                value = self._ort.OrtValue.ortvalue_from_numpy(array)
                kept.append(value)
                binding.bind_ortvalue_input(name, value)
            for name, array in zip(self._outputs, results, strict=True):
                value = self._ort.OrtValue.ortvalue_from_numpy(array)
                kept.append(value)
                binding.bind_ortvalue_output(name, value)
        session, outputs = self._session, kept[len(used) :]

        def call() -> None:
            session.run_with_iobinding(binding)

        return BoundCall(call, lambda: [o.numpy() for o in outputs], kept=(kept, used))
