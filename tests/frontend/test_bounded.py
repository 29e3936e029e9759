"""TensorFlow's arrays of data-dependent size in the form of compiled models."""

import numpy as np
import pytest

from tfaot.errors import ModelError
from tfaot.frontend.bounded import padded_results
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.signature import TensorSpec, with_sizes


def test_the_rest_of_the_bound_is_zero():
    specs = with_sizes(
        [
            TensorSpec("plain", DType.F32, (2,)),
            TensorSpec("rows", DType.S32, (BatchDim(2), 3), varying=(0,)),
            TensorSpec("both", DType.PRED, (2, 3), varying=(0, 1)),
        ]
    )
    plain = np.array([5, 6], np.float32)
    rows = np.arange(1, 7, dtype=np.int32).reshape(2, 3)
    results = padded_results([plain, rows, np.ones((0, 2), bool)], specs, batch=2)
    assert len(results) == len(specs)
    np.testing.assert_array_equal(results[0], plain)
    np.testing.assert_array_equal(results[1], [[1, 2, 3], [4, 5, 6], [0, 0, 0], [0, 0, 0]])
    assert results[2].shape == ()
    assert (results[2], results[2].dtype) == (2, np.int32)
    assert results[3].dtype == bool
    assert not results[3].any()
    np.testing.assert_array_equal(results[4], [0, 2])


def test_more_than_the_bound():
    specs = with_sizes([TensorSpec("rows", DType.F32, (BatchDim(1), 3), varying=(0,))])
    with pytest.raises(ModelError, match=r"'rows' the shape \[3, 3\].*bound \[2, 3\]"):
        padded_results([np.zeros((3, 3), np.float32)], specs, batch=2)
