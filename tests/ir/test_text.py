import contextlib

import pytest
from hlo_samples import HEADER, OPS, WRAPPED, module_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tfaot.errors import InvalidModuleError, TfaotError, UnsupportedError
from tfaot.ir.attributes import Constant, Dot, Slice
from tfaot.ir.printer import print_module
from tfaot.ir.shapes import BatchDim
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify


def test_fusions_are_inlined_and_metadata_is_kept():
    module = parse_module(WRAPPED)
    verify(module)
    opcodes = [i.opcode for i in module.entry.instructions]
    assert sorted(opcodes) == [
        "broadcast", "constant", "constant", "dot", "parameter", "reduce", "subtract",
    ]  # fmt: skip
    dot = next(i for i in module.entry.instructions if i.opcode == "dot")
    assert dot.metadata.op_type == "MatMul"
    assert dot.metadata.op_name == 'model/dense "1"/MatMul'
    assert dot.attr(Dot) == Dot((1,), (0,))
    weights = dot.operands[1].attr(Constant).value
    assert weights.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert module.entry.root.opcode == "subtract"
    assert not module.batch


@pytest.mark.parametrize("op", OPS)
def test_every_attribute_survives_printing(op):
    module = parse_module(module_of(op))
    verify(module)
    text = print_module(module)
    again = parse_module(text)
    verify(again)
    assert print_module(again) == text
    line = next(l for l in text.splitlines() if "%result = " in l)
    assert line.strip().removeprefix("ROOT ").replace("%result = ", "") == op


def test_symbolic_dimensions_are_read():
    module = parse_module(module_of(OPS[4]))
    root = module.entry.root
    assert module.batch
    assert root.array.dims == (BatchDim(1, -1), 2)
    assert root.attr(Slice) == Slice((1, 0), (BatchDim(1), 4), (1, 2))


def test_tuple_roots_are_flat():
    text = HEADER + (
        "  %t = (s32[], f32[B,4]) tuple(%izero, %x)\n"
        "  ROOT %w = (s32[], f32[B,4]) while(%t), condition=%condition, body=%body\n}\n"
    )
    module = parse_module(text)
    verify(module)
    assert [o.opcode for o in module.outputs] == ["get-tuple-element"] * 2
    assert [str(o.shape) for o in module.outputs] == ["s32[]", "f32[B,4]"]


def test_names_without_percent_and_old_conditionals():
    text = """
HloModule old
t { ROOT p = f32[] parameter(0) }
f { p = f32[] parameter(0)
  ROOT n = f32[] negate(p) }
ENTRY main {
  p = pred[] parameter(0)
  x = f32[] parameter(1)
  ROOT r = f32[] conditional(p, x, x), true_computation=t, false_computation=f
}"""
    module = parse_module(text)
    verify(module)
    assert [c.name for c in module.entry.root.called] == ["t", "f"]


def test_stack_frame_tables_are_skipped():
    text = WRAPPED.replace("\n\n%add", '\n\nFileNames\n1 "a.py"\n\nStackFrames\n1 {x=1}\n\n%add', 1)
    assert print_module(parse_module(text)) == print_module(parse_module(WRAPPED))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("add(%x.1, %y.1)", "add(%x.1, %y.1", "line 3: '{' is never closed|line 7"),
        ("{ { 1, 2 }, { 3, 4 }, { 5, 6 }, { 7, 8 } }", "{...}", "line 22.*serialized HLO proto"),
        ("{ 7, 8 }", "{ 7 }", "line 22.*braces"),
        ("subtract(", "subtract", "expected '\\('"),
        ("f32[31,4]{1,0} parameter", "f32[31,4]{1,1} parameter", "line 21: layout"),
        ("dot(%arg0.1, %w)", "dot(%arg0.1, %nowhere)", "line 24.*'nowhere' is not defined"),
        ("calls=%wrapped_reduce", "calls=%nothing", "'nothing' is called but not defined"),
        ("f32[31,2]{1,0} dot", "f33[31,2]{1,0} dot", "line 24: element type 'f33'"),
        ("ENTRY ", "", "no computation is marked ENTRY"),
        ("dimensions={0}", "dimensions={z}", "no list of integers"),
        ("ROOT %add.9", "ROOT %x.1", "defined twice"),
    ],
)
def test_errors_have_lines(old, new, message):
    assert old in WRAPPED
    with pytest.raises(TfaotError, match=message) as caught:
        parse_module(WRAPPED.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_recursion_is_refused():
    text = """
HloModule loop
%f { %p = f32[] parameter(0)
  ROOT %c = f32[] call(%p), to_apply=%f }
ENTRY %main { %p = f32[] parameter(0)
  ROOT %c = f32[] call(%p), to_apply=%f }"""
    with pytest.raises(InvalidModuleError, match="calls itself"):
        parse_module(text)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("f32[B,4] rng(%zero, %zero), distribution=rng_uniform", "rng .*hidden state"),
        ("u64[2] rng-get-and-update-state(), delta=1", "hidden state"),
        ("(f32[4], token[]) infeed(%tok)", "infeed.*host"),
        ("f32[B,4] async-start(%x)", "async-start .*not supported"),
        (
            'f32[B,4] custom-call(%x), custom_call_target="cb", custom_call_has_side_effect=true',
            "'cb'.*host",
        ),
        ("f32[<=9,4] broadcast(%zero), dimensions={}", "depends on the data"),
    ],
)
def test_ops_outside_the_model_are_refused_by_name(op, message):
    lines = f'  %tok = token[] after-all()\n  ROOT %r = {op}, metadata={{op_name="lay/er"}}\n}}\n'
    text = HEADER + lines
    with pytest.raises(UnsupportedError, match=message):
        parse_module(text)


def test_tokens_vanish():
    text = HEADER + (
        "  %tok = token[] after-all()\n  ROOT %r = f32[B,4] add-dependency(%x, %tok)\n}\n"
    )
    assert parse_module(text).entry.root.opcode == "parameter"


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(WRAPPED) - 1),
    st.integers(0, 40),
    st.text('(){}[],=%xB019"f3 \n', max_size=3),
)
def test_damaged_text_never_crashes(start, length, insert):
    text = WRAPPED[:start] + insert + WRAPPED[start + length :]
    with contextlib.suppress(TfaotError):
        verify(parse_module(text))
