"""The worker process: errors, interruption, orphans; arrays that don't fit; no TensorFlow here."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfaot.errors import InputError, ModelError, UsageError
from tfaot.frontend.session import TensorFlowSession, open_model


@pytest.fixture(scope="module")
def model(session, tf):
    spec = [tf.TensorSpec([None, 2], name="x"), tf.TensorSpec([None], name="y")]
    body = tf.function(lambda x, y: tf.reduce_sum(x, 1) + y, input_signature=spec)
    with open_model(body, session=session) as loaded:
        yield loaded


def f32(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([f32(3, 2)], r"1 arrays given for 2 inputs \(x, y\)"),
        ([np.zeros((3, 2)), f32(3)], "'x' takes float32 and was given float64"),
        ([f32(3, 4), f32(3)], r"'x' takes the shape f32\[B,2\] and was given \(3, 4\)"),
        ([f32(3), f32(3)], "'x' takes the shape"),
        ([f32(3, 2), f32(4)], "'x' and 'y' have different batch sizes"),
    ],
)
def test_arrays_that_do_not_fit(model, inputs, reason):
    with pytest.raises(InputError, match=reason):
        model.evaluate(inputs)


@pytest.mark.tensorflow
def test_strided_arrays_are_accepted(model):
    x = np.arange(8, dtype=np.float32).reshape(2, 4)[:, ::2]
    np.testing.assert_array_equal(model.evaluate([x, f32(2)])[0], x.sum(axis=1))


@pytest.mark.tensorflow
def test_times_and_memory(model):
    times = model.time([f32(3, 2), f32(3)], repetitions=5, warmup=1)
    assert len(times) == 5
    assert all(t > 0 for t in times)
    assert model.resident_bytes() > 50e6


@pytest.mark.tensorflow
def test_batch_sizes_to_lower_at(model):
    with pytest.raises(UsageError, match="give a batch size"):
        model.lower(None)
    with pytest.raises(UsageError, match="not -1"):
        model.lower(-1)


@pytest.mark.tensorflow
def test_versions_are_told(model, tf):
    assert model.versions["tensorflow"] == tf.__version__


def test_a_wrong_path_starts_no_process(monkeypatch, tmp_path):
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(ModelError, match="there is no model"), open_model(tmp_path / "none"):
        pass


def test_the_package_does_not_import_tensorflow():
    code = "import sys, tfaot.frontend.session; assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_compiling_imports_tensorflow_in_one_module_only():
    source = Path(__file__).parents[2] / "src" / "tfaot"
    statement = re.compile(
        r"^\s*(import|from) (tensorflow|keras|tf_keras)\b"
        r"|import_module\((f|[\"'](tensorflow|keras|tf_keras)\b)",
        re.M,
    )
    importing = [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*.py"))
        # Engines are there to run other software, TensorFlow among it.
        if path.parent.name != "engines" and statement.search(path.read_text())
    ]
    assert importing == ["frontend/tensorflow.py"]


def test_a_closed_session_says_so(tmp_path):
    session = TensorFlowSession()
    session.close()
    with pytest.raises(UsageError, match="session is closed"):
        session.resident_bytes()


def test_a_killed_worker_is_told():
    with TensorFlowSession() as session:
        session._process.kill()
        with pytest.raises(ModelError, match="was ended by SIGKILL"):
            session.resident_bytes()


def _gone(pid: int) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_worker_outlives_its_session(how):
    code = (
        "from tfaot.frontend.session import TensorFlowSession\n"
        "with TensorFlowSession() as session:\n"
        "    print(session._process.pid, flush=True)\n"
        "    session.resident_bytes()\n"
        "    import time; time.sleep(60)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    if how == signal.SIGINT:
        # As a terminal does: the whole group gets it.
        os.killpg(parent.pid, how)
    else:
        parent.send_signal(how)
    parent.wait(120)
    parent.stdout.close()
    assert _gone(worker)


@pytest.mark.tensorflow
def test_an_unknown_xla_flag_is_told(keras):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with (
        open_model(model, xla_flags=["--xla_no_such_flag=1"]) as loaded,
        pytest.raises(UsageError, match="Unknown flag in XLA_FLAGS: --xla_no_such_flag"),
    ):
        loaded.lower(31)


def test_nothing_is_left_in_the_temporary_folder(tmp_path, keras, monkeypatch):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "m.keras")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setenv("TMPDIR", str(scratch))
    with open_model(tmp_path / "m.keras") as model:
        assert model.lower(31)
    assert list(scratch.iterdir()) == []
