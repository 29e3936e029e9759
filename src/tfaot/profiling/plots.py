"""Plots of results in the look of particle physics: runtime over batch size, memory over threads.

Input: profiles. Output: PNG and PDF files. Medians are lines, the 16th to the 84th percentile a
band. matplotlib draws, in mplhep's style where that is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfaot.errors import UsageError
from tfaot.profiling.results import Bytes, MemoryResult, Profile, RuntimeResult

FORMATS = ("png", "pdf")
COLORS = [
    "#5790fc",
    "#f89c20",
    "#e42536",
    "#964a8b",
    "#9c9ca1",
    "#7a21dd",
    "#1845fb",
    "#c849a9",
    "#86c8dd",
    "#adad7d",
]
"""Told apart by people who see few colours (M. A. Petroff, arXiv:2107.02270)."""

LINES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
MEGABYTE = 1e6
FEW, MANY = 8, 10
"""Curves with an entry each in the legend, entries of a legend inside the plot."""


@dataclass(frozen=True)
class PlotOptions:
    """How plots look.

    Attributes:
        x_log: whether batch sizes and threads are on a logarithmic axis, of base 2.
        y_log: whether times and bytes are on a logarithmic axis.
        per_row: whether runtimes are divided by the batch size.
        bars: error bars instead of bands.
        labels: of the curves, in their order, instead of those made of model and engine.
        title: above the plot, on the left.
        right: above the plot, on the right.
        x_label: of the x axis instead of the usual one.
        y_label: of the y axis instead of the usual one.
        y_min: lower end of the y axis; None leaves it.
        y_max: upper end of the y axis; None leaves it.
        formats: of `FORMATS`.
    """

    x_log: bool = False
    y_log: bool = False
    per_row: bool = True
    bars: bool = False
    labels: tuple[str, ...] = ()
    title: str = ""
    right: str = ""
    x_label: str = ""
    y_label: str = ""
    y_min: float | None = None
    y_max: float | None = None
    formats: tuple[str, ...] = FORMATS

    def __post_init__(self) -> None:
        """Check the values; UsageError names the option."""
        for name in self.formats:
            if name not in FORMATS:
                raise UsageError(f"format '{name}' is not known: give {' or '.join(FORMATS)}")
        if self.y_log and self.y_min is not None and self.y_min <= 0:
            raise UsageError(f"y-min {self.y_min:g} is not on a logarithmic axis: give more than 0")


@dataclass(frozen=True)
class Identity:
    """What a curve is, and how that shows.

    Attributes:
        names: what tells it from others: source, model, engine, threads or the like.
        lead: the engine, or what varies where that doesn't; curves of one have one colour.
        rest: what else varies; curves of one have one line style.
        color: index of the colour.
        style: index of the line style.
    """

    names: tuple[str, ...]
    lead: str
    rest: str
    color: int
    style: int

    @property
    def look(self) -> dict[str, Any]:
        """What matplotlib is told."""
        return {
            "color": COLORS[self.color % len(COLORS)],
            "linestyle": LINES[self.style % len(LINES)],
            "marker": MARKERS[self.style % len(MARKERS)],
            "markersize": 5,
            "linewidth": 2,
        }


@dataclass(frozen=True)
class Curve:
    """One line of a plot: points with their band.

    Attributes:
        identity: what it is.
        x: the places, ascending.
        middle: the values.
        low: lower end of the band, as many; empty where there is none.
        high: upper end of the band.
    """

    identity: Identity
    x: tuple[float, ...]
    middle: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


def check_plotting() -> None:
    """UsageError where matplotlib is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "plots are drawn by matplotlib, which is missing: pip install 'tfaot[plot]'"
        )


def draw_all(
    profiles: Sequence[Profile],
    folder: Path,
    options: PlotOptions,
    sources: Sequence[str] = (),
    kinds: Sequence[str] = ("runtime", "memory"),
) -> tuple[Path, ...]:
    """Draw what there is data for: runtime, memory over threads, memory by part.

    Args:
        profiles: the results.
        folder: receives the files.
        options: how they look.
        sources: a name per profile, which tells apart what is else called the same.
        kinds: which results to draw.

    Returns:
        The files: `runtime`, `memory-threads` and `memory-parts`, in each format.

    Raises:
        UsageError: matplotlib is missing, there is nothing to draw, a folder can't be written to,
            or there are more labels than curves or fewer.
    """
    check_plotting()
    names = tuple(sources) or tuple(str(n) for n in range(len(profiles)))
    runtimes = [(s, r) for s, p in zip(names, profiles, strict=True) for r in p.runtime]
    memories = [(s, m) for s, p in zip(names, profiles, strict=True) for m in p.memory]
    figures: list[tuple[str, Callable[[Any], Any]]] = []
    if runtimes and "runtime" in kinds:
        curves = runtime_curves(runtimes, per_row=options.per_row)
        _check_labels(curves, options)
        figures.append(("runtime", lambda pyplot: _runtime_figure(pyplot, curves, options)))
    if memories and "memory" in kinds:
        over_threads = memory_curves(memories)
        figures += [
            ("memory-threads", lambda pyplot: _threads_figure(pyplot, over_threads, options)),
            ("memory-parts", lambda pyplot: _parts_figure(pyplot, memories, options)),
        ]
    if not figures:
        raise UsageError(f"the results hold nothing to draw of {' and '.join(kinds)}")
    pyplot = _pyplot()
    with pyplot.style.context(_style()):
        written: list[Path] = []
        for name, draw in figures:
            written += _save(pyplot, draw(pyplot), folder, name, options.formats)
    return tuple(written)


