"""Every float32 argument, very many of float64 (both slow), every float16 and bfloat16.

The fast tests make sure that the sweep would find what it looks for.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from llvmlite import ir
from measure import (
    NARROW_BOUND,
    V2,
    X86,
    Cpu,
    Emit,
    best_cpu,
    compile_floats,
    compile_narrow,
    host_runs,
    ulp_errors32,
    worst_narrow,
    worsts64,
)
from samples import DENSE64, SPECIAL32, binary64, narrow_codes, padded, unary64
from sweep import (
    PATTERNS,
    SLACK64,
    Finding,
    Kernel,
    compiler,
    errors,
    sweep_float64,
    sweep_function,
    sweep_function64,
    sweep_unary,
)

import tfaot.codegen.math as library
from tfaot.codegen.math import MATH, exp_nonpositive, expm1_nonpositive
from tfaot.codegen.types import F32, F64
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.dtypes import DType

CPUS = [cpu for cpu in reversed(X86) if host_runs(cpu)]
FEW_CPUS = [cpu for cpu in dict.fromkeys((best_cpu(), V2)) if host_runs(cpu)]
NAMES = sorted(MATH)
UNARY = [n for n in NAMES if MATH[n].arity == 1]
VARIANTS = {
    "exp_nonpositive": (exp_nonpositive, "exponential"),
    "expm1_nonpositive": (expm1_nonpositive, "exponential-minus-one"),
}
"""Emitters of part of a function's domain."""

NEGATIVE = range(0x8000_0001, 2**32)
"""Bit patterns of numbers less than 0, -inf, and NaN."""

pytestmark = pytest.mark.skipif(not CPUS, reason="the machine runs no x86-64-v2 code")
needs_compiler = pytest.mark.skipif(
    compiler() is None, reason="needs a C compiler: apt-get install gcc"
)


def bound(name: str, dtype: DType, cpu: Cpu) -> float:
    accuracy = MATH[name].max_ulp[dtype]
    return accuracy.fma if cpu.has_fma else accuracy.no_fma


def check(name: str, cpu: Cpu, found: Finding, dtype: DType = DType.F32) -> None:
    """No error above the bound, the bits of the other CPUs with FMA, signs as in C."""
    slack = SLACK64 if dtype is DType.F64 else 1e-6
    assert found.worst.ulp <= bound(name, dtype, cpu) + slack, f"{cpu.name}: {found.worst}"
    assert not found.differs.count, f"{cpu.name}: other bits than {CPUS[0].name}, {found.differs}"
    assert not found.wrong_sign.count, f"{cpu.name}: wrong sign, {found.wrong_sign}"


def kernel(
    emit: Emit, cpu: Cpu, same_as: int | None = None, *, element: ir.Type = F32, arity: int = 1
) -> Kernel:
    return Kernel(compile_floats(emit, arity, element, lanes=16, cpu=cpu), same_as)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_every_float32_or_many_pairs(name: str) -> None:
    for cpu, found in sweep_function(MATH[name], CPUS).items():
        check(name, cpu, found)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_very_many_float64(name: str) -> None:
    found = sweep_function64(MATH[name], CPUS)
    if found is None:
        pytest.skip("the C compiler's long double is no wider than double")
    for cpu, of_cpu in found.items():
        check(name, cpu, of_cpu, DType.F64)


def test_all_variants_are_tried() -> None:
    emitters = {n for n in library.__all__ if callable(getattr(library, n))}
    assert emitters - {"Accuracy", "MathFunction"} == set(VARIANTS)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_on_every_negative_float32(variant: str) -> None:
    emit, name = VARIANTS[variant]
    kernels = [
        kernel(emit, cpu, 0 if cpu.has_fma and number else None) for number, cpu in enumerate(CPUS)
    ]
    for cpu, found in zip(CPUS, sweep_unary(name, kernels, NEGATIVE), strict=True):
        check(name, cpu, found)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("cpu", CPUS, ids=lambda c: c.name)
