"""`tfaot check` as its users meet it: text, JSON, exit codes; reports are made by hand here."""

import json
import re

import pytest

from tfaot import checker
from tfaot.checker.report import Answer, BatchReport, CheckReport, OpReport
from tfaot.checker.table import SupportTable, TensorFlowOp
from tfaot.cli import check_text
from tfaot.cli.main import run
from tfaot.ir.dtypes import DType


def op(name, layer="dense (Dense)", *, problem="", node="", **others):
    answer = Answer.NO if problem else Answer.YES
    fields = {
        "op": name,
        "node": node or f"dense/{name}",
        "layer": layer,
        "function": "",
        "inputs": ("float32[n,4]", "float32[4,2]"),
        "outputs": ("float32[n,2]",),
        "xla": answer,
        "xla_ops": () if problem else ("dot f32[n,2]",),
        "generated": Answer.UNKNOWN if problem else Answer.YES,
        "problem": problem,
        "advice": "do without" if problem else "",
    }
    return OpReport(**(fields | others))


def report(*ops, **others):
    fields = {
        "model": "m.keras",
        "inputs": (("x", "float32[n,4]"),),
        "outputs": (("y", "float32[n,2]"),),
        "ops": ops,
        "batch": BatchReport("symbolic", (), True),
    }
    return CheckReport(**(fields | others))


@pytest.fixture
def checked(monkeypatch, capsys):
    """Run `tfaot check` on a report made by hand; exit code and lines."""

    def call(found, *options):
        given = {}
        monkeypatch.setattr(
            checker, "check_model", lambda model, **kw: given.update(kw, model=model) or found
        )
        code = run(["check", "m.keras", *options])
        return code, capsys.readouterr().out.splitlines(), given

    return call


def test_a_model_that_compiles(checked):
    gone = op("Shape", xla_ops=(), generated=Answer.NOTHING_LEFT)
    many = [op("MatMul"), op("MatMul", "other (Dense)"), op("Const"), gone]
    code, lines, _ = checked(report(*many))

    assert code == 0
    assert lines[:5] == [
        "model        m.keras",
        "input        x float32[n,4]",
        "output       y float32[n,2]",
        "batch        symbolic, rows independent",
        "ops          4, 1 of them constants and the like",
    ]
    (row,) = [line.split() for line in lines if "MatMul" in line]
    assert row[:3] == ["ok", "2", "MatMul"]
    assert " ".join(row[3:]) == (
        "float32[n,4], float32[4,2] -> float32[n,2] dense (Dense), other (Dense) dot"
    )
    assert not [line for line in lines if "Const" in line]
    assert any(line.startswith("-   nothing is left of it") for line in lines)
    assert lines[-1] == "can be compiled"


def test_what_is_missing(checked):
    bad = op("ResizeBicubic", problem="XLA has no kernel for it")
    unknown = op("Relu", xla=Answer.UNKNOWN, generated=Answer.UNKNOWN, xla_ops=())
    code, lines, _ = checked(report(bad, unknown, refusal="XLA can't compile the ops ..."))

    assert code == 1
    start = lines.index("ResizeBicubic: XLA has no kernel for it")
    assert lines[start + 1 : start + 5] == [
        "  node     dense/ResizeBicubic",
        "  layer    dense (Dense)",
        "  types    float32[n,4], float32[4,2] -> float32[n,2]",
        "  to do    do without",
    ]
    assert [line.split()[:3] for line in lines if " Relu " in line] == [["?", "1", "Relu"]]
    assert lines[-1] == "can't be compiled: 1 op to change"


def test_a_refusal_that_is_no_ops(checked):
    why = "the input 's' has the type string"
    code, lines, _ = checked(report(op("MatMul"), refusal=why, advice="begin later"))

    assert code == 1
    assert lines[-3:] == [
        "can't be compiled",
        f"  because  {why}",
        "  to do    begin later",
    ]


def test_rows_that_mix(checked):
    batch = BatchReport("symbolic", (), False, "op 'reduce' reduces", "Mean", "a/Mean", "a")
    code, lines, _ = checked(report(op("Mean"), batch=batch))

    assert code == 0
    assert (
        "batch        symbolic, rows depend on each other (Mean 'a/Mean': op 'reduce' reduces)"
        in lines
    )


