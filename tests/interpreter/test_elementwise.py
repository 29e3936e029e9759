"""Elementwise ops against hand-computed values and mpmath."""

import mpmath
import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.ulp import assert_within_ulp

NAN, INF = float("nan"), float("inf")
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


def run(opcode, *arrays, float64=False):
    b = ModuleBuilder(opcode)
    operands = [b.parameter(DType.from_numpy(a.dtype), a.shape) for a in arrays]
    root = b.unary(opcode, *operands) if len(operands) == 1 else b.binary(opcode, *operands)
    return evaluate(b.module(root), arrays, float64=float64)[0]


def s32(*values):
    return np.array(values, np.int32)


def f32(*values):
    return np.array(values, np.float32)


def same(actual, expected):
    expected = np.asarray(expected, actual.dtype)
    np.testing.assert_array_equal(actual, expected)
    if actual.dtype.kind == "f":
        zero = expected == 0
        np.testing.assert_array_equal(np.signbit(actual[zero]), np.signbit(expected[zero]))


def test_integers_wrap():
    same(run("add", s32(INT_MAX), s32(1)), [INT_MIN])
    same(run("multiply", s32(1 << 20), s32(1 << 12)), [0])
    same(run("negate", s32(INT_MIN)), [INT_MIN])
    same(run("abs", s32(INT_MIN, -3)), [INT_MIN, 3])
    same(run("subtract", np.array([3], np.uint8), np.array([5], np.uint8)), [254])


def test_integer_division_truncates_and_never_traps():
    x, y = s32(7, -7, 7, -7, 5, INT_MIN, 0), s32(2, 2, -2, -2, 0, -1, 0)
    same(run("divide", x, y), [3, -3, -3, 3, -1, INT_MIN, -1])
    same(run("remainder", x, y), [1, -1, 1, -1, 5, 0, 0])
    u, v = np.array([7, 200, 9], np.uint8), np.array([2, 0, 255], np.uint8)
    same(run("divide", u, v), [3, 255, 0])
    same(run("remainder", u, v), [1, 200, 9])


def test_float_remainder_has_the_sign_of_the_dividend():
    same(run("remainder", f32(5.5, -5.5, -4, 1), f32(2, 2, 2, INF)), [1.5, -1.5, -0.0, 1])
    assert np.isnan(run("remainder", f32(1, INF), f32(0, 1))).all()


def test_shifts_past_the_width():
    x, y = s32(1, -8, -8, 1, 5), s32(31, 1, 32, -1, 0)
    same(run("shift-left", x, y), [INT_MIN, -16, 0, 0, 5])
    same(run("shift-right-arithmetic", x, y), [0, -4, -1, 0, 5])
    same(run("shift-right-logical", x, y), [0, 2**31 - 4, 0, 0, 5])
    bytes_ = np.array([0x80, 0x80], np.uint8), np.array([7, 8], np.uint8)
    same(run("shift-right-arithmetic", *bytes_), [255, 255])


def test_bit_counts():
    same(run("popcnt", s32(0, -1, 5)), [0, 32, 2])
    same(run("count-leading-zeros", s32(0, -1, 1)), [32, 0, 31])
    same(run("count-leading-zeros", np.array([0, 1, 128], np.uint8)), [8, 7, 0])


def test_integer_power():
    same(run("power", s32(3, -2, 0, 0, 2, 1, -1, -1), s32(4, 3, 0, -1, -1, -9, -3, -2)),
         [81, -8, 1, 0, 0, 1, -1, 1])  # fmt: skip


def test_float_power_special_cases():
    x, y = f32(1, NAN, 0, -0.0, -8, INF, -2, 0), f32(NAN, 0, -1, -1, 1 / 3, 0, 3, 0)
    same(run("power", x, y), [1, 1, INF, -INF, NAN, 1, -8, 1])


def test_maximum_and_minimum_propagate_nan():
    x, y = f32(NAN, 1, -INF), f32(1, NAN, 3)
    same(run("maximum", x, y), [NAN, NAN, 3])
    same(run("minimum", x, y), [NAN, NAN, -INF])


def test_pred_is_one_bit():
    x, y = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    same(run("add", x, y), x | y)
    same(run("multiply", x, y), x & y)
    same(run("maximum", x, y), x | y)
    same(run("minimum", x, y), x & y)
    same(run("xor", x, y), x ^ y)
    same(run("not", x), ~x)


