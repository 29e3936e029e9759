"""The command line as its users meet it: output, exit codes, one-line errors."""

import json
import os
import subprocess
import sys
import types

import numpy as np
import pytest
from toy_artifact import WEIGHTS, write_toy

import tfaot
from tfaot.cli.main import run
from tfaot.compiler import default_name
from tfaot.errors import UnsupportedError, VerificationError
from tfaot.options import check_name

W = np.array(WEIGHTS, np.float32)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


def failure(capsys, *arguments):
    """Exit code and the one line of the error."""
    code = run(list(arguments))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert "Traceback" not in captured.err
    return code, captured.err


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"tfaot {tfaot.__version__}\n"


def test_help(capsys):
    assert run([]) == 0
    assert "compile" in capsys.readouterr().out
    assert run(["compile", "--help"]) == 0
    text = capsys.readouterr().out
    for option in ("--batch-sizes", "--xla-flags", "--no-verify", "--input-shape", "--set"):
        assert option in text


def test_inspect(capsys, toy):
    assert run(["inspect", str(toy.manifest)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "input        x f32[n, 4]" in lines
    assert "output       y/out:0 f32[n, 4] as y_out" in lines
    assert "workspace    64 bytes" in lines
    assert "  elementwise  scale  layer/one" in lines
    assert run(["inspect", str(toy.manifest), "--json"]) == 0
    assert capsys.readouterr().out == toy.manifest.read_text(encoding="utf-8")


@pytest.mark.parametrize("keys", [("x", "double"), ("x", "double_"), ("in0", "in1")])
def test_run(tmp_path, toy, keys):
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez(tmp_path / "in.npz", **{keys[0]: x, keys[1]: np.array([1.0, -1.0, 0.0])})
    arguments = ["--inputs", str(tmp_path / "in.npz"), "--outputs", str(tmp_path / "out.npz")]
    assert run(["run", str(toy.manifest), *arguments]) == 0
    with np.load(tmp_path / "out.npz") as out:
        assert sorted(out.files) == ["größer */ 0?", "y/out:0"]
        np.testing.assert_array_equal(out["y/out:0"], x + x + W)
        assert out["größer */ 0?"].tolist() == [True, False, False]
    first = (tmp_path / "out.npz").read_bytes()
    assert run(["run", str(toy.manifest), *arguments]) == 0
    assert (tmp_path / "out.npz").read_bytes() == first
    assert sorted(os.listdir(tmp_path)) == ["in.npz", "out.npz"]


def test_run_errors(capsys, tmp_path, toy):
    source, target = str(tmp_path / "in.npz"), str(tmp_path / "out.npz")

    def fails(inputs=source, outputs=target):
        return failure(capsys, "run", str(toy.manifest), "--inputs", inputs, "--outputs", outputs)

    assert fails() == (2, f"tfaot: there is no file '{source}' (--inputs)\n")
    np.savez(source, y=np.zeros(3))
    code, error = fails()
    assert code == 2
    assert "has no array 'x' (or in0), it has 'y'" in error
    np.savez(source, x=np.zeros((3, 4)), double=np.zeros(3))
    assert "expected float32[n, 4]" in fails()[1]
    np.savez(source, x=np.zeros((3, 4), np.float32), double=np.zeros(3))
    assert "(--outputs)" in fails(outputs=str(tmp_path / "none" / "out.npz"))[1]
    with open(source, "wb") as file:
        file.write(b"PK\x03\x04garbage")
    assert "no .npz file" in fails()[1]
    np.savez(source, x=np.array([None]))
    assert "plain arrays" in fails()[1]
    np.save(tmp_path / "one.npy", np.zeros(3))
    assert "by name" in fails(inputs=str(tmp_path / "one.npy"))[1]
    assert not os.path.exists(target)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], ["No such command 'bogus'", "tfaot --help"]),
        (["inspect"], ["Missing argument"]),
        (["inspect", "none.json"], ["there is no manifest 'none.json'"]),
        (["inspect", "x", "--bogus"], ["--bogus"]),
        (["compile"], ["--config"]),
        (["compile", "none"], ["there is no model 'none'"]),
        (["compile", ".", "--name", "3x"], ["'3x' is no C identifier", "--name"]),
        (["compile", ".", "--name", "class"], ["reserved word"]),
        (["compile", ".", "--name", "signal"], ["the system's <signal.h>", "signal_model"]),
        (["compile", ".", "--name", "Math"], ["the system's <math.h>", "--name"]),
        (["compile", ".", "--name", "tfaot_model"], ["'tfaot_model'", "begin with tfaot_"]),
        (["compile", ".", "--namespace", "a::"], ["namespace 'a::'"]),
        (["compile", ".", "--batch-sizes", "1,0"], ["--batch-sizes: '0'"]),
        (["compile", ".", "--interface", "c"], ["--interface: 'c'", "c++, tfcompile"]),
        (["compile", ".", "--emit", "exe"], ["--emit", "asm, hlo, ll"]),
        (["compile", ".", "--set", "phase"], ["--set", "NAME=VALUE"]),
        (["compile", ".", "--set", "phase=maybe"], ["--set phase: 'maybe'"]),
        (["compile", ".", "--input-shape", "x=n,a"], ["--input-shape x: 'a'"]),
        (["compile", ".", "--input-shape", "x=1", "--input-shape", "x=2"], ["given twice"]),
        (["compile", ".", "--config", "none.yaml"], ["there is no configuration 'none.yaml'"]),
        (["verify", "none.json", "--model", "."], ["there is no manifest"]),
    ],
)
def test_wrong_command_lines(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, error = failure(capsys, *arguments)
    assert code == 2
    for word in words:
        assert word in error
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("signal.keras", "signal_model"),
        ("class.pb", "class_model"),
        ("tfaot_run.h5", "model_tfaot_run"),
        ("top tagger.keras", "top_tagger"),
    ],
)
def test_default_names_can_be_used(source, name):
    assert check_name(default_name(source)) == name


