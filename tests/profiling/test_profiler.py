"""Whole profiles of models made without TensorFlow: results, resuming, crashes, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import consumer_models
import numpy as np
import pytest
from consumer_models import compile_to, mixing, poster

import tfaot
from tfaot.compiler import Lowered
from tfaot.engines.files import Input
from tfaot.engines.native import find_compiler
from tfaot.errors import InputError, UsageError
from tfaot.profiling import profiler, read_profile
from tfaot.profiling.profiler import JOURNAL, run_profile

NEEDS_COMPILER = pytest.mark.skipif(
    find_compiler() is None, reason="tfaot from C needs a C compiler: apt-get install gcc"
)
NEEDS_SMAPS = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="memory is measured on Linux"
)


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]


def kept(folder: Path) -> list[float]:
    """All samples in the journal, whose last line may be cut."""
    found: list[float] = []
    for line in (folder / JOURNAL).read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break
        found += record.get("milliseconds", [])
    return found


@NEEDS_COMPILER
def test_runtimes_of_two_engines_and_models(settings, compiled: Path, tmp_path: Path) -> None:
    models = [compiled / "dense.json", compiled / "several.json"]
    profile = run_profile(settings(models, engines=["tfaot", "tfaot-c"]))
    assert [(r.model, r.engine, r.batch_size) for r in profile.runtime] == [
        (m, e, b) for m in ("dense", "several") for e in ("tfaot", "tfaot-c") for b in (1, 3)
    ]
    for r in profile.runtime:
        assert len(r.milliseconds) == 4
        assert min(r.milliseconds) > 0
        assert (r.threads, r.version, r.note) == (1, tfaot.__version__, "")
    assert profile.failures == profile.memory == ()
    assert [f.name for f in profile.files] == ["profile.json", "runtime.csv", "samples.csv"]
    assert read_profile(tmp_path / "out") == profile
    assert profile.settings["models"][0]["label"] == "dense"
    assert profile.machine["cpu"]


def test_python_gives_typed_results_and_keeps_nothing(
    compiled: Path, work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    profile = tfaot.profile(
        compiled / "dense.json",
        engines="tfaot",
        batch_sizes=2,
        repetitions=3,
        measure="runtime",
        inputs="ones",
        work=work,
    )
    (result,) = profile.runtime
    assert result.spread.low <= result.spread.median <= result.spread.high
    assert profile.files == ()
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_batch_axis(settings, compiled: Path) -> None:
    profile = run_profile(settings(compiled / "fixed.json", batch_sizes=[1, 8]))
    assert [r.batch_size for r in profile.runtime] == [1]


def test_threads(settings) -> None:
    profile = run_profile(settings(threads=[1, 64], batch_sizes=[1], repetitions=2))
    one, many = profile.runtime
    assert (one.threads, many.threads) == (1, 64)
    assert one.note == ""
    cores = len(os.sched_getaffinity(0))
    assert many.note == (f"64 threads on {cores} cores" if cores < 64 else "")


def test_what_is_measured_is_not_measured_again(settings, tmp_path: Path) -> None:
    first = run_profile(settings())
    lines = len(journal(tmp_path / "out"))
    assert run_profile(settings()).runtime == first.runtime
    assert len(journal(tmp_path / "out")) == lines
    # More repetitions and batch sizes are added to what is there.
    more = run_profile(settings(repetitions=6, batch_sizes=[1, 3, 5]))
    assert [len(r.milliseconds) for r in more.runtime] == [6, 6, 6]
    for old, new in zip(first.runtime, more.runtime, strict=False):
        assert new.milliseconds[:4] == old.milliseconds
    # Fewer are taken from it.
    assert run_profile(settings(repetitions=4)).runtime == first.runtime


def test_other_rows_are_measured_anew(settings, tmp_path: Path) -> None:
    first = run_profile(settings(batch_sizes=[1]))
    second = run_profile(settings(batch_sizes=[1], inputs="zeros"))
    assert first.runtime[0].milliseconds != second.runtime[0].milliseconds
    assert second.settings["models"][0]["inputs"] == "zeros"


def test_another_clock_or_warmup_is_measured_anew(settings) -> None:
    first = run_profile(settings(batch_sizes=[1]))
    for others in ({"warmup": 1}, {"clock": "cpu"}):
        other = run_profile(settings(batch_sizes=[1], **others))
        assert other.runtime[0].milliseconds != first.runtime[0].milliseconds
    assert run_profile(settings(batch_sizes=[1])).runtime == first.runtime


def test_results_of_another_machine_are_set_aside(
    settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_profile(settings())
    monkeypatch.setattr(profiler, "describe_machine", lambda: {"cpu": "another"})
    notes: list[str] = []
    profile = run_profile(settings(), note=notes.append)
    assert profile.machine == {"cpu": "another"}
    assert len(notes) == 1
    assert f"{JOURNAL}.old" in notes[0]
    assert (tmp_path / "out" / f"{JOURNAL}.old").exists()


def start(compiled: Path, work: Path, output: Path) -> subprocess.Popen[str]:
    """A profile that would go on for hours, in a process group of its own."""
    options = ["--engines", "tfaot", "--batch-sizes", "1", "--repetitions", "1000000000"]
    others = ["--measure", "runtime", "--work", str(work), "-o", str(output)]
    return subprocess.Popen(
        [sys.executable, "-m", "tfaot", "profile", str(compiled / "dense.json"), *options, *others],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def measured_something(output: Path) -> bool:
    return (output / JOURNAL).exists() and len(kept(output)) > 10


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_killed_run_goes_on(settings, compiled: Path, work: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    process = start(compiled, work, output)
    try:
        wait_for(lambda: measured_something(output))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    # What measured for it ends, too.
    wait_for(lambda: group_is_gone(process.pid))
    before = kept(output)
    assert not (output / "profile.json").exists()
    options = {"batch_sizes": [1], "repetitions": len(before) + 5}
    (result,) = run_profile(settings(**options)).runtime
    assert len(result.milliseconds) == len(before) + 5
    assert list(result.milliseconds[: len(before)]) == before
    assert read_profile(output).runtime == (result,)


def test_an_interrupted_run_says_how_to_go_on(compiled: Path, work: Path, tmp_path: Path) -> None:
    process = start(compiled, work, tmp_path)
    try:
        wait_for(lambda: measured_something(tmp_path))
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines() == [
        "note: what was measured is kept: start the same command again to go on",
        "tfaot: interrupted",
    ]
    wait_for(lambda: group_is_gone(process.pid))
    assert len(kept(tmp_path)) > 10


CRASHES = """
import json, os, signal, sys
job = json.loads(sys.stdin.readline())
for name in job["engines"]:
    print(json.dumps({"event": "doing", "engine": name, "what": "loading"}), flush=True)
    if name == "tfaot":
        print("first line\\nwhat it died of", file=sys.stderr, flush=True)
        END
    for batch, wanted in job["cells"].items():
        print(json.dumps({"event": "samples", "batch": int(batch),
                          "milliseconds": {name: [1.0] * wanted[name]}}), flush=True)
