"""sort and TopK against Python's sort."""

import functools
import math
import struct

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import op_cases

CASES = op_cases(["sort"])


def key(value):
    """Python's key in IEEE total order (integers: the value)."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    bits = struct.unpack("<q", struct.pack("<d", float(value)))[0]
    return bits if bits >= 0 else bits ^ 0x7FFFFFFFFFFFFFFF


def bits(x):
    return np.ascontiguousarray(x).tobytes()


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name.split("/")[-1][:2] in "LT GT"], ids=str
)
def test_sort_of_one_operand(case):
    (x,) = case.inputs(4, 6)
    down = case.name.split("/")[-1].startswith("GT")
    rows = [sorted(row, key=key, reverse=down) for row in x]
    assert bits(evaluate(case.module(), [x])[0]) == bits(np.array(rows, x.dtype))


@pytest.mark.parametrize("case", [c for c in CASES if "argsort" in c.name], ids=str)
def test_argsort_is_stable(case):
    (x,) = case.inputs(4, 6)
    sign = 1 if "-up-" in case.name else -1
    value, index = evaluate(case.module(), [x])
    expected = [sorted(range(row.size), key=lambda i, r=row: sign * key(r[i])) for row in x]
    assert index.tolist() == expected
    assert bits(value) == bits(np.take_along_axis(x, index, 1))


@pytest.mark.parametrize("case", [c for c in CASES if "two-keys" in c.name], ids=str)
def test_comparator_of_several_ops(case):
    x, y = case.inputs(4, 6)
    first, second = evaluate(case.module(), [x, y])
    for row, (a, b) in enumerate(zip(x, y, strict=True)):
        pairs = sorted((-int(math.fmod(p, 4)), float(q)) for p, q in zip(a, b, strict=True))
        assert [(-int(p), float(q)) for p, q in zip(first[row], second[row], strict=True)] == pairs


def test_any_comparator_keeps_ties_in_place():
    """By absolute value only: elements that compare equal stay in order."""
    inner = ModuleBuilder("by_size")
    x, y = inner.parameter(DType.S32), inner.parameter(DType.S32)
    compare = inner.computation(inner.compare("LT", inner.unary("abs", x), inner.unary("abs", y)))
    for size in (1, 2, 3, 10, 100, 257):
        values = np.random.default_rng(size).integers(-5, 6, (2, size)).astype(np.int32)
        b = ModuleBuilder("sort")
        module = b.module(b.sort([b.parameter(DType.S32, values.shape)], 1, compare))
        assert evaluate(module, [values])[0].tolist() == [
            sorted(v, key=abs) for v in values.tolist()
        ]


def test_nan_under_a_float_comparator_behaves_like_python_merging():
    """No order is promised, but every element survives."""
    inner = ModuleBuilder("less")
    compare = inner.computation(
        inner.compare("LT", inner.parameter(DType.F32), inner.parameter(DType.F32))
    )
    values = np.array([[3, np.nan, 1, np.nan, 2]], np.float32)
    b = ModuleBuilder("sort")
    module = b.module(b.sort([b.parameter(DType.F32, values.shape)], 1, compare))
    result = evaluate(module, [values])[0]
    assert sorted(result[~np.isnan(result)].tolist()) == [1, 2, 3]
    assert functools.reduce(lambda n, v: n + bool(np.isnan(v)), result[0], 0) == 2


@pytest.mark.parametrize("case", [c for c in CASES if "top-k" in c.name], ids=str)
def test_top_k(case):
    (x,) = case.inputs(4, 6)
    value, index = evaluate(case.module(), [x])
    count = value.shape[1]
    expected = [sorted(range(r.size), key=lambda i, r=r: -key(r[i]))[:count] for r in x]
    assert index.tolist() == expected
    assert bits(value) == bits(np.take_along_axis(x, index, 1))
