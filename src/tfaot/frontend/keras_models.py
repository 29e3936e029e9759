"""Keras models: tracing for inference, names of the interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.freezing import freeze
from tfaot.frontend.graph import FrozenGraph
from tfaot.frontend.messages import translated
from tfaot.frontend.names import result_names, unique_names
from tfaot.frontend.tensorflow import keras_package, short_name, tf_module
from tfaot.frontend.trail import Trail


def freeze_keras(model: Any, trail: Trail) -> FrozenGraph:
    """The inference function of a Keras 3 or tf_keras model, frozen."""
    trail.layers.update(_layer_classes(model))
    tf = tf_module()
    keras = keras_package("keras")
    if keras is not None and isinstance(model, keras.Model):
        running = keras.backend.backend()
        if running != "tensorflow":
            raise UsageError(
                f"Keras runs on {running} here: save the model as .keras and give that file"
            )
    structure = _keras_inputs(model)
    specs = tf.nest.flatten(structure)
    flat = [
        tf.TensorSpec(spec.shape, spec.dtype, name=f"input_{index}")
        for index, spec in enumerate(specs)
    ]

    def call(*arguments: Any) -> Any:
        packed = tf.nest.pack_sequence_as(structure, arguments)
        return model(packed, training=False)

    with translated(ModelError, "the Keras model can't be traced"):
        # Layers of the user's may hold conditions and loops in Python over tensors.
        function = tf.function(call).get_concrete_function(*flat)
    given = unique_names(_keras_input_names(structure, specs))
    return freeze(function, given, _keras_output_names(model, function), trail)


def _layer_classes(model: Any) -> dict[str, str]:
    """The classes of a model's layers by their names, of those inside other layers too."""
    find = getattr(model, "_flatten_layers", None)
    layers = find(include_self=False, recursive=True) if callable(find) else model.layers
    return {str(layer.name): type(layer).__name__ for layer in layers}


def is_keras(model: Any) -> bool:
    """Whether this is a Keras 3 or tf_keras model, told without importing either."""
    modules = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    return bool(modules & {"keras", "tf_keras"}) and hasattr(model, "layers")


def _keras_inputs(model: Any) -> Any:
    """The structure of a Keras model's inputs, with shapes and types at its leaves."""
    if getattr(model, "inputs", None):
        # A functional model knows its structure; others have a flat list.
        structure = getattr(model, "_inputs_struct", None)
        structure = structure if structure is not None else getattr(model, "_nested_inputs", None)
        return structure if structure is not None else _one_or_list(model.inputs)
    if callable(getattr(model, "save_spec", None)) and model.save_spec() is not None:
        return model.save_spec()[0][0]
    if keras_package("keras") is not None:
        export = keras_package("keras.src.export.export_utils")
        with translated(ModelError, "the inputs of the Keras model are unknown"):
            signature = export.get_input_signature(model)
        if signature:
            return signature[0] if len(signature) == 1 else signature
    raise ModelError("the Keras model is not built: call it once on an input before compiling it")


def _one_or_list(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _keras_input_names(structure: Any, specs: Sequence[Any]) -> list[str]:
    if isinstance(structure, dict):
        return [str(key) for key in sorted(structure)]
    return [
        short_name(str(getattr(spec, "name", None) or f"input_{index}"))
        for index, spec in enumerate(specs)
    ]


def _keras_output_names(model: Any, function: Any) -> list[str]:
    structure = function.structured_outputs
    count = len(function.outputs)
    owner = getattr(model, "_functional", None) or model
    names = [str(n) for n in getattr(owner, "output_names", None) or ()]
    if isinstance(structure, dict) or len(names) != count:
        return result_names(structure)
    return unique_names(names)
