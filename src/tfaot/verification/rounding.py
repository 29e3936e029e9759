"""What rounding alone can do to a model's outputs.

Input: HLO and its inputs. Output: how far each output element moves when every operation of a
float64 evaluation is off by about one unit in the last place of the type that the model computes
it in (Monte Carlo arithmetic: D. S. Parker, UCLA CSD-970002, 1997).

An element that cancels, or that sits at a threshold, moves by much more than its own last place;
no implementation can be held to less than that there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tfaot.interpreter.context import Context, Value
from tfaot.ir.attributes import Convolution, Dot, Reduce, ReduceWindow
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import Shape

Array = NDArray[Any]

TRIALS = 8

MANTISSA_BITS = {DType.F16: 10, DType.BF16: 7, DType.F32: 23, DType.F64: 52}
"""Stored bits of each type's significand."""

_ONE_ULP = frozenset({"add", "subtract", "multiply", "divide", "remainder", "sqrt", "convert"})
_TWO_ULP = frozenset(
    """
    atan2 cbrt cosine erf exponential exponential-minus-one log log-plus-one logistic power
    rsqrt sine tan tanh acos acosh asin asinh atanh cosh sinh
    """.split()  # noqa: SIM905 (one word a line would take a screen)
)
_SUMS = frozenset({"dot", "convolution", "reduce", "reduce-window"})


class _RoundingContext(Context):
    """Evaluates in float64, each result of arithmetic off by a seeded random rounding."""

    def __init__(self, batch: int | None, seed: int) -> None:
        super().__init__(batch, float64=True)
        self._random = np.random.Generator(np.random.PCG64([seed, 11]))
        self._of_magnitudes = False

    def apply(self, instruction: Instruction, operands: Sequence[Value]) -> Value:
        """The value of one instruction, off by a rounding."""
        result = super().apply(instruction, operands)
        opcode, shape = instruction.opcode, instruction.shape
        if not isinstance(shape, Shape) or isinstance(result, tuple):
            return result
        bits = MANTISSA_BITS.get(shape.dtype.real)
        if bits is None:
            return result
        if opcode in _ONE_ULP:
            return self._off(result, np.abs(result), 2.0**-bits)
        if opcode in _TWO_ULP:
            return self._off(result, np.abs(result), 2.0 ** (1 - bits))
        if opcode in _SUMS and len(operands) == 2:
            arrays = [cast(Array, o) for o in operands]
            terms = super().apply(instruction, self._magnitudes(instruction, arrays))
            self._of_magnitudes = False
            growth = _growth(instruction, [array.shape for array in arrays])
            magnitude = np.maximum(np.abs(cast(Array, terms)), growth * np.abs(result))
            return self._off(result, magnitude, 2.0**-bits)
        return result

    def _magnitudes(self, instruction: Instruction, arrays: Sequence[Array]) -> list[Array]:
        """The operands' magnitudes; those of a large constant are taken as it is widened."""
        self._of_magnitudes = True
        held = [self.storage(o.array.dtype) for o in instruction.operands]
        return [a if a.dtype != t else np.abs(a) for a, t in zip(arrays, held, strict=True)]

    def widen_part(self, part: Array, dtype: np.dtype[Any]) -> Array:
        """A part of a large constant, or its magnitudes, in float64."""
        wide = super().widen_part(part, dtype)
        return np.abs(wide, out=wide) if self._of_magnitudes else wide

    def _off(self, value: Array, magnitude: Array, unit: float) -> Array:
        noise = self._random.uniform(-unit, unit, value.shape)
        return np.asarray(value + np.where(np.isfinite(magnitude), magnitude * noise, 0.0))


def _growth(instruction: Instruction, shapes: Sequence[tuple[int, ...]]) -> float:
    """How many units of its result a sum is off where its terms are added one after the other.

    Each of the k partial sums is off by a rounding, 0.29 units of it in the root mean square; such
    errors add up as the square root of k (N. Higham, T. Mary, SIAM J. Sci. Comput. 41, 2019). That
    is of the result where terms have one sign and partial sums grow to it. Where signs are mixed,
    partial sums stay far below the sum of the terms' magnitudes, a unit of which covers the error.
    """
    attrs, operand, count = instruction.attrs, shapes[0], 1
    if isinstance(attrs, Dot):
        count = math.prod(operand[d] for d in attrs.lhs_contracting)
    elif isinstance(attrs, Convolution):
        kernel = shapes[1]
        count = math.prod(kernel) // max(1, kernel[attrs.kernel_output_feature])
    elif isinstance(attrs, Reduce):
        count = math.prod(operand[d] for d in attrs.dimensions)
    elif isinstance(attrs, ReduceWindow):
        windows = zip(attrs.window, operand, strict=True)
        count = math.prod(w.size if isinstance(w.size, int) else size for w, size in windows)
    return 0.29 * math.sqrt(count)


class RoundingSpread:
    """The largest distance from the exact outputs over evaluations with roundings, as yet.

    Args:
        module: the HLO.
        inputs: arrays in the model's types.
        batch: the batch size; None where no shape depends on it.
        expected: the outputs evaluated in float64 without rounding.
    """

    def __init__(
        self,
        module: Module,
        inputs: Sequence[Array],
        batch: int | None,
        expected: Sequence[Array],
    ) -> None:
        self._module, self._inputs, self._batch = module, inputs, batch
        self._expected = expected
        self._trials = 0
        self._spread = [np.zeros(e.shape) for e in expected]

    def of(self, number: int, enough: Callable[[Array], bool] = lambda spread: False) -> Array:
        """The spread of one output after `TRIALS` evaluations, or as soon as it is `enough`.

        More evaluations never make a spread smaller.
        """
        while self._trials < TRIALS and not (self._trials and enough(self._spread[number])):
            self._try(self._trials)
            self._trials += 1
        return self._spread[number]

    def _try(self, seed: int) -> None:
        context = _RoundingContext(self._batch, seed)
        arguments = [
            x.astype(context.storage(p.array.dtype), copy=False)
            for x, p in zip(self._inputs, self._module.entry.parameters, strict=True)
        ]
        wide = np.complex128
        with np.errstate(all="ignore"):
            moved = _flatten(context.run(self._module.entry, arguments))
            for number, (value, exact) in enumerate(zip(moved, self._expected, strict=True)):
                distance = np.abs(np.asarray(value).astype(wide) - exact.astype(wide))
                # What is NaN or infinite on one side only moved without bound.
                one_sided = np.isfinite(value.astype(wide)) != np.isfinite(exact.astype(wide))
                distance = np.where(one_sided, np.inf, np.nan_to_num(distance))
                self._spread[number] = np.maximum(self._spread[number], distance)


def rounding_spread(
    module: Module, inputs: Sequence[Array], batch: int | None, expected: Sequence[Array]
) -> list[Array]:
    """The spread of every output after `TRIALS` evaluations; arguments as of `RoundingSpread`."""
    spread = RoundingSpread(module, inputs, batch, expected)
    return [spread.of(number) for number in range(len(expected))]


def _flatten(value: Value) -> list[Array]:
    if isinstance(value, tuple):
        return [array for element in value for array in _flatten(element)]
    return [np.asarray(value)]
