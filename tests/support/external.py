"""Models whose weights are in a file of their own, made without TensorFlow.

    marked = with_weights(module)                   # the constants are weights now
    other = with_weights(module, lambda name, old: new)

Constants of a float type with more than one element are weights, and the scalars that are named.
`with_all_weights` takes all constants, and parameters too where their shape allows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import Constant, Parameter
from tfaot.ir.module import Instruction, Module, Rewriter

Change = Callable[[str, NDArray[np.generic]], NDArray[np.generic]]


def with_weights(
    module: Module,
    change: Change = lambda name, value: value,
    scalars: Collection[str] = (),
) -> Module:
    """The module with its constants as weights, with other values if `change` gives others."""

    def rewrite(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        if not isinstance(old.attrs, Constant) or not old.array.dtype.is_float:
            return None
        if old.attrs.value.size == 1 and old.name not in scalars:
            return None
        value = np.asarray(change(old.name, old.attrs.value))
        assert value.shape == old.attrs.value.shape
        return replace(old, attrs=Constant(value.astype(old.attrs.value.dtype), old.name))

    return replace(module, entry=Rewriter(rewrite).run(module.entry))


def with_all_weights(
    module: Module, values: dict[str, NDArray[np.generic]], change: Change
) -> Module:
    """The module with all constants as weights, and the parameters that `values` names."""
    kept = [p for p in module.entry.parameters if p.name not in values]

    def rewrite(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        if old.opcode == "parameter" and old.name not in values:
            number = next(n for n, p in enumerate(kept) if p is old)
            return replace(old, attrs=Parameter(number))
        if old.opcode == "parameter":
            value = values[old.name]
        elif isinstance(old.attrs, Constant):
            value = old.attrs.value
        else:
            return None
        new = np.asarray(change(old.name, value)).astype(value.dtype)
        return replace(old, opcode="constant", attrs=Constant(new, old.name))

    return replace(module, entry=Rewriter(rewrite).run(module.entry))
