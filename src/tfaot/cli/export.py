"""`tfaot export`: compiled models as install trees, zip archives and Python wheels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfaot.cli.model_options import Quiet


def export_command(
    models: Annotated[
        list[Path] | None,
        typer.Argument(help="NAME.json, or folders of them; default: the current folder."),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output-dir",
            help="Default: tfaot-models; for --zip and --wheel the current folder.",
        ),
    ] = None,
    zip_: Annotated[
        bool, typer.Option("--zip", help="Write the tree as one relocatable zip archive.")
    ] = False,
    wheel: Annotated[
        bool,
        typer.Option("--wheel", help="Write a Python wheel per model, which needs NumPy alone."),
    ] = False,
    model_version: Annotated[
        str | None, typer.Option(help="Version of the packages; default: the model's, or 0.0.0.")
    ] = None,
    tool_name: Annotated[
        str | None, typer.Option(help="Instead of tfaot-model-NAME, for one model.")
    ] = None,
    tool_base: Annotated[
        str | None,
        typer.Option(help="Folder of the tree in SCRAM; default: $CMSSW_BASE/tfaot-models."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Export compiled MODELS for CMake, pkg-config and SCRAM, as a tree, an archive or wheels."""
    from tfaot.packaging.export import TreeOptions, export_models
    from tfaot.packaging.export.tree import DEFAULT_TOOL_BASE

    files = export_models(
        models or [Path(".")],
        output_dir,
        zip=zip_,
        wheel=wheel,
        version=model_version,
        options=TreeOptions(tool_name, DEFAULT_TOOL_BASE if tool_base is None else tool_base),
    )
    if not quiet:
        for file in files:
            typer.echo(str(file))
