"""Which arrays and Python values a tensor takes, and the batch size that shapes imply."""

import numpy as np
import pytest

from tfaot.errors import InputError
from tfaot.packaging.dtypes import CTYPES
from tfaot.packaging.manifest import AffineDim, Batch, Tensor
from tfaot.runtime.arrays import check_batch, describe, find_batch, numpy_dtype, prepare

FLOATS = {"f8e4m3fn", "f8e5m2", "f16", "bf16", "f32", "f64"}
COMPLEX = {"c64", "c128"}


def tensor(dtype="f32", *dims, name="x"):
    return Tensor(name, name, dtype, dims)


@pytest.mark.parametrize("dtype", list(CTYPES))
def test_python_values_change_neither_kind_nor_value(dtype):
    spec = tensor(dtype, 2)
    kind = numpy_dtype(spec)

    def taken(values):
        try:
            result = prepare(spec, values, kind)
        except InputError:
            return False
        assert result.dtype == kind
        assert [complex(v) for v in result] == [complex(v) for v in values]
        return True

    assert taken([True, False]) == (dtype == "pred")
    assert taken([1, 0]) == (dtype != "pred")
    assert taken([1.5, -0.5]) == (dtype in FLOATS | COMPLEX)
    assert taken([1j, 0]) == (dtype in COMPLEX)
    assert taken([-1, 0]) == (dtype[0] != "u" and dtype != "pred")
    assert taken([2**63, 0]) == (dtype in {"u64", "f32", "f64", "bf16"} | COMPLEX)


@pytest.mark.parametrize("dtype", list(CTYPES))
def test_arrays_of_the_exact_type_alone(dtype):
    spec = tensor(dtype, 3)
    kind = numpy_dtype(spec)
    array = np.zeros(3, kind)
    assert prepare(spec, array, kind) is array
    for other in CTYPES:
        wrong = np.zeros(3, numpy_dtype(tensor(other)))
        if wrong.dtype != kind:
            with pytest.raises(InputError, match="convert it with"):
                prepare(spec, wrong, kind)


def test_nothing_to_copy_is_not_copied():
    spec = tensor("f32", AffineDim(1), 4)
    array = np.zeros((3, 4), np.float32)
    assert prepare(spec, array, np.dtype(np.float32)) is array
    copy = prepare(spec, np.zeros((4, 3), np.float32).T, np.dtype(np.float32))
    assert copy.flags.c_contiguous
    assert copy.shape == (3, 4)


def test_scalars():
    spec = tensor("s32")
    for value in (3, np.int32(3), np.array(3, np.int32)):
        assert prepare(spec, value, np.dtype(np.int32)) == 3


@pytest.mark.parametrize(
    ("dims", "shape", "n"),
    [
        ((AffineDim(1), 4), (7, 4), 7),
        ((AffineDim(1), 4), (0, 4), 0),
        ((AffineDim(3, 2),), (11,), 3),
        ((AffineDim(1, -1),), (0,), 1),
        ((AffineDim(-1, 10),), (4,), 6),
        ((2, 3), (2, 3), None),
        ((), (), None),
    ],
)
def test_batch_size_of_a_shape(dims, shape, n):
    assert find_batch([tensor("f32", *dims)], [np.zeros(shape)], Batch()) == n


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ((AffineDim(3, 2),), (10,)),
        ((AffineDim(1, 5),), (4,)),
        ((AffineDim(1), 4), (7, 3)),
        ((AffineDim(1), AffineDim(1)), (2, 3)),
        ((2,), (3,)),
    ],
)
def test_shapes_of_no_batch_size(dims, shape):
    with pytest.raises(InputError, match="'x'"):
        find_batch([tensor("f32", *dims)], [np.zeros(shape)], Batch())


def test_batch_sizes_that_were_not_compiled():
    check_batch(3, Batch("static", (1, 4), True))
    check_batch(4, Batch("static", (1, 4), False))
    with pytest.raises(InputError, match=r"3 is none of those compiled for \(1, 4\)"):
        check_batch(3, Batch("static", (1, 4), False))


def test_descriptions():
    spec = tensor("bf16", AffineDim(1), AffineDim(2, -1), AffineDim(-1, 3), 4)
    assert describe(spec) == "bfloat16[n, 2*n-1, -n+3, 4]"
