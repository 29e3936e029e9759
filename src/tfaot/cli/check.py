"""`tfaot check`: whether a model can be compiled, op by op, and `--table`: every op that works."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tfaot.cli import parsing
from tfaot.cli.model_options import (
    ConfigFile,
    CustomObjects,
    InputNodes,
    InputShapes,
    ModelPath,
    OutputNodes,
    SetValues,
    Signature,
    TfXlaFlags,
    XlaFlags,
)
from tfaot.errors import UsageError


def check_command(
    model: ModelPath = None,
    signature: Signature = None,
    batch_sizes: Annotated[
        str | None, typer.Option(help="Batch sizes such as 1,2,4, for models that need them.")
    ] = None,
    static: Annotated[
        bool, typer.Option("--static", help="Check for the batch sizes alone.")
    ] = False,
    weights: Annotated[
        str, typer.Option(help="internal or external: as the compile would have them.")
    ] = "internal",
    config: ConfigFile = None,
    inputs: InputNodes = None,
    outputs: OutputNodes = None,
    input_shape: InputShapes = None,
    set_: SetValues = None,
    custom_objects: CustomObjects = None,
    xla_flags: XlaFlags = None,
    tf_xla_flags: TfXlaFlags = None,
    every: Annotated[
        bool, typer.Option("--all", help="One row per node, constants too, with its name.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Print every op that works instead; no MODEL.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing: the exit code tells.")
    ] = False,
) -> None:
    """Check whether MODEL can be compiled: exit code 0 if it can, 1 if something is missing."""
    if table:
        if model is not None or config is not None:
            raise UsageError("--table is about all ops: give it without MODEL and --config")
        _print_table(as_json, quiet)
        return
    settings = None
    if config is not None:
        from tfaot.config import read_config

        settings = read_config(config)
    source = model if model is not None else settings and str(settings.saved_model)
    if not source:
        raise UsageError("no model: give MODEL, a configuration with --config, or --table")
    from tfaot.checker import check_model
    from tfaot.cli.progress import Progress

    with Progress(quiet) as progress:
        report = check_model(
            source,
            signature=signature or (settings.serving_key if settings else None),
            inputs=parsing.names(inputs),
            outputs=parsing.names(outputs),
            input_shapes=parsing.input_shapes(input_shape or ()),
            set_values=parsing.set_values(set_ or ()),
            custom_objects=tuple(custom_objects or ()),
            batch_sizes=parsing.batch_sizes(batch_sizes)
            or (settings.batch_sizes if settings else ()),
            static=static,
            weights=weights,
            xla_flags=(*(settings.xla_flags if settings else ()), *parsing.flags(xla_flags or ())),
            tf_xla_flags=(
                *(settings.tf_xla_flags if settings else ()),
                *parsing.flags(tf_xla_flags or ()),
            ),
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(report.to_json(), sort_keys=True, indent=1))
    elif not quiet:
        from tfaot.cli.check_text import print_report

        print_report(report, every=every)
    if not report.compiles:
        raise typer.Exit(1)


def _print_table(as_json: bool, quiet: bool) -> None:
    from tfaot.checker.table import support_table
    from tfaot.cli.check_text import print_support, support_json
    from tfaot.cli.progress import Progress

    with Progress(quiet or as_json) as progress:
        progress("ask TensorFlow and generate code", "")
        found = support_table()
    if as_json:
        typer.echo(json.dumps(support_json(found), sort_keys=True, indent=1))
    elif not quiet:
        print_support(found)
