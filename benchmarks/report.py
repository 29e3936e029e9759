"""Results as CSV, JSON, Markdown and plots, from the records alone."""

from __future__ import annotations

import csv
import datetime
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plots
from reasons import Reasons
from targets import NATIVE, PYTHON, Check, Comparison, all_checks, comparisons, geometric_mean

from tfaot.engines import ENGINES, Engine

Record = Mapping[str, Any]
_FOLDERS = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+")
SPREAD = ("median", "low", "high", "least")
TITLES = {
    "grid": "The poster's grid",
    "shapes": "Other shapes",
    "real": "Trained models",
    "cold": "Cold caches, batch 1",
}


def write(
    output: Path,
    docs: Path | None,
    header: Mapping[str, Any],
    records: Sequence[Record],
    engines: Mapping[str, Engine],
) -> None:
    """Write everything into `output`, and the page `docs` where one is asked for."""
    output.mkdir(parents=True, exist_ok=True)
    date = datetime.date.today().isoformat()
    records = [without_folders(r) for r in records]
    checks = all_checks(records)
    data = {"date": date, "machine": header, "records": records, "checks": rows_of_checks(checks)}
    (output / "bench.json").write_text(json.dumps(data, indent=1) + "\n")
    write_csv(output / "times.csv", time_rows(records))
    write_csv(output / "memory.csv", memory_rows(records))
    write_csv(output / "cost.csv", cost_rows(records))
    drawn = plots.draw_all(output, records, {n: (e.title, e.color) for n, e in engines.items()})
    titles = {name: engine.title for name, engine in engines.items()}
    text = markdown(date, header, records, checks, titles, drawn, "")
    (output / "bench.md").write_text(text)
    if docs is not None:
        prefix = os.path.relpath(output, docs.parent) + "/"
        docs.parent.mkdir(parents=True, exist_ok=True)
        docs.write_text(markdown(date, header, records, checks, titles, drawn, prefix))


def without_folders(record: Record) -> Record:
    """A record whose reason names files without the folders of this machine."""
    if "reason" not in record:
        return record
    return {**record, "reason": _FOLDERS.sub("", str(record["reason"]))}


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the names of all their fields; nothing where there are none."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def time_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row per cell and engine: microseconds per call and per row."""
    rows = []
    for r in records:
        if r["part"] not in TITLES:
            continue
        row = {name: r.get(name, "") for name in ("part", "model", "family", "batch", "engine")}
        row |= {"status": r["status"], "reason": r.get("reason", "")}
        spread = r.get("microseconds", {})
        row |= {f"{name}_us": spread.get(name, "") for name in SPREAD}
        row["median_us_per_row"] = spread["median"] / r["batch"] if spread else ""
        row["fraction_of_ceiling"] = r.get("fraction", {}).get("median", "")
        row["ceiling"] = r.get("ceiling", {}).get("kind", "")
        rows.append(row)
    return rows


