"""`tfaot profile --kernels`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "consumer"))

from consumer_models import compile_to, poster

from tfaot.cli.main import run


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    """An artifact with timers."""
    model = poster("timed", (9, 20, 33, 3))
    return compile_to(tmp_path_factory.mktemp("timed"), model, timers=True).manifest


def test_table(timed, capsys):
    assert run(["profile", "--kernels", str(timed), "--batch-sizes", "1,7"]) == 0

    out = capsys.readouterr().out
    assert out.count("us a call (with timers)") == 2
    assert "timed, batch 7, x86-64-v3" in out
    assert "GFLOP/s of multiply-adds" in out
    assert out.count("  dot") >= 4


def test_json(timed, capsys):
    assert run(["profile", "--kernels", str(timed), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [f["batch"] for f in found] == [1, 64]
    for profile in found:
        assert sum(k["share"] for k in profile["kernels"]) == pytest.approx(1)
        assert all(0 <= k["of_peak"] < 1.5 for k in profile["kernels"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no model to profile"),
        (["missing.json"], "there is no model 'missing.json'"),
        (["PLAIN"], "was compiled without timers: give the model itself"),
        (["TIMED", "--engines", "tfaot"], "--kernels prints one thread's times .* no --engines"),
        (["TIMED", "--target", "native"], "is compiled: give --model"),
        (["TIMED", "--batch-sizes", "0"], "'0' is not a positive integer"),
        (["TIMED", "TIMED", "--model", "x"], "--model is what one compiled model"),
    ],
)
def test_mistakes(arguments, message, timed, tmp_path, capsys):
    import re

    plain = compile_to(tmp_path, poster("plain", (4, 8, 2))).manifest
    names = {"PLAIN": str(plain), "TIMED": str(timed)}

    assert run(["profile", "--kernels", *(names.get(a, a) for a in arguments)]) == 2

    err = capsys.readouterr().err
    assert re.search(message, err), err
    assert err.count("\n") == 1
