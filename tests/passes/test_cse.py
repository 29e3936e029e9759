from __future__ import annotations

from hlo_text import counts, module

from tfaot.passes.cse import CommonSubexpressions


def test_equal_instructions_and_constants_become_one() -> None:
    before = module(
        "x = f32[B] parameter(0)\na = f32[] constant(2)\nb = f32[] constant(2)\n"
        "p = f32[B] broadcast(a), dimensions={}\nq = f32[B] broadcast(b), dimensions={}\n"
        "r = f32[B] multiply(x, p)\ns = f32[B] multiply(x, q)\nROOT y = f32[B] add(r, s)"
    )
    after = CommonSubexpressions().run(before)
    assert counts(after.entry) == {"broadcast": 1, "multiply": 1, "add": 1}
    assert sum(i.opcode == "constant" for i in after.entry.instructions) == 1


def test_zeros_of_either_sign_stay_apart() -> None:
    before = module(
        "a = f32[] constant(0)\nb = f32[] constant(-0)\nROOT y = (f32[], f32[]) tuple(a, b)"
    )
    assert CommonSubexpressions().run(before) is before


def test_reductions_with_equal_reducers_become_one() -> None:
    other = """
    also_add { p = f32[] parameter(0)
      q = f32[] parameter(1)
      ROOT s = f32[] add(p, q) }
    """
    before = module(
        "x = f32[B,3] parameter(0)\nz = f32[] constant(0)\n"
        "a = f32[B] reduce(x, z), dimensions={1}, to_apply=add_f32\n"
        "b = f32[B] reduce(x, z), dimensions={1}, to_apply=also_add\n"
        "c = f32[B] reduce(x, z), dimensions={1}, to_apply=max_f32\n"
        "d = f32[B] subtract(a, b)\nROOT y = f32[B] add(d, c)",
        other,
    )
    assert counts(CommonSubexpressions().run(before).entry)["reduce"] == 2


def test_parameters_of_equal_shape_stay_apart_and_unused_ones_stay() -> None:
    before = module(
        "x = f32[B] parameter(0)\nz = f32[B] parameter(1)\nu = f32[B] parameter(2)\n"
        "dead = f32[B] negate(u)\nROOT y = f32[B] add(x, z)"
    )
    after = CommonSubexpressions().run(before)
    assert len(after.entry.parameters) == 3
    assert counts(after.entry) == {"add": 1}
