"""TensorFlow: the frozen graph in a session, called through `Session.make_callable`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles
from tfaot.engines.protocol import (
    Array,
    Availability,
    BoundCall,
    Engine,
    Runner,
    reported,
    tensorflow_availability,
)


class TensorFlowEngine(Engine):
    """The runtime that a model comes from; the reference for all outputs."""

    name = "tensorflow"
    title = "TensorFlow"
    color = "#e49444"

    def availability(self) -> Availability:
        """Whether `tensorflow` can be imported."""
        return tensorflow_availability(self.title)

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Nothing: the frozen graph is there."""

    def load(self, files: ModelFiles) -> Runner:
        """Import the graph into a session of one thread."""
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
        tf = importlib.import_module("tensorflow")
        graph_def = tf.compat.v1.GraphDef.FromString(files.graph.read_bytes())
        settings = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
        )
        with tf.Graph().as_default() as graph:
            tf.graph_util.import_graph_def(graph_def, name="")
            session = tf.compat.v1.Session(graph=graph, config=settings)
        tensors = [graph.get_tensor_by_name(f"{n}:0") for n in files.output_nodes]
        feeds = [graph.get_tensor_by_name(f"{n}:0") for n in files.input_nodes]
        return _SessionRunner(session, session.make_callable(tensors, feed_list=feeds))


class _SessionRunner(Runner):
    def __init__(self, session: Any, call: Any) -> None:
        self._session, self._call = session, call

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """Feeding copies the inputs, in each call: a session has no other way."""
        arrays, function = tuple(inputs), self._call
        results: list[Array] = []

        def call() -> None:
            results[:] = function(*arrays)

        with reported("TensorFlow"):
            call()
        return BoundCall(
            call, lambda: [np.asarray(r) for r in results], kept=(self._session, arrays)
        )
