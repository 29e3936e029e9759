from dataclasses import replace

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Constant
from tfaot.ir.module import Rewriter
from tfaot.ir.printer import print_module
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify
from tfaot.symbolic import NotSymbolicError, merge, specialise

PROBES = (31, 37, 41)
SIZES = (1, 2, 3, 8, 100)


def lowered(text, batches=PROBES):
    """The modules that `text`, with B in it, stands for at each batch size."""
    symbolic = parse_module(text)
    return [specialise(symbolic, b) for b in batches]


def entry(body, parameters="x: f32[B,4]"):
    reads = "\n".join(
        f"  %{p.split(':')[0]} = {p.split(': ')[1]} parameter({i})"
        for i, p in enumerate(parameters.split("; "))
    )
    return f"""
HloModule m
%add (a: f32[], b: f32[]) -> f32[] {{
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %s = f32[] add(%a, %b)
}}
ENTRY %e (x: f32[B,4]) -> f32[] {{
{reads}
{body}
}}"""


def with_constant(values, body, batches=PROBES):
    """Modules with a constant %k whose value depends on the batch size."""
    modules = []
    for batch in batches:
        value = np.asarray(values(batch))
        dims = ",".join(map(str, value.shape))
        names = {"float32": "f32", "float64": "f64", "int32": "s32", "int64": "s64", "bool": "pred",
                 "float16": "f16", "uint8": "u8"}  # fmt: skip
        shape = f"{names[value.dtype.name]}[{dims}]"
        text = entry(
            f"  %k = {shape} broadcast(%c), dimensions={{}}\n{body}".replace("SHAPE", shape)
        )
        text = text.replace("  %x =", f"  %c = {shape.split('[')[0]}[] parameter(1)\n  %x =", 1)
        module = specialise(parse_module(text), batch)

        def change(old, operands, value=value):
            if old.name != "k":
                return None
            return replace(old, opcode="constant", operands=(), attrs=Constant(value))

        modules.append(replace(module, entry=Rewriter(change).run(module.entry)))
    return modules


def values_at(merged, batch):
    verify(merged)
    static = specialise(merged, batch)
    verify(static)
    inputs = [np.ones(p.array.static_dims, p.array.dtype.numpy) for p in static.entry.parameters]
    return evaluate(static, inputs)


DENSE = entry("""
  %w = f32[4,3] constant({{1,2,3},{4,5,6},{7,8,9},{1,1,1}})
  %d = f32[B,3] dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %s = f32[2B-1,3] pad(%d, %zero), padding=0_0_1x0_0
  %zero2 = f32[] constant(0)
  %r = f32[B] reduce(%d, %zero2), dimensions={1}, to_apply=%add
  %l = f32[B-1] slice(%r), slice={[1:B]}
  %flat = f32[3B] reshape(%d)
  ROOT %t = (f32[2B-1,3], f32[B-1], f32[3B]) tuple(%s, %l, %flat)
""").replace("  %w =", "  %zero = f32[] constant(0)\n  %w =", 1)


def test_dimensions_become_affine():
    for probes in (PROBES, PROBES[:2], (41, 31)):
        merged = merge(lowered(DENSE, probes), probes)
        verify(merged)
        assert merged.batch
        assert [str(o.shape) for o in merged.outputs] == ["f32[2B-1,3]", "f32[B-1]", "f32[3B]"]
        assert print_module(merged) == print_module(parse_module(DENSE))


WINDOWS = entry("""
  %zero = f32[] constant(0)
  %up = f32[B,4] reduce-window(%x, %zero), window={size=Bx1 pad=B-1_0x0_0}, to_apply=%add
  %down = f32[B+1,4] reduce-window(%x, %zero), window={size=Bx1 pad=0_Bx0_0}, to_apply=%add
  %pool = f32[B,4] reduce-window(%up, %zero), window={size=3x1 pad=1_1x0_0}, to_apply=%add
  ROOT %t = (f32[B+1,4], f32[B,4]) tuple(%down, %pool)
""")


def test_windows_over_the_batch_become_affine():
    modules = lowered(WINDOWS)
    merged = merge(modules, PROBES)
    assert print_module(merged) == print_module(parse_module(WINDOWS))
    for module, batch in zip(modules, PROBES, strict=True):
        assert print_module(specialise(merged, batch)) == print_module(module)
    down, pool = values_at(merged, 4)
    np.testing.assert_array_equal(down[:, 0], [4, 3, 2, 1, 0])
    np.testing.assert_array_equal(pool[:, 0], [3, 6, 9, 7])


def test_windows_of_other_padding_at_another_batch_size_are_refused():
    other = WINDOWS.replace("pad=B-1_0x0_0", "pad=B-2_1x0_0")
    with pytest.raises(NotSymbolicError, match=r"reduce-window .* 30, 36, 39 .* not affine"):
        merge([*lowered(WINDOWS, PROBES[:2]), *lowered(other, PROBES[2:])], PROBES)


def test_specialising_gives_the_probes_back():
    modules = lowered(DENSE)
    merged = merge(modules, PROBES)
    for module, batch in zip(modules, PROBES, strict=True):
        assert print_module(specialise(merged, batch)) == print_module(module)
    assert not specialise(merged, 5).batch


