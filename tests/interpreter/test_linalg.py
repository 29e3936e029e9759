"""Fourier transforms against their definition, solvers against the products they invert."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import TriangularSolve
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import op_cases

CASES = op_cases(["linalg"])


def transform(x, axis, sign):
    n = x.shape[axis]
    matrix = np.exp(sign * 2j * np.pi * np.outer(np.arange(n), np.arange(n)) / n)
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix, -1, axis)


@pytest.mark.parametrize("case", [c for c in CASES if c.opcode == "fft"], ids=str)
def test_fourier_transforms(case):
    (x,) = case.inputs(5, 3)
    kind, name = case.name.split("/")[-1].split("-")
    length = [int(n) for n in name.split("x")]
    actual = evaluate(case.module(), [x])[0]
    wide = x.astype(np.complex128)
    axes = range(1, len(length) + 1)
    if kind == "IRFFT":
        # The missing half is the conjugate mirror image; imaginary parts that can't be are ignored.
        half, axis = wide, len(length)
        for other in range(1, axis):
            half = transform(half, other, 1) / length[other - 1]
        n = length[-1]
        full = np.zeros((*half.shape[:-1], n), np.complex128)
        full[..., : n // 2 + 1] = half
        for k in range(n // 2 + 1, n):
            full[..., k] = np.conj(half[..., n - k])
        full[..., 0] = full[..., 0].real
        if n % 2 == 0:
            full[..., n // 2] = full[..., n // 2].real
        expected = (transform(full, axis, 1) / n).real
    else:
        expected = wide
        for axis in axes:
            expected = transform(expected, axis, 1 if kind == "IFFT" else -1)
        if kind == "IFFT":
            expected = expected / np.prod(length)
        if kind == "RFFT":
            expected = expected[..., : length[-1] // 2 + 1]
    tolerance = 1e-12 if case.dtype in (DType.F64, DType.C128) else 2e-6
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 20)


@pytest.mark.parametrize("case", [c for c in CASES if c.opcode == "cholesky"], ids=str)
def test_cholesky_factors_multiply_to_the_matrix(case):
    (x,) = case.inputs(5, 3)
    factor = evaluate(case.module(), [x], float64=True)[0]
    n = x.shape[-1]
    wide = x.astype(factor.dtype)
    matrix = wide @ np.conj(np.swapaxes(wide, 1, 2)) + 2.0 * n * np.eye(n)
    adjoint = np.conj(np.swapaxes(factor, 1, 2))
    lower = case.name.endswith("lower")
    np.testing.assert_array_equal(factor, np.tril(factor) if lower else np.triu(factor))
    product = factor @ adjoint if lower else adjoint @ factor
    np.testing.assert_allclose(product, matrix, rtol=1e-12, atol=1e-12)


def test_cholesky_of_an_indefinite_matrix_is_nan():
    b = ModuleBuilder("cholesky")
    module = b.module(b.cholesky(b.parameter(DType.F32, (2, 2))))
    assert np.isnan(evaluate(module, [np.array([[1, 2], [2, 1]], np.float32)])[0]).any()


@pytest.mark.parametrize("case", [c for c in CASES if c.opcode == "triangular-solve"], ids=str)
def test_triangular_solutions_fulfil_their_system(case):
    a, right = case.inputs(5, 3)
    module = case.module()
    attrs = module.entry.root.attr(TriangularSolve)
    x = evaluate(module, [a, right], float64=True)[0]
    matrix = a.astype(x.dtype) + 8.0 * np.eye(5)
    matrix = np.tril(matrix) if attrs.lower else np.triu(matrix)
    if attrs.unit_diagonal:
        matrix[:, range(5), range(5)] = 1
    if attrs.transpose != "NO_TRANSPOSE":
        matrix = np.swapaxes(matrix, 1, 2)
    if attrs.transpose == "ADJOINT":
        matrix = np.conj(matrix)
    product = matrix @ x if attrs.left_side else x @ matrix
    np.testing.assert_allclose(product, right, rtol=1e-10, atol=1e-10)
