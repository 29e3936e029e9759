import numpy as np
import pytest

from tfaot.errors import UnsupportedError
from tfaot.interpreter import evaluate
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify


def bitcast(operand, result):
    return parse_module(f"""
HloModule m
ENTRY %e (x: f32[1]) -> f32[1] {{
  %x = {operand.split("{")[0]} parameter(0)
  %c = {operand} copy(%x)
  %b = {result} bitcast(%c)
  ROOT %r = {result.split("{")[0]} copy(%b)
}}""")


def physical(array, minor_to_major):
    """The elements of `array` in the order in which that layout stores them."""
    return array.transpose(minor_to_major[::-1]).reshape(-1)


def logical(flat, dims, minor_to_major):
    order = minor_to_major[::-1]
    return flat.reshape([dims[d] for d in order]).transpose(np.argsort(order))


@pytest.mark.parametrize(
    ("dims", "layout", "new_dims", "new_layout", "opcodes"),
    [
        ((4, 3), (1, 0), (3, 4), (0, 1), ["transpose"]),
        ((4, 3), (1, 0), (12,), (0,), ["reshape"]),
        ((4, 3), (1, 0), (4, 3), (1, 0), []),
        ((4, 3), (0, 1), (12,), (0,), ["transpose", "reshape"]),
        ((4, 1, 3), (2, 0, 1), (4, 3), (1, 0), ["reshape"]),
        ((2, 3, 4), (0, 2, 1), (6, 4), (0, 1), ["transpose", "reshape", "transpose"]),
        ((2, 3, 4), (0, 2, 1), (4, 3, 2), (2, 0, 1), ["transpose"]),
        ((2, 3, 4), (1, 0, 2), (2, 3, 4), (1, 0, 2), []),
        ((2, 1, 4), (1, 0, 2), (4, 2), (1, 0), ["transpose"]),
    ],
)
def test_bitcasts_keep_physical_bytes(dims, layout, new_dims, new_layout, opcodes):
    def shape(d, l):
        return f"f32[{','.join(map(str, d))}]{{{','.join(map(str, l))}}}"

    module = bitcast(shape(dims, layout), shape(new_dims, new_layout))
    verify(module)
    x = np.arange(np.prod(dims), dtype=np.float32).reshape(dims)
    (got,) = evaluate(module, [x])
    np.testing.assert_array_equal(got, logical(physical(x, layout), new_dims, new_layout))
    found = [i.opcode for i in module.entry.instructions if i.opcode != "parameter"]
    if opcodes is not None:
        moved = [o for o in found if o == "transpose"]
        assert len(moved) == opcodes.count("transpose")
        assert len(found) <= len(opcodes) + 1


@pytest.mark.parametrize(
    ("operand", "result", "numpy"),
    [
        ("f32[3,4]{1,0}", "s32[3,4]{1,0}", np.int32),
        ("f32[3,4]{1,0}", "u8[12,4]{1,0}", np.uint8),
        ("f32[3,4]{1,0}", "u64[3,2]{1,0}", np.uint64),
        ("f32[3,4]{1,0}", "u64[6]{0}", np.uint64),
    ],
)
def test_bitcasts_between_types_reinterpret(operand, result, numpy):
    module = bitcast(operand, result)
    verify(module)
    x = np.linspace(-3, 9, 12, dtype=np.float32).reshape(3, 4)
    (got,) = evaluate(module, [x])
    assert got.dtype == numpy
    assert got.tobytes() == x.tobytes()


def test_symbolic_bitcasts():
    module = bitcast("f32[B,3,4]{2,1,0}", "f32[3,B,4]{2,0,1}")
    verify(module)
    assert str(module.entry.root.shape) == "f32[3,B,4]"
    assert module.entry.root.opcode == "transpose"
    module = bitcast("f32[B,4]{1,0}", "u64[2B]{0}")
    verify(module)


def test_inputs_and_outputs_must_be_row_major():
    text = """
HloModule m, entry_computation_layout={{(f32[2,3]{{0,1}})->f32[2,3]{{{0}}}}}
ENTRY %e {{ ROOT %x = f32[2,3] parameter(0) }}"""
    with pytest.raises(UnsupportedError, match=r"input of layout f32\[2,3\]\{0,1\}"):
        parse_module(text.format("1,0"))
    plain = text.replace("{{0,1}}", "{{1,0}}", 1)
    with pytest.raises(UnsupportedError, match="output of layout"):
        parse_module(plain.format("0,1"))
    verify(parse_module(plain.format("1,0")))


def test_nested_tuples_and_calls_flatten():
    module = parse_module("""
HloModule m
%swap (a: f32[], b: s32[]) -> (s32[], f32[]) {
  %a = f32[] parameter(0)
  %b = s32[] parameter(1)
  ROOT %t = (s32[], f32[]) tuple(%b, %a)
}
ENTRY %e (x: f32[], y: s32[]) -> ((s32[], f32[]), s32[]) {
  %x = f32[] parameter(0)
  %y = s32[] parameter(1)
  %c = (s32[], f32[]) call(%x, %y), to_apply=%swap
  %g = s32[] get-tuple-element(%c), index=0
  ROOT %t = ((s32[], f32[]), s32[]) tuple(%c, %g)
}""")
    verify(module)
    assert [o.name for o in module.outputs] == ["y", "x", "y"]
    assert {i.opcode for i in module.entry.instructions} == {"parameter", "tuple"}