def test_nothing_symbolic_stays_static():
    text = entry("  ROOT %r = f32[3] negate(%y)", "y: f32[3]")
    merged = merge(lowered(text), PROBES)
    assert not merged.batch
    assert merged.entry.parameters[0].array.dims == (3,)


def test_order_names_and_commuted_operands_do_not_matter():
    one = entry("""
  %a = f32[B,4] exponential(%x)
  %b = f32[B,4] tanh(%x)
  ROOT %r = f32[B,4] add(%a, %b)""")
    other = entry("""
  %q = f32[B,4] tanh(%x)
  %p = f32[B,4] exponential(%x)
  ROOT %r = f32[B,4] add(%q, %p)""")
    modules = [lowered(one)[0], lowered(other)[1], lowered(one)[2]]
    merged = merge(modules, PROBES)
    assert [o.opcode for o in merged.entry.root.operands] == ["exponential", "tanh"]


def test_loops_and_branches_are_merged_inside():
    text = """
HloModule m
%cond (p: (s32[], f32[B,4])) -> pred[] {
  %p = (s32[], f32[B,4]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[B,4] get-tuple-element(%p), index=1
  %n = s32[] get-dimension-size(%x), dimensions={0}
  ROOT %l = pred[] compare(%i, %n), direction=LT
}
%body (p: (s32[], f32[B,4])) -> (s32[], f32[B,4]) {
  %p = (s32[], f32[B,4]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[B,4] get-tuple-element(%p), index=1
  %one = s32[] constant(1)
  %j = s32[] add(%i, %one)
  %y = f32[B,4] add(%x, %x)
  ROOT %t = (s32[], f32[B,4]) tuple(%j, %y)
}
ENTRY %e (x: f32[B,4]) -> (s32[], f32[B,4]) {
  %x = f32[B,4] parameter(0)
  %z = s32[] constant(0)
  %t = (s32[], f32[B,4]) tuple(%z, %x)
  ROOT %w = (s32[], f32[B,4]) while(%t), condition=%cond, body=%body
}"""
    merged = merge(lowered(text), PROBES)
    for batch in SIZES[:4]:
        count, x = values_at(merged, batch)
        assert count == batch
        assert x.shape == (batch, 4)
        assert np.all(x == 2.0**batch)


def test_a_loop_bound_without_a_batch_axis_in_sight():
    text = """
HloModule m
%cond (p: s32[]) -> pred[] {
  %p = s32[] parameter(0)
  %n = s32[] constant(BOUND)
  ROOT %l = pred[] compare(%p, %n), direction=LT
}
%body (p: s32[]) -> s32[] {
  %p = s32[] parameter(0)
  %one = s32[] constant(1)
  ROOT %j = s32[] add(%p, %one)
}
ENTRY %e (x: f32[B,4]) -> s32[] {
  %x = f32[B,4] parameter(0)
  %z = s32[] constant(0)
  ROOT %w = s32[] while(%z), condition=%cond, body=%body
}"""
    modules = [specialise(parse_module(text.replace("BOUND", str(2 * b + 1))), b) for b in PROBES]
    merged = merge(modules, PROBES)
    assert [values_at(merged, b)[0].item() for b in SIZES] == [2 * b + 1 for b in SIZES]


ROOT = "  ROOT %r = SHAPE copy(%k)"


@pytest.mark.parametrize(
    "values",
    [
        lambda b: np.int32(b),
        lambda b: np.int64(3 * b - 2),
        lambda b: np.array([b, 4, 7 - b], np.int32),
        lambda b: np.float32(b),
        lambda b: np.float32(1) / np.float32(b),
        lambda b: np.float32(1) / np.float32(b - 1),
        lambda b: np.float64(0.25) / b,
        lambda b: np.float32(b * 2 + 1),
        lambda b: np.full((2, 3), np.float32(1) / np.float32(b)),
        lambda b: np.arange(b, dtype=np.int32),
        lambda b: np.arange(b, dtype=np.float32).reshape(b, 1),
        lambda b: np.arange(b, dtype=np.int32)[:, None] * 5 + np.arange(5, dtype=np.int32),
        lambda b: np.arange(b, dtype=np.int32)[::-1].copy(),
        lambda b: np.tile(np.array([[1.5, -0.0, np.nan]], np.float32), (b, 1)),
        lambda b: np.tile(np.array([[True], [False]]), (1, b)),
        lambda b: np.repeat(np.arange(b, dtype=np.int32), 3),
        lambda b: np.tile(np.array([1, 2, 7], np.int32), b),
        lambda b: np.zeros((b, 2), np.float16),
        lambda b: np.eye(b, dtype=np.float32),
        lambda b: 1 - np.eye(b, dtype=np.float64),
        lambda b: np.tril(np.ones((b, b), np.bool_)),
        lambda b: np.where(np.tri(b, b, -1), np.int32(-3), np.int32(4)) + np.eye(b, dtype=np.int32),
        lambda b: np.full((b, 2), 1 / np.float32(b)).astype(np.float32),
        lambda b: (np.arange(b) * b).astype(np.float32),
        lambda b: np.full((b, 0), 2, np.int32)[:, :0].reshape(b, 0)[:0].reshape(0),
    ],
)
def test_constants_with_a_pattern_are_computed(values):
    probes = PROBES
    merged = merge(with_constant(values, ROOT, probes), probes)
    for batch in (2, 3, 31, 50, 100):
        (got,) = values_at(merged, batch)
        want = np.asarray(values(batch))
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
        assert np.array_equal(np.signbit(got), np.signbit(want)) or got.dtype.kind != "f"


