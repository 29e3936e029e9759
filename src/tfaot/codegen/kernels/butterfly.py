"""Fourier transforms of 2 to 5 elements in registers; source: Van Loan (1992), section 1.4."""

from __future__ import annotations

import math

from llvmlite import ir

from tfaot.codegen.vector import VectorBuilder

Pair = tuple[ir.Value, ir.Value]
"""Real and imaginary part."""


def twiddled(v: VectorBuilder, a: Pair, w: Pair) -> Pair:
    """A * w."""
    real = v.fma(a[0], w[0], v.neg(v.mul(a[1], w[1])))
    return real, v.fma(a[0], w[1], v.mul(a[1], w[0]))


def _sum(v: VectorBuilder, a: Pair, b: Pair) -> Pair:
    return v.add(a[0], b[0]), v.add(a[1], b[1])


def _difference(v: VectorBuilder, a: Pair, b: Pair) -> Pair:
    return v.sub(a[0], b[0]), v.sub(a[1], b[1])


def butterfly(v: VectorBuilder, a: list[Pair]) -> list[Pair]:
    """The forward transform of 2, 3, 4 or 5 elements."""
    if len(a) == 2:
        return [_sum(v, a[0], a[1]), _difference(v, a[0], a[1])]
    return _four(v, a) if len(a) == 4 else _odd(v, a)


def _four(v: VectorBuilder, a: list[Pair]) -> list[Pair]:
    even, odd = _sum(v, a[0], a[2]), _sum(v, a[1], a[3])
    upper, lower = _difference(v, a[0], a[2]), _difference(v, a[1], a[3])
    return [
        _sum(v, even, odd),
        (v.add(upper[0], lower[1]), v.sub(upper[1], lower[0])),
        _difference(v, even, odd),
        (v.sub(upper[0], lower[1]), v.add(upper[1], lower[0])),
    ]


def _odd(v: VectorBuilder, a: list[Pair]) -> list[Pair]:
    radix = len(a)
    half = radix // 2
    sums = [_sum(v, a[j], a[radix - j]) for j in range(1, half + 1)]
    differences = [_difference(v, a[j], a[radix - j]) for j in range(1, half + 1)]
    total = a[0]
    for s in sums:
        total = _sum(v, total, s)
    results: list[Pair] = [total] * radix
    for k in range(1, half + 1):
        real, imaginary = a[0]
        crossed = v.const(real, 0.0), v.const(real, 0.0)
        for j, (s, d) in enumerate(zip(sums, differences, strict=True), 1):
            angle = 2 * math.pi * (j * k % radix) / radix
            cosine, sine = v.const(real, math.cos(angle)), v.const(real, math.sin(angle))
            real, imaginary = v.fma(cosine, s[0], real), v.fma(cosine, s[1], imaginary)
            crossed = v.fma(sine, d[0], crossed[0]), v.fma(sine, d[1], crossed[1])
        results[k] = v.add(real, crossed[1]), v.sub(imaginary, crossed[0])
        results[radix - k] = v.sub(real, crossed[1]), v.add(imaginary, crossed[0])
    return results
