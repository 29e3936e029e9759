"""Op cases as data, written once: interpreter tests, code generation tests and fuzzer share them.

for case in op_cases(["reduce"]):
    module, inputs = case.module(), case.inputs(seed=0, batch=7)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from tfaot.testing.cases import (
    comparison,
    control,
    conversion,
    convolution,
    custom_call,
    dot,
    elementwise,
    gather,
    linalg,
    movement,
    random,
    reduce,
    sort,
    window,
)
from tfaot.testing.cases.case import SIZES, Limits, OpCase

FAMILIES: dict[str, Callable[[], Iterator[OpCase]]] = {
    "elementwise": elementwise.cases,
    "comparison": comparison.cases,
    "conversion": conversion.cases,
    "movement": movement.cases,
    "reduce": reduce.cases,
    "dot": dot.cases,
    "gather": gather.cases,
    "control": control.cases,
    "window": window.cases,
    "convolution": convolution.cases,
    "sort": sort.cases,
    "linalg": linalg.cases,
    "random": random.cases,
    "custom": custom_call.cases,
}


def op_cases(families: Iterable[str] | None = None) -> list[OpCase]:
    """The cases of the given families (all by default), in a fixed order, names unique."""
    chosen = list(FAMILIES) if families is None else list(families)
    return [case for family in chosen for case in FAMILIES[family]()]


__all__ = ["FAMILIES", "SIZES", "Limits", "OpCase", "op_cases"]
