"""`tfaot selftest`: the golden rows in an object, with every instruction set of this CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tfaot.cli.model_options import Quiet


def selftest_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    quiet: Quiet = False,
) -> None:
    """Run the golden rows of a model compiled with --self-test; exit code 1 where a bit differs."""
    from tfaot.runtime.model import load

    model = load(manifest)
    cpus = model.manifest.target.cpus
    results = {}
    for cpu in cpus[: cpus.index(model.isa) + 1] if len(cpus) > 1 else cpus:
        if len(cpus) > 1:
            model.set_max_isa(cpu)
        results[cpu] = model.self_test()
    if not quiet:
        for cpu in cpus:
            found = {True: "ok", False: "FAILED", None: "this CPU lacks it"}[results.get(cpu)]
            typer.echo(f"{cpu:<12} {found}")
    if not all(results.values()):
        raise typer.Exit(1)
