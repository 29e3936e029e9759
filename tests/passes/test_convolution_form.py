"""Convolutions in one order of dimensions; dilation and padding that frameworks write as copies."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Convolution, Pad
from tfaot.ir.attributes import WindowDimension as W
from tfaot.ir.dtypes import DType
from tfaot.ir.verifier import verify
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.testing.build import ModuleBuilder, canonical_convolution
from tfaot.testing.cases.case import B


def values(*dims):
    return np.random.default_rng(0).normal(size=dims).astype(np.float32)


def pad(b, x, low, high):
    none = (0,) * len(low)
    dims = tuple(n + i + j for n, i, j in zip(x.array.dims, low, high, strict=True))
    shape = x.array.with_dims(dims)
    return b.instruction("pad", shape, (x, b.constant(np.float32(0))), Pad(low, high, none))


def check(module, *dims):
    """The passes keep the values; returns the opcodes that are left."""
    changed = run_passes(module, default_passes())
    verify(changed)
    for batch in (1, 3):
        x = values(batch, *dims)
        (before,) = evaluate(module, [x], batch=batch)
        (after,) = evaluate(changed, [x], batch=batch)
        assert np.allclose(before, after, rtol=1e-5, atol=1e-5)
    return changed, [i.opcode for i in changed.entry.instructions]


def space_to_batch_1d(b, x, step, kernel, *, crop):
    """What TensorFlow makes of a dilated Conv1D: every `step`-th element becomes a row."""
    length, features = x.array.dims[1:]
    outputs = kernel.shape[-1]
    x = b.reshape(x, (B, length // step, step, features))
    x = b.transpose(x, (2, 0, 1, 3))
    x = b.reshape(x, (B * step, 1, length // step, features))
    window = (W(1), W(kernel.shape[1]))
    y = b.convolution(x, b.constant(kernel), canonical_convolution(window))
    count = y.array.dims[2]
    y = b.transpose(b.reshape(y, (step, B, count, outputs)), (1, 2, 0, 3))
    y = b.reshape(y, (B, count * step, outputs))
    if crop:
        y = b.slice(y, (0, 0, 0), (B, count * step - crop, outputs))
    return y


@pytest.mark.parametrize("crop", [0, 2])
def test_dilated_convolution_of_sequences_keeps_rows_together(crop):
    b = ModuleBuilder("dilated")
    x = b.parameter(DType.F32, (B, 30, 4))
    padded = pad(b, x, (0, 3, 0), (0, 3, 0))
    y = space_to_batch_1d(b, padded, 3, values(1, 3, 4, 5), crop=crop)
    changed, opcodes = check(b.module(b.unary("tanh", y)), 30, 4)
    assert "transpose" not in opcodes
    assert "pad" not in opcodes
    assert "slice" not in opcodes
    (node,) = [i for i in changed.entry.instructions if i.opcode == "convolution"]
    window = node.attr(Convolution).window[1]
    assert (window.window_dilation, window.padding_low) == (3, 3)
    assert window.padding_high == 3 - crop
    assert node.array.dims[0] == B


def test_dilated_convolution_of_images_keeps_rows_together():
    b = ModuleBuilder("dilated")
    x = b.parameter(DType.F32, (B, 8, 9, 2))
    y = b.reshape(x, (B, 4, 2, 3, 3, 2))
    y = b.transpose(y, (2, 4, 0, 1, 3, 5))
    y = b.reshape(y, (B * 6, 4, 3, 2))
    window = (W(3, 1, 1, 1), W(2))
    y = b.convolution(y, b.constant(values(3, 2, 2, 5)), canonical_convolution(window))
    y = b.transpose(b.reshape(y, (2, 3, B, 4, 2, 5)), (2, 3, 0, 4, 1, 5))
    y = b.reshape(y, (B, 8, 6, 5))
    changed, opcodes = check(b.module(y), 8, 9, 2)
    assert "transpose" not in opcodes
    (node,) = [i for i in changed.entry.instructions if i.opcode == "convolution"]
    windows = node.attr(Convolution).window
    assert [w.window_dilation for w in windows] == [2, 3]
    assert [(w.padding_low, w.padding_high) for w in windows] == [(2, 2), (0, 0)]


def test_padding_with_zeros_only_is_absorbed():
    for number, absorbed in ((0.0, True), (1.0, False)):
        b = ModuleBuilder("padded")
        x = b.parameter(DType.F32, (B, 6, 5, 3))
        none = (0, 0, 0, 0)
        shape = x.array.with_dims((B, 8, 8, 3))
        filler = b.constant(np.float32(number))
        padded = b.instruction("pad", shape, (x, filler), Pad((0, 1, 2, 0), (0, 1, 1, 0), none))
        kernel = b.constant(values(3, 3, 3, 4))
        y = b.convolution(padded, kernel, canonical_convolution((W(3, 2), W(3))))
        _, opcodes = check(b.module(y), 6, 5, 3)
        assert ("pad" not in opcodes) == absorbed


def test_any_order_of_dimensions_becomes_one():
    b = ModuleBuilder("order")
    attrs = Convolution(
        window=(W(3, 1, 1, 1), W(2, 2)),
        input_batch=2,
        input_feature=0,
        input_spatial=(3, 1),
        kernel_input_feature=3,
        kernel_output_feature=0,
        kernel_spatial=(1, 2),
        output_batch=1,
        output_feature=3,
        output_spatial=(2, 0),
    )
    x = b.transpose(b.parameter(DType.F32, (B, 4, 6, 5)), (1, 2, 0, 3))
    kernel = b.constant(values(7, 3, 2, 4))
    changed, _ = check(b.module(b.convolution(x, kernel, attrs)), 4, 6, 5)
    (node,) = [i for i in changed.entry.instructions if i.opcode == "convolution"]
    own = node.attr(Convolution)
    assert own == canonical_convolution(own.window)
    assert node.array.dims[0] == B
