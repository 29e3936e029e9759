"""Where a multiplication and an addition round once, and where they must round twice."""

import numpy as np
import pytest
from compiled import compile_module

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.testing.build import ModuleBuilder

FUSED = "x86-64-v3"
UNFUSED = "x86-64-v2"
STEPS = {DType.F32: 2.0**-12, DType.F64: 2.0**-27}
"""Of 1, so that (1 + a few steps)^2 - 1 is a number whose last bits a rounded square lacks."""


def values(dtype):
    """1 and a few steps: 37 of them, which is no multiple of any vector's lanes."""
    return (1 + STEPS[dtype] * np.arange(1, 38)).astype(dtype.numpy)


def exact(dtype):
    """The squares of `values` less 1, which the type holds exactly."""
    steps = np.arange(1, 38)
    return (STEPS[dtype] * (2 * steps + STEPS[dtype] * steps**2)).astype(dtype.numpy)


def twice(x):
    return x * x - x.dtype.type(1)


def compiled(dtype, target, make):
    """A model of `x` and `y` of one number per row."""
    b = ModuleBuilder("m")
    x, y = (b.parameter(dtype, (BatchDim(1),)) for _ in range(2))
    return compile_module(b.module(make(b, x, y)), target)


@pytest.mark.parametrize("dtype", list(STEPS))
@pytest.mark.parametrize("constant_first", [False, True])
def test_a_product_and_a_constant_are_added_with_one_rounding(dtype, constant_first):
    def make(b, x, y):
        product, constant = b.binary("multiply", x, y), b.splat(-1.0, x)
        operands = (constant, product) if constant_first else (product, constant)
        return b.binary("add", *operands)

    x = values(dtype)
    (fused,) = compiled(dtype, FUSED, make)([x, x])
    np.testing.assert_array_equal(fused, exact(dtype))
    assert (fused != twice(x)).any()
    (unfused,) = compiled(dtype, UNFUSED, make)([x, x])
    np.testing.assert_array_equal(unfused, twice(x))


@pytest.mark.parametrize("dtype", list(STEPS))
@pytest.mark.parametrize("target", [UNFUSED, FUSED])
def test_equal_products_cancel(dtype, target):
    """With one of them unrounded, what is left would be its rounding."""

    def negated(b, x, y):
        product = b.binary("multiply", x, x)
        return b.binary("add", product, b.unary("negate", b.binary("multiply", x, x)))

    def given(b, x, y):
        return b.binary("add", b.binary("multiply", x, x), b.binary("multiply", x, y))

    x = values(dtype)
    for make in (negated, given):
        (found,) = compiled(dtype, target, make)([x, -x])
        np.testing.assert_array_equal(found, np.zeros_like(x))


@pytest.mark.parametrize("dtype", list(STEPS))
@pytest.mark.parametrize("opcode", ["add", "subtract"])
def test_a_product_and_what_is_no_constant_round_twice(dtype, opcode):
    def make(b, x, y):
        return b.binary(opcode, b.binary("multiply", x, x), y)

    x = values(dtype)
    one = np.full_like(x, 1 if opcode == "subtract" else -1)
    (found,) = compiled(dtype, FUSED, make)([x, one])
    np.testing.assert_array_equal(found, twice(x))
