"""Cholesky factors and triangular systems against the interpreter's double precision."""

import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import TriangularSolve
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import B

CASES = [c for c in op_cases(["linalg"]) if c.opcode in ("cholesky", "triangular-solve")]


def check(module, inputs, batch, found):
    """The error's norm, matrix by matrix; what precedes a factorisation rounds, too."""
    for actual, wanted in zip(found, evaluate(module, inputs, batch=batch), strict=True):
        size = np.linalg.norm(wanted, axis=(-2, -1))
        error = np.linalg.norm(actual - wanted, axis=(-2, -1))
        assert (error <= 16 * np.finfo(actual.dtype).eps * size).all()


@pytest.mark.parametrize("opcode", ["cholesky", "triangular-solve"])
@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3"])
def test_op_cases(opcode, target):
    for case in CASES:
        if case.opcode == opcode:
            inputs = case.inputs(0, 3)
            run = compile_module(case.module(), target)
            found = run(inputs, 3)
            check(case.module(), inputs, 3, found)
            (one,) = run([x[1:2] for x in inputs], 1)
            assert one.tobytes() == found[0][1:2].tobytes()


def test_a_pivot_that_is_not_positive_gives_nan():
    b = ModuleBuilder("indefinite")
    module = b.module(b.cholesky(b.parameter(DType.F32, (2, 2))))
    (found,) = compile_module(module)([np.array([[1, 7], [2, 1]], np.float32)])
    assert found[0].tolist() == [1.0, 0.0]
    assert found[1, 0] == 2.0
    assert np.isnan(found[1, 1])


@pytest.mark.parametrize("lower", [True, False])
def test_the_other_triangle_is_never_read(lower):
    b = ModuleBuilder("half")
    a, right = b.parameter(DType.F64, (20, 20)), b.parameter(DType.F64, (20, 33))
    attrs = TriangularSolve(True, lower, False, "NO_TRANSPOSE")
    module = b.module(b.triangular_solve(a, right, attrs))
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(20, 20)) + 20 * np.eye(20)
    half = np.tril(whole) if lower else np.triu(whole)
    sides = rng.normal(size=(20, 33))
    (found,) = compile_module(module)([np.where(half != 0, half, np.nan), sides])
    assert np.abs(half @ found - sides).max() < 1e-13


@pytest.mark.parametrize("at_end", [True, False])
def test_no_memory_outside(at_end):
    for case in CASES[::7]:
        inputs = case.inputs(0, 2)
        run = compile_module(case.module())
        found = run_between_guard_pages(run, inputs, 2, at_end=at_end)
        assert found[0].tobytes() == run(inputs, 2)[0].tobytes()


def test_symbolic_batch_of_right_sides():
    b = ModuleBuilder("sides")
    a, right = b.parameter(DType.F32, (5, 5)), b.parameter(DType.F32, (5, B))
    attrs = TriangularSolve(True, True, True, "NO_TRANSPOSE")
    module = b.module(b.triangular_solve(a, right, attrs))
    run = compile_module(module)
    for batch in (1, 16, 35):
        rng = np.random.default_rng(batch)
        inputs = [rng.normal(size=d).astype(np.float32) for d in ((5, 5), (5, batch))]
        check(module, inputs, batch, run(inputs, batch))
