"""User-facing names of a function's arguments and results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfaot.frontend.tensorflow import short_name, tf_module


def result_names(structure: Any) -> list[str]:
    """Names of a function's results: dict keys, sorted, else `output_0`, `output_1`, ..."""
    tf = tf_module()
    if isinstance(structure, dict):
        names: list[str] = []
        for key in sorted(structure):
            leaves = len(tf.nest.flatten(structure[key]))
            names += [str(key)] if leaves == 1 else [f"{key}_{i}" for i in range(leaves)]
        return unique_names(names)
    return [f"output_{i}" for i in range(len(tf.nest.flatten(structure)))]


def argument_name(tensor: Any) -> str:
    """The name that the function's author gave an argument."""
    given = tensor.op.node_def.attr["_user_specified_name"].s.decode()
    return given or short_name(tensor.name)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, repeated ones numbered apart."""
    used: set[str] = set()
    result = []
    for name in names:
        unique, count = name, 1
        while unique in used:
            unique, count = f"{name}_{count}", count + 1
        used.add(unique)
        result.append(unique)
    return result
