from __future__ import annotations

import functools
import json
from pathlib import Path

from tfaot.profiling import store
from tfaot.profiling.store import read_lines

Store = functools.partial(store.Store, keys=("part", "model", "batch", "engine"))

HEADER = {"cpu": "a", "rounds": 30}


def record(batch: int, engine: str = "iree", value: float = 1.0) -> dict[str, object]:
    return {"part": "grid", "model": "1x32", "batch": batch, "engine": engine, "value": value}


def test_a_run_goes_on_from_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Store(path, HEADER).add([record(1), record(2)])
    store = Store(path, HEADER)
    assert store.has(part="grid", batch=1)
    assert not store.has(part="grid", batch=4)
    store.add([record(4)])
    assert [r["batch"] for r in Store(path, HEADER).all()] == [1, 2, 4]


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Store(path, HEADER).add([record(1), record(2)])
    path.write_text(path.read_text()[:-9])
    store = Store(path, HEADER)
    assert [r["batch"] for r in store.all()] == [1]
    store.add([record(2)])
    assert [r["batch"] for r in Store(path, HEADER).all()] == [1, 2]


def test_results_of_other_versions_are_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Store(path, HEADER).add([record(1)])
    store = Store(path, {**HEADER, "cpu": "b"})
    assert store.all() == []
    old = read_lines(tmp_path / "results.jsonl.old")
    assert old[0] == {"header": HEADER}
    assert len(old) == 2


def test_a_later_record_of_the_same_cell_replaces_the_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "results.jsonl", HEADER)
    store.add([record(1, value=1.0)])
    store.add([record(1, value=2.0), record(1, engine="tfaot")])
    assert [r["value"] for r in store.select(batch=1)] == [2.0, 1.0]


def test_each_record_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    Store(path, HEADER).add([record(1), record(2)])
    assert [json.loads(line).get("batch") for line in path.read_text().splitlines()] == [None, 1, 2]
