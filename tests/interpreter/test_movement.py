"""Data movement against NumPy and an element-by-element pad."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.testing.build import ModuleBuilder

B = BatchDim(1)


def x_of(*dims):
    return np.arange(np.prod(dims), dtype=np.float32).reshape(dims)


def run(build, *arrays):
    b = ModuleBuilder("movement")
    operands = [b.parameter(DType.from_numpy(a.dtype), a.shape) for a in arrays]
    return evaluate(b.module(build(b, *operands)), arrays)[0]


def test_broadcast_places_dimensions():
    x = x_of(3, 5)
    value = run(lambda b, p: b.broadcast(p, (5, 2, 3), (2, 0)), x)
    np.testing.assert_array_equal(value, np.broadcast_to(x.T[:, None, :], (5, 2, 3)))


def test_transpose_reverse_slice_concatenate():
    x = x_of(4, 5, 6)
    np.testing.assert_array_equal(
        run(lambda b, p: b.transpose(p, (2, 0, 1)), x), x.transpose(2, 0, 1)
    )
    np.testing.assert_array_equal(run(lambda b, p: b.reverse(p, (0, 2)), x), x[::-1, :, ::-1])
    value = run(lambda b, p: b.slice(p, (1, 0, 1), (4, 5, 6), (2, 1, 3)), x)
    np.testing.assert_array_equal(value, x[1:4:2, :, 1:6:3])
    value = run(lambda b, p, q: b.concatenate([p, q, p], 1), x, x_of(4, 2, 6))
    np.testing.assert_array_equal(value, np.concatenate([x, x_of(4, 2, 6), x], 1))


def pad_by_element(x, value, low, high, interior):
    reach = (max(x.size - 1, 0) * (interior + 1) + 1) if x.size else 0
    out = np.full(max(low + reach + high, 0), value, x.dtype)
    for i in range(x.size):
        position = low + i * (interior + 1)
        if 0 <= position < out.size:
            out[position] = x[i]
    return out


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize("interior", [0, 1, 3])
def test_pad_with_negative_and_interior_padding(size, interior):
    x = x_of(size) + 1
    zero = np.float32(-1)
    reach = (max(size - 1, 0) * (interior + 1) + 1) if size else 0
    for low in range(-7, 4):
        for high in range(-7, 4):
            if low + reach + high < 0:
                continue
            value = run(
                lambda b, p, v, n=low, m=high: b.pad(p, v, (n,), (m,), (interior,)), x, zero
            )
            np.testing.assert_array_equal(value, pad_by_element(x, zero, low, high, interior))


def test_dynamic_slice_moves_windows_inside():
    x = x_of(9, 8)
    for start, first in ((-5, 0), (3, 3), (8, 7), (100, 7)):
        i, j = np.int32(start), np.int32(2)
        value = run(lambda b, p, *s: b.dynamic_slice(p, s, (2, 3)), x, i, j)
        np.testing.assert_array_equal(value, x[first : first + 2, 2:5])
        update = -x_of(2, 3)
        value = run(lambda b, p, u, *s: b.dynamic_update_slice(p, u, s), x, update, i, j)
        expected = x.copy()
        expected[first : first + 2, 2:5] = update
        np.testing.assert_array_equal(value, expected)


def test_iota_rounds_to_its_type():
    b = ModuleBuilder("iota")
    value = evaluate(b.module(b.iota(DType.BF16, (300, 2), 0)), [])[0]
    assert value[257, 0].astype(float) == 256
    wide = evaluate(b.module(b.iota(DType.U8, (300,), 0)), [])[0]
    assert wide[257] == 1


def test_batch_reaches_attributes():
    b = ModuleBuilder("rows")
    x = b.parameter(DType.F32, (B + 1, 3))
    module = b.module(b.slice(x, (1, 0), (B + 1, 3)), b.get_dimension_size(x, 0))
    value, size = evaluate(module, [x_of(5, 3)])
    np.testing.assert_array_equal(value, x_of(5, 3)[1:])
    assert (size, size.dtype) == (5, np.int32)
