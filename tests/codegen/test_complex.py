"""Complex numbers: all ops that take them, movement of interleaved memory, extreme values."""

import mpmath
import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import Shape
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import B

FAMILIES = ("elementwise", "comparison", "conversion", "movement", "reduce", "dot", "gather")
LIMIT = {"dot": 40.0, "reduce": 10.0}
"""Errors in units of the precision, as a part of the result's size; other ops: 4."""


def is_complex(case):
    shapes = [i.shape for i in case.module().entry.instructions]
    return any(s.dtype.is_complex for s in shapes if isinstance(s, Shape))


def chosen():
    cases = [c for c in op_cases(FAMILIES) if c.opcode != "bitcast" and is_complex(c)]
    return [c for c in cases if c.opcode != "convert" or c.name.endswith(("-17", "Bx3"))]


def groups():
    found = {}
    for case in chosen():
        found.setdefault(f"{case.family}-{case.opcode}", []).append(case)
    return found


def assert_close(found, expected, limit):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if found.dtype.kind not in "fc":
        assert (found == expected).all()
        return
    with np.errstate(all="ignore"):
        off = np.abs(found - expected) > limit * np.finfo(found.dtype).eps * np.abs(expected)
    unequal = (found != expected) & ~(np.isnan(found) & np.isnan(expected))
    bad = unequal & (off | ~np.isfinite(expected))
    assert not bad.any(), (found[bad][0], expected[bad][0])


@pytest.mark.parametrize("group", sorted(groups()))
def test_op_cases(group):
    for case in groups()[group]:
        module = case.module()
        run = compile_module(module)
        for batch in (1, 5) if case.symbolic else (1,):
            inputs = case.inputs(0, batch)
            with np.errstate(all="ignore"):
                expected = evaluate(module, inputs, batch=batch)
            for actual, wanted in zip(run(inputs, batch), expected, strict=True):
                assert_close(actual, wanted, LIMIT.get(case.opcode, 4.0))


def unary(opcode, dtype):
    b = ModuleBuilder(opcode)
    return b.module(b.unary(opcode, b.parameter(dtype, (B,))))


@pytest.mark.parametrize("dtype", [DType.C64, DType.C128])
def test_squares_that_would_overflow(dtype):
    """Sizes, roots, logarithms and quotients near both ends of the type's range."""
    info = np.finfo(dtype.numpy)
    scale = np.array([info.max / 2, info.tiny * 4, 1.0], info.dtype)
    z = ((3 + 4j) / 5 * scale).astype(dtype.numpy)
    (size,) = compile_module(unary("abs", dtype))([z])
    assert_close(size, scale, 4.0)
    (root,) = compile_module(unary("sqrt", dtype))([z])
    assert_close(root, np.sqrt(scale) * dtype.numpy.type(np.sqrt((3 + 4j) / 5)), 8.0)
    (log,) = compile_module(unary("log", dtype))([z])
    angle = np.arctan2(4.0, 3.0).astype(info.dtype)
    assert_close(log, (np.log(scale) + 1j * angle).astype(dtype.numpy), 4.0)
    (sign,) = compile_module(unary("sign", dtype))([z])
    assert_close(sign, np.full(3, (3 + 4j) / 5, dtype.numpy), 4.0)
    (one,) = compile_module(quotient_of(dtype))([z, z])
    assert_close(one, np.ones(3, dtype.numpy), 4.0)


def quotient_of(dtype):
    b = ModuleBuilder("divide")
    return b.module(b.binary("divide", b.parameter(dtype, (B,)), b.parameter(dtype, (B,))))


