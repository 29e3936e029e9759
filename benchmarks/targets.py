"""What the code must reach, and by how much a cell misses it. Pure functions of the records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tfaot.engines import OWN

NATIVE, PYTHON, TFCOMPILE = "tfaot-c", "tfaot", "tfcompile"
NEVER_SLOWER = ("dense", "embedding", "recurrent", "graph", "attention")
ON_AVERAGE = ("convolution", "application")
MEGABYTE = 1_000_000

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One target in one place.

    Attributes:
        target: what must hold.
        where: the cell.
        value: what was measured.
        limit: what it must reach.
        least: whether `limit` is the least value allowed, else the largest.
    """

    target: str
    where: str
    value: float
    limit: float
    least: bool = True

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def missed_by(self) -> float:
        """How far it is from the limit, as a part of the limit; 0 where it is met."""
        return 0.0 if self.met else abs(self.value - self.limit) / max(abs(self.limit), 1e-30)


@dataclass(frozen=True)
class Comparison:
    """One cell: medians in microseconds per engine.

    `rival` is the fastest other engine, `python_rival` the fastest of those called from Python.
    """

    part: str
    model: str
    batch: int
    family: str
    times: Mapping[str, float]
    rival: str
    python_rival: str

    def ratio(self, engine: str) -> float | None:
        """How many times faster than the fastest other engine; None where one is missing.

        tfcompile's code is called from C++, so tfaot from Python is not compared to it.
        """
        rival = self.rival if engine == NATIVE else self.python_rival
        if engine not in self.times or not rival:
            return None
        return self.times[rival] / self.times[engine]

    @property
    def where(self) -> str:
        """The cell in words."""
        return f"{self.model}, batch {self.batch}"


def geometric_mean(values: Iterable[float]) -> float:
    """The geometric mean; NaN of nothing."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def comparisons(records: Iterable[Record], part: str) -> list[Comparison]:
    """The cells of a part, in the order in which they were measured."""
    cells: dict[tuple[str, int], dict[str, Record]] = {}
    for record in records:
        if record["part"] == part and record["status"] == "ok":
            cells.setdefault((record["model"], record["batch"]), {})[record["engine"]] = record
    found = []
    for (model, batch), by_engine in cells.items():
        times = {name: float(r["microseconds"]["median"]) for name, r in by_engine.items()}
        others = {name: t for name, t in times.items() if name not in OWN}
        in_python = {name: t for name, t in others.items() if name != TFCOMPILE}
        rivals = [min(o, key=lambda n: times[n]) if o else "" for o in (others, in_python)]
        family = str(next(iter(by_engine.values())).get("family", ""))
        found.append(Comparison(part, model, batch, family, times, *rivals))
    return found


def all_checks(records: Sequence[Record]) -> list[Check]:
    """Every target in every place where it was measured."""
    return [
        *grid_checks(records),
        *ceiling_checks(records),
        *growth_checks(records),
        *shape_checks(records),
        *real_checks(records),
        *memory_checks(records),
        *cost_checks(records),
    ]


def grid_checks(records: Sequence[Record]) -> list[Check]:
    """Never slower than the fastest other engine, 1.5 times faster on average; tfcompile."""
    cells = comparisons(records, "grid")
    checks = []
    for engine, title in ((NATIVE, "C"), (PYTHON, "Python")):
        ratios = [(c, r) for c in cells if (r := c.ratio(engine)) is not None]
        target = f"grid, {title}: no slower than the fastest other engine"
        checks += [Check(target, c.where, r, 1.0) for c, r in ratios]
        if ratios:
            mean = geometric_mean(r for _, r in ratios)
            target = f"grid, {title}: geometric mean over the fastest other engine"
            checks.append(Check(target, "all cells", mean, 1.5))
    for cell in cells:
        if cell.batch >= 8 and TFCOMPILE in cell.times and NATIVE in cell.times:
            ratio = cell.times[TFCOMPILE] / cell.times[NATIVE]
            checks.append(Check("grid: 4 times faster than tfcompile", cell.where, ratio, 4.0))
    return checks


def ceiling_checks(records: Sequence[Record]) -> list[Check]:
    """Fractions of the machine's limits."""
    checks = []
    for r in records:
        if r["part"] != "grid" or r["engine"] != NATIVE or "fraction" not in r:
            continue
        fraction, where = r["fraction"]["median"], f"{r['model']}, batch {r['batch']}"
        nodes = int(r["model"].split("x")[1])
        if r["batch"] == 1:
            checks.append(Check("grid: of the reading bandwidth at batch 1", where, fraction, 0.9))
        elif r["batch"] >= 64 and nodes in (128, 256):
            limit = {128: 0.80, 256: 0.88}[nodes]
            target = f"grid: of the peak, {nodes} nodes, from batch 64"
            checks.append(Check(target, where, fraction, limit))
    return checks


