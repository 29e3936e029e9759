from __future__ import annotations

import pytest
from hlo_text import counts, errors, inputs, module, optimised, poster

from tfaot.errors import InvalidModuleError
from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Constant
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, Module
from tfaot.ir.printer import print_module
from tfaot.ir.shapes import Shape
from tfaot.passes.pipeline import default_passes, run_passes


def constant_bytes(source: Module) -> int:
    return sum(
        i.attrs.value.nbytes
        for c in source.computations()
        for i in c.instructions
        if isinstance(i.attrs, Constant)
    )


def test_poster_layer_is_dot_bias_and_activation() -> None:
    before = module(poster(layers=3, width=16))
    after = optimised(before)
    assert counts(after.entry) == {
        "dot": 4,
        "add": 4,
        "compare": 3,
        "exponential-minus-one": 3,
        "select": 3,
        "broadcast": 4 + 1 + 2,  # biases, one zero, two of softmax
        "reduce": 2,
        "subtract": 1,
        "exponential": 1,
        "divide": 1,
    }


def test_poster_keeps_accuracy_and_weights_do_not_grow() -> None:
    before = module(poster(layers=3, width=16))
    after = optimised(before)
    old, new = errors(before, after)
    assert new <= 1.5 * old
    assert constant_bytes(after) <= constant_bytes(before)


def test_passes_are_idempotent_and_deterministic() -> None:
    text = poster(layers=2, width=8)
    first, second = optimised(module(text)), optimised(module(text))
    assert print_module(first) == print_module(second)
    assert run_passes(first, default_passes()) is first


def test_hook_sees_every_pass_in_order() -> None:
    seen: list[str] = []
    result = run_passes(
        module(poster(layers=1, width=4)),
        default_passes(),
        hook=lambda name, _: seen.append(name),
    )
    assert seen == ["simplify", "fold-affine", "simplify"]
    assert result.batch


def test_an_invalid_module_is_refused() -> None:
    x = Instruction("x", "add", Shape(DType.F32, (2,)))
    with pytest.raises(InvalidModuleError):
        run_passes(Module("bad", Computation("e", (x,), x)), default_passes())


def test_loop_bodies_are_rewritten_too() -> None:
    body = """
    body { s = (s32[], f32[B,2]) parameter(0)
      i = s32[] get-tuple-element(s), index=0
      x = f32[B,2] get-tuple-element(s), index=1
      one = s32[] constant(1)
      j = s32[] add(i, one)
      c = f32[B,2] copy(x)
      n = f32[B,2] negate(c)
      m = f32[B,2] negate(n)
      y = f32[B,2] add(m, x)
      ROOT r = (s32[], f32[B,2]) tuple(j, y) }
    condition { s = (s32[], f32[B,2]) parameter(0)
      i = s32[] get-tuple-element(s), index=0
      five = s32[] constant(5)
      ROOT r = pred[] compare(i, five), direction=LT }
    """
    before = module(
        """
        x = f32[B,2] parameter(0)
        zero = s32[] constant(0)
        s = (s32[], f32[B,2]) tuple(zero, x)
        w = (s32[], f32[B,2]) while(s), condition=condition, body=body
        ROOT y = f32[B,2] get-tuple-element(w), index=1
        """,
        body,
    )
    after = optimised(before)
    opcodes = {i.opcode for c in after.computations() for i in c.instructions}
    assert opcodes.isdisjoint({"copy", "negate"})
    values = inputs(before, 3)
    assert (evaluate(before, values)[0] == evaluate(after, values)[0]).all()