def test_all_nodes(checked):
    _, lines, _ = checked(report(op("MatMul", node="a/m"), op("MatMul", node="b/m")), "--all")
    assert [line.split()[0:2] for line in lines if "/m" in line] == [["ok", "MatMul"]] * 2


def test_json_and_quiet(checked):
    bad = report(op("MatMul", problem="no"), refusal="no")
    code, lines, _ = checked(bad, "--json")
    plain = json.loads("\n".join(lines))
    assert code == 1
    assert plain["compiles"] is False
    assert plain["inputs"] == [{"name": "x", "type": "float32[n,4]"}]
    assert plain["ops"][0]["xla"] == "no"
    assert plain["ops"][0]["advice"] == "do without"

    code, lines, _ = checked(bad, "--quiet")
    assert (code, lines) == (1, [])


def test_options_are_those_of_a_compile(checked):
    _, _, given = checked(
        report(),
        *("--signature", "s", "--inputs", "a,b", "--outputs", "c", "--input-shape", "a=n,3"),
        *("--set", "t=false", "--batch-sizes", "4,1", "--static", "--xla-flags", "--xla_a=1"),
        *("--custom-objects", "m:f"),
    )
    assert given["model"] == "m.keras"
    assert given["signature"] == "s"
    assert given["inputs"] == ("a", "b")
    assert given["outputs"] == ("c",)
    assert given["input_shapes"] == {"a": (None, 3)}
    assert given["set_values"] == {"t": False}
    assert given["batch_sizes"] == (1, 4)
    assert given["static"] is True
    assert given["xla_flags"] == ("--xla_a=1",)
    assert given["custom_objects"] == ("m:f",)


def test_a_configuration(checked, tmp_path, monkeypatch):
    (tmp_path / "aot.yaml").write_text(
        "model: {name: m, saved_model: sm, serving_key: s}\ncompilation: {batch_sizes: [2]}\n"
    )
    given = {}
    monkeypatch.setattr(
        checker, "check_model", lambda model, **kw: given.update(kw, model=model) or report()
    )
    assert run(["check", "--config", str(tmp_path / "aot.yaml")]) == 0
    assert given["model"].endswith("sm")
    assert given["signature"] == "s"
    assert given["batch_sizes"] == (2,)


def test_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    check_text.print_report(report(op("MatMul", "[red]x")), every=False)
    out = capsys.readouterr().out
    assert "MatMul" in out
    assert "[red]x" in out
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines())) <= 100


def test_table(monkeypatch, capsys):
    ops = (
        TensorFlowOp("MatMul", (("T", ("float32", "int32")),), ""),
        TensorFlowOp("RandomUniform", (), "draws random numbers from a hidden state"),
    )
    xla = {"dot": {DType.F32: True, DType.C64: False}}
    monkeypatch.setattr("tfaot.checker.table.support_table", lambda: SupportTable(ops, xla, "2.21"))
    assert run(["check", "--table"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "MatMul         T: float32, int32" in lines
    assert "RandomUniform  draws random numbers from a hidden state" in lines
    assert "dot     f32" in lines
    assert run(["check", "--table", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["xla"] == {"dot": ["f32"]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no model: give MODEL"),
        (["m.keras"], "there is no model at 'm.keras': check the path"),
        (["notes.txt"], "no model format"),
        (["empty"], "is empty: give a SavedModel directory"),
        (["other"], "no saved_model.pb"),
        (["m.keras", "--table"], "give it without MODEL"),
        (["notes.txt", "--batch-sizes", "x"], "--batch-sizes: 'x' is not a positive integer"),
        (["notes.txt", "--set", "a"], "--set: 'a' must have the form NAME=VALUE"),
        (["notes.txt", "--input-shape", "a=zz"], "--input-shape a: 'zz' is no size"),
        (["notes.txt", "--static"], "--static needs the sizes"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_mistakes(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("nothing that is a model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("x")

    assert run(["check", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert says in captured.err
