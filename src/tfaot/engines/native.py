"""tfaot from C: the object linked to a loop in C, which takes the time itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tfaot
from tfaot.engines.compiled import NAME, artifact_folder, compile_files, manifest_path
from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles, new_file
from tfaot.engines.protocol import (
    Array,
    Availability,
    BoundCall,
    Engine,
    EngineError,
    Runner,
    describe_error,
)
from tfaot.packaging.manifest import Manifest, read_manifest

DRIVER = Path(__file__).with_name("native.c")
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def find_compiler() -> str | None:
    """The C compiler: $CC, cc or gcc."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


class TfaotNativeEngine(Engine):
    """A compiled model as a C program has it."""

    name = "tfaot-c"
    title = "tfaot (C)"
    color = "#7b3f8c"

    def availability(self) -> Availability:
        """Whether there is a C compiler."""
        if find_compiler() is None:
            return Availability(
                reason="there is no C compiler", remedy="apt-get install gcc (or set CC)"
            )
        return Availability(version=tfaot.__version__)

    def supports(self, batch: int) -> bool:
        """Every batch size, 0 too."""
        return batch >= 0

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Compile the model, and the loop with it."""
        manifest = compile_files(files, batches, converter)
        library = driver_path(files)
        if not library.exists() or library.stat().st_mtime < manifest.stat().st_mtime:
            build_driver(read_manifest(manifest), manifest.parent, library)
        copy_weights(read_manifest(manifest), manifest.parent, library)

    def load(self, files: ModelFiles) -> Runner:
        """Load the shared library."""
        return NativeRunner(read_manifest(manifest_path(files)), driver_path(files))


def driver_path(files: ModelFiles) -> Path:
    """The shared library with the compiled model and the timing loops."""
    return artifact_folder(files) / f"{NAME}-driver.so"


def build_driver(manifest: Manifest, folder: Path, library: Path) -> None:
    """Link the artifact in `folder` to the timing loops.

    Raises:
        EngineError: the C compiler is missing or fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise EngineError("tfaot (C): there is no C compiler: apt-get install gcc (or set CC)")
    pointers = ", ".join(f"p[{n}]" for n in range(len(manifest.tensors)))
    defines = [
        f'-DHEADER="{manifest.name}.h"',
        f"-DWORKSPACE={manifest.symbols.workspace_bytes}",
        f"-DCALL={manifest.symbols.run}(batch, {pointers}, workspace)",
        f"-I{folder}",
    ]
    if manifest.weights is not None:
        defines.append(f"-DMAP_WEIGHTS={manifest.name}_map_weights")
    with new_file(library) as path:
        parts = [str(DRIVER), str(folder / manifest.object.file), "-o", str(path)]
        done = subprocess.run(
            [compiler, *FLAGS, *defines, *parts], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise EngineError(f"tfaot (C): {describe_error(done.stderr)}")


def weights_path(library: Path) -> Path:
    """The weights of a model whose weights are outside, beside the library with its code."""
    return library.with_name(f"{library.name}.weights")


def copy_weights(manifest: Manifest, folder: Path, library: Path) -> None:
    """Copy the weights of the artifact in `folder`, where they are outside, beside the library.

    Raises:
        EngineError: they are missing.
    """
    if manifest.weights is None:
        return
    source, target = folder / manifest.weights.file, weights_path(library)
    if not source.exists():
        raise EngineError(f"tfaot (C): there is no file '{source}' with the model's weights")
    with new_file(target) as path:
        shutil.copyfile(source, path)


class NativeRunner(Runner):
    """A model linked to the timing loops."""

    def __init__(self, manifest: Manifest, library: Path) -> None:
        """Load the shared library."""
        self._manifest = manifest
        self._library: Any = ctypes.CDLL(str(library))
        number, pointer = ctypes.c_int64, ctypes.c_void_p
        for name, result, arguments in (
            ("native_call", ctypes.c_int, [number, pointer, pointer]),
            ("native_loop", ctypes.c_double, [number, pointer, pointer, number]),
            ("native_once", ctypes.c_double, [number, pointer, pointer]),
            ("native_workspace", number, [number]),
        ):
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        if manifest.weights is not None:
            status = self._library.native_weights(os.fsencode(weights_path(library)))
            if status:
                raise EngineError(f"tfaot (C): the model refuses its weights (status {status})")

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """Buffers aligned to 64 bytes, as a C program would have them."""
        from tfaot.runtime.arrays import find_batch, numpy_dtype

        manifest, library = self._manifest, self._library
        found = find_batch(manifest.inputs, list(inputs), manifest.batch)
        batch = 1 if found is None else found
        given = [_aligned(a.nbytes).view(a.dtype).reshape(a.shape) for a in inputs]
        for buffer, array in zip(given, inputs, strict=True):
            buffer[...] = array
        outputs = []
        for tensor in manifest.outputs:
            shape, dtype = tensor.shape(batch), numpy_dtype(tensor)
            size = int(np.prod(shape)) * dtype.itemsize
            outputs.append(_aligned(size).view(dtype).reshape(shape))
        workspace = _aligned(int(library.native_workspace(batch)))
        buffers = [*given, *outputs]
        pointers = (ctypes.c_void_p * len(buffers))(*(b.ctypes.data for b in buffers))
        address = workspace.ctypes.data

        def call() -> None:
            library.native_call(batch, pointers, address)

        def loop(calls: int) -> float:
            return float(library.native_loop(batch, pointers, address, calls))

        if library.native_call(batch, pointers, address):
            raise EngineError(f"tfaot (C): the model refuses batch size {batch}")
        bound = BoundCall(call, lambda: outputs, loop=loop, kept=(self, buffers, workspace))
        bound.once = lambda: float(library.native_once(batch, pointers, address))
        return bound


def _aligned(size: int) -> Array:
    """`size` bytes at a multiple of 64."""
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]
