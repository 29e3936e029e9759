"""Arrays to run a model on where nobody gave any: for timing, and for golden rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfaot.packaging.manifest import Tensor
from tfaot.runtime.arrays import Array, numpy_dtype


def random_inputs(tensors: Sequence[Tensor], batch: int, seed: int = 7) -> list[Array]:
    """Seeded normal numbers for `batch` rows; integers are 0 or 1, which index any table."""
    generator = np.random.default_rng(seed)
    arrays = []
    for tensor in tensors:
        dtype = numpy_dtype(tensor)
        values = np.asarray(generator.normal(size=tensor.shape(batch)))
        arrays.append((values > 0 if dtype.kind in "iub" else values).astype(dtype))
    return arrays
