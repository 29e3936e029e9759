"""Keras models, of files and of Python: reading, tracing for inference, names of the interface."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.graph import FrozenGraph
from tfaot.frontend.messages import translated
from tfaot.frontend.names import result_names, unique_names
from tfaot.frontend.tensorflow import freeze, keras_package, short_name, tf_module

_UNKNOWN_OBJECT = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown (?:layer|function|object|activation function"
    r"|\w+)):? '?(\w+)'?"
)


def load_keras(path: Path, custom_objects: Sequence[str]) -> FrozenGraph:
    """The frozen inference function of a `.keras` or `.h5` file.

    Files that Keras 3 refuses are tried with tf_keras, which reads those of Keras 2.

    Raises:
        ModelError: neither can read it.
    """
    objects = import_objects(custom_objects)
    return freeze_keras(read_keras(path, objects))


def read_keras(path: Path, objects: Mapping[str, object]) -> Any:
    """The Keras or tf_keras model in a file; ModelError where neither can read it."""
    keras, legacy = keras_package("keras"), keras_package("tf_keras")
    if keras is None:
        raise UsageError("Keras is needed to read this model and is not installed")
    try:
        return _read(keras, path, objects)
    except ModelError as error:
        if legacy is None:
            raise _explained(path, error) from None
        try:
            return _read(legacy, path, objects)
        except ModelError:
            # tf_keras is the second choice: its complaint about a newer file would mislead.
            raise _explained(path, error) from None


def import_objects(names: Sequence[str]) -> dict[str, object]:
    """The Python objects called `module:name`, by name; UsageError where there is none."""
    found: dict[str, object] = {}
    for name in names:
        module, separator, attribute = name.partition(":")
        if not (module and separator and attribute):
            raise UsageError(f"--custom-objects: '{name}' must have the form module:name")
        with translated(UsageError, f"--custom-objects: '{module}' can't be imported"):
            value = importlib.import_module(module)
        for part in attribute.split("."):
            if not hasattr(value, part):
                raise UsageError(f"--custom-objects: '{module}' has no '{attribute}'")
            value = getattr(value, part)
        found[attribute.split(".")[-1]] = value
    return found


def freeze_keras(model: Any) -> FrozenGraph:
    """The inference function of a Keras 3 or tf_keras model, frozen."""
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
        function = tf.function(call, autograph=False).get_concrete_function(*flat)
    given = unique_names(_keras_input_names(structure, specs))
    return freeze(function, given, _keras_output_names(model, function))


def is_keras(model: Any) -> bool:
    """Whether this is a Keras 3 or tf_keras model, told without importing either."""
    modules = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    return bool(modules & {"keras", "tf_keras"}) and hasattr(model, "layers")


def _read(package: Any, path: Path, objects: Mapping[str, object]) -> Any:
    with translated(ModelError, f"the Keras model '{path}' can't be loaded"):
        return package.models.load_model(str(path), custom_objects=dict(objects), compile=False)


def _explained(path: Path, error: ModelError) -> ModelError:
    """The error with what to do, for the two that only the user can mend."""
    if unknown := _UNKNOWN_OBJECT.search(str(error)):
        name = unknown.group(1)
        return ModelError(
            f"the Keras model '{path}' needs the object '{name}': "
            f"pass it with --custom-objects module:{name}"
        )
    if "Lambda" in str(error):
        return ModelError(
            f"the Keras model '{path}' holds a Lambda layer, whose code is not run from a file: "
            "load it in Python and pass the model object"
        )
    return error


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
