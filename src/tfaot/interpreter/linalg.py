"""Fourier transforms, Cholesky factors and triangular systems, in double precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Array, Context, rule, unsupported
from tfaot.ir.attributes import Cholesky, Fft, TriangularSolve
from tfaot.ir.module import Instruction


@rule("fft")
def _fft(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs = node.attr(Fft)
    wide = operands[0].astype(ctx.widest(node.operands[0].array.dtype), copy=False)
    lengths = attrs.length
    axes = tuple(range(-len(lengths), 0))
    result: Array
    match attrs.kind:
        case "FFT":
            result = np.fft.fftn(wide, lengths, axes)
        case "IFFT":
            result = np.fft.ifftn(wide, lengths, axes)
        case "RFFT":
            result = np.fft.rfftn(wide, lengths, axes)
        case "IRFFT":
            result = np.fft.irfftn(wide, lengths, axes)
        case kind:
            raise unsupported(node, f"has the unknown kind '{kind}'")
    return ctx.narrow(np.asarray(result), node.array.dtype)


@rule("cholesky")
def _cholesky(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    dtype = node.array.dtype
    a = operands[0].astype(ctx.widest(dtype), copy=False)
    lower = node.attr(Cholesky).lower
    factor = cholesky(a if lower else np.conj(np.swapaxes(a, -1, -2)))
    return ctx.narrow(factor if lower else np.conj(np.swapaxes(factor, -1, -2)), dtype)


def cholesky(a: Array) -> Array:
    """The lower factor from the lower triangle; NaN from the first pivot that is not positive."""
    factor = np.zeros_like(a)
    for k in range(a.shape[-1]):
        done = factor[..., k, :k]
        pivot = np.sqrt(np.real(a[..., k, k]) - np.sum(np.abs(done) ** 2, axis=-1))
        factor[..., k, k] = np.where(pivot > 0, pivot, np.nan)
        below = a[..., k + 1 :, k] - np.einsum(
            "...ij,...j->...i", factor[..., k + 1 :, :k], np.conj(done)
        )
        factor[..., k + 1 :, k] = below / factor[..., k, k, np.newaxis]
    return factor


@rule("triangular-solve")
def _triangular_solve(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs, dtype = node.attr(TriangularSolve), node.array.dtype
    a, b = (v.astype(ctx.widest(dtype), copy=False) for v in operands)
    lower = attrs.lower
    if attrs.transpose != "NO_TRANSPOSE":
        a, lower = np.swapaxes(a, -1, -2), not lower
        a = np.conj(a) if attrs.transpose == "ADJOINT" else a
    if attrs.left_side:
        return ctx.narrow(solve_triangular(a, b, lower, attrs.unit_diagonal), dtype)
    # x a = b is the transposed system of a^T x^T = b^T.
    turned = solve_triangular(
        np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not lower, attrs.unit_diagonal
    )
    return ctx.narrow(np.swapaxes(turned, -1, -2), dtype)


def solve_triangular(a: Array, b: Array, lower: bool, unit_diagonal: bool) -> Array:
    """X of a x = b by substitution; the other triangle of `a` is never read."""
    size = a.shape[-1]
    x = np.zeros_like(b)
    for k in range(size) if lower else reversed(range(size)):
        known = slice(0, k) if lower else slice(k + 1, size)
        row = a[..., k, known]
        value = b[..., k, :] - np.einsum("...j,...jm->...m", row, x[..., known, :])
        x[..., k, :] = value if unit_diagonal else value / a[..., k, k, np.newaxis]
    return x
