"""SavedModels: which of their signatures and functions is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfaot.errors import ModelError
from tfaot.frontend.freezing import freeze
from tfaot.frontend.graph import FrozenGraph
from tfaot.frontend.interface import GraphInput, GraphOutput
from tfaot.frontend.messages import translated
from tfaot.frontend.objects import freeze_function
from tfaot.frontend.tensorflow import tf_module
from tfaot.frontend.trail import Trail

_DEFAULT_SIGNATURE = "serving_default"
_HIDDEN_SIGNATURES = frozenset({"__saved_model_init_op"})


def load_saved_model(path: Path, signature: str | None, trail: Trail) -> FrozenGraph:
    """The frozen signature of a SavedModel, or a function that the saved object has.

    Args:
        path: the directory.
        signature: key of a signature, or name of a function (`serve`, `__call__`); None takes
            the default signature, or the only signature or function that there is.
        trail: told of the steps.

    Raises:
        ModelError: unreadable, or without the signature asked for (lists those there are).
    """
    tf = tf_module()
    with translated(ModelError, f"the SavedModel '{path}' can't be loaded"):
        if trail.keep:
            trail.graph = _unread(path, signature)
        loaded = tf.saved_model.load(str(path))
    signatures = getattr(loaded, "signatures", {})
    keys = sorted(key for key in signatures if key not in _HIDDEN_SIGNATURES)
    functions = _functions(loaded)
    key = _choice(path, keys, sorted(functions.keys() - set(keys)), signature)
    if key not in keys:
        return freeze_function(_inference_trace(path, key, functions[key]), trail)
    function = signatures[key]
    names = [str(n) for n in function._arg_keywords]
    frozen = freeze(function, names, sorted(function.structured_outputs), trail)
    order = sorted(range(len(names)), key=lambda i: names[i])
    return replace(frozen, inputs=tuple(frozen.inputs[i] for i in order))


def _unread(path: Path, signature: str | None) -> FrozenGraph | None:
    """The graph in a SavedModel's file, whatever its ops: variables and calls are as they are."""
    parsed = tf_module("python.saved_model.loader_impl").parse_saved_model(str(path))
    meta = parsed.meta_graphs[0]
    keys = sorted(key for key in meta.signature_def if key not in _HIDDEN_SIGNATURES)
    key = signature or (_DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in keys else (*keys, "")[0])
    if key not in meta.signature_def:
        return None
    found = meta.signature_def[key]

    def dims(info: Any) -> tuple[int | None, ...] | None:
        shape = info.tensor_shape
        return (
            None
            if shape.unknown_rank
            else tuple(d.size if d.size >= 0 else None for d in shape.dim)
        )

    return FrozenGraph(
        meta.graph_def,
        tuple(
            GraphInput(name, info.name, info.dtype, dims(info))
            for name, info in sorted(found.inputs.items())
        ),
        tuple(
            GraphOutput(name, info.name, info.dtype) for name, info in sorted(found.outputs.items())
        ),
    )


def _functions(loaded: Any) -> dict[str, Any]:
    """The restored functions of a saved object that were traced, by name."""
    found = {}
    for name in dir(loaded):
        value = getattr(loaded, name, None)
        if getattr(value, "concrete_functions", None):
            found[name] = value
    return found


def _choice(path: Path, keys: Sequence[str], functions: Sequence[str], wanted: str | None) -> str:
    there = ", ".join(keys) or "none"
    also = f"; functions: {', '.join(functions)}" if functions else ""
    if wanted is not None:
        if wanted in keys or wanted in functions:
            return wanted
        raise ModelError(f"there is no signature '{wanted}' in '{path}' (there are: {there}{also})")
    if _DEFAULT_SIGNATURE in keys:
        return _DEFAULT_SIGNATURE
    if len(keys) == 1 or (not keys and len(functions) == 1):
        return (*keys, *functions)[0]
    if keys:
        raise ModelError(
            f"'{path}' has several signatures: choose with --signature one of {there}{also}"
        )
    if functions:
        raise ModelError(
            f"the SavedModel '{path}' has no signatures: choose with --signature one of its "
            f"functions {', '.join(functions)}"
        )
    raise ModelError(
        f"the SavedModel '{path}' has no signatures: save it with "
        "tf.saved_model.save(model, path, signatures=model.function)"
    )


def _inference_trace(path: Path, name: str, function: Any) -> Any:
    """The trace of a function that is meant for inference: no flag among its arguments is on."""
    traces = [t for t in function.concrete_functions if not _flags_set(t)]
    # Of several, one that takes any batch serves all that the others do.
    open_ones = [t for t in traces if any(_is_open(i) for i in t.inputs)]
    for found in (open_ones, traces):
        if len(found) == 1:
            return found[0]
    state = "several traces" if traces else "no trace without a flag that is on"
    raise ModelError(
        f"the function '{name}' of '{path}' has {state}: save the one wanted as a signature, with "
        "tf.saved_model.save(model, path, signatures=function.get_concrete_function(...))"
    )


def _flags_set(trace: Any) -> bool:
    leaves = tf_module().nest.flatten(trace.structured_input_signature)
    return any(leaf is True for leaf in leaves)


def _is_open(tensor: Any) -> bool:
    return tensor.dtype.name != "resource" and not tensor.shape.is_fully_defined()


__all__ = ["load_saved_model"]
