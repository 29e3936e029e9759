"""Results as JSON and CSV: what is in them, and reading them again."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tfaot.errors import UsageError
from tfaot.profiling.results import (
    MEMORY_COLUMNS,
    RUNTIME_COLUMNS,
    SAMPLE_COLUMNS,
    Bytes,
    Failure,
    MemoryResult,
    MemoryState,
    Profile,
    RuntimeResult,
    read_profile,
)


def states(step: int = 1) -> tuple[MemoryState, ...]:
    return (
        MemoryState("start", 0, 0, Bytes(100, 60)),
        MemoryState("runtime", 0, 0, Bytes(150, 80)),
        MemoryState("load", 2, 0, Bytes(160, 85)),
        MemoryState("run", 2, 1, Bytes(200, 100)),
        MemoryState("run", 2, 4, Bytes(200 + 40 * step, 100 + 30 * step)),
    )


PROFILE = Profile(
    {"cpu": "some CPU"},
    {"repetitions": 5},
    (
        RuntimeResult("größe, 1", "tfaot-c", "tfaot (C)", "0.1", 4, 1, (4.0, 1.0, 2.0, 3.0, 9.0)),
        RuntimeResult("größe, 1", "iree", "IREE", "3", 4, 2, (8.0,), "differs from TensorFlow"),
    ),
    (MemoryResult("größe, 1", "tfaot-c", "tfaot (C)", "0.1", 4, 2, states()),),
    (
        Failure("runtime", "größe, 1", "litert", "LiteRT", "LiteRT is not installed: pip install"),
        Failure("runtime", "größe, 1", "tfcompile", "XLA AOT", "not tried", 3),
        Failure("memory", "größe, 1", "litert", "LiteRT", "it takes too long", None, 4),
    ),
)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_spread_of_a_runtime() -> None:
    result = PROFILE.runtime[0]
    assert result.spread.median == 3.0
    assert result.spread.low == pytest.approx(1.64)
    assert result.spread_per_row.median == 0.75


def test_memory_in_parts() -> None:
    (result,) = PROFILE.memory
    assert result.threads == (1, 4)
    assert result.runtime == Bytes(50, 20)
    assert result.models == Bytes(50, 20)
    assert result.over_start(4) == Bytes(140, 70)
    with pytest.raises(KeyError, match="run with 3 threads"):
        result.at("run", 3)


def test_json_holds_everything(tmp_path: Path) -> None:
    files = PROFILE.write(tmp_path)
    assert [f.name for f in files] == ["profile.json", "runtime.csv", "samples.csv", "memory.csv"]
    assert read_profile(tmp_path) == read_profile(tmp_path / "profile.json") == PROFILE
    data = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    assert (data["format"], data["version"]) == ("tfaot-profile", 1)
    assert data["runtime"][0]["spread"]["median"] == 3.0
    assert data["memory"][0]["models"] == {"resident": 50, "private": 20}
    assert data["failures"][1]["batch_size"] == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(f.name for f in files)


def test_csv_tells_what_was_measured_and_what_was_not() -> None:
    rows = table(PROFILE.runtime_csv())
    assert list(rows[0]) == RUNTIME_COLUMNS
    first, second, *failed = rows
    assert first["model"] == "größe, 1"
    assert (first["batch_size"], first["status"], first["repetitions"]) == ("4", "ok", "5")
    assert (first["median_ms"], first["median_ms_per_row"]) == ("3", "0.75")
    assert second["note"] == "differs from TensorFlow"
    assert [(r["engine"], r["batch_size"], r["status"]) for r in failed] == [
        ("litert", "", "failed"),
        ("tfcompile", "3", "failed"),
    ]
    assert failed[0]["note"].startswith("LiteRT is not installed")


def test_csv_of_every_repetition_and_of_every_state() -> None:
    samples = table(PROFILE.samples_csv())
    assert list(samples[0]) == SAMPLE_COLUMNS
    assert [r["runtime_ms"] for r in samples] == ["4", "1", "2", "3", "9", "8"]
    memory = table(PROFILE.memory_csv())
    assert list(memory[0]) == MEMORY_COLUMNS
    assert [r["stage"] for r in memory] == ["start", "runtime", "load", "run", "run", ""]
    assert (memory[4]["threads"], memory[4]["resident_bytes"]) == ("4", "240")
    assert (memory[5]["status"], memory[5]["copies"]) == ("failed", "4")


def test_files_only_for_what_was_asked(tmp_path: Path) -> None:
    runtime = replace(PROFILE, memory=(), failures=PROFILE.failures[:1])
    assert "memory.csv" not in [f.name for f in runtime.write(tmp_path)]


def test_a_file_as_mlprof_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "cnn.csv"
    path.write_text("1,0.5\n1,0.7\n1,0.6\n4,2.0\n")
    results = read_profile(path).runtime
    assert [(r.model, r.batch_size, r.milliseconds) for r in results] == [
        ("cnn", 1, (0.5, 0.7, 0.6)),
        ("cnn", 4, (2.0,)),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{}", "is no result of tfaot profile: give its profile.json"),
        ("a.json", b"no JSON", "is no result of tfaot profile"),
        ("a.json", b"[1]", "is no result of tfaot profile"),
        ("a.json", b"\xff\xfe", "it is not text"),
        ("a.json", b'{"format": "tfaot-profile", "version": 9}', "of a later tfaot"),
        ("a.json", b'{"format": "tfaot-profile", "version": 1}', "is no result"),
        ("a.csv", b"model,engine\na,b\n", "has no lines 'batch size,milliseconds'"),
        ("a.csv", b"", "is empty"),
    ],
)
def test_files_that_are_no_results(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_profile(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no result file"):
        read_profile(tmp_path)