@pytest.fixture
def compiler(monkeypatch, toy):
    """Stands in for the compiler; `calls` holds what it was called with, `effect` what it does."""
    module = types.ModuleType("tfaot.compiler")
    module.calls, module.effect = [], None

    def compile_model(options, model, progress):
        module.calls.append((options, model))
        progress("lower", "3 [kernels]")
        if module.effect is not None:
            raise module.effect
        return toy

    module.compile_model = compile_model
    monkeypatch.setitem(sys.modules, "tfaot.compiler", module)
    return module


def test_compile_passes_every_option(capsys, tmp_path, compiler, toy):
    arguments = f"""compile {tmp_path} -o {tmp_path}/out --name tagger --signature predict
        --target native --batch-sizes 4,1,2 --namespace a::b --emit ll,asm --inputs a,b
        --outputs c --input-shape a=n,28,28,1 --input-shape b:0=[?,3] --set phase=false
        --set rate=0.5 --set n=3 --set v=1,2 --custom-objects my.layers:Gate --no-verify
        """.split()
    arguments += ["--xla-flags", "--xla_one=1 --xla_two=2", "--xla-flags=--xla_three"]
    arguments += ["--tf-xla-flags", "--tf_xla_auto_jit=0"]
    assert run(arguments) == 0
    options, model = compiler.calls[0]
    assert model == str(tmp_path)
    assert options.name == "tagger"
    assert options.signature == "predict"
    assert options.target == "native"
    assert options.batch_sizes == (1, 2, 4)
    assert options.namespace == "a::b"
    assert options.emit == ("asm", "ll")
    assert options.inputs == ("a", "b")
    assert options.outputs == ("c",)
    assert options.input_shapes == {"a": (None, 28, 28, 1), "b:0": (None, 3)}
    assert options.set_values == {"phase": False, "rate": 0.5, "n": 3, "v": (1, 2)}
    assert options.custom_objects == ("my.layers:Gate",)
    assert options.xla_flags == ("--xla_one=1", "--xla_two=2", "--xla_three")
    assert options.tf_xla_flags == ("--tf_xla_auto_jit=0",)
    assert options.verify is False
    captured = capsys.readouterr()
    assert captured.out.split() == [str(path) for path in toy.files]
    assert captured.err == ""  # no progress into a pipe


