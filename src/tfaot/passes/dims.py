"""Arithmetic on dimensions that reshapes need: which runs of dimensions correspond."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfaot.ir.shapes import Dim, dim_at

# Two batch sizes at which products of dimensions are compared: as large primes they share no
# factor with a model's own dimensions, and two of them tell any affine dimensions apart.
_PROBES = (1_000_003, 2_147_483_647)


@dataclass(frozen=True)
class Group:
    """A run of input dimensions that a reshape turns into a run of output dimensions."""

    inputs: range
    outputs: range


def same_size(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> bool:
    """Whether two shapes have equally many elements, for every batch size."""
    return all(_size(a, p) == _size(b, p) for p in _PROBES)


def reshape_groups(before: tuple[Dim, ...], after: tuple[Dim, ...]) -> tuple[Group, ...]:
    """The smallest runs of dimensions of equal size into which a reshape splits.

    Dimensions of size 1 without a counterpart join the group before them (the first group, at the
    front). Shapes with no elements form one group.
    """
    whole = Group(range(len(before)), range(len(after)))
    if 0 in before or 0 in after:
        return (whole,)
    groups: list[Group] = []
    i = j = 0
    while i < len(before) and j < len(after):
        i0, j0 = i, j
        i, j = i + 1, j + 1
        while not same_size(before[i0:i], after[j0:j]):
            if _size(before[i0:i], _PROBES[0]) < _size(after[j0:j], _PROBES[0]):
                if i == len(before):
                    return (whole,)
                i += 1
            else:
                if j == len(after):
                    return (whole,)
                j += 1
        groups.append(Group(range(i0, i), range(j0, j)))
    if not groups:
        return (whole,) if before or after else ()
    last = groups.pop()
    groups.append(
        Group(range(last.inputs.start, len(before)), range(last.outputs.start, len(after)))
    )
    return tuple(groups)


def squeezed(dims: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """`dims` without those of size 1."""
    return tuple(d for d in dims if d != 1)


def only_units_differ(before: tuple[Dim, ...], after: tuple[Dim, ...]) -> bool:
    """Whether two shapes are equal but for dimensions of size 1."""
    return squeezed(before) == squeezed(after)


def _size(dims: tuple[Dim, ...], batch: int) -> int:
    return math.prod(dim_at(d, batch) for d in dims)
