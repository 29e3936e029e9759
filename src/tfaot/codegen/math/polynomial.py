"""Evaluation of polynomials.

Kernels work on many independent vectors at once, so throughput counts and latency does not:
Horner's rule needs the fewest instructions and registers.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.vector import VectorBuilder


def horner(b: VectorBuilder, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
    """The polynomial in x with the given coefficients, lowest exponent first."""
    value = b.const(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = b.fma(value, x, b.const(x, coefficient))
    return value
