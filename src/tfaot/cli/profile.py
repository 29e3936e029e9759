"""`tfaot profile`: runtime and memory of models, in tfaot and other engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfaot.cli import parsing
from tfaot.errors import UsageError

if TYPE_CHECKING:
    from tfaot.profiling.config import Settings
    from tfaot.profiling.results import Profile

DEFAULT_OUTPUT = Path("tfaot-profile")

KERNEL_BATCHES = (1, 64)

_RESULTS = "Results"
_PLOTS = "Plots"
_MODEL = "Model"


def profile_command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="SavedModel, .keras, .h5, frozen .pb, or NAME.json of a compiled model. Several."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with models and settings; options given here win over it."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help=f"Folder for results and plots; default: {DEFAULT_OUTPUT}.",
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(
            help="tfaot, tfaot-c, tensorflow, tfcompile, onnxruntime, litert, openvino, iree, or "
            "all; default: tfaot-c,tensorflow."
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None, typer.Option(help="Such as 1,2,4; default: powers of two up to 64.")
    ] = None,
    repetitions: Annotated[int | None, typer.Option(help="Timed calls; default: 100.")] = None,
    warmup: Annotated[
        int | None, typer.Option(help="Untimed calls before them; default: 10.")
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(help="Threads that call at once; default: 1, and 1,2,4,8 for memory."),
    ] = None,
    copies: Annotated[
        str | None, typer.Option(help="Models loaded where memory is measured; default: 1,4.")
    ] = None,
    inputs: Annotated[
        str | None,
        typer.Option(help="random, zeros, ones, incremental, or an .npz or .root file."),
    ] = None,
    tree: Annotated[str | None, typer.Option(help="Tree of the ROOT file.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(help="INPUT=BRANCH,BRANCH[4],... of the ROOT file. Repeatable."),
    ] = None,
    measure: Annotated[str | None, typer.Option(help="runtime, memory; default: both.")] = None,
    clock: Annotated[
        str | None, typer.Option(help="wall, or cpu for the process's CPU time; default: wall.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Names of the models in results and plots.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="What a NAME.json was compiled from, for other engines.", rich_help_panel=_MODEL
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="What tfaot compiles for; default: native.", rich_help_panel=_MODEL),
    ] = None,
    signature: Annotated[
        str | None, typer.Option(help="Key of the SavedModel signature.", rich_help_panel=_MODEL)
    ] = None,
    input_nodes: Annotated[
        str | None, typer.Option(help="Input nodes of a frozen graph.", rich_help_panel=_MODEL)
    ] = None,
    output_nodes: Annotated[
        str | None, typer.Option(help="Output nodes of a frozen graph.", rich_help_panel=_MODEL)
    ] = None,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(help="NAME=n,28,28,1. Repeatable.", rich_help_panel=_MODEL),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="NAME=VALUE fixes a placeholder. Repeatable.", rich_help_panel=_MODEL
        ),
    ] = None,
    custom_objects: Annotated[
        list[str] | None,
        typer.Option(help="Keras custom objects, module:name.", rich_help_panel=_MODEL),
    ] = None,
    kernels: Annotated[
        bool,
        typer.Option(
            "--kernels", help="Time each kernel of tfaot's code instead, mapped to the layers."
        ),
    ] = False,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps conversions.", rich_help_panel=_RESULTS),
    ] = None,
    plots: Annotated[
        bool, typer.Option("--plots/--no-plots", help="Draw the results.", rich_help_panel=_PLOTS)
    ] = True,
    x_log: Annotated[
        bool, typer.Option("--x-log", help="Logarithmic x axis.", rich_help_panel=_PLOTS)
    ] = False,
    y_log: Annotated[
        bool, typer.Option("--y-log", help="Logarithmic y axis.", rich_help_panel=_PLOTS)
    ] = False,
    per_row: Annotated[
        bool,
        typer.Option(
            "--per-row/--per-call",
            help="Divide runtimes by the batch size in plots, or not.",
            rich_help_panel=_PLOTS,
        ),
    ] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results.", rich_help_panel=_RESULTS)
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print errors alone.")] = False,
) -> None:
    """Measure runtime and memory of models, in tfaot and other engines.

    A run that was stopped goes on from there when the same command is started again.
    """
    about = {
        "target": target,
        "signature": signature,
        "input_nodes": parsing.names(input_nodes),
        "output_nodes": parsing.names(output_nodes),
        "input_shapes": parsing.input_shapes(input_shape or ()),
        "set_values": parsing.set_values(set_ or ()),
        "custom_objects": tuple(custom_objects or ()),
        "model": model,
    }
    if kernels:
        others = {
            "--config": config,
            "--engines": engines,
            "--threads": threads,
            "--copies": copies,
            "--inputs": inputs,
            "--measure": measure,
            "--clock": clock,
            "--labels": labels,
            "--output": output,
        }
        given = [option for option, value in others.items() if value is not None]
        if given:
            raise UsageError(f"--kernels prints one thread's times on random inputs: no {given[0]}")
        sizes = parsing.batch_sizes(batch_sizes) or KERNEL_BATCHES
        _time_kernels(models or [], about, sizes, as_json=as_json, quiet=quiet)
        return
    options = {
        "engines": list(parsing.names(engines)) or None,
        "batch_sizes": parsing.batch_sizes(batch_sizes) or None,
        "repetitions": repetitions,
        "warmup": warmup,
        "threads": _numbers(threads, "--threads"),
        "copies": _numbers(copies, "--copies"),
        "inputs": _inputs(inputs, tree, columns),
        "measure": list(parsing.names(measure)) or None,
        "clock": clock,
        "work": work,
        "output": output,
    }
    settings = _settings(
        models or [],
        config,
        {key: value for key, value in options.items() if value is not None},
        {key: value for key, value in about.items() if value},
        parsing.names(labels),
    )
    profile = _run(settings, quiet=quiet)
    if as_json:
        typer.echo(profile.to_json(), nl=False)
    elif not quiet:
        typer.echo(summary(profile))
    drawn = _plot(profile, settings, plots, x_log, y_log, per_row, quiet)
    if not quiet and not as_json:
        for path in (*profile.files, *drawn):
            typer.echo(str(path))


def _time_kernels(
    models: list[str],
    about: dict[str, Any],
    batches: tuple[int, ...],
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    from tfaot.cli.kernels import kernel_text, profile_model
    from tfaot.cli.progress import Progress

    if not models:
        raise UsageError("there is no model to profile: give a path")
    source = about.pop("model")
    if source is not None and len(models) > 1:
        raise UsageError("--model is what one compiled model, NAME.json, was compiled from")
    names = {"input_nodes": "inputs", "output_nodes": "outputs"}
    options = {names.get(key, key): value for key, value in about.items() if value}
    found = []
    with Progress(quiet) as progress:
        for model in models:
            found += profile_model(Path(source or model), options, batches, progress)
    if as_json:
        typer.echo(json.dumps([f.to_json() for f in found], sort_keys=True, indent=1))
    elif not quiet:
        typer.echo("\n\n".join(map(kernel_text, found)))


def _settings(
    models: list[str],
    config: Path | None,
    options: dict[str, Any],
    about: dict[str, Any],
    labels: tuple[str, ...],
) -> Settings:
    from dataclasses import replace

    from tfaot.profiling.config import make_settings, model_settings, read_settings

    if "inputs" in options and config is not None:
        # A path on the command line is relative to where that is.
        options["inputs"] = _resolved(options["inputs"])
    for key in ("output", "work"):
        if key in options:
            options[key] = options[key].expanduser().absolute() if config else options[key]
    if config is not None:
        if models or about:
            raise UsageError("give models, and what concerns them, in --config or here, not both")
        settings = read_settings(config, **options)
    else:
        if not models:
            raise UsageError("there is no model to profile: give a path, or --config FILE.yaml")
        if "model" in about and (len(models) > 1 or not models[0].endswith(".json")):
            raise UsageError("--model is what one compiled model, NAME.json, was compiled from")
        if "model" in about and not about["model"].exists():
            raise UsageError(f"there is no model '{about['model']}' (--model)")
        if labels and len(labels) != len(models):
            raise UsageError(f"--labels has {len(labels)} names for {len(models)} models")
        named = labels or ("",) * len(models)
        chosen = [
            model_settings(path, label=label, **about)
            for path, label in zip(models, named, strict=True)
        ]
        settings = make_settings(chosen, **options)
    if config is not None and labels:
        if len(labels) != len(settings.models):
            raise UsageError(f"--labels has {len(labels)} names for {len(settings.models)} models")
        changed = (replace(m, label=n) for m, n in zip(settings.models, labels, strict=True))
        settings = replace(settings, models=tuple(changed))
    return settings if settings.output is not None else replace(settings, output=DEFAULT_OUTPUT)


def _inputs(text: str | None, tree: str | None, columns: list[str] | None) -> Any:
    if text is None:
        if tree or columns:
            raise UsageError(
                "--tree and --columns are those of a ROOT file: give --inputs FILE.root"
            )
        return None
    from tfaot.profiling.inputs import input_source

    chosen: dict[str, tuple[str, ...]] = {}
    for item in columns or ():
        # A branch may be called anything but with a comma; an input's name has no "=".
        name, equals, branches = item.partition("=")
        if not equals or not name.strip() or not parsing.names(branches):
            raise UsageError(f"--columns: '{item}' must have the form INPUT=BRANCH,BRANCH,...")
        if name.strip() in chosen:
            raise UsageError(f"--columns: '{name.strip()}' is given twice")
        chosen[name.strip()] = parsing.names(branches)
    return input_source(text, tree, chosen)


def _resolved(source: Any) -> Any:
    from dataclasses import replace

    return source if source.file is None else replace(source, file=source.file.absolute())


def _numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    try:
        return parsing.batch_sizes(text) or None
    except UsageError as error:
        raise UsageError(str(error).replace("--batch-sizes", option)) from None


def _run(settings: Settings, *, quiet: bool) -> Profile:
    from tfaot.cli.progress import Bar
    from tfaot.profiling.profiler import run_profile

    with Bar(quiet) as bar:
        try:
            return run_profile(settings, bar, bar.note)
        except KeyboardInterrupt:
            bar.note("what was measured is kept: start the same command again to go on")
            raise


def _plot(
    profile: Profile,
    settings: Settings,
    wanted: bool,
    x_log: bool,
    y_log: bool,
    per_row: bool,
    quiet: bool,
) -> tuple[Path, ...]:
    from tfaot.profiling.plots import PlotOptions, check_plotting, draw_all

    if not wanted:
        return ()
    assert settings.output is not None
    try:
        check_plotting()
    except UsageError as error:
        if not quiet:
            typer.echo(f"note: no plots: {error}", err=True)
        return ()
    options = PlotOptions(
        x_log=x_log, y_log=y_log, per_row=per_row, right=str(profile.machine.get("cpu", ""))
    )
    return draw_all([profile], settings.output, options)


def summary(profile: Profile) -> str:
    """A table of medians with their band, of memory, and of what could not be measured."""
    lines: list[str] = []
    if profile.runtime:
        width = max(len(r.model) for r in profile.runtime)
        wide = max(len(r.title) for r in profile.runtime)
        lines.append(
            f"{'model':<{width}}  {'engine':<{wide}}  threads  batch  {'ms/call':>9}  "
            f"{'16 %':>9}  {'84 %':>9}  {'us/row':>9}"
        )
        for r in profile.runtime:
            s, row = r.spread, r.spread_per_row
            lines.append(
                f"{r.model:<{width}}  {r.title:<{wide}}  {r.threads:7}  {r.batch_size:5}  "
                f"{s.median:9.4g}  {s.low:9.4g}  {s.high:9.4g}  {row.median * 1e3:9.4g}"
                + (f"  {r.note}" if r.note else "")
            )
    if profile.memory:
        width = max(len(m.model) for m in profile.memory)
        wide = max(len(m.title) for m in profile.memory)
        lines += [""] if lines else []
        lines.append(
            f"{'model':<{width}}  {'engine':<{wide}}  copies  {'runtime MB':>10}  "
            f"{'models MB':>10}  {'threads':>7}  {'all MB':>8}  {'private MB':>10}"
        )
        for m in profile.memory:
            most = m.threads[-1]
            last = m.over_start(most)
            lines.append(
                f"{m.model:<{width}}  {m.title:<{wide}}  {m.copies:6}  "
                f"{m.runtime.resident / 1e6:10.4g}  {m.models.resident / 1e6:10.4g}  {most:7}  "
                f"{last.resident / 1e6:8.4g}  {last.private / 1e6:10.4g}"
            )
    if profile.failures:
        lines += [""] if lines else []
        lines.append("not measured")
        for f in profile.failures:
            where = f"batch size {f.batch_size}" if f.batch_size is not None else ""
            where = f"{f.copies} models" if f.copies is not None else where
            what = ", ".join(part for part in (f.model, f.title, f.kind, where) if part)
            lines.append(f"  {what}: {f.reason}")
    return "\n".join(lines)
