"""LiteRT (TensorFlow Lite) with its XNNPACK delegate; an interpreter per batch size."""

from __future__ import annotations

import importlib
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
    EngineError,
    Runner,
    package_version,
    packages_availability,
    reported,
)


class LiteRtEngine(Engine):
    """LiteRT's interpreter: inputs stay in its own buffers, a call is `invoke` alone.

    Graphs that compute with shapes are converted once per batch size: a resized model would hold
    tensors of unknown size, which XNNPACK leaves to slower kernels.
    """

    name = "litert"
    title = "LiteRT (XNNPACK)"
    color = "#967662"

    def availability(self) -> Availability:
        """Whether `ai_edge_litert` and TensorFlow, which converts for it, can be imported."""
        return packages_availability(
            self.title, ["ai_edge_litert", "tensorflow"], ["ai-edge-litert", "tensorflow-cpu"]
        )

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Convert, once or per batch size."""
        for batch in batches if files.dynamic else [None]:
            path = tflite_path(files, batch)
            if not path.exists():
                converter.call("tflite", folder=str(files.folder), path=str(path), batch=batch)

    def load(self, files: ModelFiles) -> Runner:
        """Nothing yet: each batch size gets an interpreter."""
        return _LiteRtRunner(importlib.import_module("ai_edge_litert.interpreter"), files)


def tflite_path(files: ModelFiles, batch: int | None) -> Path:
    """Where the model for LiteRT is; `batch` is None for the one that is resized."""
    size = "" if batch is None else f"-{batch}"
    return files.folder / f"litert-{package_version('tensorflow')}{size}.tflite"


class _LiteRtRunner(Runner):
    def __init__(self, module: Any, files: ModelFiles) -> None:
        self._module, self._files = module, files

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """An interpreter resized for these shapes, with the inputs in its tensors."""
        batch = self._files.batch_of(inputs)
        path = tflite_path(self._files, batch if self._files.dynamic else None)
        if not path.exists():
            raise EngineError(f"LiteRT: the model was not converted for batch size {batch}")
        with reported("LiteRT"):
            interpreter = self._module.Interpreter(str(path), num_threads=1)
            indices = {}
            for detail in interpreter.get_input_details():
                number = _number(detail["name"])
                indices[number] = detail["index"]
                if tuple(detail["shape"]) != inputs[number].shape:
                    interpreter.resize_tensor_input(detail["index"], inputs[number].shape)
            interpreter.allocate_tensors()
            for number, index in indices.items():
                interpreter.set_tensor(index, inputs[number])
            interpreter.invoke()
            outputs = _outputs_in_order(interpreter)

        def results() -> list[Array]:
            return [np.asarray(interpreter.get_tensor(i)) for i in outputs]

        return BoundCall(interpreter.invoke, results, kept=(interpreter,))


def _number(name: str) -> int:
    """Which input a tensor is: `serving_default_input_0:0` or `input_0`."""
    return int(name.split(":")[0].rsplit("_", 1)[1])


def _outputs_in_order(interpreter: Any) -> list[int]:
    """Indices of the output tensors; the signature has them as `output_0`, `output_1`, ..."""
    signature = interpreter.get_signature_list()
    details = [d["index"] for d in interpreter.get_output_details()]
    if not signature or len(details) == 1:
        return details
    runner = interpreter.get_signature_runner(next(iter(signature)))
    named = runner.get_output_details()
    return [named[key]["index"] for key in sorted(named, key=_number)]
