"""Plots in the look of particle physics: time over batch size, speed-ups, memory over threads."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from targets import NATIVE, comparisons, geometric_mean

Record = Mapping[str, Any]
Styles = Mapping[str, tuple[str, str]]
"""Per engine its title and its colour."""


def draw_all(output: Path, records: Sequence[Record], styles: Styles) -> list[str]:
    """Draw what there is data for as PNG and PDF; the names of the plots."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    pyplot = _pyplot()
    drawn = []
    for model in models_with_curves(records):
        drawn.append(
            _save(pyplot, output, f"grid-time-{model}", _time(pyplot, records, model, styles))
        )
    if any(r["part"] == "grid" for r in records) and speedups(records)[2].size:
        drawn.append(_save(pyplot, output, "grid-speedup", _heat_map(pyplot, records)))
    if any(r["part"] == "memory" and r.get("states") for r in records):
        drawn.append(_save(pyplot, output, "memory-threads", _memory(pyplot, records, styles)))
    return drawn


def models_with_curves(records: Sequence[Record]) -> list[str]:
    """The grid's models that were measured at several batch sizes, in their order."""
    batches: dict[str, set[int]] = {}
    for r in records:
        if r["part"] == "grid" and r["status"] == "ok":
            batches.setdefault(r["model"], set()).add(r["batch"])
    return [model for model, found in batches.items() if len(found) > 1]


def curve(
    records: Sequence[Record], model: str, engine: str
) -> tuple[list[int], list[float], list[float], list[float]]:
    """Batch sizes; median, low and high microseconds per row."""
    found = sorted(
        (
            r
            for r in records
            if r["part"] == "grid"
            and r["model"] == model
            and r["engine"] == engine
            and r["status"] == "ok"
        ),
        key=lambda r: int(r["batch"]),
    )
    sizes = [int(r["batch"]) for r in found]
    median, low, high = (
        [r["microseconds"][name] / r["batch"] for r in found] for name in ("median", "low", "high")
    )
    return sizes, median, low, high


def speedups(records: Sequence[Record]) -> tuple[list[int], list[int], Any]:
    """Layers, nodes, and the geometric mean over batch sizes of C's speed-up for each pair."""
    ratios: dict[tuple[int, int], list[float]] = {}
    for cell in comparisons(records, "grid"):
        ratio = cell.ratio(NATIVE)
        if ratio is not None:
            layers, nodes = cell.model.split("x")
            ratios.setdefault((int(layers), int(nodes)), []).append(ratio)
    rows = sorted({layers for layers, _ in ratios})
    columns = sorted({nodes for _, nodes in ratios})
    values = [
        [geometric_mean(ratios.get((layers, nodes), [])) for nodes in columns] for layers in rows
    ]
    return rows, columns, np.array(values)


def _pyplot() -> Any:
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    if importlib.util.find_spec("mplhep") is not None:
        pyplot.style.use(importlib.import_module("mplhep").style.CMS)
    pyplot.rcParams.update({"font.size": 16, "figure.figsize": (10, 8), "savefig.dpi": 90})
    return pyplot


def _save(pyplot: Any, output: Path, name: str, figure: Any) -> str:
    figure.tight_layout()
    for suffix in ("png", "pdf"):
        # Without a date, so that the same numbers give the same file.
        extra = {"metadata": {"CreationDate": None}} if suffix == "pdf" else {}
        figure.savefig(output / f"{name}.{suffix}", **extra)
    pyplot.close(figure)
    return name


def _time(pyplot: Any, records: Sequence[Record], model: str, styles: Styles) -> Any:
    figure, axes = pyplot.subplots()
    for engine, (title, color) in styles.items():
        sizes, median, low, high = curve(records, model, engine)
        if sizes:
            width = 2.5 if engine == NATIVE else 1.5
            axes.plot(sizes, median, marker="o", markersize=4, lw=width, color=color, label=title)
            axes.fill_between(sizes, low, high, color=color, alpha=0.25, lw=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("Batch size")
    axes.set_ylabel("CPU time per row [µs]")
    layers, nodes = model.split("x")
    axes.set_title(f"{layers} layers, {nodes} nodes, one thread", fontsize=16, loc="left")
    axes.legend(fontsize=12)
    return figure


def _heat_map(pyplot: Any, records: Sequence[Record]) -> Any:
    rows, columns, values = speedups(records)
    figure, axes = pyplot.subplots()
    top = max(2.0, float(np.nanmax(values)))
    image = axes.imshow(
        values, cmap="RdYlGn", vmin=2.0 - top, vmax=top, aspect="auto", origin="lower"
    )
    axes.set_xticks(range(len(columns)), [str(n) for n in columns])
    axes.set_yticks(range(len(rows)), [str(n) for n in rows])
    axes.minorticks_off()
    for y in range(len(rows)):
        for x in range(len(columns)):
            if np.isfinite(values[y, x]):
                axes.text(x, y, f"{values[y, x]:.2f}", ha="center", va="center")
    axes.set_xlabel("Nodes")
    axes.set_ylabel("Layers")
    axes.set_title("tfaot (C) over the fastest other engine", fontsize=16, loc="left")
    figure.colorbar(image, label="Speed-up (geometric mean over batch sizes)")
    return figure


def _memory(pyplot: Any, records: Sequence[Record], styles: Styles) -> Any:
    found = [r for r in records if r["part"] == "memory" and r.get("states")]
    largest = max(int(r["variant"]) for r in found)
    figure, axes = pyplot.subplots()
    for r in found:
        if int(r["variant"]) != largest or r["engine"] not in styles:
            continue
        title, color = styles[r["engine"]]
        start = next(s for s in r["states"] if s["stage"] == "start")
        runs = [s for s in r["states"] if s["stage"] == "run"]
        threads = [s["threads"] for s in runs]
        for name, style in (("resident", "-"), ("private", ":")):
            values = [max(s[name] - start[name], 1e4) / 1e6 for s in runs]
            label = title if name == "resident" else None
            axes.plot(threads, values, style, marker="o", markersize=4, color=color, label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("Threads")
    axes.set_ylabel("Memory over the bare process [MB]")
    axes.set_title(
        f"{largest} models of 25 x 256 (solid: resident, dotted: private)", fontsize=16, loc="left"
    )
    axes.legend(fontsize=12)
    return figure
