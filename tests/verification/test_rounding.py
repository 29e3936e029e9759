"""What rounding can do to outputs."""

import numpy as np
import pytest

from tfaot.interpreter import context, dot
from tfaot.interpreter.evaluate import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.testing.build import ModuleBuilder
from tfaot.verification.rounding import rounding_spread


def spread(module, *inputs):
    expected = evaluate(module, inputs, float64=True)
    return rounding_spread(module, inputs, len(inputs[0]), expected)[0], expected[0]


def test_movement_of_data_does_not_round(hlo):
    x = np.ones((3, 2), np.float32)
    moved, _ = spread(
        hlo("x = f32[B,2] parameter(0)\nROOT y = f32[2,B] transpose(x), dimensions={1,0}"), x
    )
    assert not moved.any()


def test_one_operation_moves_by_about_its_last_place(hlo):
    x = np.full((64, 1), 3.0, np.float32)
    moved, exact = spread(hlo("x = f32[B,1] parameter(0)\nROOT y = f32[B,1] multiply(x, x)"), x)
    assert np.all(moved <= exact * 2.0**-23)
    assert np.all(moved > exact * 2.0**-27)


def test_cancellation_keeps_the_error_of_its_terms(hlo):
    body = """
    x = f32[B,1] parameter(0)
    c = f32[] constant(1e6)
    cb = f32[B,1] broadcast(c), dimensions={}
    a = f32[B,1] add(x, cb)
    ROOT y = f32[B,1] subtract(a, cb)
    """
    moved, exact = spread(hlo(body), np.full((8, 1), 0.5, np.float32))
    assert np.all(moved > 1e-3 * exact)


def test_long_sums_move_more_than_short_ones(hlo):
    def total(length):
        body = f"""
        x = f32[B,{length}] parameter(0)
        z = f32[] constant(0)
        ROOT y = f32[B] reduce(x, z), dimensions={{1}}, to_apply=add
        """
        x = np.tile(np.array([1.0, -1.0], np.float32), (16, length // 2))
        return spread(hlo(body), x)[0].max()

    assert total(1024) > 50 * total(8)


def test_products_move_as_sums_in_order_do(hlo):
    """By more than a rounding of the result, relative to it, where all terms have one sign."""

    def relative(length):
        body = f"""
        x = f32[B,{length}] parameter(0)
        one = f32[] constant(1)
        w = f32[{length},1] broadcast(one), dimensions={{}}
        ROOT y = f32[B,1] dot(x, w), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
        """
        moved, exact = spread(hlo(body), np.ones((16, length), np.float32))
        return (moved / exact).max()

    assert relative(8) < 2.0**-22
    assert 5 < relative(1600) / relative(8) < 40


@pytest.mark.parametrize("signs", ["in turn", "random"])
@pytest.mark.parametrize("opcode", ["dot", "reduce"])
def test_sums_of_mixed_signs_move_by_a_unit_of_their_terms(hlo, opcode, signs):
    """However long they are: the partial sums, which rounding is relative to, stay far smaller."""
    root = {
        "dot": "dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        "reduce": "reduce(x, zero), dimensions={1}, to_apply=add",
    }[opcode]
    for length in (8, 200, 5000):
        body = f"""
        x = f32[B,{length}] parameter(0)
        zero = f32[] constant(0)
        one = f32[] constant(1)
        w = f32[{length}] broadcast(one), dimensions={{}}
        ROOT y = f32[B] {root}
        """
        x = np.tile(np.array([1.0, -1.0], np.float32), (16, length // 2))
        if signs == "random":
            x = np.random.default_rng(length).choice(x[0], (16, length))
        moved, _ = spread(hlo(body), x)
        units = moved / (length * 2.0**-23)
        assert units.max() <= 1
        assert units.min() > 0.1


def test_a_threshold_flips(hlo):
    body = """
    x = f32[B,1] parameter(0)
    s = f32[B,1] multiply(x, x)
    c = f32[] constant(1)
    cb = f32[B,1] broadcast(c), dimensions={}
    ROOT y = pred[B,1] compare(s, cb), direction=GT
    """
    moved, _ = spread(hlo(body), np.array([[1.0], [2.0], [0.5]], np.float32))
    np.testing.assert_array_equal(moved[:, 0], [1.0, 0.0, 0.0])


def test_products_with_large_constants_move_as_with_others(monkeypatch):
    """Their magnitudes, too, are taken part by part."""
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 40), (40, 9)))
    w[:20] = -w[20:]
    x[:, :20] = x[:, 20:]  # sums that cancel
    b = ModuleBuilder("large")
    module = b.module(b.matmul(b.parameter(DType.F32, (BatchDim(1), 40)), b.constant(w)))
    expected, exact = spread(module, x)
    assert np.all(expected > 1e3 * np.abs(exact) * 2.0**-23)

    monkeypatch.setattr(context, "LARGE_CONSTANT", 1)
    monkeypatch.setattr(dot, "BLOCK", 64)
    moved, _ = spread(module, x)

    np.testing.assert_allclose(moved, expected, rtol=1e-6)
