"""Registry of local rewrite rules, one list per opcode, filled by the family files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.module import Instruction, known_value

Rule = Callable[[Instruction], "Instruction | None"]

RULES: dict[str, list[Rule]] = {}


def rule(*opcodes: str) -> Callable[[Rule], Rule]:
    """Register a rewrite of instructions with one of `opcodes`.

    The rule gets an instruction whose operands are already canonical and returns an equivalent
    one, or None where it does not apply. Rules of one opcode are tried in order of registration.
    """

    def register(function: Rule) -> Rule:
        for opcode in opcodes:
            RULES.setdefault(opcode, []).append(function)
        return function

    return register


def simplify(instruction: Instruction) -> Instruction:
    """Apply the rules to `instruction` until none fits."""
    # Every rule moves towards a normal form; the bound only guards against a pair that undo each
    # other, which would otherwise hang the compiler.
    for _ in range(64):
        for candidate in RULES.get(instruction.opcode, ()):
            replacement = candidate(instruction)
            if replacement is not None:
                instruction = replacement
                break
        else:
            return instruction
    return instruction


def literal(x: Instruction) -> NDArray[Any] | None:
    """The value of a `constant` that code may depend on, None for anything else."""
    return known_value(x)


def scalar_of(x: Instruction) -> NDArray[Any] | None:
    """The one value (rank 0) of a constant or broadcast constant whose elements are all equal.

    Elements are compared bit by bit, so that zeros of either sign and NaNs stay apart.
    """
    if x.opcode == "broadcast":
        return scalar_of(x.operands[0])
    value = literal(x)
    if value is None or value.size == 0:
        return None
    flat = np.ascontiguousarray(value).reshape(-1)
    if value.size == 1:
        return flat[0:1].reshape(())
    raw = flat.view(np.uint8).reshape(value.size, value.dtype.itemsize)
    # Nearly all constants already differ at their ends.
    if not bool((raw[0] == raw[-1]).all()) or not bool((raw == raw[0]).all()):
        return None
    return flat[0:1].reshape(())


def is_scalar(x: Instruction, number: float) -> bool:
    """Whether every element of `x` is known to be `number` (either zero matches 0)."""
    value = scalar_of(x)
    return value is not None and bool(value == value.dtype.type(number))


def is_zero(x: Instruction, *, negative: bool) -> bool:
    """Whether every element of `x` is known to be zero of the given sign (integers: any zero)."""
    value = scalar_of(x)
    if value is None or not bool(value == 0):
        return False
    if x.array.dtype.is_complex:
        return False
    if not x.array.dtype.is_float:
        return True
    return bool(np.signbit(value)) == negative