def test_signs_and_rounding():
    x = f32(-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, NAN, INF)
    same(run("sign", x), [-1, -1, -1, -0.0, 0.0, 1, 1, 1, NAN, 1])
    same(run("round-nearest-even", x), [-2, -2, -0.0, -0.0, 0, 0, 2, 2, NAN, INF])
    same(run("round-nearest-afz", x), [-3, -2, -1, -0.0, 0, 1, 2, 3, NAN, INF])
    below_half = np.nextafter(np.float32(0.5), np.float32(0))
    same(run("round-nearest-afz", f32(below_half)), [0])
    same(run("floor", x), [-3, -2, -1, -0.0, 0, 0, 1, 2, NAN, INF])
    same(run("ceil", x), [-2, -1, -0.0, -0.0, 0, 1, 2, 3, NAN, INF])
    same(run("is-finite", f32(1, INF, NAN)), [True, False, False])
    same(run("rsqrt", f32(4, 0, -0.0, INF, -1)), [0.5, INF, -INF, 0, NAN])


def test_narrow_floats_round_after_each_op():
    x, one = np.array([2048], np.float16), np.array([1], np.float16)
    same(run("add", x, one), [2048])
    same(run("add", x, one, float64=True), [2049])
    same(run("multiply", np.array([300], np.float16), np.array([300], np.float16)), [INF])


def test_complex_arithmetic():
    x, y = np.array([1 + 2j], np.complex64), np.array([3 - 1j], np.complex64)
    same(run("multiply", x, y), [5 + 5j])
    same(run("abs", np.array([3 + 4j], np.complex64)), [5])
    same(run("sign", np.array([3 + 4j, 0], np.complex64)), np.array([0.6 + 0.8j, 0], np.complex64))
    same(run("complex", f32(1), f32(2)), [1 + 2j])


FUNCTIONS = {
    "exponential": (mpmath.exp, -700, 700),
    "exponential-minus-one": (mpmath.expm1, -30, 700),
    "log": (mpmath.log, 1e-300, 1e3),
    "log-plus-one": (mpmath.log1p, -0.999, 1e3),
    "logistic": (lambda x: 1 / (1 + mpmath.exp(-x)), -700, 50),
    "tanh": (mpmath.tanh, -20, 20),
    "sine": (mpmath.sin, -1e4, 1e4),
    "cosine": (mpmath.cos, -1e4, 1e4),
    "tan": (mpmath.tan, -1e2, 1e2),
    "erf": (mpmath.erf, -6, 6),
    "cbrt": (lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), -1e9, 1e9),
    "rsqrt": (lambda x: 1 / mpmath.sqrt(x), 1e-300, 1e9),
    "sqrt": (mpmath.sqrt, 0, 1e9),
}


@pytest.mark.parametrize("opcode", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_transcendental_functions(opcode, dtype):
    function, low, high = FUNCTIONS[opcode]
    generator = np.random.default_rng(1)
    near_zero = generator.uniform(max(low, -1), min(high, 1), 100) * 1e-6
    x = np.concatenate([generator.uniform(low, high, 200), near_zero])
    if dtype is np.float32:
        x = np.clip(x, -80, 80)
    x = np.abs(x).astype(dtype) if low >= 0 else x.astype(dtype)
    with mpmath.workdps(50):
        exact = [function(mpmath.mpf(float(v))) for v in x]
        actual = run(opcode, x)
        # Differences in 50 digits: float64 itself is too coarse to judge float64.
        error = [abs(mpmath.mpf(float(a)) - e) for a, e in zip(actual, exact, strict=True)]
        rounded = np.array([float(e) for e in exact])
        info = np.finfo(dtype)
        unit = np.ldexp(float(info.eps), np.maximum(np.frexp(rounded)[1] - 1, info.minexp))
        worst = max(float(e / mpmath.mpf(float(u))) for e, u in zip(error, unit, strict=True))
    assert worst < (1.6 if dtype is np.float64 else 0.501), (opcode, worst)


def test_atan2_quadrants():
    y, x = f32(0, -0.0, 1, -1, 0.0, INF), f32(-1, -1, 0, 0, 1, INF)
    expected = np.array([np.pi, -np.pi, np.pi / 2, -np.pi / 2, 0, np.pi / 4])
    assert_within_ulp(run("atan2", y, x), expected, 0.5)
