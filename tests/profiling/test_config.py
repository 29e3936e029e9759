"""Settings from YAML and Python: what they become, and what is wrong with them in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfaot.errors import UsageError
from tfaot.profiling.config import (
    ModelSettings,
    all_engines,
    make_settings,
    model_settings,
    read_settings,
)

FULL = """
models:
  - artifact: tagger.json
    model: tagger.keras
    label: Tagger
    engines: [tfaot-c, onnxruntime]
    batch_sizes: [1, 128]
  - model: graph.pb
    input_nodes: [x, y]
    output_nodes: [z]
    set_values: {training: false}
    input_shapes: {x: [n, 28, 28]}
    target: portable
    inputs: {file: rows.npz}
engines: [tfaot, tensorflow]
batch_sizes: [4, 1, 2]
repetitions: 50
warmup: 3
threads: [2, 1]
copies: 2
inputs: zeros
measure: [runtime]
output: results
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("tagger.json", "tagger.keras", "graph.pb", "rows.npz"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, text: str, **others: object):
    (folder / "profile.yaml").write_text(text)
    return read_settings(folder / "profile.yaml", **others)


def test_a_full_file(folder: Path) -> None:
    settings = read(folder, FULL)
    tagger, graph = settings.models
    assert tagger == ModelSettings(
        folder / "tagger.keras",
        folder / "tagger.json",
        "Tagger",
        ("tfaot-c", "onnxruntime"),
        (1, 128),
    )
    assert graph.label == "graph"
    assert (graph.input_nodes, graph.output_nodes) == (("x", "y"), ("z",))
    assert graph.set_values == {"training": False}
    assert graph.input_shapes == {"x": (None, 28, 28)}
    assert graph.target == "portable"
    assert graph.inputs is not None
    assert graph.inputs.file == folder / "rows.npz"
    assert settings.engines == ("tfaot", "tensorflow")
    assert (settings.batch_sizes, settings.threads, settings.copies) == ((1, 2, 4), (1, 2), (2,))
    assert (settings.repetitions, settings.warmup, settings.measure) == (50, 3, ("runtime",))
    assert settings.inputs.kind == "zeros"
    assert settings.output == folder / "results"


def test_options_win_over_the_file(folder: Path) -> None:
    settings = read(folder, FULL, repetitions=7, engines=["all"])
    assert settings.repetitions == 7
    assert settings.engines == all_engines()
    assert "tfaot-c" in settings.engines


def test_models_may_be_paths(folder: Path) -> None:
    first, second = read(folder, "models: [tagger.json, graph.pb]\n").models
    assert first.artifact == folder / "tagger.json"
    assert first.model is None
    assert second.model == folder / "graph.pb"
    (only,) = read(folder, "models: tagger.keras\n").models
    assert only.model == folder / "tagger.keras"


def test_defaults(folder: Path) -> None:
    settings = make_settings(folder / "tagger.keras")
    assert settings.runtime_threads == (1,)
    assert settings.memory_threads == (1, 2, 4, 8)
    assert settings.output is None
    assert settings.inputs.describe() == "random"


def test_threads_hold_for_both(folder: Path) -> None:
    settings = make_settings(folder / "tagger.keras", threads=[3])
    assert settings.runtime_threads == settings.memory_threads == (3,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "models: [tagger.keras]\nbatchsizes: [1]\n",
            "unknown key 'batchsizes', known are .*",
        ),
        ("models: [{model: tagger.keras, name: a}]\n", r"unknown key 'models\.name', known are"),
        ("models: [tagger.keras]\nbatch_sizes: [0, 1]\n", "batch_sizes: 0 is not a positive int"),
        ("models: [tagger.keras]\nbatch_sizes: []\n", "batch_sizes is empty"),
        ("models: [tagger.keras]\nthreads: two\n", "threads: 'two' is not a positive integer"),
        ("models: [tagger.keras]\nrepetitions: many\n", "'repetitions' must be an integer"),
        ("models: [tagger.keras]\nrepetitions: 0\n", "repetitions 0: give 1 or more"),
        ("models: [tagger.keras]\nengines: [onnx]\n", "no engine 'onnx', choose from tensorflow"),
        ("models: [tagger.keras]\nmeasure: [speed]\n", "measure 'speed' is not known"),
        ("models: [tagger.keras]\nclock: sun\n", "clock 'sun' is not known"),
        ("models: [tagger.keras]\nclock: cpu\nthreads: 2\n", "clock 'cpu' is for one thread"),
        ("models: [tagger.keras]\ninputs: {tree: a}\n", r"'inputs\.file' is missing"),
        ("models: [tagger.keras]\ninputs: {path: a}\n", r"unknown key 'inputs\.path'"),
        ("models: [missing.keras]\n", r"there is no model '.*missing\.keras'"),
        ("models: [{model: missing.pb}]\n", r"no model '.*missing\.pb' \(key 'models\.model'\)"),
        ("models: [{label: a}]\n", "needs the key 'model' or 'artifact'"),
        ("models: [tagger.keras, tagger.json]\n", "two models are called 'tagger': give labels"),
        ("models: []\n", "there is no model to profile"),
        ("models: 3\n", "'models' must be a list"),
        ("engines: [tfaot]\n", "'models' must be a list"),
        ("- a\n", "must be a mapping with the key 'models'"),
        ("models: [a\n", "is no YAML: .* in line"),
    ],
)
def test_a_wrong_file_is_one_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read(folder, text)
    assert "profile.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no configuration '.*none\.yaml'"):
        read_settings(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="there is no model 'nowhere'"):
        model_settings("nowhere")
    with pytest.raises(UsageError, match="unknown key 'batches'"):
        make_settings([], batches=3)
