from dataclasses import replace

import pytest
from hlo_samples import HEADER, HELPERS

from tfaot.errors import InvalidModuleError
from tfaot.ir.attributes import Concatenate, Convolution, Dot, Slice, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.inference import infer_shape
from tfaot.ir.inference.registry import RULES
from tfaot.ir.module import Computation, Module
from tfaot.ir.opcodes import OPCODES
from tfaot.ir.shapes import BatchDim, Shape
from tfaot.ir.text import parse_module
from tfaot.ir.verifier import verify

B = BatchDim(1)


def f32(*dims):
    return Shape(DType.F32, dims)


def test_every_opcode_has_a_rule():
    assert set(RULES) == set(OPCODES)


def test_infer_shape_with_symbolic_dimensions():
    assert infer_shape("dot", (f32(B, 4), f32(4, 3)), Dot((1,), (0,))) == f32(B, 3)
    assert infer_shape("concatenate", (f32(B), f32(B), f32(3)), Concatenate(0)) == f32(
        BatchDim(2, 3)
    )
    halved = infer_shape("slice", (f32(BatchDim(4)),), Slice((1,), (BatchDim(4),), (2,)))
    assert halved == f32(BatchDim(2))
    window = (WindowDimension(3, stride=2, padding_low=1, padding_high=1),)
    attrs = Convolution(window, 0, 2, (1,), 1, 2, (0,), 0, 2, (1,))
    assert infer_shape("convolution", (f32(B, 9, 4), f32(3, 4, 6)), attrs) == f32(B, 5, 6)
    wide = infer_shape(
        "dot", (Shape(DType.S8, (4,)), Shape(DType.S8, (4,))), Dot((0,), (0,)), Shape(DType.S32)
    )
    assert wide == Shape(DType.S32)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        ("f32[B,4] add(%x)", "takes 2 operands, not 1"),
        ("f32[B,4] add(%x, %zero)", "equal shapes"),
        ("f32[B,5] add(%x, %x)", r"gives f32\[B,4\], not f32\[B,5\]"),
        ("f32[B,4] not(%x)", "element type f32 is not allowed"),
        ("pred[B,8] compare(%c, %c), direction=LT", "EQ and NE"),
        ("pred[B,4] compare(%x, %x), direction=XX", "'XX'"),
        ("pred[B,4] compare(%x, %x), direction=LT, type=SIGNED", "SIGNED"),
        ("f32[B,4,2] broadcast(%x), dimensions={0}", "one dimension per"),
        ("f32[B,5,2] broadcast(%x), dimensions={0,1}", "must reappear"),
        ("f32[2B,3] reshape(%x)", "number of elements"),
        ("f32[68B-1147] reshape(%xx)", "number of elements"),
        ("f32[B,4] transpose(%x), dimensions={1,1}", "distinct"),
        ("f32[16,4] slice(%x), slice={[0:16], [0:4]}", "some batch size"),
        ("f32[B-2,4] slice(%x), slice={[2:B], [0:4]}", "some batch size"),
        ("f32[2,4] dynamic-slice(%x, %izero, %izero), dynamic_slice_sizes={2,4}", "some batch"),
        ("f32[B-9,4] pad(%x, %zero), padding=-9_0x0_0", "negative size"),
        ("f32[B,8] concatenate(%x, %c), dimensions={1}", "must agree"),
        ("f32[B] reduce(%x, %izero), dimensions={1}, to_apply=%add", "arrays' types"),
        ("f32[B] reduce(%x, %zero), dimensions={1}, to_apply=%ge", "must return f32"),
        ("f32[B] reduce(%x, %zero), dimensions={2}, to_apply=%add", "below 2"),
        ("f32[B,4] dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}", "equal"),
        ("f32[B,3,3,6] convolution(%im, %kernel), window={size=3x3}, "
         "dim_labels=b01f_01io->b01f", "times the groups"),
        ("f32[B,2] gather(%x, %i), offset_dims={}, collapsed_slice_dims={0,1}, "
         "start_index_map={0}, index_vector_dim=1, slice_sizes={1,1}", "start_index_map"),
        ("(s32[], f32[B,4]) while(%t), condition=%body, body=%body", "condition must return"),
        ("f32[B,4] conditional(%izero, %x, %t), branch_computations={%branch, %branch}", "takes"),
        ("f32[B,4] while(%x), condition=%condition, body=%body", "condition takes"),
        ("f32[B,4] get-tuple-element(%x), index=0", "takes a tuple"),
        ("f32[B,4] get-tuple-element(%w), index=2", "no element 2"),
        ("c64[B,5] fft(%x), fft_type=RFFT, fft_length={8}", "fft_length"),
        ("f32[B,4] cholesky(%x), lower=true", "square"),
        ("(f32[B,5], s32[B,5]) custom-call(%x), custom_call_target=\"TopK\"", "k largest"),
        ("f32[B,4] custom-call(%x, %izero, %zero), custom_call_target=\"SliceToDynamic\"",
         "s32 scalar per dimension"),
        ("f32[B,5] custom-call(%x, %izero, %izero), custom_call_target=\"SliceToDynamic\"",
         "at most"),
        ("f32[-B+100] broadcast(%zero), dimensions={}", "negative size"),
        ("f32[B,4] select(%x, %x, %x)", "must be pred"),
        ("u8[B,4] bitcast-convert(%x)", "widths"),
    ],
)  # fmt: skip
def test_broken_rules_are_named_with_their_layer(op, message):
    helpers = (
        "  %xx = f32[B,B] broadcast(%zero), dimensions={}\n"
        "  %w = (s32[], f32[B,4]) while(%t), condition=%condition, body=%body\n"
    )
    text = f'{HEADER}{HELPERS}{helpers}  %r = {op}, metadata={{op_type="Op" op_name="my/layer"}}\n'
    with pytest.raises(InvalidModuleError, match=message) as caught:
        verify(parse_module(text.replace("  %r = ", "  ROOT %r = ") + "}\n"))
    assert "my/layer" in str(caught.value)
    assert "%r" in str(caught.value)


def test_graphs_must_be_ordered_and_named_apart():
    module = parse_module(f"{HEADER}  ROOT %r = f32[B,4] negate(%x)\n}}\n")
    entry = module.entry
    backwards = Computation("c", tuple(reversed(entry.instructions)), entry.root)
    with pytest.raises(InvalidModuleError, match="comes later"):
        verify(Module("m", backwards, True))
    twin = replace(entry.root, name="x")
    double = Computation("c", (*entry.instructions[:-1], twin), twin)
    with pytest.raises(InvalidModuleError, match="used twice"):
        verify(Module("m", double, True))
    with pytest.raises(InvalidModuleError, match="`batch` is False"):
        verify(replace(module, batch=False))
