"""`tfaot profile` and `tfaot plot` as their users meet them: output, files, one-line errors."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from consumer_models import compile_to, poster

from tfaot.cli.main import run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    return str(compile_to(folder, poster("dense", (9, 20, 33, 3))).manifest)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return str(tmp_path_factory.mktemp("work"))


@pytest.fixture
def profile(work, tmp_path):
    """Profiles runtimes in tfaot alone, with few repetitions, into `out`."""

    def call(*arguments):
        small = ["--engines", "tfaot", "--batch-sizes", "1,3", "--repetitions", "4"]
        places = ["--measure", "runtime", "--work", work, "-o", str(tmp_path / "out")]
        return run(["profile", *small, *places, *arguments])

    return call


def failure(capsys, code):
    """The one line of an error that is the user's."""
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("tfaot: ")
    return captured.err


def test_a_profile(capsys, tmp_path, model, profile):
    assert profile(model, "--no-plots") == 0
    captured = capsys.readouterr()
    head, first, second, *files = captured.out.splitlines()
    assert head.startswith("model  engine          threads  batch    ms/call")
    assert first.split()[:5] == ["dense", "tfaot", "(Python)", "1", "1"]
    assert second.split()[4] == "3"
    names = ["profile.json", "runtime.csv", "samples.csv"]
    assert files == [str(tmp_path / "out" / name) for name in names]
    with (tmp_path / "out" / "samples.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 8
    assert captured.err == ""


def test_json_alone(capsys, tmp_path, model, profile):
    assert profile(model, "--no-plots", "--json", "--labels", "Tagger") == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "profile.json").read_text()
    assert [r["model"] for r in json.loads(printed)["runtime"]] == ["Tagger", "Tagger"]


def test_engines_left_out_are_said(capsys, model, profile):
    assert profile(model, "--no-plots", "--engines", "tfaot,iree", "--batch-sizes", "1") == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("note: dense: IREE is left out: ")
    assert "not measured" in captured.out
    assert "  dense, IREE, runtime: " in captured.out


