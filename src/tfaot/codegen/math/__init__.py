"""Elementary functions as vector code: no calls, no branches on data, bounded error.

Input: a `VectorBuilder` and operands of float or double. Output: their function, with an error of
at most `MATH[opcode].max_ulp`, the same bits for every vector width. Narrower floats are computed
in float32 by the caller.

One file per family; each function is registered under its HLO opcode.
"""

from __future__ import annotations

from tfaot.codegen.math import (
    arctangent,
    error_function,
    exponential,
    logarithm,
    power,
    remainder,
    root,
    sigmoid,
    trigonometric,
)
from tfaot.codegen.math.exponential import exp_nonpositive, expm1_nonpositive
from tfaot.codegen.math.registry import MATH, Accuracy, MathFunction

__all__ = [
    "MATH",
    "Accuracy",
    "MathFunction",
    "arctangent",
    "error_function",
    "exp_nonpositive",
    "expm1_nonpositive",
    "exponential",
    "logarithm",
    "power",
    "remainder",
    "root",
    "sigmoid",
    "trigonometric",
]
