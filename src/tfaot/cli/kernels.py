"""`tfaot profile --kernels`: time per kernel, as a table or JSON."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfaot.errors import UsageError

if TYPE_CHECKING:
    from tfaot.options import CompileOptions
    from tfaot.profiling.kernels import KernelProfile, KernelTime
    from tfaot.runtime.model import Model

Progress = Callable[[str, str], None]


def profile_model(
    model: Path, options: dict[str, Any], batches: Sequence[int], progress: Progress
) -> list[KernelProfile]:
    """Time the kernels of an artifact with timers, or of a model that is compiled with them first.

    Args:
        model: NAME.json of an artifact compiled with --timers, or a model.
        options: further fields of `tfaot.options.CompileOptions`, for a model.
        batches: the batch sizes.
        progress: told of the stages.

    Raises:
        TfaotError: there is no such model, the artifact has no timers, or a batch size doesn't fit.
    """
    from tfaot.runtime.model import load

    if not model.exists():
        raise UsageError(f"there is no model '{model}'")
    if model.suffix in (".json", ".o"):
        if options:
            raise UsageError(
                f"'{model}' is compiled: give --model to compile it with other options"
            )
        return _measure(load(model), batches, progress)
    from tfaot.compiler import compile_model

    with tempfile.TemporaryDirectory(prefix="tfaot-") as folder:
        made = compile_model(_options(Path(folder), options), str(model), progress)
        return _measure(made.load(), batches, progress)


def _options(folder: Path, options: dict[str, Any]) -> CompileOptions:
    from tfaot.options import make_options

    return make_options(folder, **{"target": "native", **options}, timers=True, verify=False)


def _measure(model: Model, batches: Sequence[int], progress: Progress) -> list[KernelProfile]:
    from tfaot.profiling.kernels import profile_kernels

    found = []
    for batch in batches:
        progress("time", f"batch {batch}")
        found.append(profile_kernels(model, batch))
    return found


def kernel_text(found: KernelProfile) -> str:
    """The kernels as a table, in the order in which they run, and what the machine does at most."""
    limits = found.ceilings
    rows: list[tuple[str, ...]] = [
        ("us", "share", "GFLOP/s", "of peak", "GB/s", "of reading", "calls", "kernel", "layers")
    ]
    rows += [_row(found, kernel) for kernel in found.kernels]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        f"{found.model}, batch {found.batch}, {found.isa}: {found.seconds * 1e6:.1f} us a call "
        "(with timers)",
        f"this machine: {limits.flops / 1e9:.0f} GFLOP/s of multiply-adds, "
        f"{limits.bytes_read / 1e9:.0f} GB/s reading {limits.read_bytes} bytes",
        "",
    ]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[:7], widths, strict=False)]
        lines.append("  ".join([*cells, row[7].ljust(widths[7]), row[8]]).rstrip())
    return "\n".join(lines)


def _row(found: KernelProfile, kernel: KernelTime) -> tuple[str, ...]:
    return (
        f"{kernel.seconds * 1e6:.2f}",
        f"{found.share(kernel):.0%}",
        f"{kernel.flops_per_second / 1e9:.1f}",
        f"{found.of_peak(kernel):.0%}",
        f"{kernel.bytes_per_second / 1e9:.1f}",
        f"{found.of_reading(kernel):.0%}",
        f"{kernel.calls:.0f}",
        kernel.kind,
        " ".join(short_layers(kernel.layers)),
    )


def short_layers(layers: Sequence[str]) -> list[str]:
    """Layers without what all names of a graph begin with, and without the ops inside a layer."""
    short = []
    for layer in layers:
        parts = [p for p in layer.split("/") if p and "PartitionedCall" not in p]
        name = "/".join(parts[-2:-1] or parts[-1:])
        if name and name not in short:
            short.append(name)
    return short
