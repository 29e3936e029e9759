"""Loops and conditionals: state in place or in two buffers, whole tuples, the chosen branch."""

import numpy as np
import pytest
from compiled import compile_module

from tfaot.interpreter import evaluate
from tfaot.ir.text import parse_module
from tfaot.schedule.control import schedule

RECURRENT = """
HloModule t
cond { s = (s32[], f32[B,8], f32[10,B,8], f32[8,8]) parameter(0)
 i = s32[] get-tuple-element(s), index=0
 n = s32[] constant(7)
 ROOT c = pred[] compare(i,n), direction=LT }
body { s = (s32[], f32[B,8], f32[10,B,8], f32[8,8]) parameter(0)
 i = s32[] get-tuple-element(s), index=0
 one = s32[] constant(1)
 i1 = s32[] add(i,one)
 h = f32[B,8] get-tuple-element(s), index=1
 w = f32[8,8] get-tuple-element(s), index=3
 d = f32[B,8] dot(h,w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
 t = f32[B,8] tanh(d)
 o = f32[10,B,8] get-tuple-element(s), index=2
 tr = f32[1,B,8] reshape(t)
 z = s32[] constant(0)
 o2 = f32[10,B,8] dynamic-update-slice(o,tr,i,z,z)
 ROOT r = (s32[], f32[B,8], f32[10,B,8], f32[8,8]) tuple(i1,t,o2,w)
}
tb { p = f32[B,8] parameter(0)
 ROOT r = f32[B,8] negate(p) }
fb { p = f32[B,8] parameter(0)
 ROOT r = f32[B,8] abs(p) }
ENTRY e {
 x = f32[B,8] parameter(0)
 k = s32[] parameter(1)
 w1 = f32[8,8] iota(), iota_dimension=0
 s1 = f32[] constant(0.03)
 sb = f32[8,8] broadcast(s1), dimensions={}
 w = f32[8,8] multiply(w1,sb)
 z = s32[] constant(0)
 zf = f32[] constant(0)
 o = f32[10,B,8] broadcast(zf), dimensions={}
 st = (s32[], f32[B,8], f32[10,B,8], f32[8,8]) tuple(z,x,o,w)
 wh = (s32[], f32[B,8], f32[10,B,8], f32[8,8]) while(st), condition=cond, body=body
 h = f32[B,8] get-tuple-element(wh), index=1
 oo = f32[10,B,8] get-tuple-element(wh), index=2
 cc = f32[B,8] conditional(k,h,h), branch_computations={tb,fb}
 ROOT r = (f32[10,B,8], f32[B,8]) tuple(oo,cc)
}
"""

WHOLE_TUPLE = """
HloModule t
%t (p: (f32[B,4], f32[B,4])) -> (f32[B,4], f32[B,4]) {
 ROOT %p = (f32[B,4], f32[B,4]) parameter(0)
}
%f (p: (f32[B,4], f32[B,4])) -> (f32[B,4], f32[B,4]) {
 %p = (f32[B,4], f32[B,4]) parameter(0)
 %a = f32[B,4] get-tuple-element(%p), index=0
 %b = f32[B,4] get-tuple-element(%p), index=1
 %c = f32[B,4] add(%a,%b)
 ROOT %r = (f32[B,4], f32[B,4]) tuple(%c,%a)
}
ENTRY e {
 x=f32[B,4] parameter(0)
 k=pred[] parameter(1)
 n=f32[B,4] negate(x)
 tt=(f32[B,4], f32[B,4]) tuple(x,n)
 c=(f32[B,4], f32[B,4]) conditional(k,tt,tt), branch_computations={%t,%f}
 a=f32[B,4] get-tuple-element(c), index=0
 b=f32[B,4] get-tuple-element(c), index=1
 ROOT o=(f32[B,4], f32[B,4]) tuple(a,b)
}
"""

LOOPS_OF_BRANCHES = """
HloModule t
%t (p: (s32[], f32[B,4])) -> (s32[], f32[B,4]) {
 %p = (s32[], f32[B,4]) parameter(0)
 %i = s32[] get-tuple-element(%p), index=0
 %x = f32[B,4] get-tuple-element(%p), index=1
 %one = s32[] constant(1)
 %i1 = s32[] add(%i,%one)
 %y = f32[B,4] negate(%x)
 ROOT %r = (s32[], f32[B,4]) tuple(%i1,%y)
}
%f (p: (s32[], f32[B,4])) -> (s32[], f32[B,4]) {
 %p = (s32[], f32[B,4]) parameter(0)
 %i = s32[] get-tuple-element(%p), index=0
 %x = f32[B,4] get-tuple-element(%p), index=1
 %two = s32[] constant(2)
 %i1 = s32[] add(%i,%two)
 %y = f32[B,4] add(%x,%x)
 ROOT %r = (s32[], f32[B,4]) tuple(%i1,%y)
}
%body (p: (s32[], f32[B,4])) -> (s32[], f32[B,4]) {
 %p = (s32[], f32[B,4]) parameter(0)
 %i = s32[] get-tuple-element(%p), index=0
 %three = s32[] constant(3)
 %c = pred[] compare(%i,%three), direction=LT
 ROOT %r = (s32[], f32[B,4]) conditional(%c,%p,%p), branch_computations={%t,%f}
}
%cond (p: (s32[], f32[B,4])) -> pred[] {
 %p = (s32[], f32[B,4]) parameter(0)
 %i = s32[] get-tuple-element(%p), index=0
 %n = s32[] constant(9)
 ROOT %c = pred[] compare(%i,%n), direction=LT
}
ENTRY e {
 x=f32[B,4] parameter(0)
 z=s32[] constant(0)
 tt=(s32[], f32[B,4]) tuple(z,x)
 w=(s32[], f32[B,4]) while(tt), condition=%cond, body=%body
 w2=(s32[], f32[B,4]) while(w), condition=%cond, body=%body
 a=s32[] get-tuple-element(w2), index=0
 b=f32[B,4] get-tuple-element(w2), index=1
 ROOT o=(s32[], f32[B,4]) tuple(a,b)
}
"""


