"""Python objects of TensorFlow's and Keras's: which of their functions is compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.freezing import freeze
from tfaot.frontend.graph import FrozenGraph
from tfaot.frontend.keras_files import read_keras
from tfaot.frontend.keras_models import freeze_keras, is_keras
from tfaot.frontend.messages import translated
from tfaot.frontend.names import argument_name, result_names, unique_names
from tfaot.frontend.tensorflow import tf_module
from tfaot.frontend.trail import Trail


def freeze_object(model: Any, custom_objects: Mapping[str, object], trail: Trail) -> FrozenGraph:
    """Freeze a Keras model, a tf.function, a ConcreteFunction or a tf.Module.

    A path to a Keras file is loaded first, with `custom_objects`.

    Raises:
        UsageError: no such object, or one that was never called or has several functions.
    """
    tf = tf_module()
    if isinstance(model, (str, Path)):
        model = read_keras(Path(model), custom_objects)
    concrete = tf.types.experimental.ConcreteFunction
    generic = tf.types.experimental.PolymorphicFunction
    if is_keras(model):
        return freeze_keras(model, trail)
    if isinstance(model, concrete):
        return freeze_function(model, trail)
    if isinstance(model, generic):
        return freeze_function(_only_trace(model, "the tf.function"), trail)
    if isinstance(model, tf.Module):
        return freeze_function(_module_function(model, generic), trail)
    raise UsageError(
        f"an object of type {type(model).__name__} can't be compiled: give a path, a Keras model, "
        "a tf.function, a ConcreteFunction or a tf.Module"
    )


def freeze_function(function: Any, trail: Trail) -> FrozenGraph:
    """A ConcreteFunction, frozen; names are those of its arguments and of its results."""
    count = len(function.inputs) - len(function.captured_inputs)
    names = [argument_name(tensor) for tensor in function.inputs[:count]]
    outputs = result_names(function.structured_outputs)
    return freeze(function, unique_names(names), outputs, trail)


def _only_trace(function: Any, what: str) -> Any:
    if function.input_signature is not None:
        with translated(ModelError, f"{what} can't be traced"):
            return function.get_concrete_function()
    traces = function._list_all_concrete_functions()
    if len(traces) == 1:
        return traces[0]
    state = "was never called" if not traces else f"was called with {len(traces)} kinds of input"
    raise UsageError(
        f"{what} {state}: give it an input_signature, or pass function.get_concrete_function(...)"
    )


def _module_function(module: Any, generic: Any) -> Any:
    found: dict[str, Callable[..., Any]] = {}
    for name in dir(type(module)):
        if isinstance(getattr(type(module), name, None), generic):
            found[name] = getattr(module, name)
    found.update((n, v) for n, v in vars(module).items() if isinstance(v, generic))
    if "__call__" in found:
        return _only_trace(found["__call__"], "the module's __call__")
    if len(found) == 1:
        name, function = next(iter(found.items()))
        return _only_trace(function, f"the module's function '{name}'")
    if not found:
        raise UsageError("the module has no tf.function: decorate the method with @tf.function")
    raise UsageError(f"the module has several functions: pass one of {', '.join(sorted(found))}")