print(json.dumps({"event": "end"}), flush=True)
"""


@NEEDS_COMPILER
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "its process was ended by SIGSEGV"),
        ("os._exit(3)", "its process ended with status 3: what it died of"),
    ],
)
def test_an_engine_that_ends_the_process_is_left_out(
    settings, monkeypatch: pytest.MonkeyPatch, end: str, reason: str
) -> None:
    program = CRASHES.replace("END", end)
    monkeypatch.setattr(profiler, "WORKER", (sys.executable, "-c", program))
    profile = run_profile(settings(engines=["tfaot-c", "tfaot"]))
    assert {r.engine for r in profile.runtime} == {"tfaot-c"}
    assert [len(r.milliseconds) for r in profile.runtime] == [4, 4]
    assert [(f.engine, f.reason) for f in profile.failures] == [("tfaot", reason)]


def test_engines_that_can_not_run_are_said(settings, compiled: Path) -> None:
    notes: list[str] = []
    profile = run_profile(settings(engines=["tfaot", "tensorflow"]), note=notes.append)
    assert {r.engine for r in profile.runtime} == {"tfaot"}
    (failure,) = profile.failures
    assert (failure.engine, failure.kind) == ("tensorflow", "runtime")
    assert failure.batch_size is None
    assert "--model" in failure.reason or "pip install" in failure.reason
    assert notes == [f"dense: TensorFlow is left out: {failure.reason}"]


def test_a_missing_engine_says_how_to_get_it(
    settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, package=None: None if name == "onnxruntime" else real(name, package),
    )
    message = "nothing could be measured: ONNX Runtime: .*pip install onnxruntime"
    with pytest.raises(UsageError, match=message) as caught:
        run_profile(settings(engines=["onnxruntime"]))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "profile.json").exists()


def test_batch_sizes_that_a_model_does_not_take(
    settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    rows_mixed = partial(Lowered, composable=False)
    monkeypatch.setattr(
        consumer_models, "Lowered", lambda *given, composable=False: rows_mixed(*given)
    )
    artifact = compile_to(tmp_path / "model", replace(mixing(), static=(2, 4)))
    profile = run_profile(settings(artifact.manifest, batch_sizes=[2, 3]))
    assert [r.batch_size for r in profile.runtime] == [2]
    (failure,) = profile.failures
    assert failure.batch_size == 3
    assert "batch size" in failure.reason


def test_rows_from_a_file(settings, tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", features=np.ones((2, 9), np.float32))
    profile = run_profile(settings(inputs=str(tmp_path / "rows.npz")))
    assert len(profile.runtime) == 2
    np.savez(tmp_path / "rows.npz", features=np.ones((2, 8), np.float32))
    with pytest.raises(InputError, match=r"has the shape \[2, 8\], .*'features' is \[n, 9\]"):
        run_profile(settings(inputs=str(tmp_path / "rows.npz")))


def test_the_output_folder(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"'.*file' is a file \(-o\)"):
        run_profile(settings(output=tmp_path / "file" / "in"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"can't write to output folder .*no permission"):
        run_profile(settings())


def test_two_runs_do_not_share_a_folder(settings, tmp_path: Path) -> None:
    with (
        profiler._locked(tmp_path / "out"),
        pytest.raises(UsageError, match="another profile is writing to"),
    ):
        run_profile(settings())
    assert run_profile(settings()).runtime


def test_artifact_and_model_must_agree() -> None:
    from tfaot.profiling.prepare import check_same_inputs

    mine = (Input("x", "float32", (None, 9)),)
    check_same_inputs("a.json", mine, "m.keras", (Input("y", "float32", (None, 9)),))
    with pytest.raises(UsageError, match=r"'a.json' has the input 'x' float32\[n, 9\], 'm.keras'"):
        check_same_inputs("a.json", mine, "m.keras", (Input("x", "float32", (None, 8)),))
    with pytest.raises(UsageError, match=r"has 1 inputs, 'm\.keras' has 2"):
        check_same_inputs("a.json", mine, "m.keras", mine * 2)


@NEEDS_COMPILER
@NEEDS_SMAPS
def test_memory_in_parts_over_threads_and_copies(settings, tmp_path: Path) -> None:
    options = {"measure": ["memory"], "engines": ["tfaot-c", "tfaot"], "copies": [1, 20]}
    profile = run_profile(settings(**options, threads=[1, 4], batch_sizes=[64]))
    assert profile.runtime == profile.failures == ()
    assert [(m.engine, m.copies) for m in profile.memory] == [
        (e, c) for e in ("tfaot-c", "tfaot") for c in (1, 20)
    ]
    for m in profile.memory:
        assert [s.stage for s in m.states] == ["start", "runtime", "load", "run", "run"]
        assert m.threads == (1, 4)
        assert m.batch_size == 64
        assert m.models.resident > 0
        for s in m.states:
            assert 0 < s.memory.private <= s.memory.resident
    native, more = profile.memory[:2]
    assert native.states[0].memory.resident < 16e6  # no Python in it
    assert more.models.resident > native.models.resident
    lines = len(journal(tmp_path / "out"))
    again = run_profile(settings(**options, threads=[1, 4], batch_sizes=[64]))
    assert again.memory == profile.memory
    assert len(journal(tmp_path / "out")) == lines


@NEEDS_COMPILER
@NEEDS_SMAPS
def test_weights_outside(settings, tmp_path: Path) -> None:
    artifact = compile_to(tmp_path / "model", poster("tagger", (9, 20, 3)), weights="external")
    options = {"engines": ["tfaot-c", "tfaot"], "measure": ["runtime", "memory"], "copies": [2]}
    profile = run_profile(settings(artifact.manifest, **options, threads=[1]))
    assert not profile.failures
    assert {r.engine for r in profile.runtime} == {m.engine for m in profile.memory}
    assert len(profile.memory) == 2
    (tmp_path / "model" / "tagger.weights").unlink()
    with pytest.raises(UsageError, match=r"nothing could be measured: .*weights"):
        run_profile(settings(artifact.manifest, **options, batch_sizes=[9]))


@NEEDS_SMAPS
def test_memory_that_can_not_be_measured_is_said(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiler, "MEMORY_SECONDS", 1e-3)
    profile = run_profile(settings(measure=["runtime", "memory"], copies=[1], threads=[1]))
    assert len(profile.runtime) == 2
    (failure,) = profile.failures
    assert (failure.kind, failure.copies) == ("memory", 1)
    assert failure.reason == "it takes more than 0.001 s"


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_model_of_tensorflow_beside_its_artifact(settings, tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="pip install 'tfaot[tensorflow]'")
    program = (
        "import sys, keras\n"
        "x = keras.Input((6,), name='features')\n"
        "keras.Model(x, keras.layers.Dense(3, activation='elu')(x)).save(sys.argv[1])\n"
    )
    source = tmp_path / "small.keras"
    environment = {**profiler.worker_environment(), "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", program, str(source)], check=True, env=environment)
    artifact = tfaot.compile(source, tmp_path / "compiled", name="small", verify=False)
    model = {"model": str(source), "artifact": str(artifact.manifest), "label": "both"}
    profile = run_profile(
        settings(
            [model, {"model": str(source), "label": "native"}],
            engines=["tfaot", "tensorflow"],
            measure=["runtime", "memory"],
            threads=[1],
            copies=[1],
        )
    )
    assert not profile.failures
    expected = {(m, e) for m in ("both", "native") for e in ("tfaot", "tensorflow")}
    assert {(r.model, r.engine) for r in profile.runtime} == expected
    assert {(m.model, m.engine) for m in profile.memory} == expected
    assert not any(r.note for r in profile.runtime)
    sizes = {m.engine: m.runtime.resident for m in profile.memory}
    assert sizes["tensorflow"] > sizes["tfaot"]
