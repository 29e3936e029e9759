"""`tfaot plot`: results of several profiles in one plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfaot.cli import parsing
from tfaot.errors import UsageError

if TYPE_CHECKING:
    from tfaot.profiling.results import Profile


def plot_command(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="profile.json, or the folder that it is in; or a CSV file that MLProf wrote."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the plots.")] = Path(
        "."
    ),
    kind: Annotated[
        str, typer.Option(help="runtime, memory; what to draw where there is data for it.")
    ] = "runtime,memory",
    x_log: Annotated[bool, typer.Option("--x-log", help="Logarithmic x axis.")] = False,
    y_log: Annotated[bool, typer.Option("--y-log", help="Logarithmic y axis.")] = False,
    per_row: Annotated[
        bool,
        typer.Option("--per-row/--per-call", help="Divide runtimes by the batch size, or not."),
    ] = True,
    bars: Annotated[bool, typer.Option("--bars", help="Error bars instead of bands.")] = False,
    labels: Annotated[
        str | None, typer.Option(help="Labels of the runtime curves, separated by commas.")
    ] = None,
    sources: Annotated[
        str | None,
        typer.Option(help="A name per result file, which tells equal curves apart."),
    ] = None,
    models: Annotated[str | None, typer.Option(help="Draw these models alone.")] = None,
    engines: Annotated[str | None, typer.Option(help="Draw these engines alone.")] = None,
    title: Annotated[str, typer.Option(help="Above the plot, on the left.")] = "",
    right: Annotated[
        str | None,
        typer.Option(help="Above the plot, on the right; default: the CPU, if it is one."),
    ] = None,
    x_label: Annotated[str, typer.Option(help="Of the x axis.")] = "",
    y_label: Annotated[str, typer.Option(help="Of the y axis.")] = "",
    y_min: Annotated[float | None, typer.Option(help="Lower end of the y axis.")] = None,
    y_max: Annotated[float | None, typer.Option(help="Upper end of the y axis.")] = None,
    formats: Annotated[str, typer.Option(help="png, pdf.")] = "png,pdf",
) -> None:
    """Draw results of one or several profiles, each kind into one plot."""
    from tfaot.artifact import check_output_dir
    from tfaot.profiling.plots import PlotOptions, draw_all
    from tfaot.profiling.results import read_profile

    profiles = [read_profile(path) for path in results]
    kinds = parsing.names(kind)
    for name in kinds:
        if name not in ("runtime", "memory"):
            raise UsageError(f"--kind: '{name}' is not known, give runtime or memory")
    chosen = parsing.names(sources) or tuple(
        path.parent.name if path.name == "profile.json" else path.stem for path in results
    )
    if len(chosen) != len(results):
        raise UsageError(f"--sources has {len(chosen)} names for {len(results)} files")
    if len(set(chosen)) != len(chosen):
        chosen = tuple(f"{name} ({number})" for number, name in enumerate(chosen, 1))
    profiles = [_selected(p, parsing.names(models), parsing.names(engines)) for p in profiles]
    if right is None:
        cpus = {str(p.machine.get("cpu", "")) for p in profiles}
        right = cpus.pop() if len(cpus) == 1 else ""
    options = PlotOptions(
        x_log=x_log,
        y_log=y_log,
        per_row=per_row,
        bars=bars,
        labels=parsing.names(labels),
        title=title,
        right=right,
        x_label=x_label,
        y_label=y_label,
        y_min=y_min,
        y_max=y_max,
        formats=parsing.names(formats),
    )
    check_output_dir(output)
    for path in draw_all(profiles, output, options, chosen, kinds):
        typer.echo(str(path))


def _selected(profile: Profile, models: tuple[str, ...], engines: tuple[str, ...]) -> Profile:
    """What is of these models and engines; empty stands for all."""
    from dataclasses import replace

    results = (*profile.runtime, *profile.memory)
    for names, key, option in ((models, "model", "--models"), (engines, "engine", "--engines")):
        known = {str(getattr(r, key)) for r in results}
        if names and not known.intersection(names):
            have = ", ".join(sorted(known)) or "none"
            raise UsageError(f"{option}: a result file has none of these, it has {have}")

    def kept(model: str, engine: str) -> bool:
        return (not models or model in models) and (not engines or engine in engines)

    return replace(
        profile,
        runtime=tuple(r for r in profile.runtime if kept(r.model, r.engine)),
        memory=tuple(m for m in profile.memory if kept(m.model, m.engine)),
    )
