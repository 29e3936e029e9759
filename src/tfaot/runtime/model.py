"""A compiled model as a callable on NumPy arrays."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfaot.errors import ArtifactError, InputError
from tfaot.packaging.batch_rules import parse_rules
from tfaot.packaging.manifest import Manifest, Tensor, read_manifest
from tfaot.runtime.alone import describe_object
from tfaot.runtime.arrays import (
    Array,
    address_of,
    check_batch,
    describe,
    find_batch,
    numpy_dtype,
    prepare,
)
from tfaot.runtime.cpu import check_cpu
from tfaot.runtime.elf import LoadedObject
from tfaot.runtime.info import ModelInfo, read_info
from tfaot.runtime.weights import ExternalWeightsLoader

_Plan = tuple[int, tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]]
"""What shapes of inputs lead to: the batch size, and the outputs' shapes and types."""

MAX_ISA = "TFAOT_MAX_ISA"
"""The environment variable with the highest instruction set that may be used."""

ISA_LEVELS = {"x86-64-v2": 2, "x86-64-v3": 3, "x86-64-v4": 4}

OBJECT_SUFFIXES = {".o", ".obj"}

_KNOWN_SHAPES = 256  # kept by each model, so that a loop over a few batch sizes checks them once
_KEEP_BYTES = 4 << 20  # larger workspaces are freed after each call
_SELF_TEST_FAILED = 17
_STATUS = {
    1: "the batch size is negative",
    2: "a buffer is missing",
    3: "the workspace is misaligned",
    4: "the batch size is too large",
    5: "the batch size is none of those compiled for",
    8: "the CPU has none of the instruction sets compiled for",
    10: "the parts do not make up the batch size",
    11: "no weights are attached",
}