def test_compile_output_forms(capsys, tmp_path, compiler, toy):
    assert run(["compile", str(tmp_path), "-o", str(tmp_path), "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["compile", str(tmp_path), "-o", str(tmp_path), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["name"] == "toy"
    assert facts["files"] == [str(path) for path in toy.files]


def test_compile_from_a_configuration(tmp_path, compiler):
    (tmp_path / "model").mkdir()
    (tmp_path / "aot_config.yaml").write_text(
        "model: {name: tagger, version: 1.2, saved_model: ./model, serving_key: predict}\n"
        "compilation: {batch_sizes: [4, 1], namespace: deep, xla_flags: [--a, --b]}\n"
    )
    config = ["--config", str(tmp_path / "aot_config.yaml"), "-o", str(tmp_path / "out")]
    assert run(["compile", *config]) == 0
    options, model = compiler.calls[0]
    assert model == str(tmp_path / "model")
    assert (options.name, options.model_version, options.signature) == ("tagger", "1.2", "predict")
    assert (options.batch_sizes, options.namespace) == ((1, 4), "deep")
    assert (options.xla_flags, options.interface) == (("--a", "--b"), "c++")
    more = ["--name", "other", "--batch-sizes", "8", "--xla-flags", "--c"]
    more += ["--interface", "tfcompile"]
    assert run(["compile", str(tmp_path), *config, *more]) == 0
    options, model = compiler.calls[1]
    assert model == str(tmp_path)
    assert (options.name, options.batch_sizes) == ("other", (8,))
    assert (options.xla_flags, options.interface) == (("--a", "--b", "--c"), "tfcompile")


@pytest.mark.parametrize(
    ("effect", "code", "words"),
    [
        (UnsupportedError("op 'Foo'\nof layer 'bar'"), 2, "tfaot: op 'Foo' of layer 'bar'"),
        (VerificationError("output y, row 3"), 3, "tfaot: output y, row 3"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (RuntimeError("odd\nthing"), 1, "internal error, RuntimeError: odd thing (set TFAOT_DEBUG"),
    ],
)
def test_compile_failures(capsys, tmp_path, compiler, effect, code, words):
    compiler.effect = effect
    found, error = failure(capsys, "compile", str(tmp_path), "-o", str(tmp_path / "out"))
    assert found == code
    assert words in error
    assert not (tmp_path / "out").exists()


def test_debugging_shows_the_traceback(capsys, tmp_path, compiler, monkeypatch):
    monkeypatch.setenv("TFAOT_DEBUG", "1")
    compiler.effect = RuntimeError("odd")
    assert run(["compile", str(tmp_path), "-o", str(tmp_path)]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_python_compile(tmp_path, compiler, toy):
    assert tfaot.compile("m", tmp_path, name="t", batch_sizes=[2, 1], emit="ll") is toy
    options, model = compiler.calls[0]
    assert (model, options.name, options.batch_sizes, options.emit) == ("m", "t", (1, 2), ("ll",))
    with pytest.raises(tfaot.UsageError, match=r"no option 'nmae', known are .*name"):
        tfaot.compile("m", tmp_path, nmae="t")
    with pytest.raises(tfaot.UsageError, match="C identifier"):
        tfaot.compile("m", tmp_path, name="a-b")


def test_light_commands_import_little(toy):
    program = (
        "import sys\n"
        "from tfaot.cli.main import run\n"
        f"assert run(['inspect', {str(toy.manifest)!r}]) == 0\n"
        "print([k for k in ('tensorflow', 'llvmlite', 'numpy', 'jinja2', 'yaml', "
        "'ml_dtypes') if k in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_reader_that_goes_away(toy):
    command = f"{sys.executable} -m tfaot inspect {toy.manifest} --json | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_verify_passes_the_artifact_and_the_model(capsys, tmp_path, toy, monkeypatch):
    module = types.ModuleType("tfaot.verification")
    calls = []

    def verify_artifact(manifest, model, options, progress):
        calls.append((manifest, model, options))
        return {"worst": 1.5}

    module.verify_artifact = verify_artifact
    monkeypatch.setitem(sys.modules, "tfaot.verification", module)
    arguments = ["verify", str(toy.manifest), "--model", str(tmp_path), "--set", "phase=false"]
    assert run(arguments) == 0
    assert capsys.readouterr().out == "toy: verified\n"
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"worst": 1.5}
    manifest, model, options = calls[0]
    assert (manifest, model, options.set_values) == (toy.manifest, str(tmp_path), {"phase": False})
