"""OpenVINO: the model read from ONNX (or from the frozen graph), compiled per batch size."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles
from tfaot.engines.onnx_runtime import onnx_file, onnx_path
from tfaot.engines.protocol import (
    Array,
    Availability,
    BoundCall,
    Engine,
    EngineError,
    Runner,
    describe_error,
    packages_availability,
    reported,
)

PROPERTIES: dict[str, Any] = {
    "PERFORMANCE_HINT": "LATENCY",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
    "ENABLE_CPU_PINNING": False,  # whoever measures has pinned the process
}


class OpenVinoEngine(Engine):
    """OpenVINO's CPU plugin, in float32, with the sizes of the batch known to it."""

    name = "openvino"
    title = "OpenVINO"
    color = "#6a9f58"

    def availability(self) -> Availability:
        """Whether `openvino` can be imported."""
        return packages_availability(self.title, ["openvino"], ["openvino"])

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Convert to ONNX where tf2onnx is installed and can."""
        if importlib.util.find_spec("tf2onnx") is None:
            return
        try:
            onnx_file(files, converter)
        except EngineError:
            return  # the frozen graph is read instead

    def load(self, files: ModelFiles) -> Runner:
        """Read the model."""
        ov: Any = importlib.import_module("openvino")
        core = ov.Core()
        errors: list[str] = []
        paths = [files.graph]
        if importlib.util.find_spec("tf2onnx") is not None and onnx_path(files).exists():
            paths.insert(0, onnx_path(files))
        for path in paths:
            try:
                return _OpenVinoRunner(ov, core, core.read_model(str(path)))
            except Exception as error:
                errors.append(describe_error(error))
        raise EngineError(f"OpenVINO: {errors[0]}")


class _OpenVinoRunner(Runner):
    def __init__(self, ov: Any, core: Any, model: Any) -> None:
        self._ov, self._core, self._model = ov, core, model
        self._compiled: dict[tuple[tuple[int, ...], ...], Any] = {}

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """A model compiled for these shapes, whose input tensors are the arrays themselves."""
        ov = self._ov
        with reported("OpenVINO"):
            compiled = self._compile(inputs)
            numbers = [_number(port) for port in compiled.inputs]
            request = compiled.create_infer_request()
            for position, number in enumerate(numbers):
                request.set_input_tensor(position, ov.Tensor(inputs[number], shared_memory=True))
            request.infer()
        count = len(compiled.outputs)

        def call() -> None:
            request.infer(share_outputs=True)

        def results() -> list[Array]:
            return [np.asarray(request.get_output_tensor(n).data) for n in range(count)]

        return BoundCall(call, results, kept=(compiled, tuple(inputs)))

    def _compile(self, inputs: Sequence[Array]) -> Any:
        """The model for these shapes; threads share it, each with a request of its own."""
        key = tuple(array.shape for array in inputs)
        if key not in self._compiled:
            model = self._model.clone()
            shapes = {port: list(inputs[_number(port)].shape) for port in model.inputs}
            model.reshape(shapes)
            self._compiled[key] = self._core.compile_model(model, "CPU", PROPERTIES)
        return self._compiled[key]


def _number(port: Any) -> int:
    """Which input of the model a port is, from the placeholder's name."""
    (name,) = {n.removesuffix(":0") for n in port.names if n.startswith("input_")}
    return int(name.removeprefix("input_"))
