from __future__ import annotations

import pytest
from hlo_text import module, optimised, softmax

from tfaot.passes.composites import Composite, CompositeKind, find_composites


def composites(body: str) -> list[Composite]:
    return find_composites(optimised(module(body)).entry)


def mean(name: str, x: str) -> str:
    return (
        f"{name}s = f32[B,6] reduce({x}, zero), dimensions={{2}}, to_apply=add_f32\n"
        f"{name} = f32[B,6] divide({name}s, count)\n"
    )


LAYER_NORM = (
    "x = f32[B,6,10] parameter(0)\nzero = f32[] constant(0)\nten = f32[] constant(10)\n"
    "count = f32[B,6] broadcast(ten), dimensions={}\n"
    "epsilon = f32[] constant(0.001)\nepsilonb = f32[B,6] broadcast(epsilon), dimensions={}\n"
    + mean("mean", "x")
    + "meanb = f32[B,6,10] broadcast(mean), dimensions={0,1}\n"
    "d = f32[B,6,10] subtract(x, meanb)\nd2 = f32[B,6,10] multiply(d, d)\n"
    + mean("variance", "d2")
    + "v = f32[B,6] add(variance, epsilonb)\nr = f32[B,6] rsqrt(v)\n"
    "rb = f32[B,6,10] broadcast(r), dimensions={0,1}\n"
)


@pytest.mark.parametrize("dims", ["B,7", "B,2,5,5", "3,B,7"])
def test_softmax(dims: str) -> None:
    (found,) = composites(f"x = f32[{dims}] parameter(0)\n{softmax('x', dims)}")
    assert found.kind is CompositeKind.SOFTMAX
    assert found.axis == dims.count(",")
    assert found.input.opcode == "parameter"
    assert found.output.name == "out"
    assert [m.opcode for m in found.members].count("reduce") == 2
    assert found.members[-1] is found.output


def test_softmax_through_units_and_conversions() -> None:
    (found,) = composites(
        """
        x = bf16[B,7] parameter(0)
        low = f32[] constant(-inf)
        none = f32[] constant(0)
        w = f32[B,7] convert(x)
        top = f32[B] reduce(w, low), dimensions={1}, to_apply=max_f32
        t = bf16[B] convert(top)
        t1 = bf16[B,1] reshape(t)
        t2 = bf16[B] reshape(t1)
        t3 = f32[B] convert(t2)
        tb = f32[B,7] broadcast(t3), dimensions={0}
        s = f32[B,7] subtract(w, tb)
        e = f32[B,7] exponential(s)
        total = f32[B] reduce(e, none), dimensions={1}, to_apply=add_f32
        one = f32[] constant(1)
        ones = f32[B] broadcast(one), dimensions={}
        inverse = f32[B] divide(ones, total)
        ib = f32[B,7] broadcast(inverse), dimensions={0}
        q = f32[B,7] multiply(e, ib)
        ROOT y = bf16[B,7] convert(q)
        """
    )
    assert found.kind is CompositeKind.SOFTMAX
    assert found.input.opcode == "parameter"
    assert found.output.opcode == "convert"


def test_log_softmax() -> None:
    head = softmax("x", "B,7").split("totalb")[0]
    (found,) = composites(
        f"x = f32[B,7] parameter(0)\n{head}\nl = f32[B] log(total)\n"
        "lb = f32[B,7] broadcast(l), dimensions={0}\nROOT y = f32[B,7] subtract(shifted, lb)"
    )
    assert (found.kind, found.axis) == (CompositeKind.LOG_SOFTMAX, 1)


def test_sum_over_another_axis_is_no_softmax() -> None:
    text = softmax("x", "B,7,7").replace(
        "reduce(ex, none), dimensions={2}", "reduce(ex, none), dimensions={1}"
    )
    assert composites(f"x = f32[B,7,7] parameter(0)\n{text}") == []


def test_softmax_whose_exponential_is_also_an_output_is_left_alone() -> None:
    text = softmax("x", "B,7").replace("ROOT ", "")
    body = f"x = f32[B,7] parameter(0)\n{text}\nROOT r = (f32[B,7], f32[B,7]) tuple(ex, out)"
    assert composites(body) == []


def test_layer_norm() -> None:
    (found,) = composites(LAYER_NORM + "ROOT y = f32[B,6,10] multiply(d, rb)")
    assert (found.kind, found.axis) == (CompositeKind.LAYER_NORM, 2)
    assert found.epsilon == pytest.approx(0.001)
    assert found.scale is None
    assert found.input.opcode == "parameter"


def test_layer_norm_with_scale_and_shift_inside() -> None:
    (found,) = composites(
        LAYER_NORM
        + """
        gv = f32[10] constant({1,2,3,4,5,6,7,8,9,10})
        g = f32[B,6,10] broadcast(gv), dimensions={2}
        bv = f32[10] constant({3,1,4,1,5,9,2,6,5,3})
        b = f32[B,6,10] broadcast(bv), dimensions={2}
        factor = f32[B,6,10] multiply(rb, g)
        minus = f32[B,6] negate(mean)
        minusb = f32[B,6,10] broadcast(minus), dimensions={0,1}
        offset = f32[B,6,10] multiply(minusb, factor)
        shifted = f32[B,6,10] add(offset, b)
        product = f32[B,6,10] multiply(x, factor)
        ROOT y = f32[B,6,10] add(product, shifted)
        """
    )
    assert found.kind is CompositeKind.LAYER_NORM
    assert found.scale is not None
    assert found.shift is not None
    assert found.output.name == "y"


@pytest.mark.parametrize(
    ("tail", "epsilon"),
    [
        ("b = f32[B] maximum(s, eb)\nr = f32[B] rsqrt(b)\n", 1e-12),
        ("r = f32[B] rsqrt(s)\n", 0.0),
    ],
)
def test_l2_normalise(tail: str, epsilon: float) -> None:
    (found,) = composites(
        "x = f32[B,7] parameter(0)\nz = f32[] constant(0)\nq = f32[B,7] multiply(x, x)\n"
        "e = f32[] constant(1e-12)\neb = f32[B] broadcast(e), dimensions={}\n"
        "s = f32[B] reduce(q, z), dimensions={1}, to_apply=add_f32\n"
        + tail
        + "rb = f32[B,7] broadcast(r), dimensions={0}\nROOT y = f32[B,7] multiply(x, rb)"
    )
    assert found.kind is CompositeKind.L2_NORMALISE
    assert found.epsilon == pytest.approx(epsilon)


def test_another_reducer_than_the_maximum_is_no_softmax() -> None:
    text = softmax("x", "B,7").replace("to_apply=max_f32", "to_apply=add_f32")
    assert composites(f"x = f32[B,7] parameter(0)\n{text}") == []
