"""Time kernel by kernel: of an artifact that was compiled with timers.

Input: a loaded model, a batch size. Output: for each kernel its time, what it computed and moved,
and how near that is to what the machine can do; a total over all of them.
"""

from __future__ import annotations

import ctypes
import math
import time
from dataclasses import dataclass
from typing import Any

from tfaot.errors import ArtifactError
from tfaot.packaging.manifest import Kernel
from tfaot.profiling.ceilings import Ceilings, measure_ceilings
from tfaot.runtime.arrays import Array
from tfaot.runtime.model import Model
from tfaot.runtime.samples import random_inputs

SECONDS = 0.3
MOST_CALLS = 100_000


@dataclass(frozen=True)
class KernelTime:
    """One kernel.

    Attributes:
        number: its position among the manifest's kernels.
        name: its function.
        kind: what it is built around (`dot`, `convolution`, `reduce`, `rows`, `loop`).
        layers: the model's layers that it evaluates.
        opcodes: its instructions, operands first.
        seconds: in one call of the model, the mean.
        calls: of the kernel in one call of the model: tiles of rows, steps of a loop.
        flops: operations in one call of the model.
        bytes_moved: bytes read and written in one call of the model, weights once per call of the
            kernel.
    """

    number: int
    name: str
    kind: str
    layers: tuple[str, ...]
    opcodes: tuple[str, ...]
    seconds: float
    calls: float
    flops: int
    bytes_moved: int

    @property
    def flops_per_second(self) -> float:
        """Operations per second."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes per second."""
        return self.bytes_moved / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class KernelProfile:
    """All kernels at one batch size.

    Attributes:
        model: the model's name.
        batch: rows of a call.
        seconds: one call of the model, the mean, timers included.
        kernels: those that ran, in their order.
        ceilings: what the machine does at most, measured just before.
        isa: the CPU whose code ran.
    """

    model: str
    batch: int
    seconds: float
    kernels: tuple[KernelTime, ...]
    ceilings: Ceilings
    isa: str

    def share(self, kernel: KernelTime) -> float:
        """The part of all kernels' time that one takes."""
        return kernel.seconds / (sum(k.seconds for k in self.kernels) or 1.0)

    def of_peak(self, kernel: KernelTime) -> float:
        """Operations per second over the machine's."""
        return kernel.flops_per_second / self.ceilings.flops

    def of_reading(self, kernel: KernelTime) -> float:
        """Bytes per second over what a loop that only reads gets."""
        return kernel.bytes_per_second / self.ceilings.bytes_read

    def layers(self) -> dict[str, float]:
        """Seconds per layer, a kernel's time shared evenly among its layers, largest first."""
        seconds: dict[str, float] = {}
        for kernel in self.kernels:
            names = kernel.layers or ("",)
            for name in names:
                seconds[name] = seconds.get(name, 0.0) + kernel.seconds / len(names)
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "model": self.model,
            "batch": self.batch,
            "isa": self.isa,
            "seconds": self.seconds,
            "ceilings": {
                "flops": self.ceilings.flops,
                "bytes_read": self.ceilings.bytes_read,
                "read_bytes": self.ceilings.read_bytes,
            },
            "kernels": [
                {
                    "number": k.number,
                    "name": k.name,
                    "kind": k.kind,
                    "layers": list(k.layers),
                    "opcodes": list(k.opcodes),
                    "seconds": k.seconds,
                    "share": self.share(k),
                    "calls": k.calls,
                    "flops": k.flops,
                    "bytes_moved": k.bytes_moved,
                    "of_peak": self.of_peak(k),
                    "of_reading": self.of_reading(k),
                }
                for k in self.kernels
            ],
        }


def profile_kernels(model: Model, batch: int, inputs: list[Array] | None = None) -> KernelProfile:
    """Time the kernels of a model that was compiled with timers.

    Args:
        model: the loaded artifact.
        batch: rows of a call.
        inputs: the arrays to run on; None makes random ones.

    Raises:
        ArtifactError: the artifact has no timers, or its manifest tells nothing of its kernels.
        InputError: the inputs don't fit.
    """
    manifest = model.manifest
    if manifest.symbols.timers is None:
        raise ArtifactError(
            f"model '{manifest.name}' was compiled without timers: give the model itself, or an "
            "artifact compiled with --timers"
        )
    if not all(kernel.details for kernel in manifest.kernels):
        raise ArtifactError(f"manifest of '{manifest.name}' does not tell the kernels' work")
    ceilings = measure_ceilings(max(manifest.weights_bytes, 1 << 16))
    arrays = random_inputs(model.inputs, batch) if inputs is None else inputs
    table = model.timers()
    call = model.bind(*arrays)
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    count = min(max(3, math.ceil(SECONDS / once)), MOST_CALLS)
    ctypes.memset(ctypes.addressof(table), 0, ctypes.sizeof(table))
    start = time.perf_counter()
    for _ in range(count):
        call()
    seconds = (time.perf_counter() - start) / count
    calls = [table[2 * n + 1] / count for n in range(len(manifest.kernels))]
    # Kernels outside of loops run once for each tile of rows.
    tiles = min((c for c in calls if c), default=1.0)
    kernels = [
        _kernel(n, kernel, batch, table[2 * n] / ceilings.ticks / count, calls[n], tiles)
        for n, kernel in enumerate(manifest.kernels)
        if calls[n]
    ]
    return KernelProfile(manifest.name, batch, seconds, tuple(kernels), ceilings, model.isa)


def _kernel(
    number: int, kernel: Kernel, batch: int, seconds: float, calls: float, tiles: float
) -> KernelTime:
    details = kernel.details
    rows = details.get("batch", batch)

    def at(key: str) -> int:
        return sum(int(c) * rows**power for power, c in enumerate(details[key]))

    # Of tiles of rows each does its share; each step of a loop, and each part of a batch that is
    # composed of static sizes, does all of it.
    times = calls if "batch" in details else calls / tiles
    flops = round(at("flops") * times)
    moved = round((at("read_bytes") + at("written_bytes")) * times)
    return KernelTime(
        number=number,
        name=kernel.name,
        kind=kernel.kind,
        layers=kernel.layers,
        opcodes=tuple(details["opcodes"]),
        seconds=seconds,
        calls=calls,
        flops=flops,
        bytes_moved=moved + round(int(details["weights_bytes"]) * calls),
    )
