"""`tfaot report`: a page that shows what an artifact is made of and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfaot.cli import parsing
from tfaot.cli.model_options import Quiet


def report_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The HTML file; one that is there is replaced.")
    ] = Path("report.html"),
    model: Annotated[
        str | None,
        typer.Option(help="The model that it was compiled from, to time its kernels."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Rows of a call in which kernels are timed; default: 64.")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Measure time on this machine.")
    ] = True,
    signature: Annotated[str | None, typer.Option(help="As for compile, with --model.")] = None,
    inputs: Annotated[str | None, typer.Option(help="As for compile, with --model.")] = None,
    outputs: Annotated[str | None, typer.Option(help="As for compile, with --model.")] = None,
    input_shape: Annotated[
        list[str] | None, typer.Option(help="As for compile, with --model.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="As for compile, with --model.")
    ] = None,
    custom_objects: Annotated[
        list[str] | None, typer.Option(help="As for compile, with --model.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write one HTML page about an artifact: graph, memory, weights, accuracy, time."""
    from tfaot.cli.progress import Progress
    from tfaot.reporting import write_report
    from tfaot.reporting.collect import Request

    options = {
        "inputs": parsing.names(inputs),
        "outputs": parsing.names(outputs),
        "input_shapes": parsing.input_shapes(input_shape or ()),
        "set_values": parsing.set_values(set_ or ()),
        "custom_objects": tuple(custom_objects or ()),
        **({"signature": signature} if signature is not None else {}),
    }
    request = Request(manifest, model, batch, run, options)
    with Progress(quiet) as progress:
        write_report(request, output, progress)
    if not quiet:
        typer.echo(str(output))
