"""Reduce-window and select-and-scatter: pooling, prefix sums, any reducer, any window."""

import math

import ml_dtypes
import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import WindowDimension as W
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder, binary_computation, comparator
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import SIZES, B
from tfaot.testing.ulp import assert_within_ulp

ONE = W(1)
EPSILON = {DType.F16: 2.0**-10, DType.BF16: 2.0**-7, DType.F32: 2.0**-23, DType.F64: 2.0**-52}


def window_module(opcode, dtype, dims, window, initial=None):
    b = ModuleBuilder("windows")
    x = b.parameter(dtype, dims)
    start = b.constant(initial, dtype) if initial is not None else b.parameter(dtype)
    return b.module(b.reduce_window([x], [start], window, binary_computation(opcode, dtype)))


def check(module, inputs, found, batch):
    """Exact for all but sums and products of floats, whose every step may round."""
    dtype = module.outputs[0].array.dtype
    reducers = {
        j.opcode
        for i in module.entry.instructions
        for c in i.called
        for j in c.instructions
        if c.parameters
    }
    expected = evaluate(module, inputs, batch=batch)
    if not dtype.is_float or not reducers & {"add", "multiply"}:
        for actual, wanted in zip(found, expected, strict=True):
            assert_within_ulp(actual, wanted, 0)
        return
    terms = max(
        math.prod(w.size for w in i.attrs.window)
        for i in module.entry.instructions
        if i.opcode in ("reduce-window", "select-and-scatter")
    )
    wide = evaluate(module, inputs, batch=batch, float64=True)
    scale = evaluate(module, [np.abs(x) for x in inputs], batch=batch, float64=True)
    for actual, wanted, size in zip(found, wide, scale, strict=True):
        assert actual.shape == wanted.shape
        # What a denormal product loses, later factors (of at most 2) can still double.
        least = float(ml_dtypes.finfo(dtype.numpy).smallest_subnormal) * 2.0**terms
        bound = (terms + 2) * EPSILON[dtype] * size + least
        assert (np.abs(actual.astype(np.float64) - wanted) <= bound).all()


CASES = [c for c in op_cases(["window"]) if not c.dtype.is_complex and not c.error]


def _groups():
    groups = {}
    for case in CASES:
        groups.setdefault(f"{case.opcode}-{case.name.rpartition('/')[2]}", []).append(case)
    return groups


GROUPS = _groups()


@pytest.mark.parametrize("group", GROUPS)
def test_op_cases(group):
    """Every reducer and type over every kind of window; argmax, of several operands; scattering."""
    for case in GROUPS[group]:
        module = case.module()
        run = compile_module(module)
        for batch in (1, 3) if case.symbolic else (1,):
            inputs = case.inputs(0, batch)
            if case.opcode == "select-and-scatter" and case.dtype.is_float:
                # Ties and infinities are covered by integers; sums of floats may round.
                (found,) = run(inputs, batch)
                (wanted,) = evaluate(module, inputs, batch=batch)
                assert np.allclose(found, wanted, rtol=1e-5, atol=1e-3), case
                continue
            check(module, inputs, run(inputs, batch), batch)


@pytest.mark.parametrize("target", ["native", "x86-64-v2"])
@pytest.mark.parametrize("size", SIZES)
def test_pooling_over_features_of_every_size(size, target):
    window = (ONE, W(3, 2, 1, 1), W(2, 2), ONE)
    for opcode, initial in (("maximum", -math.inf), ("add", 0.0)):
        module = window_module(opcode, DType.F32, (B, 5, 4, size), window, initial)
        run = compile_module(module, target)
        x = np.random.default_rng(size).normal(size=(3, 5, 4, size)).astype(np.float32)
        for at_end in (True, False):
            found = run_between_guard_pages(run, [x], 3, at_end=at_end)
            check(module, [x], found, 3)


