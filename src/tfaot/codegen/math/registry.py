"""The table of elementary functions, by HLO opcode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.dtypes import DType

Emit = Callable[..., ir.Value]


@dataclass(frozen=True)
class Accuracy:
    """The largest error allowed, in ULP of the result.

    Attributes:
        fma: with fused multiply-add.
        no_fma: without.
    """

    fma: float
    no_fma: float


@dataclass(frozen=True)
class MathFunction:
    """An elementary function on float32 and float64, scalars and vectors alike.

    Attributes:
        opcode: the HLO opcode.
        arity: the number of operands.
        max_ulp: the error bound per element type; the tests check it.
    """

    opcode: str
    arity: int
    max_ulp: Mapping[DType, Accuracy]
    _emit: Emit

    def emit(self, b: VectorBuilder, *args: ir.Value) -> ir.Value:
        """The function of `args`: float or double, scalars or vectors, all of one type."""
        assert len(args) == self.arity, (self.opcode, len(args))
        return self._emit(b, *args)


MATH: dict[str, MathFunction] = {}


def math_function(
    opcode: str, arity: int = 1, *, f32: tuple[float, float], f64: tuple[float, float]
) -> Callable[[Emit], Emit]:
    """Registers an emitter with its error bounds: (with FMA, without) in ULP."""

    def register(emit: Emit) -> Emit:
        bounds = {DType.F32: Accuracy(*f32), DType.F64: Accuracy(*f64)}
        MATH[opcode] = MathFunction(opcode, arity, bounds, emit)
        return emit

    return register
