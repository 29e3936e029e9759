"""TensorFlow's outputs whose sizes depend on the data, in the form of compiled models.

TensorFlow returns an array of the true size; a compiled model fills the rest of the bound with
zeros, and returns the size as one more output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import ModelError
from tfaot.signature import TensorSpec


def padded_results(
    results: Sequence[NDArray[Any]], specs: Sequence[TensorSpec], batch: int
) -> list[NDArray[Any]]:
    """One array per output of the signature.

    Args:
        results: TensorFlow's arrays, which have no sizes among them.
        specs: the signature's outputs (`tfaot.signature.with_sizes`).
        batch: the batch size.

    Raises:
        ModelError: an array is larger than XLA's bound.
    """
    padded: list[NDArray[Any]] = []
    outputs = iter(specs)
    for result in results:
        spec = next(outputs)
        if not spec.varying:
            padded.append(result)
            continue
        bound = spec.sizes(batch)
        if result.ndim != len(bound) or any(
            have > most for have, most in zip(result.shape, bound, strict=True)
        ):
            raise ModelError(
                f"TensorFlow gives the output '{spec.name}' the shape {list(result.shape)}, "
                f"which exceeds XLA's bound {list(bound)}"
            )
        whole = np.zeros(bound, result.dtype)
        whole[tuple(map(slice, result.shape))] = result
        sizes = [result.shape[axis] for axis in spec.varying]
        padded += [whole, np.array(sizes, np.int32).reshape(next(outputs).sizes(batch))]
    return padded
