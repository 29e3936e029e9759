"""Modules compiled the way the product does it, and run between guarded buffers.

    run = compile_module(module, "x86-64-v3")
    (y,) = run([x])

No TensorFlow: passes, schedule, code generation, LLVM, and the product's own object loader. Every
call checks the bytes around each buffer, and that inputs are left alone; outputs and workspace
begin as garbage.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Compiled, Lowered, Origin, build
from tfaot.interpreter.evaluate import infer_batch
from tfaot.ir.module import Module
from tfaot.ir.shapes import dim_at
from tfaot.options import CompileOptions
from tfaot.packaging.elf import ElfObject
from tfaot.packaging.manifest import Source
from tfaot.runtime.elf import LoadedObject
from tfaot.signature import Signature, TensorSpec

Array = NDArray[Any]

NAME = "tested"
GUARD = 256
"""Bytes before and after every buffer that nobody may write."""

GUARD_BYTE = 0xA5
GARBAGE = 0xFF
"""What unwritten memory holds: NaN as any float, -1 as any integer."""


def signature_of(module: Module) -> Signature:
    """The inputs and outputs of a module, named by position."""
    return Signature(
        tuple(
            TensorSpec(f"input{n}", p.array.dtype, p.array.dims)
            for n, p in enumerate(module.entry.parameters)
        ),
        tuple(
            TensorSpec(f"output{n}", o.array.dtype, o.array.dims)
            for n, o in enumerate(module.outputs)
        ),
    )


class GuardedBuffer:
    """Memory with guard bytes on both sides, of which it checks that nobody wrote them."""

    def __init__(self, size: int, alignment: int = 64, content: bytes | None = None) -> None:
        self.size = size
        self._memory = np.full(size + 2 * GUARD + alignment, GUARD_BYTE, np.uint8)
        base = self._memory.ctypes.data + GUARD
        self.address = -(-base // alignment) * alignment
        self._start = self.address - self._memory.ctypes.data
        self._content = content
        self.view = self._memory[self._start : self._start + size]
        self.view[:] = GARBAGE if content is None else np.frombuffer(content, np.uint8)

    def check(self, what: str) -> None:
        """Fails where a guard byte, or any byte of an input, was written."""
        before, after = self._memory[: self._start], self._memory[self._start + self.size :]
        assert (before == GUARD_BYTE).all(), f"bytes before {what} were written"
        assert (after == GUARD_BYTE).all(), f"bytes after {what} were written"
        if self._content is not None:
            assert self.view.tobytes() == self._content, f"{what} was written"


@dataclass(frozen=True, eq=False)
class CompiledModule:
    """A compiled module as a callable on arrays.

    Attributes:
        module: what was compiled.
        compiled: object, header and manifest in memory.
        loaded: the object as the runtime maps it.
    """

    module: Module
    compiled: Compiled
    loaded: LoadedObject
    _attached: list[GuardedBuffer] = field(default_factory=list)

    @property
    def elf(self) -> ElfObject:
        """The object file."""
        return ElfObject(self.compiled.object_bytes)

    def workspace_bytes(self, batch: int) -> int:
        """What NAME_workspace_bytes says."""
        kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)
        symbol = self.compiled.manifest.symbols.workspace_bytes
        return int(kind(self.loaded.address(symbol))(batch))

    def __call__(self, inputs: Sequence[Array], batch: int | None = None) -> list[Array]:
        """Run on `inputs`; without `batch` it is what their shapes imply, else 1."""
        if batch is None:
            found = infer_batch(self.module, inputs)
            batch = 1 if found is None else found
        sources = [
            GuardedBuffer(x.nbytes, max(x.itemsize, 1), np.ascontiguousarray(x).tobytes())
            for x in inputs
        ]
        shapes = [o.array.at(batch) for o in self.module.outputs]
        results = [
            GuardedBuffer(int(np.prod(s.dims)) * s.dtype.itemsize, s.dtype.itemsize) for s in shapes
        ]
        workspace = GuardedBuffer(self.workspace_bytes(batch))
        buffers = [*sources, *results, workspace]
        status = self.call(batch, [b.address for b in buffers])
        assert status == 0, f"status {status}"
        for number, buffer in enumerate(sources):
            buffer.check(f"input {number} (batch {batch})")
        for number, buffer in enumerate(results):
            buffer.check(f"output {number} (batch {batch})")
        workspace.check(f"the workspace (batch {batch})")
        return [
            r.view.view(s.dtype.numpy).reshape([dim_at(d, batch) for d in s.dims]).copy()
            for r, s in zip(results, shapes, strict=True)
        ]

    def attach(self, weights: bytes) -> int:
        """NAME_attach_weights on a copy of a file's contents. Returns the status."""
        buffer = GuardedBuffer(len(weights), 64, weights)
        # Kept: calls read it.
        self._attached.append(buffer)
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)
        symbol = self.compiled.manifest.symbols.attach_weights
        assert symbol is not None, "the weights are in the object"
        return int(kind(self.loaded.address(symbol))(buffer.address, len(weights)))

    def call(self, batch: int, addresses: Sequence[int]) -> int:
        """NAME_run on raw addresses: inputs, outputs, workspace. Returns the status."""
        pointers = [ctypes.c_void_p] * len(addresses)
        run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, *pointers)
        return int(run(self.loaded.address(self.compiled.manifest.symbols.run))(batch, *addresses))


def compile_module(
    module: Module, target: str = "x86-64-v3", weights: str = "internal"
) -> CompiledModule:
    """Compile and load `module`; fails unless the object is self-contained.

    With `weights="external"` the module's own weights are attached.

    Raises:
        UnsupportedError: code generation lacks an op.
    """
    options = CompileOptions(output_dir=Path("."), name=NAME, target=target, weights=weights)
    compiled = build(
        NAME,
        signature_of(module),
        Lowered((module,), (None,)),
        resolve_targets(target),
        options,
        Origin(Source("object", "0" * 64, None)),
    )
    undefined = ElfObject(compiled.object_bytes).undefined()
    assert not undefined, f"not self-contained: {undefined}"
    with tempfile.NamedTemporaryFile(prefix="tfaot-case-", suffix=".o") as file:
        file.write(compiled.object_bytes)
        file.flush()
        made = CompiledModule(module, compiled, LoadedObject(Path(file.name)))
    if compiled.weights is not None:
        assert made.attach(compiled.weights) == 0
    return made