@pytest.mark.parametrize(
    ("variant", "last"), [("exp_nonpositive", -87.33), ("expm1_nonpositive", -math.inf)]
)
def test_variants_have_the_bits_of_the_function(variant: str, last: float, cpu: Cpu) -> None:
    # exp_nonpositive only where results are normal.
    emit, name = VARIANTS[variant]
    kernels = [kernel(emit, cpu), kernel(MATH[name].emit, cpu, 0)]
    stop = int(np.float32(last).view(np.uint32)) + 1
    general = sweep_unary(name, kernels, range(NEGATIVE.start, stop))[1]
    assert not general.differs.count, str(general.differs)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_float64_on_dense_samples(name: str) -> None:
    function = MATH[name]
    runs = [compile_floats(function.emit, function.arity, F64, lanes=8, cpu=cpu) for cpu in CPUS]
    samples = unary64(name, DENSE64) if function.arity == 1 else binary64(name, DENSE64)
    for args in samples:
        for cpu, worst in zip(CPUS, worsts64(name, runs, args), strict=True):
            assert worst.ulp <= bound(name, DType.F64, cpu) + 1e-6, f"{cpu.name}: {worst}"


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_float64_variants_on_dense_samples(variant: str) -> None:
    emit, name = VARIANTS[variant]
    runs = [compile_floats(emit, 1, F64, lanes=8, cpu=cpu) for cpu in CPUS]
    for (x,) in unary64(name, DENSE64):
        for cpu, worst in zip(CPUS, worsts64(name, runs, (-np.abs(x),)), strict=True):
            assert worst.ulp <= bound(name, DType.F64, cpu) + 1e-6, f"{cpu.name}: {worst}"