def runtime_curves(results: Sequence[tuple[str, RuntimeResult]], *, per_row: bool) -> list[Curve]:
    """A curve of milliseconds over batch sizes per source, model, engine and number of threads."""
    groups: dict[tuple[str, ...], list[RuntimeResult]] = {}
    for source, r in results:
        threads = "1 thread" if r.threads == 1 else f"{r.threads} threads"
        groups.setdefault((source, r.model, r.title, threads), []).append(r)
    curves = []
    for identity, found in zip(identities(list(groups)), groups.values(), strict=True):
        ordered = sorted(found, key=lambda r: r.batch_size)
        spreads = [r.spread_per_row if per_row else r.spread for r in ordered]
        curves.append(
            Curve(
                identity,
                tuple(r.batch_size for r in ordered),
                tuple(s.median for s in spreads),
                tuple(s.low for s in spreads),
                tuple(s.high for s in spreads),
            )
        )
    return curves


def memory_curves(results: Sequence[tuple[str, MemoryResult]]) -> list[tuple[Curve, Curve]]:
    """Pairs of resident and private megabytes over the bare process, over threads.

    Of processes with several copies of a model the one with most is taken.
    """
    most: dict[tuple[str, ...], MemoryResult] = {}
    for source, m in results:
        place = (source, m.model, m.title)
        if place not in most or most[place].copies < m.copies:
            most[place] = m
    named = {(*names, _models(m)): m for names, m in most.items()}
    pairs = []
    for identity, m in zip(identities(list(named)), named.values(), strict=True):
        amounts = [m.over_start(t) for t in m.threads]
        pairs.append(
            (
                Curve(identity, m.threads, tuple(a.resident / MEGABYTE for a in amounts)),
                Curve(identity, m.threads, tuple(a.private / MEGABYTE for a in amounts)),
            )
        )
    return pairs


def _models(result: MemoryResult) -> str:
    return "1 model" if result.copies == 1 else f"{result.copies} models"


def identities(names: Sequence[tuple[str, ...]]) -> list[Identity]:
    """How things show of which each has the same number of names, the third of them the engine."""
    varying = [n for n in range(len(names[0])) if len({name[n] for name in names}) > 1]
    lead = 2 if 2 in varying or not varying else varying[0]
    rest = [n for n in varying if n != lead]
    colors: dict[str, int] = {}
    styles: dict[str, int] = {}
    found = []
    for name in names:
        others = ", ".join(name[n] for n in rest)
        found.append(
            Identity(
                tuple(name[n] for n in varying) or (name[2],),
                name[lead],
                others,
                colors.setdefault(name[lead], len(colors)),
                styles.setdefault(others, len(styles)),
            )
        )
    return found


def _check_labels(curves: Sequence[Curve], options: PlotOptions) -> None:
    if options.labels and len(options.labels) != len(curves):
        have = "; ".join(", ".join(c.identity.names) for c in curves)
        raise UsageError(
            f"--labels has {len(options.labels)} labels for {len(curves)} curves: {have}"
        )


def _pyplot() -> Any:
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def _style() -> list[Any]:
    """Mplhep's style, on a canvas on which legends of several engines have their place."""
    own = {
        "font.size": 18,
        "figure.figsize": (10, 8),
        "savefig.dpi": 80,
        "legend.fontsize": 14,
        "legend.frameon": False,
        "axes.labelsize": 20,
        "svg.hashsalt": "tfaot",
    }
    if importlib.util.find_spec("mplhep") is None:
        return [own]
    return [importlib.import_module("mplhep").style.CMS, own]


def _runtime_figure(pyplot: Any, curves: Sequence[Curve], options: PlotOptions) -> Any:
    figure, axes = pyplot.subplots()
    for curve in curves:
        _draw(axes, curve, bars=options.bars)
    what = "Runtime / batch size [ms]" if options.per_row else "Runtime [ms]"
    _finish(axes, curves, options, "Batch size", what)
    _legend(axes, [c.identity for c in curves], options.labels)
    return figure


def _draw(axes: Any, curve: Curve, *, bars: bool = False) -> None:
    look = curve.identity.look
    if bars and curve.low:
        down = [m - v for m, v in zip(curve.middle, curve.low, strict=True)]
        up = [v - m for m, v in zip(curve.middle, curve.high, strict=True)]
        axes.errorbar(curve.x, curve.middle, yerr=(down, up), capsize=4, **look)
        return
    axes.plot(curve.x, curve.middle, **look)
    if curve.low:
        color = look["color"]
        axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.3, linewidth=0)