def test_plots_of_a_profile_and_of_several(capsys, tmp_path, model, profile):
    pytest.importorskip("matplotlib", reason="pip install 'tfaot[plot]'")
    assert profile(model, "--x-log", "--y-log", "--per-call") == 0
    out = tmp_path / "out"
    files = capsys.readouterr().out.splitlines()[-2:]
    assert files == [str(out / "runtime.png"), str(out / "runtime.pdf")]
    (tmp_path / "other.csv").write_text("1,0.5\n3,0.6\n")
    arguments = ["plot", str(out), str(tmp_path / "other.csv"), "-o", str(tmp_path / "plots")]
    assert run([*arguments, "--labels", "new,old", "--y-log", "--formats", "png"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'plots' / 'runtime.png'}\n"
    assert (tmp_path / "plots" / "runtime.png").read_bytes().startswith(b"\x89PNG")


def test_a_configuration(capsys, tmp_path, model, work):
    text = f"models: [{{artifact: {model}, label: Tagger}}]\nengines: [tfaot]\nbatch_sizes: [1]\n"
    (tmp_path / "p.yaml").write_text(
        text + f"repetitions: 3\nmeasure: [runtime]\nwork: {work}\noutput: results\n"
    )
    assert run(["profile", "--config", str(tmp_path / "p.yaml"), "--no-plots", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    data = json.loads((tmp_path / "results" / "profile.json").read_text())
    assert [len(r["milliseconds"]) for r in data["runtime"]] == [3]
    arguments = ["--repetitions", "5", "--labels", "Other", "-q", "--no-plots"]
    assert run(["profile", "--config", str(tmp_path / "p.yaml"), *arguments]) == 0
    data = json.loads((tmp_path / "results" / "profile.json").read_text())
    assert [(r["model"], len(r["milliseconds"])) for r in data["runtime"]] == [("Other", 5)]


def test_a_profile_without_matplotlib(capsys, model, profile, monkeypatch):
    from tfaot.errors import UsageError
    from tfaot.profiling import plots

    def missing():
        raise UsageError("plots are drawn by matplotlib, which is missing")

    monkeypatch.setattr(plots, "check_plotting", missing)
    assert profile(model) == 0
    assert capsys.readouterr().err == (
        "note: no plots: plots are drawn by matplotlib, which is missing\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL", "--batch-sizes", "0"], "--batch-sizes: '0' is not a positive integer"),
        (["MODEL", "--threads", "x"], "--threads: 'x' is not a positive integer"),
        (["MODEL", "--engines", "onnx"], "there is no engine 'onnx', choose from tensorflow"),
        (["MODEL", "--engines", "tensorflow"], "nothing could be measured: TensorFlow: "),
        (["MODEL", "--repetitions", "0"], "repetitions 0: give 1 or more"),
        (["MODEL", "--inputs", "noise"], "inputs 'noise' are not known: give random, zeros"),
        (["MODEL", "--inputs", "no.npz"], "there is no file 'no.npz' to take inputs from"),
        (["MODEL", "--columns", "x=a"], "--tree and --columns are those of a ROOT file"),
        (["MODEL", "--inputs", "x.root", "--columns", "x"], "--columns: 'x' must have the form"),
        (["MODEL", "MODEL"], "two models are called 'dense': give labels (--labels a,b)"),
        (["MODEL", "--labels", "a,b"], "--labels has 2 names for 1 models"),
        (["MODEL", "--model", "no.keras"], "there is no model 'no.keras' (--model)"),
        (["--config", "no.yaml"], "there is no configuration 'no.yaml'"),
        (["no.keras"], "there is no model 'no.keras'"),
        ([], "there is no model to profile: give a path, or --config"),
        (["MODEL", "-o", "/dev/null/x"], "'/dev/null' is a file (-o)"),
    ],
)
def test_wrong_calls(capsys, model, profile, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = profile(*(model if a == "MODEL" else a for a in arguments), "--no-plots", "-q")
    assert message in failure(capsys, code)
    assert not (tmp_path / "out" / "profile.json").exists()


def test_wrong_rows(capsys, tmp_path, model, profile):
    def fails(**arrays):
        np.savez(tmp_path / "rows.npz", **arrays)
        return failure(capsys, profile(model, "--inputs", str(tmp_path / "rows.npz")))

    assert "has no array 'features' (or in0), it has 'x'" in fails(x=np.ones((1, 9)))
    assert "has the shape [1, 4], the model's input 'features' is [n, 9]" in fails(
        features=np.ones((1, 4))
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_access(capsys, tmp_path, model, profile):
    (tmp_path / "locked").mkdir(mode=0o500)
    message = failure(capsys, profile(model, "-o", str(tmp_path / "locked" / "out")))
    assert "no permission (-o)" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "there is no result file 'none.json'"),
        (["bad.json"], "'bad.json' is no result of tfaot profile: give its profile.json"),
        (["good.csv", "--kind", "speed"], "--kind: 'speed' is not known, give runtime or memory"),
        (["good.csv", "--kind", "memory"], "the results hold nothing to draw of memory"),
        (["good.csv", "--labels", "a,b"], "--labels has 2 labels for 1 curves"),
        (["good.csv", "--sources", "a,b"], "--sources has 2 names for 1 files"),
        (["good.csv", "--formats", "gif"], "format 'gif' is not known"),
        (["good.csv", "--engines", "tfaot"], "--engines: a result file has none of these"),
        (["good.csv", "-o", "/dev/null/x"], "'/dev/null' is a file (-o)"),
    ],
)
def test_wrong_plots(capsys, tmp_path, monkeypatch, arguments, message):
    pytest.importorskip("matplotlib", reason="pip install 'tfaot[plot]'")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{}")
    (tmp_path / "good.csv").write_text("1,0.5\n")
    assert message in failure(capsys, run(["plot", *arguments]))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.json", "good.csv"]


def test_nothing_of_profiles_is_loaded_by_other_commands(model, tmp_path):
    np.savez(tmp_path / "in.npz", features=np.ones((2, 9), np.float32))
    program = (
        "import sys\n"
        "import tfaot, tfaot.compiler\n"
        "from tfaot.cli.main import run\n"
        f"places = ['--inputs', 'in.npz', '--outputs', 'out.npz']\n"
        f"assert run(['run', {model!r}, *places]) == 0\n"
        f"assert run(['inspect', {model!r}]) == 0\n"
        "print(sorted(k for k in ('matplotlib', 'mplhep', 'uproot', 'tfaot.profiling', "
        "'tfaot.engines') if k in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "[]"
