"""Whether a model may be stitched together from static batch sizes: do its rows stay apart?

Without a symbolic form the graph can't tell, so TensorFlow is asked: rows must come out alike in
company and alone. Verification then compares whole batches, as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import TfaotError
from tfaot.ir.shapes import BatchDim
from tfaot.lowering import Lowered
from tfaot.signature import Signature, TensorSpec
from tfaot.verification.inputs import make_inputs

if TYPE_CHECKING:
    from tfaot.frontend.session import LoadedModel

ROWS = 5
TAKEN = (3, 1)
"""Rows that are run without the others, in another order: prefix sums tell them apart, too."""

TOLERANCE = 1e-3
"""Relative to an output's largest value: rounding is far below, other rows' influence far above."""


def with_composition(lowered: Lowered, loaded: LoadedModel) -> Lowered:
    """`lowered`, knowing whether its static batch sizes may be stitched together."""
    if lowered.reason is None or not lowered.composable:
        return lowered
    return replace(lowered, composable=rows_stay_apart(loaded))


def rows_stay_apart(loaded: LoadedModel) -> bool:
    """Whether each row of the outputs seems to depend on the same row of the inputs alone."""
    if not batch_leads(loaded.signature):
        return False
    outputs = loaded.signature.outputs
    inputs = make_inputs(loaded.signature, ROWS)
    try:
        whole = loaded.evaluate(inputs)
        part = loaded.evaluate(_taken_rows(inputs, loaded.signature.inputs))
    except TfaotError:
        return False
    if any(a.shape != s.sizes(ROWS) for a, s in zip(whole, outputs, strict=True)):
        return False
    expected = _taken_rows(whole, outputs)
    return all(_alike(a, b) for a, b in zip(part, expected, strict=True))


def batch_leads(signature: Signature) -> bool:
    """Whether the batch axis is the first of all inputs and outputs that have one.

    Never where an output's size depends on the data: its rows aren't the batch's.
    """
    return all(
        spec.rows_lead and not spec.varying for spec in (*signature.inputs, *signature.outputs)
    )


def _taken_rows(arrays: Sequence[NDArray[Any]], specs: Sequence[TensorSpec]) -> list[NDArray[Any]]:
    taken = []
    for array, spec in zip(arrays, specs, strict=True):
        first = spec.dims[0] if spec.dims else 0
        if isinstance(first, BatchDim):
            rows = [r * first.scale + n for r in TAKEN for n in range(first.scale)]
            array = np.ascontiguousarray(array[rows])
        taken.append(array)
    return taken


def _alike(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind not in "fcV" or a.size == 0:
        return bool(np.array_equal(a, b))
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    x, y = a.astype(wide), b.astype(wide)
    finite = np.abs(y[np.isfinite(y)])
    scale = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True))
