"""Arrays that are given to a model, checked against its signature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import InputError
from tfaot.ir.shapes import BatchDim
from tfaot.signature import TensorSpec


def checked_array(array: NDArray[Any], spec: TensorSpec, batches: dict[int, str]) -> NDArray[Any]:
    """The array, contiguous; `batches` gathers the batch sizes seen, which must agree."""
    if array.dtype != spec.dtype.numpy:
        raise InputError(
            f"the input '{spec.name}' takes {spec.dtype.numpy} and was given {array.dtype}"
        )
    fits = len(array.shape) == len(spec.dims) and all(
        isinstance(dim, BatchDim) or dim == size
        for dim, size in zip(spec.dims, array.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"the input '{spec.name}' takes the shape {spec.shape} and was given {array.shape}"
        )
    for dim, size in zip(spec.dims, array.shape, strict=True):
        if isinstance(dim, BatchDim):
            first = batches.setdefault(size, spec.name)
            if len(batches) > 1:
                other = next(name for name in batches.values() if name != first)
                raise InputError(
                    f"the inputs '{other}' and '{spec.name}' have different batch sizes"
                )
    return np.ascontiguousarray(array).reshape(array.shape)
