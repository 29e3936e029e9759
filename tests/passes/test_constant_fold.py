from __future__ import annotations

import numpy as np
from hlo_text import assert_same_bits, counts, literal, module, optimised

from tfaot.ir.attributes import Constant
from tfaot.passes.constant_fold import ConstantFold

WEIGHTS = literal(np.arange(64 * 32, dtype=np.float32).reshape(64, 32))


def test_arithmetic_on_constants_is_done_once() -> None:
    before = module(
        "x = f32[B,3] parameter(0)\nv = f32[3] constant({1,4,9})\ne = f32[] constant(0.5)\n"
        "eb = f32[3] broadcast(e), dimensions={}\ns = f32[3] add(v, eb)\nr = f32[3] rsqrt(s)\n"
        "rb = f32[B,3] broadcast(r), dimensions={1}\nROOT y = f32[B,3] multiply(x, rb)"
    )
    after = ConstantFold().run(before)
    assert counts(after.entry) == {"broadcast": 1, "multiply": 1}
    assert_same_bits(before, after)


def test_broadcasts_and_iotas_stay() -> None:
    before = module(
        "c = f32[] constant(2)\na = f32[4096] broadcast(c), dimensions={}\n"
        "i = f32[4096] iota(), iota_dimension=0\nROOT y = f32[4096] add(a, i)"
    )
    after = ConstantFold().run(before)
    assert counts(after.entry) == {"broadcast": 1, "iota": 1, "add": 1}


def test_weights_needed_in_two_forms_are_stored_once() -> None:
    before = module(
        f"x = f32[B,64] parameter(0)\nw = f32[64,32] constant({WEIGHTS})\n"
        "a = f32[B,32] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={0}\n"
        "ROOT y = f32[B,64] dot(a, w), lhs_contracting_dims={1}, rhs_contracting_dims={1}"
    )
    after = optimised(before)
    assert counts(after.entry) == {"dot": 2, "transpose": 1}
    stored = [i.attrs.value for i in after.entry.instructions if isinstance(i.attrs, Constant)]
    assert sum(v.nbytes for v in stored) == 64 * 32 * 4
    assert_same_bits(before, after)


def test_weights_cut_in_parts_are_stored_as_parts() -> None:
    before = module(
        f"x = f32[B,64] parameter(0)\nw = f32[64,32] constant({WEIGHTS})\n"
        "l = f32[64,16] slice(w), slice={[0:64],[0:16]}\n"
        "r = f32[64,16] slice(w), slice={[0:64],[16:32]}\n"
        "a = f32[B,16] dot(x, l), lhs_contracting_dims={1}, rhs_contracting_dims={0}\n"
        "b = f32[B,16] dot(x, r), lhs_contracting_dims={1}, rhs_contracting_dims={0}\n"
        "ROOT y = f32[B,16] multiply(a, b)"
    )
    after = optimised(before)
    assert counts(after.entry) == {"dot": 2, "multiply": 1}
    assert_same_bits(before, after)
