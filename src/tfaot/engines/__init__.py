"""Engines that evaluate a TensorFlow model on a CPU, behind one protocol: tfaot and its rivals.

Input: a model on disk and batch sizes. Output: a `Runner` per engine, whose bound calls can be run
and timed. Each engine is one file; nothing of an engine is imported before it is asked for.

    files = freeze_model(source, folder, converter)
    engine = make_engine("onnxruntime")
    engine.prepare(files, [1, 64], converter)
    call = engine.load(files).bind([x])
    y = call.run()
"""

from __future__ import annotations

import importlib

from tfaot.engines.protocol import Availability, BoundCall, Engine, EngineError, Runner
from tfaot.errors import UsageError

__all__ = [
    "ENGINES",
    "Availability",
    "BoundCall",
    "Engine",
    "EngineError",
    "Runner",
    "make_engine",
]

ENGINES: dict[str, str] = {
    "tensorflow": "tensorflow_session:TensorFlowEngine",
    "tfcompile": "tfcompile:TfcompileEngine",
    "onnxruntime": "onnx_runtime:OnnxRuntimeEngine",
    "openvino": "open_vino:OpenVinoEngine",
    "litert": "litert:LiteRtEngine",
    "iree": "iree_runtime:IreeEngine",
    "tfaot": "compiled:TfaotEngine",
    "tfaot-call": "compiled:TfaotCallEngine",
    "tfaot-c": "native:TfaotNativeEngine",
}
"""Name of each engine to its module in this package and its class."""

OWN = ("tfaot", "tfaot-call", "tfaot-c")
"""The engines that are tfaot itself."""


def make_engine(name: str) -> Engine:
    """The engine called `name`, which may not be installed: see `Engine.availability`.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in ENGINES:
        raise UsageError(f"there is no engine '{name}', choose from {', '.join(ENGINES)}")
    module, _, kind = ENGINES[name].partition(":")
    engine: Engine = getattr(importlib.import_module(f"{__name__}.{module}"), kind)()
    return engine