@pytest.mark.parametrize("opcode", ["add", "maximum"])
@pytest.mark.parametrize(
    ("size", "window"),
    [
        (40, W(40, padding_low=39)),
        (40, W(40, padding_high=39)),
        (40, W(40, padding_low=40, padding_high=-1)),
        (40, W(40, padding_low=-1, padding_high=40)),
        (40, W(43, padding_low=40, padding_high=2)),
        (40, W(43, padding_low=2, padding_high=40)),
        (40, W(50, padding_low=60, padding_high=60)),
        (40, W(9, padding_low=60, padding_high=60)),
        (40, W(8, padding_low=7)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", ["last", "middle"])
def test_prefixes_and_suffixes(dims, size, window, opcode):
    """Inclusive, exclusive, longer than the axis, shorter; along features or across them."""
    shape, windows = ((B, size), (ONE, window))
    if dims == "middle":
        shape, windows = (B, size, 19), (ONE, window, ONE)
    initial = 0.25 if opcode == "add" else -0.5
    module = window_module(opcode, DType.F32, shape, windows, initial)
    run = compile_module(module)
    for batch in (1, 4):
        x = np.random.default_rng(3).normal(size=(batch, *shape[1:])).astype(np.float32)
        found = run_between_guard_pages(run, [x], batch, at_end=True)
        check(module, [x], found, batch)


@pytest.mark.parametrize("opcode", ["add", "maximum"])
@pytest.mark.parametrize(
    "window",
    [
        W(B, padding_low=B - 1),
        W(B, padding_high=B - 1),
        W(B, padding_low=B),
        W(B, padding_high=B),
        W(B + 2, padding_low=B, padding_high=1),
        W(B, padding_low=2, padding_high=B),
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", ["rows", "last"])
def test_prefixes_and_suffixes_of_the_batch(dims, window, opcode):
    shape, windows = ((B, 19), (window, ONE)) if dims == "rows" else ((3, B), (ONE, window))
    initial = 0.25 if opcode == "add" else -0.5
    module = window_module(opcode, DType.F32, shape, windows, initial)
    run = compile_module(module)
    for batch in (1, 2, 5, 40):
        sizes = tuple(batch if d == B else d for d in shape)
        x = np.random.default_rng(batch).normal(size=sizes).astype(np.float32)
        found = run_between_guard_pages(run, [x], batch, at_end=True)
        expected = evaluate(module, [x], batch=batch)[0]
        assert found[0].shape == expected.shape
        np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-5)


def test_prefix_of_a_reducer_that_is_no_monoid():
    """Elements are taken in order, from the initial value on: x -> 2x + y counts in base two."""
    b = ModuleBuilder("digits")
    inner = ModuleBuilder("shift")
    left, right = inner.parameter(DType.S32), inner.parameter(DType.S32)
    doubled = inner.binary("add", left, left)
    reducer = inner.computation(inner.binary("add", doubled, right))
    x = b.parameter(DType.S32, (B, 12))
    window = (ONE, W(12, padding_low=11))
    module = b.module(b.reduce_window([x], [b.constant(0, DType.S32)], window, reducer))
    bits = np.random.default_rng(0).integers(0, 2, (3, 12)).astype(np.int32)
    (found,) = compile_module(module)([bits], 3)
    weights = 2 ** np.arange(12)
    for i in range(12):
        assert np.array_equal(found[:, i], bits[:, : i + 1] @ weights[i::-1])


def test_bits_of_a_row_depend_on_nothing_else():
    for dims, window in (
        ((B, 6, 21), (ONE, W(3, 1, 1, 1), ONE)),
        ((B, 33), (ONE, W(33, padding_low=32))),
        ((B, 33), (ONE, W(4, 2, 1, 3))),
    ):
        module = window_module("add", DType.F32, dims, window, 0.0)
        run, other = compile_module(module, "x86-64-v3"), compile_module(module, "native")
        x = np.random.default_rng(1).normal(size=(40, *dims[1:])).astype(np.float32)
        (whole,) = run([x], 40)
        assert other([x], 40)[0].tobytes() == whole.tobytes()
        for batch in range(1, 40):
            (part,) = run([x[40 - batch :]], batch)
            assert part.tobytes() == whole[40 - batch :].tobytes()


def _random_window(seed):
    rng = np.random.default_rng(seed)
    while True:
        rank = int(rng.integers(1, 4))
        sizes = [int(n) for n in rng.integers(1, 9, rank)]
        window = [
            W(
                size=int(rng.integers(1, 5)),
                stride=int(rng.integers(1, 4)),
                padding_low=int(rng.integers(-1, 4)),
                padding_high=int(rng.integers(-1, 4)),
                window_dilation=int(rng.integers(1, 3)),
                base_dilation=int(rng.integers(1, 3)),
            )
            for _ in range(rank)
        ]
        rooms = [
            (n - 1) * w.base_dilation + 1 + w.padding_low + w.padding_high
            for n, w in zip(sizes, window, strict=True)
        ]
        if all(
            room >= (w.size - 1) * w.window_dilation + 1
            for room, w in zip(rooms, window, strict=True)
        ):
            return (B, *sizes), (ONE, *window)


@pytest.mark.parametrize("seed", range(12))
def test_any_window_of_any_type(seed):
    dims, window = _random_window(seed)
    dtype = (DType.F32, DType.S8, DType.F64, DType.U32)[seed % 4]
    module = window_module("maximum", dtype, dims, window)
    run = compile_module(module)
    rng = np.random.default_rng(seed)
    for batch in (1, 5):
        x = rng.integers(0, 100, (batch, *dims[1:])).astype(dtype.numpy)
        start = np.array(3, dtype.numpy)
        found = run_between_guard_pages(run, [x, start], batch, at_end=bool(seed % 2))
        check(module, [x, start], found, batch)


@pytest.mark.parametrize("features", [1, 5, 16, 17])
def test_gradients_of_overlapping_pools(features):
    """Every window picks its first largest element; an element picked twice collects both."""
    b = ModuleBuilder("gradient")
    window = (ONE, W(3, 2, 1, 1), W(3, 2, 0, 1), ONE)
    x = b.parameter(DType.S32, (B, 7, 6, features))
    pooled = b.reduce_window(
        [x], [b.constant(-1000, DType.S32)], window, binary_computation("maximum", DType.S32)
    )
    source = b.parameter(DType.S32, pooled.array.dims)
    add, ge = binary_computation("add", DType.S32), comparator("GE", DType.S32)
    result = b.select_and_scatter(x, source, b.constant(0, DType.S32), window, ge, add)
    module = b.module(result)
    run = compile_module(module)
    rng = np.random.default_rng(features)
    for batch in (1, 4):
        dims = [d if isinstance(d, int) else batch for d in pooled.array.dims]
        inputs = [
            rng.integers(0, 4, (batch, 7, 6, features)).astype(np.int32),
            rng.integers(1, 9, dims).astype(np.int32),
        ]
        found = run_between_guard_pages(run, inputs, batch, at_end=True)
        check(module, inputs, found, batch)
