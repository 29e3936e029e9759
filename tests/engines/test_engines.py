"""Each engine that is installed gives TensorFlow's results on a network of two layers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tfaot.engines import ENGINES, EngineError, make_engine
from tfaot.engines.converter import Converter, converter_environment, freeze_model
from tfaot.engines.files import ModelFiles, Origin, new_file, read_files
from tfaot.engines.tfcompile import wrapper_text
from tfaot.errors import UsageError

MODEL = """
import sys, keras
keras.utils.set_random_seed(3)
x = start = keras.Input((12,), name="features")
x = keras.layers.BatchNormalization(moving_mean_initializer="normal")(
    keras.layers.Dense(24, activation="elu")(x))
keras.Model(start, keras.layers.Dense(5, activation="softmax")(x)).save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def converter() -> Iterator[Converter]:
    with Converter() as made:
        yield made


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, converter: Converter) -> ModelFiles:
    pytest.importorskip("tensorflow", reason="TensorFlow makes and freezes the model")
    folder = tmp_path_factory.mktemp("engines")
    path = folder / "small.keras"
    environment = converter_environment({"PATH": "/usr/bin:/bin"})
    subprocess.run(
        [sys.executable, "-c", MODEL, str(path)], check=True, env=environment, capture_output=True
    )
    return freeze_model(Origin(str(path)), folder / "small", converter)


@pytest.mark.tensorflow
def test_a_frozen_model_is_described_and_read_again(files: ModelFiles) -> None:
    assert [(i.name, i.dtype, i.dims) for i in files.inputs] == [
        ("features", "float32", (None, 12))
    ]
    assert files.inputs[0].shape(7) == (7, 12)
    assert len(files.outputs) == 1
    assert read_files(files.folder) == files


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", list(ENGINES))
def test_an_engine_gives_the_results_of_tensorflow(
    name: str, files: ModelFiles, converter: Converter
) -> None:
    engine = make_engine(name)
    state = engine.availability()
    if not state:
        pytest.skip(f"{engine.title}: {state.reason}: {state.remedy}")
    if name == "tfcompile" and not any(files.folder.parent.glob("tfcompile-*-runtime/*")):
        pytest.skip("tfcompile: its runtime takes minutes to build; the benchmark does it")
    engine.prepare(files, [3, 8], converter)
    runner = engine.load(files)
    for batch in (b for b in (3, 8) if engine.supports(b)):
        inputs = files.random_inputs(batch)
        (expected,) = make_engine("tensorflow").load(files).bind(inputs).run()
        call = runner.bind(inputs)
        (result,) = call.run()
        assert result.shape == expected.shape == (batch, 5)
        assert np.max(np.abs(result - expected)) < 1e-6
        assert 0 < call.seconds(20) < 60
        assert 0 < call.once() < 60
        assert np.array_equal(call.run()[0], result)


@pytest.mark.tensorflow
def test_compiled_models_give_the_results_of_tensorflow(
    files: ModelFiles, converter: Converter
) -> None:
    inputs = files.random_inputs(5)
    (expected,) = make_engine("tensorflow").load(files).bind(inputs).run()
    for name in ("tfaot", "tfaot-call", "tfaot-c"):
        engine = make_engine(name)
        if not engine.availability():
            pytest.skip(engine.availability().reason)
        engine.prepare(files, [5], converter)
        (result,) = engine.load(files).bind(inputs).run()
        assert np.max(np.abs(result - expected)) < 1e-6, name


@pytest.mark.tensorflow
def test_a_model_that_can_not_be_loaded_is_one_line(tmp_path: Path, converter: Converter) -> None:
    pytest.importorskip("tensorflow")
    with pytest.raises(EngineError, match="there is no model at") as caught:
        freeze_model(Origin(str(tmp_path / "missing.keras")), tmp_path / "frozen", converter)
    assert "\n" not in str(caught.value)


def test_an_unknown_engine_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="no engine 'onnx', choose from tensorflow, tfcompile"):
        make_engine("onnx")


def test_a_missing_engine_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("onnxruntime", "openvino", "litert", "iree", "tensorflow", "tfcompile"):
        state = make_engine(name).availability()
        assert not state, name
        assert state.version == ""
        assert state.remedy.startswith("pip install"), name


def test_no_engine_is_imported_before_it_is_used() -> None:
    code = (
        "import sys\nfrom tfaot.engines import ENGINES, make_engine\n"
        "for name in ENGINES: make_engine(name).availability()\n"
        "found = {'tensorflow', 'onnxruntime', 'openvino', 'tf2onnx'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tfcompile_is_tried_at_powers_of_two() -> None:
    engine = make_engine("tfcompile")
    assert [b for b in range(1, 600) if engine.supports(b)] == [1, 2, 4, 8, 16, 32, 64, 128, 256]


def test_the_wrapper_of_tfcompile_holds_every_batch_size() -> None:
    text = wrapper_text([1, 64])
    assert '#include "batch_64.h"' in text
    assert "case 1: return new batch_1(Mode);" in text


def test_inputs_are_random_in_every_row(tmp_path: Path) -> None:
    from tfaot.engines.files import Input

    inputs = (Input("a", "float32", (None, 4)), Input("b", "int32", (None, 30)))
    files = ModelFiles(tmp_path, Origin("model"), inputs, ("y",), False)
    first, second = files.random_inputs(9)
    assert len({row.tobytes() for row in first}) == len({row.tobytes() for row in second}) == 9
    assert second.dtype == np.int32
    assert second.min() >= 0
    assert files.batch_of([first, second]) == 9


def test_an_interrupted_file_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "made.bin"

    def interrupted() -> None:
        with new_file(target) as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with new_file(target) as path:
        path.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["made.bin"]
