"""Rows of intermediate values that lie further apart than they are long.

A register tile reads a dozen rows at once. Where the distance between rows is a large power of two,
all of them fall into the same few sets of the closest cache and push each other out; a cache line
between rows spreads them. Only what register tiles write, and nothing but register tiles and their
epilogues read, is padded: other kernels see rows that follow each other.
"""

from __future__ import annotations

from typing import TypeGuard

from tfaot.ir.module import Instruction
from tfaot.schedule.fusion import Kernel, Schedule, storage_of
from tfaot.schedule.register_tiles import is_tiled_convolution, is_tiled_dot

CONFLICTING = 2048
"""Bytes: rows at multiples of this meet in half of a usual cache's sets or fewer."""

PADDING = 64
"""Bytes between rows."""


def row_lengths(schedule: Schedule) -> dict[int, int]:
    """Elements from one row to the next, by the id of the value, for those that are padded."""
    found: dict[int, int] = {}
    outputs = {id(o) for o in schedule.outputs}
    for kernel in schedule.kernels:
        root = kernel.root
        if id(root) in outputs or not _writes_rows(kernel):
            continue
        length, itemsize = root.array.dims[-1], root.array.dtype.itemsize
        if isinstance(length, int) and length * itemsize % CONFLICTING == 0 and length:
            found[id(root)] = length + PADDING // itemsize
    for kernel in schedule.kernels:
        for leaf in kernel.leaves:
            stored = storage_of(leaf)
            if id(stored) in found and not _reads_rows(kernel, stored):
                del found[id(stored)]
    return found


def _writes_rows(kernel: Kernel) -> bool:
    """Whether the kernel's one result has the columns of its register tiles."""
    root, anchor = kernel.root, kernel.anchor
    return (
        _has_tiles(anchor)
        and kernel.results == (root,)
        and not kernel.in_place
        and root.array.rank >= 2
        and root.array.dims[-1] == anchor.array.dims[-1]
    )


def _reads_rows(kernel: Kernel, value: Instruction) -> bool:
    """Whether the kernel can read a value whose rows are apart: as rows, or in its epilogue."""
    anchor = kernel.anchor
    if not _has_tiles(anchor):
        return False
    lhs, rhs = anchor.operands
    as_rows = storage_of(lhs) is not value or lhs.array.dims[-1] == value.array.dims[-1]
    return as_rows and storage_of(rhs) is not value


def _has_tiles(anchor: Instruction | None) -> TypeGuard[Instruction]:
    if anchor is None:
        return False
    return (anchor.opcode == "dot" and is_tiled_dot(anchor)) or (
        anchor.opcode == "convolution" and is_tiled_convolution(anchor)
    )
