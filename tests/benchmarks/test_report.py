from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import report
from bench_models import BATCHES, grid_flops, grid_models, quick_models
from reasons import Reasons
from targets import all_checks, comparisons, geometric_mean

from tfaot.engines import make_engine
from tfaot.profiling.memory import parse_state


def cell(engine: str, median: float, model: str = "5x128", batch: int = 64) -> dict[str, Any]:
    spread = {"median": median, "low": 0.9 * median, "high": 1.1 * median, "least": median}
    common = {"part": "grid", "model": model, "batch": batch, "family": "grid", "status": "ok"}
    return {**common, "engine": engine, "microseconds": spread}


RECORDS = [
    cell("tfcompile", 20.0),
    cell("onnxruntime", 30.0),
    cell("openvino", 40.0),
    cell("tfaot", 15.0),
    {**cell("tfaot-c", 10.0), "fraction": {"median": 0.7, "low": 0.6, "high": 0.8},
     "ceiling": {"kind": "peak", "units": {"median": 1.2e11}}},
    {"part": "grid", "model": "5x128", "batch": 64, "engine": "iree", "status": "failed",
     "reason": "no | kernel"},
]  # fmt: skip


def test_a_cell_is_compared_to_the_fastest_other_engine() -> None:
    (found,) = comparisons(RECORDS, "grid")
    assert found.rival == "tfcompile"
    assert found.ratio("tfaot-c") == pytest.approx(2.0)
    # tfcompile is called from C++: from Python, the fastest is ONNX Runtime.
    assert found.ratio("tfaot") == pytest.approx(2.0)
    assert found.ratio("tfaot-call") is None


def test_targets_tell_by_how_much_they_are_missed() -> None:
    checks = {c.target: c for c in all_checks(RECORDS)}
    assert checks["grid, C: no slower than the fastest other engine"].met
    slow = checks["grid: 4 times faster than tfcompile"]
    assert (slow.met, slow.value, slow.missed_by) == (False, 2.0, 0.5)
    peak = checks["grid: of the peak, 128 nodes, from batch 64"]
    assert (peak.met, peak.missed_by) == (False, pytest.approx(0.125))


def test_a_smaller_batch_that_costs_more_is_found_but_for_noise() -> None:
    dent = [cell("tfaot-c", 10.0, batch=15), cell("tfaot-c", 8.0, batch=16)]
    noise = [cell("tfaot-c", 10.0, batch=15), cell("tfaot-c", 9.5, batch=16)]
    name = "grid: time grows with the batch size"
    assert [c.met for c in all_checks(dent) if c.target == name] == [False]
    assert [c.met for c in all_checks(noise) if c.target == name] == [True]


def test_memory_targets() -> None:
    lines = ["start 0 0 1000000 500000", "load 12 0 1000000 500000"]
    lines += ["idle 12 1 1010000 0", "run 12 1 81000000 600000"]
    lines += ["idle 12 2 1020000 0", "run 12 2 81300000 900000"]
    lines += ["before 1 1 2000000 0", "after 1 1 2000000 0"]
    record = {
        "part": "memory",
        "engine": "tfaot-c",
        "variant": "12",
        "status": "ok",
        "states": [parse_state(line) for line in lines],
        "weights_bytes": 79_500_000,
        "thread_bytes": 200_000,
        "thread_page_bytes": 204_800,
    }
    found = {c.target.split(": ")[1]: c for c in all_checks([record])}
    assert found["resident bytes of 12 models, weights + 1 MB"].met
    assert not found["resident bytes of a further thread, workspace and buffers"].met
    assert found["resident bytes gained in a million calls"].met
    assert not found["the same over an idle thread, in whole pages"].met
    idle = all_checks([{**record, "thread_page_bytes": 290_000}])
    (over_idle,) = (c for c in idle if "over an idle thread" in c.target)
    assert (over_idle.met, over_idle.value) == (True, 290_000)
    further = found["resident bytes of a further thread, workspace and buffers"]
    assert Reasons([record]).of(further) == (
        "an idle thread takes 10,000 bytes, and whole pages 4,800 more than workspace and buffers "
        "need"
    )


