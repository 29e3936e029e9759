"""What a user gets wrong: one line on standard error, exit code 2, nothing written."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tfaot.cli.main import run
from tfaot.compiler import compile_model
from tfaot.errors import InputError
from tfaot.options import make_options

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def tf():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def worker(tf):
    from tfaot.frontend.session import TensorFlowSession

    with TensorFlowSession() as running:
        yield running


@pytest.fixture(scope="module")
def save(tf, tmp_path_factory):
    """Save a function of f32[n, 4] as a SavedModel with two signatures."""

    def make(function):
        module = tf.Module()
        spec = tf.TensorSpec((None, 4), tf.float32, name="x")
        traced = tf.function(function, input_signature=[spec])
        module.weights = tf.Variable(np.eye(4, dtype=np.float32))
        module.function = traced
        path = tmp_path_factory.mktemp("saved") / "model"
        signatures = {"serving_default": traced, "second": traced}
        tf.saved_model.save(module, str(path), signatures=signatures)
        return path

    return make


@pytest.fixture(scope="module")
def good(save, tf):
    return save(lambda x: {"y": tf.nn.relu(x) * 2.0})


@pytest.fixture(scope="module")
def artifact(good, worker, tmp_path_factory):
    options = make_options(tmp_path_factory.mktemp("artifact"), name="good")
    return compile_model(options, good, lambda stage, detail: None, session=worker)


@pytest.fixture
def fails(worker, monkeypatch, capfd, tmp_path):
    """Run a command that must fail; the line that it printed. Workers are the one that runs."""
    from tfaot.frontend import session

    monkeypatch.setattr(
        session, "TensorFlowSession", lambda *a, **k: contextlib.nullcontext(worker)
    )
    monkeypatch.chdir(tmp_path)

    def check(*arguments, code=2):
        before = sorted(tmp_path.rglob("*"))
        assert run([str(a) for a in arguments]) == code
        captured = capfd.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("tfaot: ")
        assert captured.err.count("\n") == 1, captured.err
        assert "Traceback" not in captured.err
        assert sorted(tmp_path.rglob("*")) == before, "files were left behind"
        return captured.err

    return check


def test_a_missing_model(fails):
    assert "there is no model 'nowhere'" in fails("compile", "nowhere", "-o", "out")


def test_an_empty_model_folder(fails, tmp_path):
    (tmp_path / "empty").mkdir()

    assert "'empty'" in fails("compile", "empty", "-o", "out")


def test_a_wrong_signature_key_lists_those_there_are(fails, good):
    line = fails("compile", good, "-o", "out", "--signature", "predict")

    assert "predict" in line
    assert "serving_default" in line
    assert "second" in line


def test_an_op_that_xla_lacks_is_named_with_its_layer(fails, save, tf):
    def function(x):
        with tf.name_scope("spelling"):
            words = tf.strings.as_string(x, name="words")
        return {"y": tf.strings.to_number(words)}

    line = fails("compile", save(function), "-o", "out")

    assert "AsString" in line
    assert "spelling/words" in line


def test_an_op_that_code_generation_lacks_is_named_with_its_layer(fails, save, tf, monkeypatch):
    from tfaot.codegen.expression import RULES

    monkeypatch.delitem(RULES, "tanh")

    def function(x):
        with tf.name_scope("squash"):
            return {"y": tf.tanh(x, name="inner")}

    line = fails("compile", save(function), "-o", "out")

    assert "tanh" in line
    assert "squash/inner" in line
    assert "f32[" in line


def test_an_output_folder_that_is_a_file(fails, good, tmp_path):
    (tmp_path / "file").write_text("")

    assert "'file' is a file" in fails("compile", good, "-o", "file/out")


def test_an_output_folder_without_permission(fails, good, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    (tmp_path / "locked").mkdir(mode=0o500)

    assert "no permission" in fails("compile", good, "-o", "locked")


@pytest.mark.parametrize("name", ["3d", "a-b", "class", "naïve"])
def test_a_name_that_c_refuses(fails, good, name):
    assert f"'{name}'" in fails("compile", good, "-o", "out", "--name", name)


@pytest.mark.parametrize("target", ["pentium", "x86-64-v9"])
def test_an_unknown_target(fails, good, target):
    assert target in fails("compile", good, "-o", "out", "--target", target)


@pytest.fixture
def broken(artifact, tmp_path):
    """A copy of the artifact's files to damage: its manifest."""
    for file in artifact.files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    np.savez(tmp_path / "in.npz", x=np.zeros((2, 4), np.float32))
    return tmp_path / artifact.manifest.name


def run_arguments(manifest, inputs="in.npz"):
    return ("run", manifest, "--inputs", inputs, "--outputs", "out.npz")


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:100], lambda b: b.replace(b'"f32"', b'"f99"', 1)]
)
def test_a_corrupt_manifest(fails, broken, damage):
    broken.write_bytes(damage(broken.read_bytes()))

    assert "good.json" in fails(*run_arguments(broken))
    assert "good.json" in fails("inspect", broken)


@pytest.mark.parametrize(
    "damage", [lambda b: b"", lambda b: b[:-40], lambda b: b[:200] + b"x" + b[201:]]
)
def test_a_corrupt_object(fails, broken, damage):
    path = broken.with_suffix(".o")
    path.write_bytes(damage(path.read_bytes()))

    assert "good.o" in fails(*run_arguments(broken))


def test_a_missing_object(fails, broken):
    broken.with_suffix(".o").unlink()

    assert "good.o" in fails(*run_arguments(broken))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 5), np.float32),
        np.zeros((2, 4, 1), np.float32),
        np.zeros(4, np.float32),
        np.zeros((2, 4), np.float64),
        np.zeros((2, 4), np.int32),
    ],
    ids=["shape", "rank 3", "rank 1", "float64", "int32"],
)
def test_arrays_that_do_not_fit(fails, broken, artifact, array, tmp_path):
    np.savez(tmp_path / "wrong.npz", x=array)

    line = fails(*run_arguments(broken, "wrong.npz"))

    assert "'x'" in line
    assert "float32[n, 4]" in line
    with pytest.raises(InputError, match="'x'"):
        artifact.load()(array)


def test_arrays_that_are_not_contiguous_are_copied(artifact):
    model = artifact.load()
    wide = np.arange(80, dtype=np.float32).reshape(10, 8) - 40

    for view in (wide[:, ::2], wide[::-1, 4:], np.asfortranarray(wide[:, :4])):
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(model(view), np.maximum(view, 0) * 2)


def test_a_negative_batch_size(artifact):
    with pytest.raises(InputError):
        artifact.load().workspace_bytes(-1)


def test_the_command_itself_prints_one_line(good, tmp_path):
    command = [Path(sys.executable).with_name("tfaot"), "compile", good, "-o", tmp_path / "out"]
    done = subprocess.run(
        [*command, "--signature", "predict"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "serving_default" in done.stderr
    assert not (tmp_path / "out").exists()