@pytest.mark.parametrize("dtype", NARROW_BOUND, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_every_narrow_float(name: str, dtype: DType) -> None:
    function = MATH[name]
    codes = narrow_codes(function.arity, 1 << 17)
    for cpu in FEW_CPUS:
        run = compile_narrow(function.emit, function.arity, dtype, lanes=16, cpu=cpu)
        worst = worst_narrow(name, run, dtype, codes)
        assert worst.ulp <= NARROW_BOUND[dtype], f"{cpu.name}: {worst}"


def test_the_bounds_of_narrow_floats_follow_from_those_of_float32() -> None:
    largest = max(max(f.max_ulp[DType.F32].fma, f.max_ulp[DType.F32].no_fma) for f in MATH.values())
    assert NARROW_BOUND[DType.F16] >= 0.5 + largest * 2**-13
    assert NARROW_BOUND[DType.BF16] >= 0.5 + largest * 2**-16


NEAR_IDENTITY = ["exponential-minus-one", "log-plus-one", "tanh", "sine", "tan"]


@pytest.mark.parametrize("cpu", FEW_CPUS, ids=lambda c: c.name)
@pytest.mark.parametrize("name", NEAR_IDENTITY)
def test_subnormal_arguments_and_results_are_kept(name: str, cpu: Cpu) -> None:
    step = 61
    positive = np.arange(1, 1 << 23, step, dtype=np.uint32)
    x = padded(np.concatenate([positive, positive | np.uint32(1 << 31)])).view(np.float32)
    run = compile_floats(MATH[name].emit, 1, F32, lanes=16, cpu=cpu)
    np.testing.assert_array_equal(run(x), x)


# The sweep itself.


@needs_compiler
def test_the_sweep_measures_as_numpy_does() -> None:
    rng = np.random.default_rng(5)
    count = 1 << 18
    patterns = rng.integers(0, 2**64, count, dtype=np.uint64)
    wide = patterns.view(np.float64)
    single = patterns.astype(np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        near = single.astype(np.float64) * (1 + rng.normal(size=count) * 2.0**-24)
        special = np.repeat(SPECIAL32, SPECIAL32.size)
        specials = np.tile(SPECIAL32, SPECIAL32.size).astype(np.float64)
        zeros = np.zeros(count)
        cases = [
            (single, near),
            (single, wide),
            (wide.astype(np.float32), wide),
            (special, specials),
            (single, zeros),
            (zeros.astype(np.float32), single.astype(np.float64)),
        ]
    for got, exact in cases:
        np.testing.assert_array_equal(errors(got, exact), ulp_errors32(got, exact))


def sine(b: VectorBuilder, x: ir.Value) -> ir.Value:
    return MATH["sine"].emit(b, x)


def flushed(b: VectorBuilder, x: ir.Value) -> ir.Value:
    y = sine(b, x)
    return b.select(b.lt(b.abs(y), b.const(y, 2.0**-126)), b.const(y, 0.0), y)


def wrong_at_one(b: VectorBuilder, x: ir.Value) -> ir.Value:
    y = sine(b, x)
    return b.select(b.eq(x, b.const(x, 0.75)), b.add(y, b.const(y, 2.0**-23)), y)


def without_signs(b: VectorBuilder, x: ir.Value) -> ir.Value:
    return b.abs(sine(b, x))


ONE = int(np.float32(1.0).view(np.uint32))


@needs_compiler
def test_the_sweep_finds_flushed_subnormals() -> None:
    (found,) = sweep_unary("sine", [kernel(flushed, FEW_CPUS[0])], range(1 << 23))
    assert found.worst.ulp == 2**23 - 1
    assert found.worst.args == (float(np.float32(2.0**-126 - 2.0**-149)),)


@needs_compiler
def test_the_sweep_finds_one_wrong_argument() -> None:
    cpu = FEW_CPUS[0]
    kernels = [kernel(sine, cpu), kernel(wrong_at_one, cpu, 0)]
    right, wrong = sweep_unary("sine", kernels, range(ONE - (1 << 23) - 1000, ONE + 1001))
    assert right.worst.ulp <= bound("sine", DType.F32, cpu)
    assert (right.differs.count, right.wrong_sign.count) == (0, 0)
    assert wrong.worst.ulp > 1
    assert wrong.worst.args == (0.75,)
    assert (wrong.differs.count, wrong.differs.first) == (1, (0.75,))


@needs_compiler
def test_the_sweep_finds_wrong_signs_of_zeros() -> None:
    (found,) = sweep_unary("sine", [kernel(without_signs, FEW_CPUS[0])], range(2**31, 2**31 + 1))
    assert found.worst.ulp == 0
    assert (found.wrong_sign.count, found.wrong_sign.first) == (1, (0.0,))


@needs_compiler
def test_the_sweep_knows_every_function() -> None:
    assert len(PATTERNS) == 2**32
    for name in UNARY:
        found = sweep_unary(name, [kernel(MATH[name].emit, FEW_CPUS[0])], range(ONE, ONE + 77))
        check(name, FEW_CPUS[0], found[0])


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_the_sweep_of_float64_measures_as_mpmath_does(name: str) -> None:
    arity = MATH[name].arity
    tried = kernel(MATH[name].emit, FEW_CPUS[0], element=F64, arity=arity)
    swept = sweep_float64(name, [tried], range(8), arity)
    if swept is None:
        pytest.skip("the C compiler's long double is no wider than double")
    check(name, FEW_CPUS[0], swept[0], DType.F64)
    worst = swept[0].worst
    args = tuple(np.repeat(np.float64(a), 16) for a in worst.args)
    assert (worst.ulp > 0) == (name != "remainder")
    (measured,) = worsts64(name, [tried.code], args)
    assert abs(measured.ulp - worst.ulp) <= SLACK64


@needs_compiler
def test_the_sweep_of_float64_finds_flushed_subnormals() -> None:
    def flushed64(b: VectorBuilder, x: ir.Value) -> ir.Value:
        y = sine(b, x)
        return b.select(b.lt(b.abs(y), b.const(y, 2.0**-1022)), b.const(y, 0.0), y)

    kernels = [kernel(sine, FEW_CPUS[0], element=F64)]
    kernels.append(kernel(flushed64, FEW_CPUS[0], 0, element=F64))
    swept = sweep_float64("sine", kernels, range(4))
    if swept is None:
        pytest.skip("the C compiler's long double is no wider than double")
    right, wrong = swept
    assert right.worst.ulp < 1
    assert wrong.worst.ulp == 2**52 - 1
    assert wrong.differs.count >= wrong.wrong_sign.count > 0
    assert abs(wrong.differs.first[0]) < 2.0**-1022
