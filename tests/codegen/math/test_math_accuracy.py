"""Errors in ULP against float64 and mpmath, and equal bits for every vector width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from measure import (
    V2,
    X86,
    Compiled,
    Cpu,
    best_cpu,
    compile_floats,
    host_runs,
    reference32,
    ulp_errors32,
    worst32,
    worsts64,
)
from samples import (
    SPECIAL32,
    SPECIAL64,
    Arguments,
    binary32,
    binary64,
    every_float32,
    padded,
    pairs,
    unary32,
    unary64,
)

from tfaot.codegen.math import MATH, exp_nonpositive, expm1_nonpositive
from tfaot.codegen.types import F32, F64
from tfaot.ir.dtypes import DType

CPUS = [cpu for cpu in dict.fromkeys((best_cpu(), V2)) if host_runs(cpu)]
NAMES = sorted(MATH)
ELEMENTS = [(F32, np.float32), (F64, np.float64)]

pytestmark = pytest.mark.skipif(not CPUS, reason="the machine runs no x86-64-v2 code")


def bound(name: str, dtype: DType, cpu: Cpu) -> float:
    accuracy = MATH[name].max_ulp[dtype]
    return accuracy.fma if cpu.has_fma else accuracy.no_fma


@pytest.mark.parametrize("cpu", CPUS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", NAMES)
def test_float32_error_is_within_the_documented_bound(name: str, cpu: Cpu) -> None:
    function = MATH[name]
    run = compile_floats(function.emit, function.arity, F32, lanes=16, cpu=cpu)
    samples = unary32(4099) if function.arity == 1 else binary32(name, 1 << 16)
    for args in samples:
        worst = worst32(name, run, args)
        assert worst.ulp <= bound(name, DType.F32, cpu) + 1e-6, str(worst)


@pytest.mark.parametrize("cpu", CPUS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", NAMES)
def test_float64_error_is_within_the_documented_bound(name: str, cpu: Cpu) -> None:
    function = MATH[name]
    run = compile_floats(function.emit, function.arity, F64, lanes=8, cpu=cpu)
    samples = unary64(name, 512) if function.arity == 1 else binary64(name, 512)
    for args in samples:
        (worst,) = worsts64(name, [run], args)
        assert worst.ulp <= bound(name, DType.F64, cpu) + 1e-6, str(worst)


def special_arguments(arity: int, specials: np.ndarray) -> Arguments:
    """Special and random arguments, a multiple of 32 of them."""
    rng = np.random.default_rng(11)
    values = np.concatenate([specials, rng.normal(size=100) * 10.0 ** rng.integers(-30, 30, 100)])
    values = values.astype(specials.dtype)
    return (padded(values),) if arity == 1 else pairs(values[:64])


def bits(values: np.ndarray) -> np.ndarray:
    """Bit patterns; every NaN the same, since operand order may choose its payload."""
    canonical = np.where(np.isnan(values), values.dtype.type(np.nan), values)
    return canonical.view({4: np.uint32, 8: np.uint64}[values.itemsize])


@pytest.mark.parametrize(("element", "dtype"), ELEMENTS, ids=["f32", "f64"])
@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_vector_width(name: str, element: object, dtype: type) -> None:
    function = MATH[name]
    args = special_arguments(function.arity, SPECIAL32 if dtype is np.float32 else SPECIAL64)
    scalar = compile_floats(function.emit, function.arity, element, lanes=None, cpu=CPUS[0])
    expected = bits(scalar(*args))
    for lanes in (4, 8, 16, 32):
        run = compile_floats(function.emit, function.arity, element, lanes=lanes, cpu=CPUS[0])
        np.testing.assert_array_equal(bits(run(*args)), expected, err_msg=f"{lanes} lanes")


def random_patterns(arity: int, dtype: type) -> Arguments:
    """Floats of random bits."""
    rng = np.random.default_rng(3)
    integer = {4: np.uint32, 8: np.uint64}[np.dtype(dtype).itemsize]
    limits = np.iinfo(integer)
    patterns = (rng.integers(0, limits.max, 1 << 15, integer, endpoint=True) for _ in range(arity))
    return tuple(p.view(dtype) for p in patterns)


@pytest.mark.parametrize(("element", "dtype"), ELEMENTS, ids=["f32", "f64"])
@pytest.mark.parametrize("name", NAMES)
def test_bits_are_those_of_the_other_instruction_sets_with_fma(
    name: str, element: object, dtype: type
) -> None:
    with_fma = [cpu for cpu in X86 if cpu.has_fma and host_runs(cpu)]
    if len(with_fma) < 2:
        pytest.skip("the machine runs fewer than two instruction sets with FMA")
    function = MATH[name]
    one, other = (
        compile_floats(function.emit, function.arity, element, lanes=16, cpu=cpu)
        for cpu in with_fma
    )
    specials = SPECIAL32 if dtype is np.float32 else SPECIAL64
    for args in (
        special_arguments(function.arity, specials),
        random_patterns(function.arity, dtype),
    ):
        np.testing.assert_array_equal(bits(one(*args)), bits(other(*args)))


def nonpositive32() -> np.ndarray:
    """Every 4099th float32 from -0 to -inf, and 0."""
    return padded(np.concatenate([every_float32(4099, 2**31, 0xFF800001), np.zeros(1, np.float32)]))


@pytest.mark.parametrize("cpu", CPUS, ids=lambda c: c.name)
def test_expm1_for_elu_has_the_bits_of_expm1(cpu: Cpu) -> None:
    x = nonpositive32()
    x = padded(x[(x < 0) | (bits(x) == 0)])
    general = compile_floats(MATH["exponential-minus-one"].emit, 1, F32, lanes=16, cpu=cpu)
    special = compile_floats(expm1_nonpositive, 1, F32, lanes=16, cpu=cpu)
    np.testing.assert_array_equal(bits(special(x)), bits(general(x)))


def test_expm1_for_elu_is_more_accurate_than_the_general_bound() -> None:
    x = nonpositive32()
    x = padded(x[x <= 0])
    worst = worst32(
        "exponential-minus-one",
        compile_floats(expm1_nonpositive, 1, F32, lanes=16, cpu=CPUS[0]),
        (x,),
    )
    assert worst.ulp <= 1.0, str(worst)


def test_expm1_for_elu_keeps_nan() -> None:
    run = compile_floats(expm1_nonpositive, 1, F32, lanes=None, cpu=CPUS[0])
    assert np.isnan(run(np.array([np.nan], np.float32))[0])


@pytest.mark.parametrize("cpu", CPUS, ids=lambda c: c.name)
def test_exp_of_nonpositive_arguments(cpu: Cpu) -> None:
    x = nonpositive32()
    # The last one is an odd multiple of ln 2 / 2, as far as arithmetic without FMA can tell.
    half = np.float32(float.fromhex("-0x1.1acdd6p+4"))
    x = padded(np.append(x[x <= 0], half))
    run: Compiled = compile_floats(exp_nonpositive, 1, F32, lanes=16, cpu=cpu)
    got = run(x)
    errors = ulp_errors32(got, reference32("exponential")(x))
    worst = int(np.argmax(errors))
    assert errors[worst] <= bound("exponential", DType.F32, cpu), (x[worst], got[worst])
    general = compile_floats(MATH["exponential"].emit, 1, F32, lanes=16, cpu=cpu)(x)
    normal = general >= np.finfo(np.float32).tiny
    np.testing.assert_array_equal(bits(got[normal]), bits(general[normal]))


ZERO_TO_SAME_ZERO = [
    *("exponential-minus-one", "log-plus-one", "tanh", "erf", "sine", "tan", "cbrt", "sqrt"),
]


@pytest.mark.parametrize(("element", "dtype"), ELEMENTS, ids=["f32", "f64"])
@pytest.mark.parametrize("name", ZERO_TO_SAME_ZERO)
def test_odd_functions_keep_the_sign_of_zero(name: str, element: object, dtype: type) -> None:
    run = compile_floats(MATH[name].emit, 1, element, lanes=None, cpu=CPUS[0])
    got = run(np.array([0.0, -0.0], dtype))
    assert list(got) == [0.0, 0.0]
    assert list(np.signbit(got)) == [False, True]


VALUES = [
    ("exponential", math.inf, math.inf),
    ("exponential", -math.inf, 0.0),
    ("exponential-minus-one", math.inf, math.inf),
    ("exponential-minus-one", -math.inf, -1.0),
    ("log", 0.0, -math.inf),
    ("log", -0.0, -math.inf),
    ("log", 1.0, 0.0),
    ("log", -1.0, math.nan),
    ("log", -math.inf, math.nan),
    ("log", math.inf, math.inf),
    ("log-plus-one", -1.0, -math.inf),
    ("log-plus-one", -2.0, math.nan),
    ("log-plus-one", math.inf, math.inf),
    ("tanh", math.inf, 1.0),
    ("tanh", -math.inf, -1.0),
    ("logistic", 0.0, 0.5),
    ("logistic", math.inf, 1.0),
    ("logistic", -math.inf, 0.0),
    ("erf", math.inf, 1.0),
    ("erf", -math.inf, -1.0),
    ("sine", math.inf, math.nan),
    ("cosine", -math.inf, math.nan),
    ("cosine", 0.0, 1.0),
    ("tan", math.inf, math.nan),
    ("cbrt", math.inf, math.inf),
    ("cbrt", -8.0, -2.0),
    ("rsqrt", 0.0, math.inf),
    ("rsqrt", -0.0, -math.inf),
    ("rsqrt", math.inf, 0.0),
    ("rsqrt", -1.0, math.nan),
]


@pytest.mark.parametrize(("element", "dtype"), ELEMENTS, ids=["f32", "f64"])
@pytest.mark.parametrize(("name", "argument", "expected"), VALUES)
def test_limits(name: str, argument: float, expected: float, element: object, dtype: type) -> None:
    run = compile_floats(MATH[name].emit, 1, element, lanes=None, cpu=CPUS[0])
    got = float(run(np.array([argument], dtype))[0])
    assert got == expected or (math.isnan(got) and math.isnan(expected)), got


@pytest.mark.parametrize(("element", "dtype"), ELEMENTS, ids=["f32", "f64"])
@pytest.mark.parametrize(
    ("name", "reference"), [("power", np.power), ("atan2", np.arctan2), ("remainder", np.fmod)]
)
def test_special_pairs_are_those_of_c(
    name: str, reference: np.ufunc, element: object, dtype: type
) -> None:
    specials = SPECIAL32 if dtype is np.float32 else SPECIAL64
    x, y = pairs(specials)
    got = compile_floats(MATH[name].emit, 2, element, lanes=8, cpu=CPUS[0])(x, y)
    with np.errstate(all="ignore"):
        expected = reference(x, y)
    for a, c, g, e in zip(x, y, got, expected, strict=True):
        same = (np.isnan(g) and np.isnan(e)) or np.isclose(g, e, rtol=1e-6, atol=0)
        assert same, f"{name}({a}, {c}) = {g}, expected {e}"
        if not np.isnan(e):
            assert np.signbit(g) == np.signbit(e), f"{name}({a}, {c}) = {g}, expected {e}"


@pytest.mark.parametrize("name", NAMES)
def test_nan_gives_nan(name: str) -> None:
    arity = MATH[name].arity
    run = compile_floats(MATH[name].emit, arity, F32, lanes=None, cpu=CPUS[0])
    args = [np.array([np.nan], np.float32)] * arity
    assert np.isnan(run(*args)[0])
