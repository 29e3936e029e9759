"""Whether an artifact with code for several instruction sets gives what it should with each.

Input: a loaded artifact and results of its best level. Output: nothing, or a VerificationError.
Levels with fused multiply-add give the same bits; one without them rounds otherwise, and is held to
the same bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import VerificationError

if TYPE_CHECKING:
    from tfaot.runtime.model import Model

Array = NDArray[Any]

WITH_FMA = ("x86-64-v3", "x86-64-v4")


def lower_levels(model: Model) -> list[str]:
    """The instruction sets below the one in use that the artifact has code for, highest first."""
    cpus = model.manifest.target.cpus
    return list(reversed(cpus[: cpus.index(model.isa)])) if len(cpus) > 1 else []


@contextmanager
def limited(model: Model, level: str) -> Iterator[None]:
    """The model with no instruction set above `level`."""
    model.set_max_isa(level)
    try:
        yield
    finally:
        model.set_max_isa(None)


def same_bits_expected(one: str, other: str) -> bool:
    """Whether two levels round alike."""
    return (one in WITH_FMA) == (other in WITH_FMA)


def check_same(
    names: Sequence[str],
    levels: tuple[str, str],
    batch: int,
    results: Sequence[tuple[Array, Array]],
) -> None:
    """VerificationError where the outputs of two levels differ in a bit; any NaN equals another."""
    for name, (one, other) in zip(names, results, strict=True):
        if one.tobytes() == other.tobytes():
            continue
        differs = one != other
        if np.issubdtype(one.dtype, np.inexact):
            differs &= ~(np.isnan(one) & np.isnan(other))
        if differs.any():
            place = tuple(int(i) for i in np.argwhere(differs)[0])
            raise VerificationError(
                f"verification failed: output '{name}' at {list(place)} of batch {batch} is "
                f"{one[place]} with {levels[0]} and {other[place]} with {levels[1]}; report the "
                "model, or compile with --no-verify"
            )
