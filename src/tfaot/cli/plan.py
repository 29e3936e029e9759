"""`tfaot plan`: the best batch rules for an artifact with static sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfaot.errors import UsageError

if TYPE_CHECKING:
    from tfaot.runtime.plan import Plan


def plan_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    up_to: Annotated[
        int | None, typer.Option(help="Largest batch size; default: the largest compiled.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was measured.")] = False,
) -> None:
    """Measure the compiled batch sizes and print the best rules for all others."""
    from tfaot.cli.progress import Progress
    from tfaot.runtime.model import load
    from tfaot.runtime.plan import plan

    if up_to is not None and up_to < 1:
        raise UsageError(f"--up-to {up_to}: give a batch size of 1 or more")
    model = load(manifest)
    with Progress(as_json) as progress:
        found = plan(model, up_to, lambda text: progress("measure", text))
    typer.echo(json.dumps(_plain(found), sort_keys=True, indent=1) if as_json else _text(found))


def _plain(found: Plan) -> dict[str, object]:
    return {
        "seconds": {str(size): seconds for size, seconds in found.seconds.items()},
        "batches": [
            {
                "batch": b.batch,
                "rule": b.rule,
                "seconds": b.seconds,
                "default_seconds": b.default_seconds,
            }
            for b in found.batches
        ],
        "rules": list(found.rules()),
    }


def _text(found: Plan) -> str:
    lines = ["compiled     us"]
    lines += [f"{size:8} {seconds * 1e6:6.1f}" for size, seconds in found.seconds.items()]
    if found.batches:
        lines += ["", "    rows     us  default  rule"]
    lines += [
        f"{b.batch:8} {b.seconds * 1e6:6.1f} {b.default_seconds * 1e6:8.1f}  {b.rule}"
        for b in found.batches
    ]
    rules = found.rules()
    lines += ["", "rules that save time: " + (" ".join(rules) or "none, the default is as fast")]
    return "\n".join(lines)
