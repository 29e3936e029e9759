"""convert, bitcast-convert and reduce-precision against hand-computed values."""

import struct

import ml_dtypes
import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder

NAN, INF = float("nan"), float("inf")


def convert(x, target, float64=False):
    b = ModuleBuilder("convert")
    root = b.convert(b.parameter(DType.from_numpy(x.dtype), x.shape), target)
    return evaluate(b.module(root), [x], float64=float64)[0]


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [
        (DType.S4, -8, 7),
        (DType.U4, 0, 15),
        (DType.S8, -128, 127),
        (DType.U8, 0, 255),
        (DType.S32, -(2**31), 2**31 - 1),
        (DType.U32, 0, 2**32 - 1),
        (DType.S64, -(2**63), 2**63 - 1),
        (DType.U64, 0, 2**64 - 1),
    ],
)
def test_float_to_integer_saturates(target, low, high):
    x = np.array([NAN, INF, -INF, 1e30, -1e30, 2.9, -2.9, 0.5], np.float32)
    expected = [0, high, low, high, low, 2, max(low, -2), 0]
    assert [int(v) for v in convert(x, target)] == expected
    assert [int(v) for v in convert(x, target, float64=True)] == expected


def test_integer_to_integer_wraps():
    x = np.array([300, -1, 2**31 - 1], np.int32)
    assert convert(x, DType.U8).tolist() == [44, 255, 255]
    assert convert(x, DType.S8).tolist() == [44, -1, -1]
    assert [int(v) for v in convert(x, DType.S4)] == [-4, -1, -1]
    assert convert(x, DType.U64).tolist() == [300, 2**64 - 1, 2**31 - 1]


def test_to_pred_is_not_zero():
    x = np.array([0, -0.0, 0.25, NAN], np.float32)
    assert convert(x, DType.PRED).tolist() == [False, False, True, True]
    assert convert(np.array([256], np.int32), DType.PRED).tolist() == [True]
    assert convert(np.array([True]), DType.F32).tolist() == [1.0]


def test_rounding_to_narrower_floats():
    x = np.array([1 + 2**-9, 1 + 3 * 2**-9, 1e39, 65520], np.float64)
    assert convert(x, DType.BF16).astype(float).tolist()[:3] == [1, 1 + 2**-7, INF]
    assert convert(x, DType.F16).astype(float).tolist()[2:] == [INF, INF]
    assert convert(x, DType.BF16, float64=True).tolist() == x.tolist()


def test_large_integers_to_float_round_to_nearest_even():
    x = np.array([2**24 + 1, 2**24 + 3, 2**62 + 1], np.int64)
    assert convert(x, DType.F32).tolist() == [2**24, 2**24 + 4, 2**62]


def bitcast(x, target, float64=False):
    b = ModuleBuilder("bitcast")
    root = b.bitcast_convert(b.parameter(DType.from_numpy(x.dtype), x.shape), target)
    return evaluate(b.module(root), [x], float64=float64)[0]


@pytest.mark.parametrize("float64", [False, True])
def test_bitcast_reads_the_types_own_bits(float64):
    x = np.array([1.5, -0.0], np.float32)
    expected = [struct.unpack("<i", struct.pack("<f", v))[0] for v in x.tolist()]
    assert bitcast(x, DType.S32, float64).tolist() == expected
    assert bitcast(np.array(expected, np.int32), DType.F32, float64).tolist() == [1.5, 0]
    assert bitcast(x, DType.U8, float64).tolist() == [[0, 0, 192, 63], [0, 0, 0, 128]]
    assert bitcast(np.array([[0, 0, 192, 63]], np.uint8), DType.F32, float64).tolist() == [1.5]


def reduce_precision(x, exponent, mantissa, float64=False):
    b = ModuleBuilder("reduce-precision")
    x = np.asarray(x)
    node = b.parameter(DType.from_numpy(x.dtype), x.shape)
    root = b.reduce_precision(node, exponent, mantissa)
    return evaluate(b.module(root), [x], float64=float64)[0]


def test_reduce_precision_equals_a_round_trip_where_a_type_of_that_format_exists():
    generator = np.random.default_rng(0)
    x = (generator.normal(size=2000) * 10.0 ** generator.uniform(-44, 38, 2000)).astype(np.float32)
    for exponent, mantissa, kind in ((8, 7, ml_dtypes.bfloat16), (5, 10, np.float16)):
        with np.errstate(over="ignore"):
            expected = x.astype(kind).astype(np.float32)
        # Denormals of a format with fewer exponent bits become zero.
        least = 2.0 ** (2 - 2 ** (exponent - 1)) if exponent < 8 else 0.0
        expected = np.where(np.abs(expected) < least, np.copysign(0, x), expected)
        kept = (np.abs(x) < least * 0.99) | (np.abs(x) >= least * 1.01)
        for float64 in (False, True):
            actual = reduce_precision(x, exponent, mantissa, float64)
            np.testing.assert_array_equal(actual[kept], expected[kept])


def test_reduce_precision_keeps_nan_and_infinity():
    value = reduce_precision(np.array([NAN, INF, -INF, 1e9], np.float32), 4, 3)
    np.testing.assert_array_equal(value, np.array([NAN, INF, -INF, INF], np.float32))
