"""Convolutions: values, bits and memory, over ranks, strides, dilations, groups and paddings."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Convolution
from tfaot.ir.attributes import WindowDimension as W
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.testing.build import ModuleBuilder, canonical_convolution
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import SIZES, B

TARGETS = ("native", "x86-64-v3", "x86-64-v2")
EPSILON = {DType.F16: 2.0**-10, DType.BF16: 2.0**-7, DType.F32: 2.0**-23, DType.F64: 2.0**-52}
SAME = W(3, 1, 1, 1)


@dataclass(frozen=True)
class Layer:
    """A convolution by a constant kernel, a bias and a rectifier."""

    spatial: tuple[int, ...]
    window: tuple[W, ...]
    inputs: int
    outputs: int
    groups: int = 1
    dtype: DType = DType.F32
    linear: bool = False

    def module(self) -> Module:
        b = ModuleBuilder("layer")
        rank = len(self.spatial) + 2
        attrs = canonical_convolution(self.window, self.groups)
        x = b.parameter(self.dtype, (B, *self.spatial, self.inputs))
        y = b.convolution(x, b.constant(self.kernel(), self.dtype), attrs)
        if self.linear:
            return b.module(y)
        bias = np.random.default_rng(1).normal(size=self.outputs)
        y = b.binary("add", y, b.broadcast(b.constant(bias, self.dtype), y.array.dims, (rank - 1,)))
        zero = b.broadcast(b.constant(0, self.dtype), y.array.dims, ())
        return b.module(b.binary("maximum", y, zero))

    def kernel(self) -> np.ndarray:
        shape = (*(w.size for w in self.window), self.inputs // self.groups, self.outputs)
        return np.random.default_rng(0).normal(size=shape).astype(self.dtype.numpy)

    def input(self, batch: int) -> np.ndarray:
        shape = (batch, *self.spatial, self.inputs)
        return np.random.default_rng(2).normal(size=shape).astype(self.dtype.numpy)

    @property
    def terms(self) -> int:
        """Products in the longest sum."""
        return math.prod(w.size for w in self.window) * self.inputs // self.groups


LAYERS = {
    "one-feature": Layer((9, 8), (SAME, SAME), 1, 16),
    "rgb-strided": Layer((17, 40), (W(7, 2, 3, 3), W(7, 2, 3, 3)), 3, 33),
    "wide-image": Layer((3, 50), (SAME, SAME), 4, 20),
    "valid": Layer((5, 5), (W(3), W(3)), 20, 40),
    "to-one-position": Layer((3, 3), (W(3), W(3)), 30, 70),
    "one-output": Layer((6, 5), (SAME, SAME), 5, 1),
    "strided-pointwise": Layer((7, 6), (W(1, 2), W(1, 2)), 18, 35),
    "many-columns": Layer((4, 4), (SAME, SAME), 130, 200),
    "1d": Layer((70,), (W(5, 1, 2, 2),), 7, 17),
    "1d-dilated": Layer((70,), (W(3, 1, 16, 0, window_dilation=8),), 12, 16),
    "1d-long": Layer((300,), (W(130, 7, 64, 65),), 1, 19),
    "3d": Layer((5, 4, 6), (SAME, W(2), W(3, 2, 0, 1)), 3, 18),
    "cut": Layer((9, 8), (W(3, 1, -1, 2), W(2, 2, 1, -2)), 4, 9),
    "reversed": Layer((6, 7), (W(3, 1, 1, 1, reversal=True), W(2, reversal=True)), 3, 8),
    "transposed": Layer((5, 6), (W(3, 1, 2, 1, base_dilation=2),) * 2, 9, 17),
    "transposed-sparse": Layer((4, 5), (W(2, 1, 1, 3, base_dilation=3), W(1, 1, 0, 2)), 4, 8),
    "dilated-on-both-sides": Layer(
        (6, 7), (W(3, 2, 2, 3, window_dilation=2, base_dilation=3), W(3, 3, 1, 1, 3, 2)), 3, 8
    ),
    "grouped": Layer((6, 5), (SAME, SAME), 24, 36, groups=3),
    "grouped-wide": Layer((5, 5), (W(3, 2, 0, 1),) * 2, 8, 64, groups=2),
    "depthwise": Layer((7, 6), (SAME, SAME), 37, 37, groups=37),
    "depthwise-strided": Layer((7, 8), (W(3, 2, 0, 1),) * 2, 48, 48, groups=48),
    "depthwise-by-2": Layer((6, 6), (SAME, SAME), 11, 22, groups=11),
    "depthwise-by-3": Layer((6, 6), (SAME, SAME), 13, 39, groups=13),
    "depthwise-by-16": Layer((5,), (SAME,), 3, 48, groups=3),
    "depthwise-transposed": Layer((5,), (W(4, 1, 2, 2, base_dilation=2),), 20, 20, groups=20),
    "f64": Layer((6, 7), (SAME, W(3, 2, 1, 1)), 5, 19, dtype=DType.F64),
    "f64-depthwise": Layer((6, 7), (SAME, SAME), 21, 21, groups=21, dtype=DType.F64),
    "f16": Layer((6, 5), (SAME, SAME), 6, 18, dtype=DType.F16, linear=True),
    "bf16": Layer((6, 5), (W(3, 1, 2, 1, base_dilation=2),) * 2, 6, 18, dtype=DType.BF16),
}


def check_sums(module, inputs, found, batch, terms, dtype, steps=3):
    """Fails where `found` is further from a float64 evaluation than rounding every step allows."""
    (wide,) = evaluate(module, inputs, batch=batch, float64=True)
    absolute = [np.abs(x) for x in inputs]
    (scale,) = evaluate(_magnitudes(module), absolute, batch=batch, float64=True)
    # Narrow floats are summed in float32 and rounded in every step that follows.
    unit = EPSILON[DType.F32] if dtype in (DType.F16, DType.BF16) else EPSILON[dtype]
    bound = (terms * unit + steps * EPSILON[dtype]) * scale + 1e-30
    error = np.abs(found.astype(np.float64) - wide)
    assert found.shape == wide.shape
    assert (error <= bound).all(), f"batch {batch}: {error.max()} at {np.argmax(error / bound)}"


def _magnitudes(module):
    """The module with the absolute values of its constants."""
    from tfaot.ir.attributes import Constant
    from tfaot.ir.module import Rewriter

    def change(old, operands):
        if old.opcode == "constant":
            return replace(old, attrs=Constant(np.abs(old.attr(Constant).value)))
        return replace(old, operands=operands)

    return replace(module, entry=Rewriter(change).run(module.entry))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_accurate_and_stay_within_their_buffers(name, target):
    layer = LAYERS[name]
    module = layer.module()
    run = compile_module(module, target)
    for batch in (1, 2, 5, 14):
        x = layer.input(batch)
        (found,) = run([x], batch)
        check_sums(module, [x], found, batch, layer.terms, layer.dtype)
        for at_end in (True, False):
            (guarded,) = run_between_guard_pages(run, [x], batch, at_end=at_end)
            assert guarded.tobytes() == found.tobytes()


@pytest.mark.parametrize("name", LAYERS)
def test_bits_of_a_row_depend_on_nothing_else(name):
    """Neither on the batch size nor on the place, nor among targets with fused multiply-add."""
    layer = LAYERS[name]
    run = compile_module(layer.module(), "x86-64-v3")
    other = compile_module(layer.module(), "native")
    x = layer.input(40)
    (whole,) = run([x], 40)
    (native,) = other([x], 40)
    assert native.tobytes() == whole.tobytes()
    for batch in range(1, 40):
        first = 40 - batch
        (part,) = run([x[first:]], batch)
        assert part.tobytes() == whole[first:].tobytes(), batch


@pytest.mark.parametrize("size", SIZES)
def test_output_features_of_every_size(size):
    layer = Layer((5, 3), (SAME, W(2)), 3, size)
    run = compile_module(layer.module())
    x = layer.input(3)
    (found,) = run_between_guard_pages(run, [x], 3, at_end=True)
    check_sums(layer.module(), [x], found, 3, layer.terms, layer.dtype)


@pytest.mark.parametrize("size", SIZES)
def test_depthwise_features_of_every_size(size):
    layer = Layer((5, 3), (SAME, W(2)), size, size, groups=size)
    run = compile_module(layer.module())
    x = layer.input(3)
    (found,) = run_between_guard_pages(run, [x], 3, at_end=True)
    check_sums(layer.module(), [x], found, 3, layer.terms, layer.dtype)


def _random_layer(seed: int) -> Layer:
    """A layer whose every option is drawn; retried until some window fits."""
    rng = np.random.default_rng(seed)
    while True:
        rank = int(rng.integers(1, 4))
        spatial = tuple(int(n) for n in rng.integers(1, 9, rank))
        window = tuple(
            W(
                size=int(rng.integers(1, 5)),
                stride=int(rng.integers(1, 4)),
                padding_low=int(rng.integers(-1, 4)),
                padding_high=int(rng.integers(-1, 4)),
                window_dilation=int(rng.integers(1, 4)),
                base_dilation=int(rng.integers(1, 4)),
                reversal=bool(rng.integers(0, 2)),
            )
            for _ in range(rank)
        )
        groups = int(rng.choice([1, 1, 2, 5]))
        inputs = groups * int(rng.integers(1, 6))
        outputs = groups * int(rng.choice([1, 3, 16, 21]))
        rooms = [
            (n - 1) * w.base_dilation + 1 + w.padding_low + w.padding_high
            for n, w in zip(spatial, window, strict=True)
        ]
        reach = [(w.size - 1) * w.window_dilation + 1 for w in window]
        if all(room >= r for room, r in zip(rooms, reach, strict=True)):
            return Layer(spatial, window, inputs, outputs, groups)


@pytest.mark.parametrize("seed", range(24))
def test_any_combination_of_options(seed):
    layer = _random_layer(seed)
    module = layer.module()
    run = compile_module(module, TARGETS[seed % 3])
    for batch in (1, 6):
        x = layer.input(batch)
        (found,) = run_between_guard_pages(run, [x], batch, at_end=bool(seed % 2))
        check_sums(module, [x], found, batch, layer.terms, layer.dtype)


CASES = [c for c in op_cases(["convolution"]) if not c.dtype.is_complex]


@pytest.mark.parametrize("case", [c for c in CASES if not c.error], ids=str)
def test_op_cases(case):
    """Kernels that are parameters too, all types, other orders of dimensions."""
    module = case.module()
    run = compile_module(module)
    for batch in (1, 3) if case.symbolic else (1,):
        inputs = case.inputs(0, batch)
        (found,) = run(inputs, batch)
        if case.dtype.is_integer:
            (expected,) = evaluate(module, inputs, batch=batch)
            assert np.array_equal(found, expected)
        else:
            check_sums(module, inputs, found, batch, inputs[1].size, case.dtype)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(("outputs", "groups"), [(1, 1), (17, 1), (40, 1), (30, 10), (6, 2)])
def test_kernel_that_is_an_input(outputs, groups, target):
    """Its last columns are read to the end and not beyond."""
    b = ModuleBuilder("dynamic")
    window = (SAME, W(2, 2, 0, 1))
    attrs = Layer((5, 6), window, 10, outputs, groups).module().entry.instructions
    (own,) = [i.attr(Convolution) for i in attrs if i.opcode == "convolution"]
    x = b.parameter(DType.F32, (B, 5, 6, 10))
    kernel = b.parameter(DType.F32, (3, 2, 10 // groups, outputs))
    module = b.module(b.convolution(x, kernel, own))
    run = compile_module(module, target)
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(3, 2, 10 // groups, outputs)).astype(np.float32)
    for batch in (1, 7):
        image = rng.normal(size=(batch, 5, 6, 10)).astype(np.float32)
        for at_end in (True, False):
            (found,) = run_between_guard_pages(run, [image, weights], batch, at_end=at_end)
            check_sums(module, [image, weights], found, batch, 60 // groups, DType.F32)


def test_batch_in_any_place():
    """XLA moves the batch behind the image for some models."""
    b = ModuleBuilder("moved")
    attrs = Convolution(
        window=(W(3, 1, 1, 1), W(3, 2, 0, 1)),
        input_batch=2,
        input_feature=3,
        input_spatial=(0, 1),
        kernel_input_feature=3,
        kernel_output_feature=0,
        kernel_spatial=(1, 2),
        output_batch=1,
        output_feature=0,
        output_spatial=(2, 3),
    )
    kernel = np.random.default_rng(0).normal(size=(6, 3, 3, 4)).astype(np.float32)
    module = b.module(
        b.convolution(b.parameter(DType.F32, (5, 6, B, 4)), b.constant(kernel), attrs)
    )
    run = compile_module(module)
    for batch in (1, 4, 9):
        x = np.random.default_rng(1).normal(size=(5, 6, batch, 4)).astype(np.float32)
        (found,) = run([x], batch)
        check_sums(module, [x], found, batch, 36, DType.F32)


def test_kernel_is_stored_once_and_large_sums_need_little_stack():
    layer = Layer((1500,), (W(700, 50, 350, 349),), 1, 40)
    module = layer.module()
    run = compile_module(module)
    kernel = layer.kernel()
    assert kernel.nbytes <= run.compiled.manifest.weights_bytes <= 1.02 * kernel.nbytes + 256
    assert run.workspace_bytes(1) >= 700 * 16 * 8
    x = layer.input(3)
    (found,) = run([x], 3)
    check_sums(module, [x], found, 3, layer.terms, layer.dtype)


def test_padding_is_zeros_also_next_to_infinities():
    """An infinite pixel reaches the positions that see it, no others."""
    layer = Layer((6, 6), (SAME, SAME), 2, 3, linear=True)
    run = compile_module(layer.module())
    x = layer.input(1)
    x[0, 5, 5, 1] = np.inf
    (found,) = run([x], 1)
    seen = ~np.isfinite(found[0]).all(axis=-1)
    expected = np.zeros((6, 6), bool)
    expected[4:, 4:] = True
    assert np.array_equal(seen, expected)
