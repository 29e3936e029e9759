"""Sizes that depend on the data: outputs are followed by them, and the rest is refused by name."""

import pytest

from tfaot.errors import InvalidModuleError, UnsupportedError
from tfaot.ir.printer import print_module
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify


def parse(*lines: str, result: str = "out"):
    body = "\n".join(f"  {line}" for line in lines)
    module = parse_module(f"HloModule m\n\nENTRY e {{\n{body}\n}}\n")
    verify(module)
    return module


X = "x = f32[8,3]{1,0} parameter(0)"
N = "n = s32[] parameter(1)"
THREE = "three = s32[] constant(3)"
CALL = 'custom-call(x, n, three), custom_call_target="SliceToDynamic"'


def test_one_size():
    module = parse(X, N, THREE, f"ROOT out = f32[<=8,3]{{1,0}} {CALL}")
    assert [str(o.shape) for o in module.outputs] == ["f32[8,3]", "s32[]"]
    assert module.outputs[1] is module.entry.parameters[1]


def test_sizes_follow_their_outputs():
    module = parse(
        X,
        N,
        'both = f32[<=8,<=3]{1,0} custom-call(x, n, n), custom_call_target="SliceToDynamic"',
        "ROOT out = (f32[8,3], f32[<=8,<=3], s32[]) tuple(x, both, n)",
    )
    assert [str(o.shape) for o in module.outputs] == ["f32[8,3]", "f32[8,3]", "s32[2]", "s32[]"]


def test_text_of_the_module_reads_back():
    module = parse(X, N, THREE, f"ROOT out = f32[<=8,3]{{1,0}} {CALL}")
    again = parse_module(print_module(module))
    assert print_module(again) == print_module(module)


def test_it_may_be_copied_on_the_way():
    module = parse(
        X,
        N,
        THREE,
        f"y = f32[<=8,3]{{1,0}} {CALL}",
        "t = (f32[<=8,3]{1,0}) tuple(y)",
        "z = f32[<=8,3]{1,0} get-tuple-element(t), index=0",
        "ROOT out = f32[<=8,3]{1,0} copy(z)",
    )
    assert len(module.outputs) == 2


@pytest.mark.parametrize(
    ("lines", "error", "message"),
    [
        (["ROOT y = f32[<=8,3] parameter(0)"], UnsupportedError, "two inputs"),
        ([X, "ROOT y = f32[<=8,3] negate(x)"], UnsupportedError, "size of negate (f32[<=8,3]"),
        (
            [X, 'ROOT y = f32[<=8,3] custom-call(x), custom_call_target="Mystery"'],
            UnsupportedError,
            "size of Mystery",
        ),
        (
            [X, 'ROOT y = (f32[8,3], s32[]) custom-call(x), custom_call_target="PadToStatic"'],
            UnsupportedError,
            "size of PadToStatic",
        ),
        (
            [X, N, "ROOT y = f32[<=8,3] set-dimension-size(x, n), dimensions={0}"],
            UnsupportedError,
            "size of set-dimension-size",
        ),
        (
            [X, N, 'ROOT y = f32[<=8,3] custom-call(x, n), custom_call_target="SliceToDynamic"'],
            InvalidModuleError,
            "an s32 scalar per dimension",
        ),
        (
            [X, N, THREE, f"ROOT y = f32[<=9,3]{{1,0}} {CALL}"],
            InvalidModuleError,
            "gives f32[8,3] at most",
        ),
    ],
)
def test_refused(lines, error, message):
    with pytest.raises(error) as caught:
        parse(*lines)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