def test_two_probes_suffice_for_simple_constants():
    for values in (lambda b: np.float32(1) / np.float32(b), lambda b: np.int32(b + 100)):
        merged = merge(with_constant(values, ROOT, PROBES[:2]), PROBES[:2])
        assert values_at(merged, 7)[0] == values(7)


@pytest.mark.parametrize("probes", [PROBES, PROBES[:2]])
@pytest.mark.parametrize(
    "values",
    [
        lambda b: np.int32(b * b),
        lambda b: np.int32(b // 2),
        lambda b: np.float32(np.sqrt(b)),
        lambda b: np.float32(np.log(b)),
        lambda b: np.bool_(b > 35),
        lambda b: np.sin(np.arange(b)).astype(np.float32),
        lambda b: (np.arange(b) % 7).astype(np.int32),
        lambda b: np.eye(b, k=1, dtype=np.float32) + 2 * np.eye(b, k=2, dtype=np.float32),
    ],
)
def test_constants_without_a_pattern_are_refused(values, probes):
    with pytest.raises(NotSymbolicError, match=r"constant .*no recognised way"):
        merge(with_constant(values, ROOT, probes), probes)


@pytest.mark.parametrize("probes", [PROBES, PROBES[:2]])
def test_squares_are_not_affine(probes):
    text = """
HloModule m
ENTRY %e (x: f32[B]) -> f32[B] {{
  %x = f32[{b}] parameter(0)
  %y = f32[{b},{b}] broadcast(%x), dimensions={{0}}
  ROOT %r = f32[{bb}] reshape(%y), metadata={{op_name="pairs"}}
}}"""
    modules = [parse_module(text.format(b=b, bb=b * b)) for b in probes]
    with pytest.raises(NotSymbolicError, match=r"reshape.*pairs"):
        merge(modules, probes)


def test_sizes_that_only_hold_above_a_batch_size_are_refused():
    """`x[:16]` has 16 rows at every probe, but fewer at small batch sizes."""
    text = """
HloModule m
ENTRY %e (x: f32[1,4]) -> f32[16,4] {{
  %x = f32[{b},4] parameter(0)
  ROOT %r = f32[16,4] slice(%x), slice={{[0:16], [0:4]}}, metadata={{op_name="first"}}
}}"""
    with pytest.raises(NotSymbolicError, match=r"slice.*first"):
        merge([parse_module(text.format(b=b)) for b in PROBES], PROBES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("tanh", "exponential"), "tanh .*is a exponential.*my/act"),
        (lambda t: t.replace("{1}, to", "{0}, to").replace("f32[B] reduce", "f32[4] reduce"),
         "reduce .*dimensions|sizes"),
        (lambda t: t.replace("constant(2)", "constant(3)"), "constant .*no recognised way"),
        (lambda t: t.replace("negate(%t)", "negate(%x)"), "tanh .*is a parameter"),
    ],
)  # fmt: skip
def test_the_first_difference_is_named(change, message):
    text = entry("""
  %two = f32[] constant(2)
  %t = f32[B,4] tanh(%x), metadata={op_type="Tanh" op_name="my/act"}
  %n = f32[B,4] negate(%t)
  ROOT %r = f32[B] reduce(%n, %two), dimensions={1}, to_apply=%add""")
    modules = lowered(text)
    modules[1] = lowered(change(text))[1]
    with pytest.raises(NotSymbolicError, match=message) as caught:
        merge(modules, PROBES)
    assert "\n" not in str(caught.value)


def test_a_dimension_equal_to_a_probe_is_pointed_out():
    text = entry("  ROOT %r = f32[B,37] tanh(%x)", "x: f32[B,37]")
    modules = lowered(text)
    assert str(merge(modules, PROBES).entry.root.shape) == "f32[B,37]"
    modules[1] = lowered(text.replace("tanh", "negate"))[1]
    with pytest.raises(NotSymbolicError, match="dimension of 37"):
        merge(modules, PROBES)


def test_misuse_is_refused():
    modules = lowered(DENSE)
    with pytest.raises(ValueError, match="two or more"):
        merge(modules[:1], PROBES[:1])
    with pytest.raises(ValueError, match="distinct"):
        merge(modules[:2], (31, 31))


def test_constants_without_elements():
    modules = with_constant(lambda b: np.zeros((b, 0), np.float32), "  ROOT %r = SHAPE negate(%k)")
    merged = merge(modules, PROBES)
    assert str(merged.entry.root.shape) == "f32[B,0]"
    assert values_at(merged, 7)[0].shape == (7, 0)
