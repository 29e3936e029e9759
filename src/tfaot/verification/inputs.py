"""Seeded inputs for verification."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.dtypes import DType
from tfaot.signature import Signature, TensorSpec

INTEGER_LIMITS = (100, 10, 3, 2, 1)
"""Upper bounds (exclusive) of integer inputs, tried in turn: TensorFlow refuses those that are
used as indices past the end of a table."""


def make_inputs(
    signature: Signature, batch: int, *, seed: int = 0, integer_limit: int = INTEGER_LIMITS[0]
) -> list[NDArray[Any]]:
    """Arrays for all inputs: floats standard normal, integers from 0, pred fair.

    The same arguments give the same arrays on every machine; each input has its own stream, named
    by the input, so that inputs added to a model change no others.
    """
    return [_array(spec, batch, seed, integer_limit) for spec in signature.inputs]


def _array(spec: TensorSpec, batch: int, seed: int, integer_limit: int) -> NDArray[Any]:
    stream = np.random.Generator(
        np.random.PCG64([seed, batch, zlib.crc32(spec.name.encode("utf-8"))])
    )
    shape = spec.shape.at(batch).static_dims
    dtype = spec.dtype.numpy
    if spec.dtype is DType.PRED:
        return stream.integers(0, 2, shape).astype(dtype)
    if spec.dtype.is_integer:
        return stream.integers(0, integer_limit, shape).astype(dtype)
    if spec.dtype.is_complex:
        real, imaginary = stream.standard_normal((2, *shape))
        return (real + 1j * imaginary).astype(dtype)
    return stream.standard_normal(shape).astype(dtype)
