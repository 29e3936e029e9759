"""`tfaot inspect`: what a manifest says, whether its memory is within a budget, of which model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfaot.cli.memory import check_batch, excess, memory_parts, parse_size
from tfaot.errors import ArtifactError, ModelError
from tfaot.packaging.manifest import Dim, ListedDim, Manifest, Tensor, read_manifest

_WITHOUT_FILES = ("object", "hlo")
"""Kinds of sources that are no files, or not those of a model."""


def inspect_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Exit with 1 where weights, code, data, and workspace and stack of one call take "
            "more in all: bytes, or with a unit, 64KiB, 4MB.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", help="The batch size, where the workspace grows with it."),
    ] = None,
    verify_digest: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Exit with 1 where the artifact was compiled from other files than MODEL's.",
        ),
    ] = None,
) -> None:
    """Show inputs, outputs, memory, kernels and target; check a budget of memory, or the model."""
    description = read_manifest(manifest)
    limit = None if max_bytes is None else parse_size(max_bytes, "--max-bytes")
    problem = None if limit is None else excess(description, batch, limit)
    if verify_digest is not None:
        problem = problem or other_model(description, verify_digest)
    text = description.to_json() if as_json else describe(description, batch)
    typer.echo(text, nl=not as_json)
    if problem is not None:
        typer.echo(f"tfaot: {problem}", err=True)
        raise typer.Exit(1)


def other_model(manifest: Manifest, model: Path) -> str | None:
    """One line where `model` is not what the artifact was compiled from; None where it is.

    Its files are compared by their digest, as the compile computed it, wherever they lie.

    Raises:
        ModelError: there is no such model, or it can't be read.
        ArtifactError: the artifact was compiled from no files.
    """
    from tfaot.frontend.source import digest_files, model_kind, model_root

    if manifest.source.kind in _WITHOUT_FILES or not manifest.source.digest:
        raise ArtifactError(
            f"{manifest.name} was compiled from an object in memory: "
            "there are no files to compare with (--verify-digest)"
        )
    root = model_root(model)
    kind = model_kind(root)
    try:
        digest = digest_files(root, kind)
    except OSError as error:
        raise ModelError(f"the model at '{model}' can't be read: {error.strerror}") from None
    if digest == manifest.source.digest:
        return None
    return (
        f"{manifest.name} was compiled from another model than '{model}': "
        f"its digest is {manifest.source.digest[:16]}, and this one's {digest[:16]}"
    )


def describe(manifest: Manifest, batch: int | None = None) -> str:
    """The manifest as text of aligned lines; the memory of a call is that of `batch` rows."""
    source = manifest.source
    facts = [
        ("model", manifest.name + (f" {source.version}" if source.version else "")),
        ("description", source.description),
        ("author", source.author),
        ("source", source.kind + (f", signature {source.signature}" if source.signature else "")),
        ("digest", source.digest),
        *(("input", _tensor(t)) for t in manifest.inputs),
        *(("output", _tensor(t)) for t in manifest.outputs),
        ("batch", _batch(manifest)),
        ("weights", f"{_bytes(manifest.weights_bytes)}, {_ratio(manifest)}"),
        ("code", _bytes(manifest.code_bytes)),
        ("data", _bytes(manifest.data_bytes)),
        ("workspace", _workspace(manifest, batch)),
        ("stack", _stack(manifest)),
        ("memory", _memory(manifest, batch)),
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


def _workspace(manifest: Manifest, batch: int | None) -> str:
    size = manifest.workspace.bytes
    if size is not None:
        return _bytes(size)
    if batch is not None:
        check_batch(manifest, batch)
        return f"{_bytes(manifest.workspace.at(batch))} for {batch} rows"
    powers = ("", "*n", *(f"*n^{k}" for k in range(2, len(manifest.workspace.coefficients))))
    terms = [
        f"{c}{power}"
        for c, power in zip(manifest.workspace.coefficients, powers, strict=False)
        if c
    ]
    return f"{' + '.join(terms)} bytes, grows with the batch size"


def _stack(manifest: Manifest) -> str:
    size = manifest.stack_bytes
    return "unknown" if size is None else f"{_bytes(size)} at most"


def _memory(manifest: Manifest, batch: int | None) -> str | None:
    if manifest.stack_bytes is None or (manifest.workspace.bytes is None and batch is None):
        return None
    total = sum(memory_parts(manifest, batch).values())
    return f"{_bytes(total)}: the five above, with one call running; nothing is allocated"


def _ratio(manifest: Manifest) -> str:
    if manifest.parameter_bytes == 0:
        return "the model has no parameters"
    return f"{manifest.weights_bytes / manifest.parameter_bytes:.3f} of the parameters' bytes"


def _bytes(count: int) -> str:
    return f"{count} bytes"
