"""A compiled model as a callable on NumPy arrays."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfaot.errors import ArtifactError, InputError
from tfaot.packaging.manifest import Manifest, Tensor, read_manifest
from tfaot.runtime.arrays import Array, check_batch, describe, find_batch, numpy_dtype, prepare
from tfaot.runtime.cpu import check_cpu
from tfaot.runtime.elf import LoadedObject
from tfaot.runtime.info import ModelInfo, read_info

_KEEP_BYTES = 4 << 20  # larger workspaces are freed after each call
_STATUS = {
    1: "the batch size is negative",
    2: "a buffer is missing",
    3: "the workspace is misaligned",
    4: "the batch size is too large",
    5: "the batch size is none of those compiled for",
}


class Model:
    """A loaded artifact.

    Any number of threads may call one model at once: nothing is locked, each thread has its own
    workspace, and Python's global lock is released during the computation.
    """

    def __init__(self, path: str | Path) -> None:
        """Load the artifact whose manifest is the file `path`.

        Raises:
            ArtifactError: manifest or object is missing, corrupt, or not for this machine.
        """
        self._path = Path(path)
        manifest = read_manifest(self._path)
        object_path = self._path.parent / manifest.object.file
        try:
            check_cpu(manifest.target)
        except ArtifactError as error:
            raise ArtifactError(f"'{self._path}' can't run here: {error}") from None
        self._object = LoadedObject(object_path, manifest.object.sha256)
        self._manifest = manifest
        self._info = read_info(self._object.address(manifest.symbols.info), manifest)
        pointers = [ctypes.c_void_p] * (len(manifest.tensors) + 1)
        run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, *pointers)
        self._run: Callable[..., int] = run(self._object.address(manifest.symbols.run))
        size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
        self._workspace_bytes: Callable[[int], int] = size(
            self._object.address(manifest.symbols.workspace_bytes)
        )
        self._input_dtypes = [numpy_dtype(t) for t in manifest.inputs]
        self._output_dtypes = [numpy_dtype(t) for t in manifest.outputs]
        self._input_index = {t.name: i for i, t in enumerate(manifest.inputs)}
        for i, tensor in enumerate(manifest.inputs):
            self._input_index.setdefault(tensor.c_name, i)
        self._local = threading.local()

    @property
    def manifest(self) -> Manifest:
        """Everything known about the artifact."""
        return self._manifest

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs, in the order in which they are passed."""
        return self._manifest.inputs

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The outputs, in their order."""
        return self._manifest.outputs

    def info(self) -> ModelInfo:
        """The introspection data that the object itself carries."""
        return self._info

    def workspace_bytes(self, batch: int) -> int:
        """Bytes of scratch memory that a call with `batch` rows takes."""
        check_batch(batch, self._manifest.batch)
        size = int(self._workspace_bytes(batch))
        if size < 0:
            raise InputError(f"batch size {batch} is too large for this model")
        return size

    def __call__(self, /, *arrays: ArrayLike, **by_name: ArrayLike) -> Any:
        """Evaluate the model.

        Args:
            *arrays: inputs by position: arrays of the exact type, or Python numbers and lists.
            **by_name: inputs by name (the model's own or its C name; `**{"a/b": x}` works).

        Returns:
            The output's array, or a dict of arrays by output name where there are several.

        Raises:
            InputError: an input is missing, unknown, or of the wrong rank, shape or type.
        """
        inputs = self._prepare(arrays, by_name)
        n = find_batch(self.inputs, inputs, self._manifest.batch)
        outputs = self._allocate(1 if n is None else n)
        self._evaluate(1 if n is None else n, inputs, outputs)
        if len(outputs) == 1:
            return outputs[0]
        return {t.name: array for t, array in zip(self.outputs, outputs, strict=True)}

    def run_into(
        self, outputs: Sequence[Array], /, *arrays: ArrayLike, **by_name: ArrayLike
    ) -> None:
        """Evaluate the model into arrays of the caller, in the order of the outputs.

        They must be writable and C-contiguous, of the exact type and shape, and overlap no input.
        """
        inputs = self._prepare(arrays, by_name)
        n = find_batch(self.inputs, inputs, self._manifest.batch)
        n = 1 if n is None else n
        if len(outputs) != len(self.outputs):
            raise InputError(f"expected {len(self.outputs)} output arrays, got {len(outputs)}")
        for tensor, dtype, array in zip(self.outputs, self._output_dtypes, outputs, strict=True):
            if array.dtype != dtype or array.shape != tensor.shape(n):
                raise InputError(
                    f"output '{tensor.name}': expected {dtype.name}{list(tensor.shape(n))}, "
                    f"got {array.dtype.name}{list(array.shape)}"
                )
            if not array.flags.carray:
                raise InputError(f"output '{tensor.name}': not a writable C-contiguous array")
        self._evaluate(n, inputs, outputs)

    def _prepare(
        self, arrays: Sequence[ArrayLike], by_name: Mapping[str, ArrayLike]
    ) -> list[Array]:
        count = len(self.inputs)
        if len(arrays) > count:
            raise InputError(f"expected {count} inputs ({self._names()}), got {len(arrays)}")
        values: dict[int, ArrayLike] = dict(enumerate(arrays))
        for name, value in by_name.items():
            index = self._input_index.get(name)
            if index is None:
                raise InputError(f"there is no input '{name}', the inputs are {self._names()}")
            if index in values:
                raise InputError(f"input '{name}' is given twice")
            values[index] = value
        for index, tensor in enumerate(self.inputs):
            if index not in values:
                raise InputError(f"input '{tensor.name}' is missing: give {describe(tensor)}")
        return [
            prepare(tensor, values[i], self._input_dtypes[i])
            for i, tensor in enumerate(self.inputs)
        ]

    def _names(self) -> str:
        return ", ".join(f"'{t.name}'" for t in self.inputs) or "none"

    def _allocate(self, n: int) -> list[Array]:
        outputs = []
        for tensor, dtype in zip(self.outputs, self._output_dtypes, strict=True):
            shape = tensor.shape(n)
            if any(size < 0 for size in shape):
                raise InputError(f"batch size {n} is too small for output {describe(tensor)}")
            try:
                outputs.append(np.empty(shape, dtype))
            except (MemoryError, ValueError):
                raise InputError(f"batch size {n} is too large: out of memory") from None
        return outputs

    def _evaluate(self, n: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        workspace = self._workspace(n)
        pointers = [array.ctypes.data for array in (*inputs, *outputs)]
        status = self._run(n, *pointers, workspace[1])
        if status:
            reason = _STATUS.get(status, f"status {status}")
            raise InputError(f"model '{self._manifest.name}' refuses batch size {n}: {reason}")

    def _workspace(self, n: int) -> tuple[Array, int]:
        """Scratch memory of this thread for `n` rows, and its aligned address."""
        constant = self._manifest.workspace.bytes
        size = self.workspace_bytes(n) if constant is None else constant
        kept: tuple[Array, int] | None = getattr(self._local, "workspace", None)
        alignment = self._manifest.workspace.alignment
        if kept is not None and len(kept[0]) >= size + alignment:
            return kept
        try:
            buffer = np.empty(size + alignment, np.uint8)
        except MemoryError:
            raise InputError(f"batch size {n} is too large: out of memory") from None
        made = (buffer, -(-buffer.ctypes.data // alignment) * alignment)
        if size <= _KEEP_BYTES:
            self._local.workspace = made
        return made

    def __reduce__(self) -> tuple[type[Model], tuple[str]]:
        # Other processes load the same files again, and share their pages.
        return (Model, (str(self._path.resolve()),))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{t.name}: {describe(t)}" for t in self.inputs)
        outputs = ", ".join(f"{t.name}: {describe(t)}" for t in self.outputs)
        return f"<tfaot model {self._manifest.name}({inputs}) -> ({outputs})>"


def load(path: str | Path) -> Model:
    """The compiled model whose manifest is `path`; see `Model`."""
    return Model(path)