def memory_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row per process and state."""
    return [
        {"engine": r["engine"], "process_models": r["variant"], **state}
        for r in records
        if r["part"] == "memory"
        for state in r.get("states", [])
    ]


def cost_rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """One row per compiled model."""
    names = ("seconds", "tensorflow_seconds", "verify_seconds", "object_bytes", "code_bytes")
    return [
        {
            "model": r["model"],
            "status": r["status"],
            **{name: r.get(name, "") for name in (*names, "weights_bytes", "parameter_bytes")},
            "first_result_ms": r.get("first_result_milliseconds", {}).get("median", ""),
        }
        for r in records
        if r["part"] == "cost"
    ]


def rows_of_checks(checks: Iterable[Check]) -> list[dict[str, Any]]:
    """The checks as JSON values."""
    return [
        {
            "target": c.target,
            "where": c.where,
            "value": c.value,
            "limit": c.limit,
            "met": c.met,
            "missed_by": c.missed_by,
        }
        for c in checks
    ]


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [f"| {' | '.join(headings)} |", f"| {' | '.join('---' for _ in headings)} |"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def markdown(
    date: str,
    header: Mapping[str, Any],
    records: Sequence[Record],
    checks: Sequence[Check],
    titles: Mapping[str, str],
    drawn: Sequence[str],
    prefix: str,
) -> str:
    """The page; `prefix` leads from it to the plots."""
    lines = ["# Benchmarks", "", *introduction(date, header, titles)]
    lines += summary(checks)
    for part, title in TITLES.items():
        cells = comparisons(records, part)
        if cells:
            lines += [f"## {title}", "", *part_summary(cells), *part_table(cells, titles)]
            lines += [f"![{name}]({prefix}{name}.png)\n" for name in drawn if name.startswith(part)]
    lines += ceilings_table(records)
    lines += memory_table(records, titles)
    lines += [f"![{name}]({prefix}{name}.png)\n" for name in drawn if name.startswith("memory")]
    lines += cost_table(records)
    lines += misses(checks, Reasons(records))
    lines += left_out(records, titles)
    return "\n".join(lines).rstrip() + "\n"


def introduction(date: str, header: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """How it was measured, and on what."""
    versions = header.get("versions", {})
    known = ", ".join(f"{titles.get(n, n)} {v}" for n, v in versions.items() if v)
    missing = [name for name in ENGINES if name not in titles]
    return [
        f"Made by `make bench` on {date}: {header.get('cpu', 'unknown CPU')}, "
        f"{header.get('lanes', '?')} float32 lanes, {header.get('system', '')}, "
        f"Python {header.get('python', '')}, {header.get('compiler', '')}.",
        "",
        f"Versions: {known}." + (f" Missing: {', '.join(missing)}." if missing else ""),
        "",
        "One process pinned to one core, every engine on one thread, in float32, with its default "
        "optimisations, called from Python in the fastest way that it documents: inputs stay in "
        "the engine's own buffers where it lets them, so most calls copy nothing. tfcompile's "
        "code is called from C++, and so compared to tfaot's from C alone; tfaot is called from "
        "Python (`Model.bind`, and `model(x)`) and from C. "
        "OpenVINO, IREE and tfcompile know the batch size when they compile; ONNX Runtime, "
        "TensorFlow and tfaot take any. A cell is one model at one batch size; its "
        f"{header.get('rounds', '?')} rounds measure every engine once each, a few milliseconds "
        "of calls, in turn. Times are CPU times of the process, medians over the rounds; the CSV "
        "has the 16th and 84th percentiles, which the plots show as bands. Inputs are random in "
        "every row, and outputs are compared to TensorFlow's before anything is timed.",
        "",
    ]


def summary(checks: Sequence[Check]) -> list[str]:
    """One row per target."""
    by_target: dict[str, list[Check]] = {}
    for check in checks:
        by_target.setdefault(check.target, []).append(check)
    if not by_target:
        return []
    rows = []
    for target, found in by_target.items():
        worst = max(found, key=lambda c: c.missed_by)
        met = sum(c.met for c in found)
        sign = "at least" if worst.least else "at most"
        shown = "" if worst.met else f"{number(worst.value)} ({worst.where})"
        rows.append((target, f"{sign} {number(worst.limit)}", f"{met} of {len(found)}", shown))
    return ["## Targets", "", *table(("target", "limit", "met", "worst miss"), rows)]


def part_summary(cells: Sequence[Comparison]) -> list[str]:
    """Geometric means over the fastest other engine."""
    lines = []
    for engine, title in ((NATIVE, "from C"), (PYTHON, "from Python")):
        ratios = [r for c in cells if (r := c.ratio(engine)) is not None]
        if ratios:
            slower = sum(r < 1 for r in ratios)
            lines.append(
                f"tfaot {title}: {geometric_mean(ratios):.2f} times as fast as the fastest other "
                f"engine (geometric mean of {len(ratios)} cells, {min(ratios):.2f} to "
                f"{max(ratios):.2f}, slower in {slower})."
            )
    return [*lines, ""]


def part_table(cells: Sequence[Comparison], titles: Mapping[str, str]) -> list[str]:
    """Microseconds per call of every engine in every cell."""
    names = [name for name in ENGINES if any(name in c.times for c in cells)]
    rows = []
    for cell in cells:
        times = [number(cell.times[n]) if n in cell.times else "" for n in names]
        ratios = [cell.ratio(NATIVE), cell.ratio(PYTHON)]
        shown = ["" if r is None else f"{r:.2f}" for r in ratios]
        rival = titles.get(cell.rival, cell.rival)
        rows.append((cell.model, str(cell.batch), *times, rival, *shown))
    headings = (
        "model",
        "batch",
        *(f"{titles.get(n, n)}, µs" for n in names),
        "fastest other",
        "C is faster by",
        "Python is faster by",
    )
    return table(headings, rows)


def ceilings_table(records: Iterable[Record]) -> list[str]:
    """The machine's limits and tfaot's fraction of them."""
    rows = []
    for r in records:
        if r["part"] == "grid" and "fraction" in r:
            f, units = r["fraction"], r["ceiling"]["units"]["median"]
            unit = "GB/s" if r["ceiling"]["kind"] == "reading" else "GFLOP/s"
            share = f"{f['median']:.2f} ({f['low']:.2f}-{f['high']:.2f})"
            rows.append((r["model"], str(r["batch"]), f"{units * 1e-9:.0f} {unit}", share))
    if not rows:
        return []
    words = (
        "Measured in the same rounds, right before and after tfaot's C: independent chains of "
        "multiply-adds that never leave the registers, and for one row a loop that reads as many "
        "bytes as the model's weights have. The dense layers' operations alone count."
    )
    head = ("model", "batch", "limit", "fraction (16-84 %)")
    return ["## Fractions of the machine's limits", "", words, "", *table(head, rows)]


def memory_table(records: Iterable[Record], titles: Mapping[str, str]) -> list[str]:
    """Resident and private bytes per engine, models and threads."""
    rows = []
    for r in records:
        if r["part"] != "memory" or not r.get("states"):
            continue
        states = {(s["stage"], s["threads"]): s for s in r["states"]}
        start = states["start", 0]
        runtime = states.get(("runtime", 0), start)
        cells = [megabytes(runtime, start)]
        for threads in (1, 2, 8, 16, 32):
            state = states.get(("run", threads))
            cells.append("" if state is None else megabytes(state, runtime))
        rows.append((titles.get(r["engine"], r["engine"]), r["variant"], *cells))
    if not rows:
        return []
    words = (
        "MB of resident (private) memory of a process of its own, at batch 64: the runtime with a "
        "tiny model over the bare process, then models of 25 x 256 with their threads over the "
        "runtime. tfaot (C) is a C++ program, all others are Python."
    )
    head = ("engine", "models", "runtime", *(f"{n} threads" for n in (1, 2, 8, 16, 32)))
    return ["## Memory", "", words, "", *table(head, rows)]


def megabytes(state: Record, base: Record) -> str:
    """Resident and private megabytes over a base."""
    resident, private = ((state[name] - base[name]) / 1e6 for name in ("resident", "private"))
    return f"{resident:.1f} ({private:.1f})"


def cost_table(records: Iterable[Record]) -> list[str]:
    """Compile seconds and bytes."""
    rows = []
    for r in records:
        if r["part"] != "cost" or r["status"] != "ok":
            continue
        seconds = [f"{r[n]:.1f}" for n in ("seconds", "tensorflow_seconds", "verify_seconds")]
        sizes = [f"{r[n]:,}" for n in ("object_bytes", "code_bytes", "weights_bytes")]
        first = r["first_result_milliseconds"]["median"]
        rows.append((r["model"], *seconds, *sizes, f"{first:.2f}"))
    if not rows:
        return []
    head = (
        "model",
        "compile, s",
        "TensorFlow, s",
        "verification, s",
        "object, bytes",
        "code, bytes",
        "weights, bytes",
        "first result, ms",
    )
    return ["## Cost", "", *table(head, rows)]


def misses(checks: Iterable[Check], reasons: Reasons) -> list[str]:
    """The cells that miss a target, worst first within each, by how much and why."""
    missed = sorted(
        (c for c in checks if not c.met), key=lambda c: (c.target, -c.missed_by, c.where)
    )
    if not missed:
        return []
    rows = [
        (
            c.target,
            c.where,
            number(c.value),
            number(c.limit),
            f"{100 * c.missed_by:.0f} %",
            reasons.of(c),
        )
        for c in missed
    ]
    head = ("target", "where", "measured", "limit", "missed by", "why")
    return ["## Misses", "", *table(head, rows)]


def left_out(records: Iterable[Record], titles: Mapping[str, str]) -> list[str]:
    """Engines that failed or were wrong, and in which cells."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for r in records:
        if r["status"] != "ok":
            reason = " ".join(str(r.get("reason", "")).replace("|", "/").split())
            key = (titles.get(r["engine"], r["engine"]), r["status"], r["model"], reason)
            found.setdefault(key, []).append(str(r.get("batch", r.get("variant", ""))))
    if not found:
        return []
    rows = [
        (engine, status, model, ", ".join(dict.fromkeys(batches)), reason)
        for (engine, status, model, reason), batches in found.items()
    ]
    return ["## Left out", "", *table(("engine", "status", "model", "batch", "reason"), rows)]


def number(value: float) -> str:
    """Three significant digits, without an exponent where people read numbers."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = max(0, 2 - int(f"{abs(value):e}".split("e")[1]))
    return f"{value:.{min(digits, 4)}f}"
