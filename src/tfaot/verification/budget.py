"""How much work a float64 evaluation is, so that the verification of a large model stays short.

Input: HLO and arrays. Output: the values, and an estimate of the time that NumPy takes for them,
counted from shapes (while loops as often as they run) and so the same on every machine: which batch
sizes were verified is part of the manifest, whose bytes must not depend on the machine's speed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.interpreter.context import Context, Value
from tfaot.interpreter.evaluate import evaluate
from tfaot.ir.attributes import Convolution, Dot, ReduceWindow
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import fixed

Array = NDArray[Any]

SECONDS = 4.0
"""Estimated work of all batch sizes beyond which larger ones are left out."""

_CALL = 3e-6
_ELEMENT = 2e-9
_FUNCTION = 2e-8
_SCATTERED = 1e-7
_MULTIPLY_ADD = 2e-10
_GATHERED = 8e-9

_FUNCTIONS = frozenset(
    """
    atan2 cbrt cosine erf exponential exponential-minus-one log log-plus-one logistic power
    remainder sine tan tanh
    """.split()  # noqa: SIM905 (one word a line would take a screen)
)
_ONE_BY_ONE = frozenset({"scatter", "select-and-scatter", "sort", "custom-call", "map"})


class CountingContext(Context):
    """Evaluates in float64 and adds up the work.

    Attributes:
        seconds: the estimate so far.
    """

    def __init__(self, batch: int | None) -> None:
        super().__init__(batch, float64=True)
        self.seconds = 0.0

    def apply(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        """The value of one instruction."""
        result = super().apply(instruction, operands)
        self.seconds += _CALL + _work(instruction, operands, result)
        return result


def counted(
    module: Module, inputs: Sequence[Array], batch: int | None
) -> tuple[list[Array], float]:
    """Outputs of the float64 evaluation, and its estimated time in seconds."""
    context = CountingContext(batch)
    return evaluate(module, inputs, batch=batch, context=context), context.seconds


def _work(node: Instruction, operands: Sequence[Value], result: Value) -> float:
    size = _elements(result)
    match node.opcode:
        case "while" | "conditional" | "call" | "fusion" | "tuple" | "get-tuple-element":
            return 0.0
        case "dot":
            lhs = operands[0]
            assert isinstance(lhs, np.ndarray)
            depth: int = math.prod(lhs.shape[d] for d in node.attr(Dot).lhs_contracting)
            return size * (_ELEMENT + depth * _MULTIPLY_ADD) + _elements(operands) * _ELEMENT
        case "convolution":
            attrs = node.attr(Convolution)
            kernel = operands[1]
            assert isinstance(kernel, np.ndarray)
            taps = math.prod(fixed(w.size) for w in attrs.window)
            inputs = int(kernel.shape[attrs.kernel_input_feature])
            outputs = max(int(kernel.shape[attrs.kernel_output_feature]), 1)
            gathered = size // outputs * inputs * attrs.feature_group_count
            per_tap = size * (3 * _ELEMENT + inputs * _MULTIPLY_ADD) + gathered * _GATHERED
            return taps * per_tap
        case "reduce-window":
            return size * _taps(node.attr(ReduceWindow)) * _ELEMENT
        case opcode if opcode in _ONE_BY_ONE:
            return (size + _elements(operands)) * _SCATTERED
        case opcode if opcode in _FUNCTIONS:
            return size * _FUNCTION
        case _:
            return (size + _elements(operands)) * _ELEMENT


def _taps(attrs: ReduceWindow) -> int:
    """Elements of a window; a window that spans the batch is a prefix, each a step from another."""
    return math.prod(w.size for w in attrs.window if isinstance(w.size, int))


def _elements(value: Value | Sequence[Value]) -> int:
    if isinstance(value, np.ndarray):
        return value.size
    return sum(_elements(part) for part in value)