def _x(batch, columns):
    return np.random.default_rng(batch).standard_normal((batch, columns)).astype(np.float32)


@pytest.mark.parametrize("batch", [0, 1, 2, 7, 33])
@pytest.mark.parametrize("branch", [0, 1, 5, -1])
def test_a_recurrent_loop_and_the_chosen_branch(batch, branch):
    module = parse_module(RECURRENT)
    inputs = [_x(batch, 8), np.array(branch, np.int32)]
    actual = compile_module(module)(inputs, batch)
    for ours, expected in zip(actual, evaluate(module, inputs, batch=batch), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_what_a_loop_updates_in_part_is_updated_in_place_and_weights_are_no_state():
    plan = schedule(parse_module(RECURRENT).entry)
    (loop,) = [k for k in plan.kernels if k.root.opcode == "while"]
    _, body = loop.called
    assert [k.in_place for k in body.kernels if k.root.opcode == "dynamic-update-slice"] == [True]
    assert len(body.outputs) == 3


@pytest.mark.parametrize("chosen", [True, False])
def test_a_branch_may_hand_on_its_whole_argument(chosen):
    module = parse_module(WHOLE_TUPLE)
    inputs = [_x(5, 4), np.array(chosen)]
    for ours, expected in zip(
        compile_module(module)(inputs, 5), evaluate(module, inputs), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("batch", [1, 20])
def test_loops_whose_state_is_what_a_branch_or_another_loop_returns(batch):
    module = parse_module(LOOPS_OF_BRANCHES)
    inputs = [_x(batch, 4)]
    for ours, expected in zip(
        compile_module(module)(inputs, batch), evaluate(module, inputs), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


BRANCH_OF_BRANCH = """
HloModule chain
once { s = (f32[B,4], f32[B,4]) parameter(0)
 a = f32[B,4] get-tuple-element(s), index=0
 b = f32[B,4] get-tuple-element(s), index=1
 c = f32[B,4] add(a,b)
 ROOT r = (f32[B,4], f32[B,4]) tuple(c,a) }
other { s = (f32[B,4], f32[B,4]) parameter(0)
 a = f32[B,4] get-tuple-element(s), index=0
 b = f32[B,4] get-tuple-element(s), index=1
 ROOT r = (f32[B,4], f32[B,4]) tuple(b,b) }
ENTRY e {
 x = f32[B,4] parameter(0)
 p = pred[] parameter(1)
 n = f32[B,4] negate(x)
 t = (f32[B,4], f32[B,4]) tuple(x,n)
 first = (f32[B,4], f32[B,4]) conditional(p,t,t), true_computation=once, false_computation=other
 second = (f32[B,4], f32[B,4]) conditional(p,first,first),
  true_computation=once, false_computation=other
 f1 = f32[B,4] get-tuple-element(first), index=1
 s0 = f32[B,4] get-tuple-element(second), index=0
 s1 = f32[B,4] get-tuple-element(second), index=1
 a = f32[B,4] multiply(s0,f1)
 ROOT r = (f32[B,4], f32[B,4]) tuple(a,s1)
}
"""


@pytest.mark.parametrize("chosen", [True, False])
def test_branches_that_take_what_another_returns_as_a_whole(chosen):
    module = parse_module(BRANCH_OF_BRANCH)
    inputs = [_x(5, 4), np.array(chosen)]
    for ours, expected in zip(
        compile_module(module)(inputs, 5), evaluate(module, inputs), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


READ_AFTER_UPDATE = """
HloModule hazard
add { a = f32[] parameter(0)
 b = f32[] parameter(1)
 ROOT r = f32[] add(a,b) }
cond { s = (s32[], f32[6,B], f32[B]) parameter(0)
 i = s32[] get-tuple-element(s), index=0
 n = s32[] constant(5)
 ROOT c = pred[] compare(i,n), direction=LT }
body { s = (s32[], f32[6,B], f32[B]) parameter(0)
 i = s32[] get-tuple-element(s), index=0
 one = s32[] constant(1)
 i1 = s32[] add(i,one)
 o = f32[6,B] get-tuple-element(s), index=1
 h = f32[B] get-tuple-element(s), index=2
 z = s32[] constant(0)
 row = f32[1,B] reshape(h)
 o2 = f32[6,B] dynamic-update-slice(o,row,i,z)
 zf = f32[] constant(0)
 old = f32[B] reduce(o,zf), dimensions={0}, to_apply=add
 h2 = f32[B] subtract(h,old)
 ROOT r = (s32[], f32[6,B], f32[B]) tuple(i1,o2,h2)
}
ENTRY e {
 x = f32[B] parameter(0)
 z = s32[] constant(0)
 ones = f32[] constant(1)
 o = f32[6,B] broadcast(ones), dimensions={}
 st = (s32[], f32[6,B], f32[B]) tuple(z,o,x)
 w = (s32[], f32[6,B], f32[B]) while(st), condition=cond, body=body
 oo = f32[6,B] get-tuple-element(w), index=1
 hh = f32[B] get-tuple-element(w), index=2
 ROOT r = (f32[6,B], f32[B]) tuple(oo,hh)
}
"""


def test_state_that_is_read_after_its_update_is_not_updated_in_place():
    module = parse_module(READ_AFTER_UPDATE)
    inputs = [np.arange(1, 10, dtype=np.float32)]
    for ours, expected in zip(
        compile_module(module)(inputs, 9), evaluate(module, inputs), strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
