"""`tfaot inspect`: what an artifact's manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfaot.packaging.manifest import Dim, ListedDim, Manifest, Tensor, read_manifest


def inspect_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
) -> None:
    """Show inputs, outputs, weights, workspace and code bytes, kernels and target."""
    description = read_manifest(manifest)
    typer.echo(description.to_json() if as_json else describe(description), nl=not as_json)


def describe(manifest: Manifest) -> str:
    """The manifest as text of aligned lines."""
    source = manifest.source
    facts = [
        ("model", manifest.name + (f" {source.version}" if source.version else "")),
        ("description", source.description),
        ("author", source.author),
        ("source", source.kind + (f", signature {source.signature}" if source.signature else "")),
        *(("input", _tensor(t)) for t in manifest.inputs),
        *(("output", _tensor(t)) for t in manifest.outputs),
        ("batch", _batch(manifest)),
        ("weights", f"{_bytes(manifest.weights_bytes)}, {_ratio(manifest)}"),
        ("workspace", _workspace(manifest)),
        ("code", _bytes(manifest.code_bytes)),
        ("target", f"{manifest.target.cpu} ({manifest.target.triple})"),
        ("object", manifest.object.file),
        ("weights in", manifest.weights and manifest.weights.file),
        *((tool, version) for tool, version in sorted(manifest.versions.items())),
        ("verified", "no" if manifest.verification is None else "yes"),
        ("kernels", str(len(manifest.kernels))),
    ]
    width = max(len(k.kind) for k in manifest.kernels) if manifest.kernels else 0
    lines = [f"{key:<12} {value}" for key, value in facts if value]
    for kernel in manifest.kernels:
        lines.append(f"  {kernel.kind:<{width}}  {kernel.name}  {' '.join(kernel.layers)}".rstrip())
    return "\n".join(lines)


def _tensor(tensor: Tensor) -> str:
    alias = f" as {tensor.c_name}" if tensor.c_name != tensor.name else ""
    varying = tensor.varying.axes if tensor.varying is not None else ()
    dims = ("<=" * (axis in varying) + _dim(dim) for axis, dim in enumerate(tensor.dims))
    return f"{tensor.name} {tensor.dtype}[{', '.join(dims)}]{alias}"


def _dim(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    if isinstance(dim, ListedDim):
        return "|".join(map(str, dim.sizes))
    head = "n" if dim.scale == 1 else f"{dim.scale}*n"
    return head if dim.offset == 0 else f"{head}{dim.offset:+d}"


def _batch(manifest: Manifest) -> str:
    batch = manifest.batch
    if batch.kind == "none":
        return "none"
    rows = "rows independent" if batch.rows_independent else "rows depend on each other"
    sizes = f" {', '.join(map(str, batch.sizes))}" if batch.sizes else ""
    reason = f" ({batch.reason})" if batch.reason else ""
    return f"{batch.kind}{sizes}, {rows}{reason}"


def _workspace(manifest: Manifest) -> str:
    size = manifest.workspace.bytes
    return "grows with the batch size" if size is None else _bytes(size)


def _ratio(manifest: Manifest) -> str:
    if manifest.parameter_bytes == 0:
        return "the model has no parameters"
    return f"{manifest.weights_bytes / manifest.parameter_bytes:.3f} of the parameters' bytes"


def _bytes(count: int) -> str:
    return f"{count} bytes"