def test_misses_say_why() -> None:
    common = {"part": "grid", "model": "5x128", "batch": 64, "family": "grid", "status": "ok"}
    spread = {"median": 100.0, "low": 90.0, "high": 110.0}
    times = {"tfaot-c": 1.0, "tfaot": 1.1, "tfcompile": 2.0, "litert": 0.95}
    records = [
        {**common, "engine": engine, "microseconds": {k: v * factor for k, v in spread.items()}}
        for engine, factor in times.items()
    ]
    records[0]["fraction"] = {"median": 0.78, "low": 0.7, "high": 0.82}
    # With cold caches it is another measurement of the same cell.
    cold = {"part": "cold", "fraction": {"median": 0.1, "low": 0.1, "high": 0.1}}
    reasons = Reasons([*records, {**records[0], **cold}])
    found = {c.target: reasons.of(c) for c in all_checks(records) if not c.met}
    assert (
        "reaches 0.39 of the peak here, tfaot's 0.78"
        in found["grid: 4 times faster than tfcompile"]
    )
    assert "1.6 of the peak" in found["grid: 4 times faster than tfcompile"]
    assert found["grid: of the peak, 128 nodes, from batch 64"] == (
        "within the band: 0.70 to 0.82 in most rounds"
    )
    assert "95.0 µs" in found["grid, C: no slower than the fastest other engine"]
    assert (
        "call from Python is 10.0" in found["grid, Python: no slower than the fastest other engine"]
    )
    assert all(found.values())


def test_reasons_hold_no_folders_of_the_machine() -> None:
    record = {"reason": "IREE: /home/someone/.cache/bench/gru.mlir:12:3: error: a/b, 1/2 and /x"}
    assert report.without_folders(record) == {
        "reason": "IREE: gru.mlir:12:3: error: a/b, 1/2 and /x"
    }


def test_the_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


def test_the_quick_grid_is_a_tenth_of_the_full_one() -> None:
    full = sum(len(m.batches) for m in grid_models())
    quick = sum(len(m.batches) for m in quick_models())
    assert full == 24 * len(BATCHES)
    assert 0.08 < quick / full < 0.12
    assert {3, 7, 13, 15, 50, 100, 333, 1024} <= set(BATCHES)


def test_flops_count_multiplications_and_additions() -> None:
    assert grid_flops(2, 10) == 2 * (2 * 100 + 80)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12345.6, "12,346"), (123.4, "123"), (1.234, "1.23"), (0.1, "0.100")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_the_report_holds_every_cell(tmp_path: Path) -> None:
    engines = {n: make_engine(n) for n in ("tfcompile", "onnxruntime", "tfaot", "tfaot-c", "iree")}
    header = {"cpu": "some CPU", "rounds": 30, "versions": {"onnxruntime": "1.2"}}
    page = tmp_path / "docs" / "benchmarks.md"
    report.write(tmp_path / "out", page, header, RECORDS, engines)
    text = page.read_text()
    assert "some CPU" in text
    assert "| 5x128 | 64 | 20.0 | 30.0 |" in text
    assert "tfaot from C: 2.00 times as fast" in text
    assert "| IREE | failed | 5x128 | 64 | no / kernel |" in text
    assert "0.70 (0.60-0.80)" in text
    data = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert len(data["records"]) == len(RECORDS)
    with (tmp_path / "out" / "times.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["engine"] for r in rows if r["status"] == "ok"] == [
        "tfcompile", "onnxruntime", "openvino", "tfaot", "tfaot-c",
    ]  # fmt: skip
    assert rows[0]["median_us_per_row"] == str(20.0 / 64)


def test_plots_are_drawn_where_matplotlib_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `bench`")
    import plots

    records = [*RECORDS, cell("tfaot-c", 1.0, batch=1), cell("onnxruntime", 3.0, batch=1)]
    styles = {n: (n, "#123456") for n in ("onnxruntime", "tfaot-c")}
    drawn = plots.draw_all(tmp_path, records, styles)
    assert drawn == ["grid-time-5x128", "grid-speedup"]
    for name in drawn:
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
        assert (tmp_path / f"{name}.pdf").stat().st_size > 5000