def _legend(
    axes: Any,
    curves: Sequence[Identity],
    labels: Sequence[str] = (),
    further: Sequence[tuple[str, dict[str, Any]]] = (),
) -> None:
    """Entries per curve where these are few, else per colour and per line style."""
    entries: list[tuple[str, dict[str, Any]]]
    if labels or len(curves) <= FEW or not all(c.rest for c in curves):
        names = labels or [", ".join(c.names) for c in curves]
        entries = [(name, c.look) for name, c in zip(names, curves, strict=True)]
    else:
        plain = {"linestyle": "-", "marker": "", "linewidth": 4}
        entries = list({c.lead: {**c.look, **plain} for c in curves}.items())
        entries += list({c.rest: {**c.look, "color": "black"} for c in curves}.items())
    entries += further
    handles = [axes.plot([], [], label=name, **look)[0] for name, look in entries]
    if len(entries) <= MANY:
        axes.legend(handles=handles)
    else:
        # Beside the plot, where no curve is hidden.
        axes.figure.set_figwidth(14)
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _finish(
    axes: Any, curves: Iterable[Curve], options: PlotOptions, x_label: str, y_label: str
) -> None:
    ticker = importlib.import_module("matplotlib.ticker")
    places = sorted({x for curve in curves for x in curve.x})
    if options.x_log:
        axes.set_xscale("log", base=2)
    if options.y_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_ylim(bottom=options.y_min, top=options.y_max)
    if options.x_log and len(places) <= 12:
        axes.xaxis.set_major_locator(ticker.FixedLocator(places))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    if options.x_log:
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
    else:
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_xlabel(options.x_label or x_label)
    axes.set_ylabel(options.y_label or y_label)
    _head(axes, options)


def _head(axes: Any, options: PlotOptions) -> None:
    if options.title:
        axes.set_title(options.title, loc="left", fontsize=16)
    if options.right:
        axes.set_title(options.right, loc="right", fontsize=16)


def _threads_figure(pyplot: Any, pairs: Sequence[tuple[Curve, Curve]], options: PlotOptions) -> Any:
    figure, axes = pyplot.subplots()
    private = {"linewidth": 1.5, "alpha": 0.5, "marker": ""}
    for resident, other in pairs:
        _draw(axes, resident)
        axes.plot(other.x, other.middle, **{**other.identity.look, **private})
    curves = [curve for pair in pairs for curve in pair]
    _finish(axes, curves, options, "Threads", "Memory over the bare process [MB]")
    further = [("private bytes alone", {**private, "color": "black"})]
    _legend(axes, [resident.identity for resident, _ in pairs], (), further)
    return figure


def _parts_figure(
    pyplot: Any, results: Sequence[tuple[str, MemoryResult]], options: PlotOptions
) -> Any:
    """A bar per process: the engine's runtime, its models, what further threads take."""
    figure, axes = pyplot.subplots(figsize=(10, max(8.0, 2 + 0.4 * len(results))))
    shown = identities([(source, m.model, m.title, _models(m)) for source, m in results])
    parts: list[tuple[str, list[Bytes]]] = [
        ("Runtime", [m.runtime for _, m in results]),
        ("Models", [m.models for _, m in results]),
        (
            "Further threads",
            [m.at("run", m.threads[-1]) - m.at("run", m.threads[0]) for _, m in results],
        ),
    ]
    places = list(range(len(results)))
    left = [0.0] * len(results)
    for (label, amounts), color in zip(parts, COLORS, strict=False):
        widths = [max(0.0, a.resident / MEGABYTE) for a in amounts]
        axes.barh(places, widths, left=left, height=0.7, color=color, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for place, end in zip(places, left, strict=True):
        axes.annotate(
            f"{end:.3g}", (end, place), (5, 0), textcoords="offset points", va="center", fontsize=14
        )
    axes.set_yticks(places, [", ".join(s.names) for s in shown], fontsize=14)
    axes.tick_params(axis="y", which="both", length=0)
    axes.minorticks_off()
    axes.set_ylim(len(results) - 0.3, -0.7)
    axes.set_xlim(right=max(left) * 1.15 or 1.0)
    axes.set_xlabel("Resident memory over the bare process [MB]")
    _head(axes, options)
    axes.legend()
    return figure


def _save(pyplot: Any, figure: Any, folder: Path, name: str, formats: Sequence[str]) -> list[Path]:
    figure.tight_layout()
    written = []
    for suffix in formats:
        # Without a date and a version, so that the same numbers give the same file.
        metadata = {"CreationDate": None} if suffix == "pdf" else {"Software": None}
        path = folder / f"{name}.{suffix}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, metadata=metadata)
        except OSError as error:
            raise UsageError(f"can't write '{path}': {error.strerror} (-o)") from None
        written.append(path)
    pyplot.close(figure)
    return written
