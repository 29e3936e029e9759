"""The export of an in-memory object: what its process writes and the worker reads."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfaot.frontend.interface import GraphInput, GraphOutput
from tfaot.frontend.source import EXPORT_FILE


@dataclass(frozen=True)
class ExportedFunction:
    """A frozen graph (serialized GraphDef) with its inputs and outputs in order."""

    graph_def: bytes
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]


def export(model: object, folder: Path, custom_objects: Mapping[str, object]) -> None:
    """Freeze a Python object of TensorFlow's or Keras's into `folder`.

    Args:
        model: a Keras model, tf.function, ConcreteFunction, tf.Module, or a Keras file's path.
        folder: an existing directory.
        custom_objects: Python objects that a Keras file refers to, by name.
    """
    # TensorFlow belongs to the caller here: it has made the object.
    from tfaot.frontend import tensorflow as backend
    from tfaot.frontend.graph import canonical, pruned
    from tfaot.frontend.objects import freeze_object

    graph = canonical(pruned(freeze_object(model, custom_objects), keep_control=True))
    exported = ExportedFunction(backend.serialize(graph.graph_def), graph.inputs, graph.outputs)
    (folder / EXPORT_FILE).write_bytes(pickle.dumps(exported, protocol=5))