@pytest.mark.parametrize("target", ["x86-64-v2", "native"])
def test_quotients_at_the_ends_of_the_range(target):
    """What lies between two scalings is not rounded to a denormal, and not infinite."""
    x = np.array([3e-320, 3e-310j, 1e-300, 0.5, 3e300, 1e300 + 1e300j, 1.7e308 + 1.7e308j])
    y = np.array([1e-20 + 1e-20j, 1e-9, 1e-300j, -1.7e308 - 1.7e308j, 1e-9j, 1e300, 8 + 4j])
    with mpmath.workprec(200):
        exact = [mpmath.mpc(complex(a)) / mpmath.mpc(complex(b)) for a, b in zip(x, y, strict=True)]
        wanted = np.array([complex(q) for q in exact])
    (found,) = compile_module(quotient_of(DType.C128), target)([x, y])
    assert_close(found, wanted, 4.0)
    (folded,) = evaluate(quotient_of(DType.C128), [x, y], batch=x.size)
    assert_close(folded, wanted, 4.0)


@pytest.mark.parametrize("target", ["x86-64-v2", "native"])
@pytest.mark.parametrize("dtype", [DType.C64, DType.C128])
def test_sizes_that_decide_whatever_the_angle(dtype, target):
    """As in C: e^(-inf + iy) is 0 for every y; what is built on it follows."""
    angles = np.array([0, 1, -2, 1e30, np.inf, -np.inf, np.nan])
    z = np.empty(angles.size, dtype.numpy)
    z.real, z.imag = -np.inf, angles
    far = np.empty_like(z)
    far.real, far.imag = -2000, angles
    far = far[:4]
    for opcode, wanted in {
        "exponential": 0,
        "exponential-minus-one": -1,
        "tanh": -1,
        "logistic": 0,
    }.items():
        run = compile_module(unary(opcode, dtype), target)
        found = [run([far])[0]] + ([] if opcode == "logistic" else [run([z])[0]])
        for values in found:
            assert_close(values, np.full_like(values, wanted), 4.0)
    (one,) = compile_module(unary("logistic", dtype), target)([-z])
    assert (one == 1).all()


@pytest.mark.parametrize("dtype", [DType.C64, DType.C128])
def test_small_arguments_keep_their_accuracy(dtype):
    z = np.array([1e-20 + 1e-25j, -1e-19 + 3e-20j, 1e-22j], dtype.numpy)
    for opcode in ("exponential-minus-one", "log-plus-one", "tanh", "sine"):
        (found,) = compile_module(unary(opcode, dtype))([z])
        assert_close(found, z, 4.0)


def test_powers_of_zero():
    b = ModuleBuilder("power")
    x, y = b.parameter(DType.C64, (B,)), b.parameter(DType.C64, (B,))
    run = compile_module(b.module(b.binary("power", x, y)))
    base = np.array([0, 0, 2, 1j], np.complex64)
    (found,) = run([base, np.array([2, 0, 3, 2], np.complex64)])
    assert_close(found, np.array([0, 1, 8, -1], np.complex64), 4.0 + 1e-9)


def test_signs_of_tanh_far_out():
    z = np.array([100 + 1j, -1000 - 2j, 30 + 0j], np.complex64)
    (found,) = compile_module(unary("tanh", DType.C64))([z])
    assert (found.real == [1, -1, 1]).all()
    assert (np.abs(found.imag) < 1e-20).all()


@pytest.mark.parametrize("at_end", [True, False])
def test_no_memory_outside(at_end):
    module = unary("negate", DType.C64)
    for batch in (1, 5, 16, 33):
        x = (np.arange(batch) + 1j).astype(np.complex64)
        found = run_between_guard_pages(compile_module(module), [x], batch, at_end=at_end)
        assert (found[0] == -x).all()


@pytest.mark.parametrize("target", ["x86-64-v2", "native"])
def test_targets(target):
    for opcode in ("exponential", "log", "sqrt", "tanh", "abs"):
        module = unary(opcode, DType.C64)
        x = (np.linspace(-3, 3, 33) + 1j * np.linspace(2, -2, 33)).astype(np.complex64)
        (found,) = compile_module(module, target)([x])
        assert_close(found, evaluate(module, [x], batch=33)[0], 4.0)