def growth_checks(records: Sequence[Record]) -> list[Check]:
    """Time per call grows with the batch size: a smaller batch never costs more, but for noise."""
    by_model: dict[str, list[Record]] = {}
    for r in records:
        if r["part"] == "grid" and r["engine"] == NATIVE and r["status"] == "ok":
            by_model.setdefault(r["model"], []).append(r)
    checks = []
    for model, found in by_model.items():
        ordered = sorted(found, key=lambda r: int(r["batch"]))
        for small, large in pairwise(ordered):
            # The bands' near ends: what is left when noise explains as much as it can.
            value = small["microseconds"]["low"] / large["microseconds"]["high"]
            where = f"{model}, batch {small['batch']} over batch {large['batch']}"
            target = "grid: time grows with the batch size"
            checks.append(Check(target, where, value, 1.0, least=False))
    return checks


def shape_checks(records: Sequence[Record]) -> list[Check]:
    """Other shapes: never slower, convolutional ones on average."""
    cells = [c for c in comparisons(records, "shapes") if c.ratio(NATIVE) is not None]
    ratios = {c.where: c.ratio(NATIVE) or 0.0 for c in cells}
    target = "shapes: no slower than the fastest other engine"
    checks = [
        Check(target, c.where, ratios[c.where], 1.0) for c in cells if c.family in NEVER_SLOWER
    ]
    average = [ratios[c.where] for c in cells if c.family in ON_AVERAGE]
    if average:
        target = "shapes: geometric mean of the convolutional ones"
        checks.append(Check(target, "all cells", geometric_mean(average), 1.0))
    return checks


def real_checks(records: Sequence[Record]) -> list[Check]:
    """Trained models: never slower than the fastest other engine."""
    target = "real models: no slower than the fastest other engine"
    return [
        Check(target, c.where, ratio, 1.0)
        for c in comparisons(records, "real")
        if (ratio := c.ratio(NATIVE)) is not None
    ]


def memory_checks(records: Sequence[Record]) -> list[Check]:
    """The C++ program: weights and a megabyte, a workspace per thread, nothing that grows."""
    checks = []
    for r in records:
        if r["part"] != "memory" or r["engine"] != NATIVE or r["status"] != "ok":
            continue
        states = {(s["stage"], s["threads"]): s for s in r["states"]}
        where, start = f"{r['variant']} models", states["start", 0]["resident"]
        runs = sorted(threads for stage, threads in states if stage == "run")
        one, many = (states["run", n]["resident"] for n in (runs[0], runs[-1]))
        if r["variant"] == "12":
            limit = r["weights_bytes"] + MEGABYTE
            target = "memory: resident bytes of 12 models, weights + 1 MB"
            checks.append(Check(target, where, one - start, limit, least=False))
        if len(runs) > 1:
            further = runs[-1] - runs[0]
            target = "memory: resident bytes of a further thread, workspace and buffers"
            each = (many - one) / further
            checks.append(Check(target, where, each, r["thread_bytes"], least=False))
            # Over threads that do nothing yet: what is left is the model's.
            idle = [states["idle", n]["resident"] for n in (runs[0], runs[-1])]
            target = "memory: the same over an idle thread, in whole pages"
            each = (many - one - (idle[1] - idle[0])) / further
            checks.append(Check(target, where, each, r["thread_page_bytes"], least=False))
        grown = states["after", 1]["resident"] - states["before", 1]["resident"]
        target = "memory: resident bytes gained in a million calls"
        checks.append(Check(target, where, grown, 0, least=False))
    return checks


def cost_checks(records: Sequence[Record]) -> list[Check]:
    """Compile times, and how soon a program has its first result."""
    limits = {"25x256": 5.0, "resnet50": 60.0}
    checks = []
    for r in records:
        if r["part"] != "cost" or r["status"] != "ok":
            continue
        model = r["model"]
        if model in limits:
            target = "cost: seconds of a compile beyond TensorFlow"
            checks.append(Check(target, model, r["seconds"], limits[model], least=False))
        first = r["first_result_milliseconds"]["median"]
        checks.append(
            Check("cost: milliseconds to the first result", model, first, 5.0, least=False)
        )
    return checks
