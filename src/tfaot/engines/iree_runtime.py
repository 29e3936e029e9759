"""IREE: the ONNX model compiled by LLVM for this CPU, per batch size, on the local-sync device."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles, new_file
from tfaot.engines.onnx_runtime import onnx_file
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

ARGUMENTS = (
    "--iree-input-type=onnx",
    "--iree-hal-target-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
)
LIMIT_SECONDS = 300


class IreeEngine(Engine):
    """IREE with static shapes, which its code generation is best at."""

    name = "iree"
    title = "IREE"
    color = "#d1615d"

    def availability(self) -> Availability:
        """Whether its compiler, its runtime and `tf2onnx` can be imported."""
        return packages_availability(
            self.title,
            ["iree.compiler", "iree.runtime", "tf2onnx"],
            ["iree-base-compiler", "iree-base-runtime", "tf2onnx"],
        )

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Compile for each batch size, as many at a time as there are cores."""
        wanted = [b for b in batches if not module_path(files, b).exists()]
        if not wanted:
            return
        source = onnx_file(files, converter)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(lambda batch: _compile(files, source, batch), wanted))

    def load(self, files: ModelFiles) -> Runner:
        """Open the device; each batch size has a module of its own."""
        return _IreeRunner(importlib.import_module("iree.runtime"), files)


def module_path(files: ModelFiles, batch: int) -> Path:
    """Where the compiled module is."""
    version = importlib.metadata.version("iree-base-compiler")
    return files.folder / f"iree-{version}-{batch}.vmfb"


def _tool(name: str) -> str:
    """The path of a program that comes with the compiler's package."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise EngineError(f"IREE: the program {name} is missing: install iree-base-compiler again")
    return found


def _compile(files: ModelFiles, source: Path, batch: int) -> None:
    onnx: Any = importlib.import_module("onnx")
    model = onnx.load(str(source))
    for value in model.graph.input:
        shape = files.inputs[int(value.name.split(":")[0].rsplit("_", 1)[1])].shape(batch)
        for dim, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dim.dim_value = size
    # What the converter knew of the shapes inside holds for an unknown batch size.
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.ClearField("dim_param")
    with new_file(module_path(files, batch)) as path:
        static, text = path.with_suffix(".onnx"), path.with_suffix(".mlir")
        onnx.save(onnx.shape_inference.infer_shapes(model), str(static))
        _run([_tool("iree-import-onnx"), str(static), "-o", str(text)])
        _run([_tool("iree-compile"), *ARGUMENTS, str(text), "-o", str(path)])


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"IREE: compiling takes more than {LIMIT_SECONDS} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "error:" in line]
        text = (errors or done.stderr.splitlines() or [f"status {done.returncode}"])[0]
        raise EngineError(f"IREE: {describe_error(text)}")


class _IreeRunner(Runner):
    def __init__(self, runtime: Any, files: ModelFiles) -> None:
        self._runtime, self._files = runtime, files
        self._config = runtime.Config("local-sync")
        self._modules: dict[Path, Any] = {}

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """A call through the virtual machine, with the inputs in the device's buffers."""
        runtime, config = self._runtime, self._config
        path = module_path(self._files, self._files.batch_of(inputs))
        if not path.exists():
            raise EngineError(f"IREE: there is no module for the shapes {_shapes(inputs)}")
        with reported("IREE"):
            if path not in self._modules:
                self._modules[path] = runtime.VmModule.mmap(config.vm_instance, str(path))
            module = self._modules[path]
            context = runtime.SystemContext(config=config)
            context.add_vm_module(module)
            (name,) = (n for n in module.function_names if n[0] != "_" and "$" not in n)
            function = module.lookup_function(name)
            arguments = runtime.VmVariantList(len(inputs))
            buffers = [runtime.asdevicearray(config.device, array) for array in inputs]
            for buffer in buffers:
                arguments.push_ref(buffer._buffer_view)
            invoke, make = context.vm_context.invoke, runtime.VmVariantList
            last: list[Any] = [None]

            def call() -> None:
                last[0] = made = make(1)
                invoke(function, arguments, made)

            call()

        def results() -> list[Array]:
            views = [last[0].get_as_object(n, runtime.HalBufferView) for n in range(last[0].size)]
            arrays = (runtime.DeviceArray(config.device, view) for view in views)
            return [np.asarray(array.to_host()) for array in arrays]

        return BoundCall(call, results, kept=(module, context, buffers))


def _shapes(inputs: Sequence[Array]) -> str:
    return ", ".join(str(list(array.shape)) for array in inputs)
