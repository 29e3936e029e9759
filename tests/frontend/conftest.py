"""One worker for all tests, and TensorFlow in this process to build models with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfaot.frontend.session import LoadedModel, TensorFlowSession


@pytest.fixture(scope="session")
def session() -> Iterator[TensorFlowSession]:
    pytest.importorskip("tensorflow")
    with TensorFlowSession() as running:
        yield running


@pytest.fixture(scope="session")
def tf() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def keras(tf: Any) -> Any:
    module = pytest.importorskip("keras")
    module.utils.set_random_seed(1)
    return module


@pytest.fixture(scope="session")
def tf_keras(tf: Any) -> Any:
    return pytest.importorskip("tf_keras")


@pytest.fixture
def interface() -> Callable[[LoadedModel], tuple[list[tuple[str, str]], list[tuple[str, str]]]]:
    """The names and shapes of a model's inputs and outputs."""

    def read(model: LoadedModel) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        sides = (model.signature.inputs, model.signature.outputs)
        first, second = ([(spec.name, str(spec.shape)) for spec in side] for side in sides)
        return first, second

    return read


@pytest.fixture
def sample() -> Callable[[LoadedModel, int], list[np.ndarray]]:
    """Seeded arrays for a model's inputs at a batch size."""

    def make(model: LoadedModel, batch: int) -> list[np.ndarray]:
        rng = np.random.default_rng(7)
        return [
            np.asarray(rng.normal(size=spec.shape.at(batch).static_dims) * 2).astype(
                spec.dtype.numpy
            )
            for spec in model.signature.inputs
        ]

    return make


@pytest.fixture(scope="session")
def write_graph(tf: Any) -> Callable[..., Path]:
    """Freeze a TensorFlow 1 graph, made by a function, into a file."""
    tf1 = tf.compat.v1

    def write(path: Path, build: Callable[[Any], None], keep: list[str]) -> Path:
        graph = tf1.Graph()
        with graph.as_default(), tf1.Session(graph=graph) as running:
            # Conditions of TensorFlow 1 are Switch and Merge.
            tf1.disable_control_flow_v2()
            try:
                build(tf1)
            finally:
                tf1.enable_control_flow_v2()
            running.run(tf1.global_variables_initializer())
            definition = graph.as_graph_def()
            if keep:
                definition = tf1.graph_util.convert_variables_to_constants(
                    running, definition, keep
                )
        tf.io.write_graph(definition, str(path.parent), path.name, as_text=path.suffix != ".pb")
        return path

    return write
