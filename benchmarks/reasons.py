"""Why a target is missed, as far as the records themselves tell, in a few words per miss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from targets import NATIVE, PYTHON, Check, Comparison, comparisons, geometric_mean

Record = Mapping[str, Any]


class Reasons:
    """Looks misses up in the records of a run."""

    def __init__(self, records: Sequence[Record]) -> None:
        """Index what was measured of tfaot's C."""
        own = [r for r in records if r.get("engine") == NATIVE and r.get("status") == "ok"]
        self._native = {(r["part"], r["model"], r["batch"]): r for r in own if "batch" in r}
        self._cells = [c for part in ("grid", "shapes", "real") for c in comparisons(records, part)]
        self._processes = {f"{r['variant']} models": r for r in own if r["part"] == "memory"}
        self._by_place = {c.where: c for c in self._cells}

    def of(self, check: Check) -> str:
        """The reason, empty where the records don't tell."""
        target, cell = check.target, self._by_place.get(check.where)
        if "tfcompile" in target and cell is not None:
            return self._against_tfcompile(cell, check)
        if "of the peak" in target and cell is not None:
            return _band(self._fraction(cell), check)
        if "reading bandwidth" in target and cell is not None:
            return self._below_the_bandwidth(cell, check)
        if "geometric mean" in target and "grid" in target:
            return self._on_average()
        if "first result" in target:
            return self._first_result(check)
        if "no slower" in target and cell is not None:
            return self._slower(cell, check)
        if "further thread" in target:
            return self._further_thread(check)
        return ""

    def _fraction(self, cell: Comparison) -> Mapping[str, float] | None:
        record = self._native.get((cell.part, cell.model, cell.batch), {})
        fraction: Mapping[str, float] | None = record.get("fraction")
        return fraction

    def _against_tfcompile(self, cell: Comparison, check: Check) -> str:
        fraction = self._fraction(cell)
        if fraction is None:
            return ""
        theirs = fraction["median"] / check.value
        wanted = theirs * check.limit
        text = f"its code reaches {theirs:.2f} of the peak here, tfaot's {fraction['median']:.2f}"
        if wanted > 1:
            return f"{text}; {check.limit:.0f} times as fast would be {wanted:.1f} of the peak"
        return f"{text}; {check.limit:.0f} times as fast would be {wanted:.2f}"

    def _below_the_bandwidth(self, cell: Comparison, check: Check) -> str:
        layers, nodes = (int(n) for n in cell.model.split("x"))
        kilobytes = 4 * layers * nodes * nodes // 1024
        each = 1000 * cell.times[NATIVE] / layers
        band = _band(self._fraction(cell), check)
        return f"{band}; {kilobytes:,} KB of weights, {each:,.0f} ns a layer"

    def _on_average(self) -> str:
        large = [
            fraction["median"] / ratio
            for c in self._cells
            if c.part == "grid" and c.batch >= 64 and c.model.endswith(("x128", "x256"))
            if (fraction := self._fraction(c)) and (ratio := c.ratio(NATIVE))
        ]
        if not large:
            return ""
        return (
            f"from 128 nodes and batch 64 up the fastest other engine reaches "
            f"{geometric_mean(large):.2f} of the peak: at most {1 / geometric_mean(large):.2f} "
            "times as fast is left there"
        )

    def _further_thread(self, check: Check) -> str:
        record = self._processes.get(check.where)
        if record is None:
            return ""
        idle = {s["threads"]: s["resident"] for s in record["states"] if s["stage"] == "idle"}
        each = (idle[max(idle)] - idle[min(idle)]) / (max(idle) - min(idle))
        rest = record["thread_page_bytes"] - record["thread_bytes"]
        return (
            f"an idle thread takes {each:,.0f} bytes, and whole pages {rest:,} more than workspace "
            "and buffers need"
        )

    def _first_result(self, check: Check) -> str:
        places = ((part, check.where, 1) for part in ("grid", "shapes", "real"))
        record = next((self._native[p] for p in places if p in self._native), None)
        if record is None:
            return ""
        return f"one call takes {record['microseconds']['median'] / 1000:.1f} ms by itself"

    def _slower(self, cell: Comparison, check: Check) -> str:
        rival = cell.python_rival if ", Python" in check.target else cell.rival
        record = self._native.get((cell.part, cell.model, cell.batch), {})
        spread = record.get("microseconds", {})
        text = f"{rival} takes {cell.times[rival]:,.1f} µs"
        if "Python" in check.target:
            more = cell.times[PYTHON] - cell.times[NATIVE]
            own = cell.times[PYTHON]
            return f"{text}, tfaot {own:,.1f}, of which the call from Python is {more:,.1f}"
        if spread and spread["low"] <= cell.times[rival]:
            return f"{text}; tfaot's 16th percentile is {spread['low']:,.1f}"
        return text


def _band(fraction: Mapping[str, float] | None, check: Check) -> str:
    """The rounds' middle two thirds, which explain a miss only where they hold the limit."""
    if fraction is None:
        return "no band was measured"
    band = f"{fraction['low']:.2f} to {fraction['high']:.2f} in most rounds"
    return f"within the band: {band}" if fraction["high"] >= check.limit else f"unexplained: {band}"
