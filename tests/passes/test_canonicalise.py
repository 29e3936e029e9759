from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hlo_text import assert_same_bits, counts, errors, inputs, module, optimised
from hypothesis import given, settings

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Broadcast, Dot
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.passes.canonicalise import Canonicalise
from tfaot.passes.canonicalise.data_movement import widens
from tfaot.passes.dims import reshape_groups

B = BatchDim(1)

EXACT = {
    "copy": ("x = f32[B,4] parameter(0)\nROOT y = f32[B,4] copy(x)", {}),
    "reshape of reshape": (
        "x = f32[B,4] parameter(0)\na = f32[B,2,2] reshape(x)\nROOT y = f32[4B] reshape(a)",
        {"reshape": 1},
    ),
    "reshape there and back": (
        "x = f32[B,4] parameter(0)\na = f32[4B] reshape(x)\nROOT y = f32[B,4] reshape(a)",
        {},
    ),
    "transpose of transpose": (
        "x = f32[B,2,3] parameter(0)\na = f32[3,B,2] transpose(x), dimensions={2,0,1}\n"
        "ROOT y = f32[B,2,3] transpose(a), dimensions={1,2,0}",
        {},
    ),
    "transpose of units": (
        "x = f32[B,1,3] parameter(0)\nROOT y = f32[1,B,3] transpose(x), dimensions={1,0,2}",
        {"reshape": 1},
    ),
    "broadcast of broadcast": (
        "x = f32[4] parameter(0)\na = f32[2,4] broadcast(x), dimensions={1}\n"
        "ROOT y = f32[3,2,4] broadcast(a), dimensions={1,2}",
        {"broadcast": 1},
    ),
    "broadcast of a unit row": (
        "x = f32[B] parameter(0)\na = f32[B,1] reshape(x)\n"
        "ROOT y = f32[B,1,4] broadcast(a), dimensions={0,1}",
        {"broadcast": 1},
    ),
    "reshape of broadcast": (
        "x = f32[B] parameter(0)\na = f32[B,4] broadcast(x), dimensions={0}\n"
        "ROOT y = f32[B,2,1,2] reshape(a)",
        {"broadcast": 1},
    ),
    "transpose of broadcast": (
        "x = f32[B,2] parameter(0)\na = f32[B,2,5] broadcast(x), dimensions={0,1}\n"
        "ROOT y = f32[5,B,2] transpose(a), dimensions={2,0,1}",
        {"broadcast": 1},
    ),
    "slice of strided slice": (
        "x = f32[20] parameter(0)\na = f32[7] slice(x), slice={[1:20:3]}\n"
        "ROOT y = f32[3] slice(a), slice={[1:6:2]}",
        {"slice": 1},
    ),
    "slice of one piece": (
        "x = f32[B,2] parameter(0)\nz = f32[B,3] parameter(1)\n"
        "a = f32[B,5] concatenate(x, z), dimensions={1}\n"
        "ROOT y = f32[B,3] slice(a), slice={[0:B],[2:5]}",
        {},
    ),
    "joined slices": (
        "x = f32[B,5] parameter(0)\na = f32[B,2] slice(x), slice={[0:B],[0:2]}\n"
        "b = f32[B,3] slice(x), slice={[0:B],[2:5]}\n"
        "ROOT y = f32[B,5] concatenate(a, b), dimensions={1}",
        {},
    ),
    "cropping pad": (
        "x = f32[5,4] parameter(0)\nz = f32[] constant(0)\n"
        "ROOT y = f32[3,4] pad(x, z), padding=-1_-1x0_0",
        {"slice": 1},
    ),
    "reverse twice": (
        "x = f32[B,3,4] parameter(0)\na = f32[B,3,4] reverse(x), dimensions={1}\n"
        "ROOT y = f32[B,3,4] reverse(a), dimensions={1,2}",
        {"reverse": 1},
    ),
    "widening convert": (
        "x = f16[B] parameter(0)\na = f32[B] convert(x)\nROOT y = f16[B] convert(a)",
        {},
    ),
    "narrowing convert stays": (
        "x = f32[B] parameter(0)\na = f16[B] convert(x)\nROOT y = f32[B] convert(a)",
        {"convert": 2},
    ),
    "plus minus zero": (
        "x = f32[B] parameter(0)\nz = f32[] constant(-0)\n"
        "a = f32[B] broadcast(z), dimensions={}\nROOT y = f32[B] add(a, x)",
        {},
    ),
    "plus zero stays": (
        "x = f32[B] parameter(0)\nz = f32[] constant(0)\n"
        "a = f32[B] broadcast(z), dimensions={}\nROOT y = f32[B] add(x, a)",
        {"broadcast": 1, "add": 1},
    ),
    "division by a power of two": (
        "x = f32[B] parameter(0)\nz = f32[] constant(8)\n"
        "a = f32[B] broadcast(z), dimensions={}\nROOT y = f32[B] divide(x, a)",
        {"broadcast": 1, "multiply": 1},
    ),
    "division by three stays": (
        "x = f32[B] parameter(0)\nz = f32[] constant(3)\n"
        "a = f32[B] broadcast(z), dimensions={}\nROOT y = f32[B] divide(x, a)",
        {"broadcast": 1, "divide": 1},
    ),
    "arithmetic on copies": (
        "x = f32[B] parameter(0)\na = f32[B,4] broadcast(x), dimensions={0}\n"
        "z = f32[] constant(3)\nb = f32[B,4] broadcast(z), dimensions={}\n"
        "ROOT y = f32[B,4] divide(a, b)",
        {"broadcast": 2, "divide": 1},
    ),
    "negated selection": (
        "p = pred[B] parameter(0)\nx = f32[B] parameter(1)\nz = f32[B] parameter(2)\n"
        "n = pred[B] not(p)\nROOT y = f32[B] select(n, x, z)",
        {"select": 1},
    ),
    "wrapping of a count": (
        "x = f32[B] parameter(0)\ni = s32[B] iota(), iota_dimension=0\nz = s32[] constant(0)\n"
        "a = s32[B] broadcast(z), dimensions={}\np = pred[B] compare(i, a), direction=LT\n"
        "n = s32[B] negate(i)\nROOT y = s32[B] select(p, n, i)",
        {"iota": 1},
    ),
    "reduction of units": (
        "x = f32[B,1] parameter(0)\nz = f32[] constant(-inf)\n"
        "ROOT y = f32[B] reduce(x, z), dimensions={1}, to_apply=max_f32",
        {"reshape": 1},
    ),
    "integer sums from an unneutral start stay": (
        "x = f32[B,1] parameter(0)\nz = f32[] constant(1)\n"
        "ROOT y = f32[B] reduce(x, z), dimensions={1}, to_apply=add_f32",
        {"reduce": 1},
    ),
    "dynamic slice out of bounds": (
        "x = f32[5,4] parameter(0)\ni = s32[] constant(9)\nj = s32[] constant(-1)\n"
        "ROOT y = f32[2,2] dynamic-slice(x, i, j), dynamic_slice_sizes={2,2}",
        {"slice": 1},
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_rewrite_keeps_every_bit(name: str) -> None:
    text, expected = EXACT[name]
    before = module(text)
    after = optimised(before)
    assert counts(after.entry) == expected
    assert_same_bits(before, after)


def test_plus_zero_keeps_negative_zero() -> None:
    text, _ = EXACT["plus zero stays"]
    (result,) = evaluate(optimised(module(text)), [np.array([-0.0], np.float32)])
    assert not np.signbit(result[0])


def test_logistic_is_recognised_and_no_less_accurate() -> None:
    before = module(
        "x = f32[B] parameter(0)\no = f32[] constant(1)\na = f32[B] broadcast(o), dimensions={}\n"
        "n = f32[B] negate(x)\nf = f32[B] exponential(n)\ns = f32[B] add(a, f)\n"
        "ROOT y = f32[B] divide(a, s)"
    )
    after = optimised(before)
    assert counts(after.entry) == {"logistic": 1}
    old, new = errors(before, after, batch=1000)
    assert new <= old


def test_elu_stays() -> None:
    before = module(
        "x = f32[B] parameter(0)\nz = f32[] constant(0)\na = f32[B] broadcast(z), dimensions={}\n"
        "p = pred[B] compare(x, a), direction=GT\nm = f32[B] exponential-minus-one(x)\n"
        "ROOT y = f32[B] select(p, x, m)"
    )
    assert optimised(before) is before


DOTS = {
    "vector": (
        "x = f32[4] parameter(0)\nw = f32[4,3] parameter(1)\n"
        "ROOT y = f32[3] dot(x, w), lhs_contracting_dims={0}, rhs_contracting_dims={0}"
    ),
    "transposed weights": (
        "x = f32[B,4] parameter(0)\nw = f32[3,4] parameter(1)\n"
        "ROOT y = f32[B,3] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={1}"
    ),
    "two contracting dimensions": (
        "x = f32[B,2,3] parameter(0)\nw = f32[3,5,2] parameter(1)\n"
        "ROOT y = f32[B,5] dot(x, w), lhs_contracting_dims={1,2}, rhs_contracting_dims={2,0}"
    ),
    "batch in the middle": (
        "x = f32[3,B,4] parameter(0)\nw = f32[4,B,5] parameter(1)\n"
        "ROOT y = f32[B,3,5] dot(x, w), lhs_batch_dims={1}, rhs_batch_dims={1}, "
        "lhs_contracting_dims={2}, rhs_contracting_dims={0}"
    ),
    "outer product": (
        "x = f32[B] parameter(0)\nw = f32[5] parameter(1)\nROOT y = f32[B,5] dot(x, w)"
    ),
    "time first": (
        "x = f32[3,B,4] parameter(0)\nw = f32[4,5] parameter(1)\n"
        "ROOT y = f32[3,B,5] dot(x, w), lhs_contracting_dims={2}, rhs_contracting_dims={0}"
    ),
}


@pytest.mark.parametrize("name", DOTS)
def test_dots_take_normal_form(name: str) -> None:
    before = module(DOTS[name])
    after = optimised(before)
    (dot,) = [i for i in after.entry.instructions if i.opcode == "dot"]
    attrs = dot.attr(Dot)
    batch = len(attrs.lhs_batch)
    lead = tuple(range(batch))
    assert attrs == Dot((batch + 1,), (batch,), lead, lead)
    assert dot.array.rank == batch + 2
    assert_same_bits(before, after)


def test_constant_weights_move_to_the_right() -> None:
    before = module(
        "x = f32[B,3] parameter(0)\nw = f32[3,2] constant({{1,2},{3,4},{5,6}})\n"
        "ROOT y = f32[2,B] dot(w, x), lhs_contracting_dims={0}, rhs_contracting_dims={1}"
    )
    after = optimised(before)
    assert counts(after.entry) == {"dot": 1, "transpose": 1}
    (dot,) = [i for i in after.entry.instructions if i.opcode == "dot"]
    assert dot.operands[1].opcode == "constant"
    assert dot.operands[0].opcode == "parameter"
    assert_same_bits(before, after)


def test_transposed_constant_weights_are_folded() -> None:
    before = module(
        "x = f32[B,2] parameter(0)\nw = f32[3,2] constant({{1,2},{3,4},{5,6}})\n"
        "ROOT y = f32[B,3] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={1}"
    )
    after = optimised(before)
    assert counts(after.entry) == {"dot": 1}
    assert_same_bits(before, after)


def test_pointwise_convolution_becomes_a_dot() -> None:
    before = module(
        "x = f32[B,4,4,3] parameter(0)\nw = f32[1,1,3,2] parameter(1)\n"
        "ROOT y = f32[B,4,4,2] convolution(x, w), window={size=1x1}, dim_labels=b01f_01io->b01f"
    )
    assert counts(Canonicalise().run(before).entry)["dot"] == 1
    values = inputs(before, 3)
    expected = np.einsum("bhwk,kn->bhwn", values[0], values[1][0, 0])
    np.testing.assert_allclose(evaluate(optimised(before), values)[0], expected, rtol=1e-5)


dims = st.lists(st.sampled_from([1, 2, 3, 4, B]), min_size=0, max_size=5).filter(
    lambda d: sum(x == B for x in d) <= 1
)


@settings(max_examples=200, deadline=None)
@given(dims, st.randoms())
def test_reshape_groups_cover_both_shapes_with_equal_sizes(dims: list[object], rng: object) -> None:
    before = tuple(dims)
    # Merge random neighbours and add units to get another shape of the same size.
    after: list[object] = []
    for d in before:
        if after and rng.random() < 0.5 and not (after[-1] == B and d == B):  # type: ignore[attr-defined]
            after[-1] = after[-1] * d  # type: ignore[operator]
        else:
            after.append(d)
        if rng.random() < 0.2:  # type: ignore[attr-defined]
            after.append(1)
    groups = reshape_groups(before, tuple(after))  # type: ignore[arg-type]
    assert [d for g in groups for d in g.inputs] == list(range(len(before)))
    assert [d for g in groups for d in g.outputs] == list(range(len(after)))
    for group in groups:
        for size in (7, 11):
            left = np.prod(
                [1]
                + [
                    d.at(size) if isinstance(d, BatchDim) else d
                    for d in (before[i] for i in group.inputs)
                ]
            )
            right = np.prod(
                [1]
                + [
                    d.at(size) if isinstance(d, BatchDim) else d
                    for d in (after[i] for i in group.outputs)
                ]
            )
            assert left == right


@pytest.mark.parametrize(
    ("narrow", "wide", "expected"),
    [
        (DType.F16, DType.F32, True),
        (DType.F16, DType.BF16, False),
        (DType.BF16, DType.F16, False),
        (DType.BF16, DType.F32, True),
        (DType.U8, DType.S16, True),
        (DType.S8, DType.U16, False),
        (DType.S8, DType.F32, False),
        (DType.PRED, DType.F32, True),
    ],
)
def test_widening(narrow: DType, wide: DType, expected: bool) -> None:
    assert widens(narrow, wide) is expected


def test_broadcast_of_equal_constants_is_one_scalar() -> None:
    before = module(
        "x = f32[B,3] parameter(0)\nw = f32[3] constant({2,2,2})\n"
        "a = f32[B,3] broadcast(w), dimensions={1}\nROOT y = f32[B,3] maximum(x, a)"
    )
    after = optimised(before)
    (broadcast,) = [i for i in after.entry.instructions if i.opcode == "broadcast"]
    assert broadcast.attr(Broadcast).dimensions == ()
    assert_same_bits(before, after)
