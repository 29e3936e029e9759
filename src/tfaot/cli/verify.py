"""`tfaot verify`: an artifact against the model that it was compiled from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tfaot.cli import parsing
from tfaot.cli.model_options import Quiet, Signature
from tfaot.errors import UsageError
from tfaot.options import CompileOptions


def verify_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    model: Annotated[str, typer.Option(help="The model that it was compiled from.")],
    signature: Signature = None,
    inputs: Annotated[str | None, typer.Option(help="As for compile.")] = None,
    outputs: Annotated[str | None, typer.Option(help="As for compile.")] = None,
    input_shape: Annotated[list[str] | None, typer.Option(help="As for compile.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="As for compile.")] = None,
    custom_objects: Annotated[list[str] | None, typer.Option(help="As for compile.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Compare a compiled model with its source, against TensorFlow and float64."""
    from tfaot.cli.progress import Progress
    from tfaot.packaging.manifest import read_manifest

    description = read_manifest(manifest)
    if not Path(model).exists():
        raise UsageError(f"there is no model '{model}' (--model)")
    options = CompileOptions(
        output_dir=manifest.parent,
        name=description.name,
        signature=signature or description.source.signature,
        inputs=parsing.names(inputs),
        outputs=parsing.names(outputs),
        input_shapes=parsing.input_shapes(input_shape or ()),
        set_values=parsing.set_values(set_ or ()),
        custom_objects=tuple(custom_objects or ()),
        batch_sizes=description.batch.sizes,
        static=description.batch.kind == "static",
    )
    from tfaot.verification import verify_artifact

    with Progress(quiet) as progress:
        report = verify_artifact(manifest, model, options, progress)
    if as_json:
        typer.echo(json.dumps(report, sort_keys=True, indent=1))
    elif not quiet:
        typer.echo(f"{description.name}: verified")
