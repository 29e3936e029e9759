"""`tfaot weights`: the weights of a retrained model for an artifact that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfaot.cli.model_options import Quiet
from tfaot.errors import UsageError


def weights_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    model: Annotated[str, typer.Option(help="A model of the same structure.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write; default: DIR/NAME.weights."),
    ] = None,
    custom_objects: Annotated[
        list[str] | None, typer.Option(help="As for compile; default: those of the artifact.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Compare with TensorFlow first.")
    ] = True,
    quiet: Quiet = False,
) -> None:
    """Write NAME.weights of a retrained model, for an artifact compiled with --weights external."""
    from tfaot.cli.progress import Progress

    if not Path(model).exists():
        raise UsageError(f"there is no model '{model}' (--model)")
    from tfaot.retrained import write_weights

    with Progress(quiet) as progress:
        path = write_weights(
            manifest,
            model,
            output,
            verify=verify,
            custom_objects=tuple(custom_objects or ()),
            progress=progress,
        )
    if not quiet:
        typer.echo(str(path))