class BoundCall:
    """A model's call with fixed arrays; see `Model.bind`.

    Attributes:
        inputs: the arrays that it reads.
        outputs: the arrays that it writes.
    """

    def __init__(
        self,
        call: Callable[[], int],
        inputs: tuple[Array, ...],
        outputs: tuple[Array, ...],
        kept: tuple[Any, ...],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self._call = call
        self._kept = kept  # what the addresses in `call` belong to

    def __call__(self) -> None:
        """Evaluate the model on what the inputs hold."""
        status = self._call()
        if status:
            raise InputError(f"the model refuses: {_STATUS.get(status, f'status {status}')}")


class Model:
    """A loaded artifact.

    Any number of threads may call one model at once: nothing is locked, each thread has its own
    workspace, and Python's global lock is released during the computation.
    """

    def __init__(self, path: str | Path, weights: str | Path | None = None) -> None:
        """Load the artifact whose manifest is the file `path`.

        `path` may be the object instead, which knows all that a call needs. With the manifest its
        bytes are checked, too, and outputs tell which of their sizes depend on the data.

        Args:
            path: the manifest, or the object.
            weights: the file of the weights, where they are outside of the object; by default the
                NAME.weights beside it.

        Raises:
            ArtifactError: a file is missing, corrupt, or not for this machine or model.
            InputError: `weights` is given, and the object holds the weights.
        """
        self._path = Path(path)
        if self._path.suffix in OBJECT_SUFFIXES:
            self._object = LoadedObject(self._path)
            manifest = describe_object(self._path, self._object)
            self._check_cpu(manifest)
        else:
            manifest, self._object = self._open()
        if weights is not None and manifest.weights is None:
            raise InputError(f"model '{manifest.name}' has its weights in the object: give none")
        self._manifest = manifest
        self._info = read_info(self._object.address(manifest.symbols.info), manifest)
        pointers = [ctypes.c_void_p] * (len(manifest.tensors) + 1)
        run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, *pointers)
        self._run: Callable[..., int] = run(self._object.address(manifest.symbols.run))
        size = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
        self._workspace_bytes: Callable[[int], int] = size(
            self._object.address(manifest.symbols.workspace_bytes)
        )
        self._set_max_isa: Callable[[int], int] | None = None
        if manifest.symbols.set_max_isa is not None:
            address = self._object.address(manifest.symbols.set_max_isa)
            self._set_max_isa = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)
            wanted = os.environ.get(MAX_ISA)
            if wanted:
                self.set_max_isa(wanted)
        self._weights: ExternalWeightsLoader | None = None
        if manifest.weights is not None:
            assert manifest.symbols.attach_weights is not None
            address = self._object.address(manifest.symbols.attach_weights)
            self._weights = ExternalWeightsLoader(address, manifest.name)
            self._weights.load(weights or self._path.parent / manifest.weights.file)
        self._rules: dict[int, tuple[int, Any]] = {}
        self._run_parts: Callable[..., int] | None = None
        if manifest.symbols.run_parts is not None:
            composed = ctypes.CFUNCTYPE(
                ctypes.c_int, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, *pointers
            )
            self._run_parts = composed(self._object.address(manifest.symbols.run_parts))
        self._input_dtypes = [numpy_dtype(t) for t in manifest.inputs]
        self._output_dtypes = [numpy_dtype(t) for t in manifest.outputs]
        self._input_index = {t.name: i for i, t in enumerate(manifest.inputs)}
        for i, tensor in enumerate(manifest.inputs):
            self._input_index.setdefault(tensor.c_name, i)
        self._local = threading.local()
        self._constant = manifest.workspace.bytes
        self._alignment = manifest.workspace.alignment
        self._plans: dict[tuple[tuple[int, ...], ...], _Plan] = {}

    def _open(self) -> tuple[Manifest, LoadedObject]:
        """A manifest and the object that belongs to it."""
        try:
            return self._read()
        except ArtifactError:
            # A compile may have replaced the files in between.
            with _no_writer(self._path.parent):
                return self._read()

    def _read(self) -> tuple[Manifest, LoadedObject]:
        manifest = read_manifest(self._path)
        self._check_cpu(manifest)
        file = self._path.parent / manifest.object.file
        return manifest, LoadedObject(file, manifest.object.sha256)

    def _check_cpu(self, manifest: Manifest) -> None:
        try:
            check_cpu(manifest.target)
        except ArtifactError as error:
            raise ArtifactError(f"'{self._path}' can't run here: {error}") from None

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

    @property
    def isa(self) -> str:
        """The CPU whose code is in use: the best level that this one has and that is allowed."""
        cpus = self._manifest.target.cpus
        if self._set_max_isa is None:
            return cpus[0]
        return f"x86-64-v{self._set_max_isa(-1)}"

    def set_max_isa(self, level: str | None) -> None:
        """Use no instruction set above `level`, in this loaded model; None lifts the limit.

        For finding out whether a result depends on the CPU. The environment variable
        `TFAOT_MAX_ISA` does the same for all models. An artifact for one CPU alone ignores it; a
        level below all that it has code for means the lowest of them.

        Raises:
            InputError: `level` is no level of x86-64.
        """
        if level is not None and level not in ISA_LEVELS:
            raise InputError(
                f"instruction set '{level}' is not known: use {', '.join(ISA_LEVELS)} ({MAX_ISA})"
            )
        if self._set_max_isa is not None:
            self._set_max_isa(ISA_LEVELS.get(level or "", 0))

    def self_test(self) -> bool:
        """Whether this CPU computes the golden rows in the object to the bit.

        Raises:
            ArtifactError: the object has none.
            InputError: the object refuses to run.
        """
        symbol, test = self._manifest.symbols.self_test, self._manifest.self_test
        if symbol is None or test is None:
            raise ArtifactError(
                f"model '{self._manifest.name}' has no golden rows: compile it with --self-test"
            )
        function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._object.address(symbol))
        buffer, address = self._make_workspace(test.workspace_bytes, test.batch)
        status = int(function(address))
        del buffer
        if status not in (0, _SELF_TEST_FAILED):
            reason = _STATUS.get(status, f"status {status}")
            raise InputError(f"model '{self._manifest.name}' refuses its golden rows: {reason}")
        return status == 0

    def timers(self) -> ctypes.Array[ctypes.c_int64]:
        """Ticks and calls of each kernel so far, of a model compiled with timers; writable.

        Raises:
            ArtifactError: the model was compiled without.
        """
        symbol = self._manifest.symbols.timers
        if symbol is None:
            raise ArtifactError(f"model '{self._manifest.name}' was compiled without timers")
        count = 2 * max(len(self._manifest.kernels), 1)
        return (ctypes.c_int64 * count).from_address(self._object.data(symbol))

    @property
    def weights_path(self) -> Path | None:
        """The file of the weights in use, None where the object holds them."""
        return None if self._weights is None else self._weights.path

    def load_weights(self, path: str | Path) -> None:
        """Use the weights in another file of the same structure from the next call on.

        The file is mapped, and shared with all processes that use it. Calls that run meanwhile end
        with the weights that they began with, which therefore stay mapped as long as the model;
        weights that are refused leave the old ones in use.

        Raises:
            ArtifactError: the file is missing, truncated, corrupt, or not for this model.
            InputError: the weights are in the object.
        """
        if self._weights is None:
            raise InputError(
                f"model '{self._manifest.name}' has its weights in the object: "
                "compile it with --weights external"
            )
        self._weights.load(path)

    def set_batch_rules(
        self, rules: str | Iterable[str] | Mapping[int, Sequence[int]] | None
    ) -> None:
        """Have batch sizes composed as rules say; sizes without a rule cost as little as they can.

        Args:
            rules: texts such as `"5:2,4"` (5 rows as 2 and 4, the last padded with zeros), or parts
                by batch size; None removes all. A model that takes any batch size in one call
                needs none: they are checked, and not used.

        Raises:
            UsageError: a rule that names sizes which the model isn't compiled for, or that don't
                make up its batch size.
        """
        parsed = parse_rules(rules or (), self._manifest.batch.sizes)
        if self._run_parts is None:
            return
        self._rules = {
            n: (len(parts), (ctypes.c_int64 * len(parts))(*parts)) for n, parts in parsed.items()
        }

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
        plan = None if by_name else self._known(arrays)
        if plan is None:
            inputs: Sequence[Array] = self._prepare(arrays, by_name)
            plan = self._planned(inputs)
        else:
            inputs = arrays  # type: ignore[assignment]  # `_known` has looked at their types
        n, results = plan
        try:
            outputs = [np.empty(shape, dtype) for shape, dtype in results]
        except (MemoryError, ValueError):
            raise InputError(f"batch size {n} is too large: out of memory") from None
        self._evaluate(n, inputs, outputs)
        if len(outputs) == 1:
            return outputs[0]
        return {t.name: array for t, array in zip(self.outputs, outputs, strict=True)}

    def bind(self, /, *arrays: Array, outputs: Sequence[Array] | None = None) -> BoundCall:
        """A call with fixed arrays, to be made many times: fill the inputs, call, read the outputs.

        Args:
            *arrays: inputs by position, C-contiguous, of the exact types and shapes; kept, not
                copied.
            outputs: as for `run_into`; made where not given.

        Returns:
            The call, which has `inputs` and `outputs`. Its buffers and its workspace are its own:
            make one for each thread.

        Raises:
            InputError: as `run_into`; or an input would have to be copied.
        """
        inputs = self._prepare(arrays, {})
        for tensor, given, taken in zip(self.inputs, arrays, inputs, strict=True):
            if taken is not given:
                raise InputError(f"input '{tensor.name}': give a C-contiguous array to bind it")
        n, results = self._planned(inputs)
        if outputs is None:
            outputs = [np.empty(shape, dtype) for shape, dtype in results]
        else:
            self._check_outputs(n, outputs)
        buffer, address = self._make_workspace(self._workspace_size(n), n)
        pointers = [address_of(array) for array in (*inputs, *outputs)]
        call = functools.partial(self._entry(n), n, *pointers, address)
        return BoundCall(call, tuple(inputs), tuple(outputs), (self, buffer))

    def run_into(
        self, outputs: Sequence[Array], /, *arrays: ArrayLike, **by_name: ArrayLike
    ) -> None:
        """Evaluate the model into arrays of the caller, in the order of the outputs.

        They must be writable and C-contiguous, of the exact type and shape, and overlap no input.
        """
        inputs = self._prepare(arrays, by_name)
        n, _ = self._planned(inputs)
        self._check_outputs(n, outputs)
        self._evaluate(n, inputs, outputs)

    def _check_outputs(self, n: int, outputs: Sequence[Array]) -> None:
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

    def _known(self, arrays: Sequence[ArrayLike]) -> _Plan | None:
        """What is known of arrays that `run` can take as they are; None for any others."""
        try:
            plan = self._plans.get(tuple([array.shape for array in arrays]))  # type: ignore[union-attr]
        except (AttributeError, TypeError):
            return None
        if plan is not None:
            for array, dtype in zip(arrays, self._input_dtypes, strict=True):
                if type(array) is not np.ndarray or array.dtype is not dtype:
                    return None
                if not array.flags.carray:
                    return None
        return plan

    def _planned(self, inputs: Sequence[Array]) -> _Plan:
        """The batch size and the outputs' shapes for inputs that `_prepare` made."""
        found = find_batch(self.inputs, inputs, self._manifest.batch)
        n = 1 if found is None else found
        shapes = [tensor.shape(n) for tensor in self.outputs]
        for tensor, shape in zip(self.outputs, shapes, strict=True):
            if any(size < 0 for size in shape):
                raise InputError(f"batch size {n} is too small for output {describe(tensor)}")
        plan = (n, tuple(zip(shapes, self._output_dtypes, strict=True)))
        if len(self._plans) >= _KNOWN_SHAPES:
            self._plans.clear()
        self._plans[tuple([array.shape for array in inputs])] = plan
        return plan

    def _evaluate(self, n: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        workspace = self._workspace(n)
        pointers = [address_of(array) for array in (*inputs, *outputs)]
        run = self._entry(n) if self._rules else self._run
        status = run(n, *pointers, workspace[1])
        if status:
            reason = _STATUS.get(status, f"status {status}")
            raise InputError(f"model '{self._manifest.name}' refuses batch size {n}: {reason}")

    def _entry(self, n: int) -> Callable[..., int]:
        """What to call for `n` rows."""
        rule = self._rules.get(n)
        if rule is None or self._run_parts is None:
            return self._run
        run_parts, (count, parts) = self._run_parts, rule

        def composed(n: int, *pointers: int) -> int:
            return run_parts(n, ctypes.addressof(parts), count, *pointers)

        return composed

    def _workspace(self, n: int) -> tuple[Array, int]:
        """Scratch memory of this thread for `n` rows, and its aligned address."""
        size = self._workspace_size(n)
        kept: tuple[Array, int] | None = getattr(self._local, "workspace", None)
        if kept is not None and len(kept[0]) >= size + self._alignment:
            return kept
        made = self._make_workspace(size, n)
        if size <= _KEEP_BYTES:
            self._local.workspace = made
        return made

    def _workspace_size(self, n: int) -> int:
        return self.workspace_bytes(n) if self._constant is None else self._constant

    def _make_workspace(self, size: int, n: int) -> tuple[Array, int]:
        try:
            buffer = np.empty(size + self._alignment, np.uint8)
        except MemoryError:
            raise InputError(f"batch size {n} is too large: out of memory") from None
        return buffer, -(-buffer.ctypes.data // self._alignment) * self._alignment

    def __reduce__(self) -> tuple[type[Model], tuple[str, str | None]]:
        # Other processes load the same files again, and share their pages.
        weights = None if self.weights_path is None else str(self.weights_path.resolve())
        return (Model, (str(self._path.resolve()), weights))

    def __repr__(self) -> str:
        inputs = ", ".join(f"{t.name}: {describe(t)}" for t in self.inputs)
        outputs = ", ".join(f"{t.name}: {describe(t)}" for t in self.outputs)
        return f"<tfaot model {self._manifest.name}({inputs}) -> ({outputs})>"


def load(path: str | Path, weights: str | Path | None = None) -> Model:
    """The compiled model whose manifest is `path`; see `Model`."""
    return Model(path, weights)


@contextlib.contextmanager
def _no_writer(folder: Path) -> Iterator[None]:
    """The folder while nobody replaces files in it: writers lock it."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):  # no such locks here: nothing to wait for
            import fcntl

            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
