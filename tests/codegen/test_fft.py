"""Fourier transforms: every kind of length, as accurate as NumPy's in the same precision."""

import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.codegen.kernels.fft_plan import factors_of, padded_length
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import B

NUMPY = {
    "FFT": np.fft.fftn,
    "IFFT": np.fft.ifftn,
    "RFFT": np.fft.rfftn,
    "IRFFT": np.fft.irfftn,
}
LENGTHS = [(n,) for n in (1, 2, 3, 5, 7, 16, 31, 34, 37, 48, 49, 60, 97, 120, 127, 256, 1000)]
SEVERAL = [(3, 5), (8, 6), (37, 4), (16, 37), (5, 41, 3), (4, 4, 4), (2, 3, 64)]


def fft_module(kind, length, wide=False):
    b = ModuleBuilder("transform")
    dims = [B, *length]
    if kind == "IRFFT":
        dims[-1] = length[-1] // 2 + 1
    if kind == "RFFT":
        dtype = DType.F64 if wide else DType.F32
    else:
        dtype = DType.C128 if wide else DType.C64
    return b.module(b.fft(b.parameter(dtype, dims), kind, length))


def draw(module, batch):
    rng = np.random.default_rng(batch)
    shape = module.entry.parameters[0].array.at(batch)
    x = rng.normal(size=shape.static_dims)
    if shape.dtype.is_complex:
        x = x + 1j * rng.normal(size=shape.static_dims)
    return x.astype(shape.dtype.numpy)


def error(found, expected):
    """The error's norm as a part of the spectrum's."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def check(kind, length, target="x86-64-v3", wide=False):
    module = fft_module(kind, length, wide)
    run = compile_module(module, target)
    x = draw(module, 3)
    (found,) = run([x])
    axes = tuple(range(-len(length), 0))
    exact = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    expected = NUMPY[kind](exact, length, axes)
    epsilon = 2.0**-53 if wide else 2.0**-24
    # NumPy's own error is near half an epsilon; Bluestein's is some times larger.
    limit = 8.0 if wide else max(2.5 * error(NUMPY[kind](x, length, axes), expected) / epsilon, 3.5)
    assert error(found, expected) <= limit * epsilon, (kind, length)
    assert run([x[1:2]])[0].tobytes() == found[1:2].tobytes()


@pytest.mark.parametrize("length", LENGTHS + SEVERAL, ids=str)
def test_lengths(length):
    for kind in NUMPY:
        check(kind, length)


@pytest.mark.parametrize("length", [(12,), (37,), (64,), (6, 9)], ids=str)
def test_double_precision(length):
    for kind in NUMPY:
        check(kind, length, wide=True)


@pytest.mark.parametrize("target", ["x86-64-v2", "native"])
def test_targets(target):
    for kind, length in (("FFT", (48,)), ("RFFT", (100,)), ("IRFFT", (7, 34)), ("IFFT", (37,))):
        check(kind, length, target)


def test_inverse_of_real_ignores_what_a_real_signal_cannot_have():
    """Imaginary parts of the first element, and of the last of an even length, don't count."""
    for length in (8, 9):
        module = fft_module("IRFFT", (length,))
        x = draw(module, 2)
        other = x.copy()
        other[:, 0] += 5j
        if length % 2 == 0:
            other[:, -1] += 7j
        run = compile_module(module)
        assert run([x])[0].tobytes() == run([other])[0].tobytes()


@pytest.mark.parametrize("at_end", [True, False])
def test_no_memory_outside(at_end):
    for kind in NUMPY:
        for length in ((9,), (16,), (37,), (5, 6)):
            module = fft_module(kind, length)
            x = draw(module, 2)
            run = compile_module(module)
            found = run_between_guard_pages(run, [x], 2, at_end=at_end)
            assert found[0].tobytes() == run([x])[0].tobytes()


def test_factors():
    assert factors_of(1) == ()
    assert factors_of(960) == (4, 4, 4, 3, 5)
    assert factors_of(2 * 37) == (2, 37)
    assert padded_length(37) == 75
    assert padded_length(1009) >= 2017
