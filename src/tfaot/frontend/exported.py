"""The export of an in-memory object: what its process writes and the worker reads."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfaot.errors import UnsupportedError
from tfaot.frontend.interface import GraphInput, GraphOutput
from tfaot.frontend.source import EXPORT_FILE


@dataclass(frozen=True)
class ExportedFunction:
    """A frozen graph (serialized GraphDef) with its inputs and outputs in order.

    `layers` are the classes of a Keras model's layers by name; `refusal` says why the object can't
    be frozen, where the graph is only what there was before.
    """

    graph_def: bytes
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]
    layers: dict[str, str] = field(default_factory=dict)
    refusal: str = ""


def export(
    model: object, folder: Path, custom_objects: Mapping[str, object], *, refused: bool = False
) -> None:
    """Freeze a Python object of TensorFlow's or Keras's into `folder`.

    Args:
        model: a Keras model, tf.function, ConcreteFunction, tf.Module, or a Keras file's path.
        folder: an existing directory.
        custom_objects: Python objects that a Keras file refers to, by name.
        refused: export the graph of an object that can't be frozen too, with the reason.
    """
    # TensorFlow belongs to the caller here: it has made the object.
    from tfaot.frontend import tensorflow as backend
    from tfaot.frontend.graph import canonical, pruned
    from tfaot.frontend.objects import freeze_object
    from tfaot.frontend.trail import Trail
    from tfaot.frontend.weights import completed

    trail, refusal = Trail(keep=refused), ""
    try:
        frozen = completed(freeze_object(model, custom_objects, trail))
        graph = canonical(pruned(frozen, keep_control=True))
    except UnsupportedError as error:
        if trail.graph is None:
            raise
        graph, refusal = completed(trail.graph), str(error)
    exported = ExportedFunction(
        backend.serialize(graph.graph_def), graph.inputs, graph.outputs, trail.layers, refusal
    )
    (folder / EXPORT_FILE).write_bytes(pickle.dumps(exported, protocol=5))
