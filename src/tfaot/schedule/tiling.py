"""How many rows run at once where rows are independent.

A taller tile reads the weights less often, a shorter one keeps its activations closer and costs
each thread less workspace. Register tiles ask for weights ahead, so that weights which stay in some
cache need no tall tiles: 64 KB of activations do for weights in the second-level cache, 128 KB for
those in the third. Larger weights stream from memory, which all cores share, and half a megabyte of
activations makes that stream a few percent of the work.
"""

from __future__ import annotations

from tfaot.ir.attributes import Constant
from tfaot.schedule.arena import plan_arena
from tfaot.schedule.fusion import Schedule

ARENAS = ((256 * 1024, 64 * 1024), (16 * 1024 * 1024, 128 * 1024))
"""Bytes of activations for up to so many bytes of weights."""

LARGE_ARENA = 512 * 1024
MOST_ROWS = 1024
FEWEST_ROWS = 32
"""Rows below which a smaller arena isn't worth it."""


def rows_per_tile(schedule: Schedule) -> int:
    """The largest power of two of rows whose arena fits the budget; 1 where none does."""
    weights = weight_bytes(schedule)
    for most, arena in ARENAS:
        if weights <= most:
            rows = _rows_within(schedule, arena)
            if rows >= FEWEST_ROWS:
                return rows
    return _rows_within(schedule, LARGE_ARENA)


def _rows_within(schedule: Schedule, budget: int) -> int:
    rows = MOST_ROWS
    while rows > 1 and plan_arena(schedule, rows).size.at(rows) > budget:
        rows //= 2
    return rows


def weight_bytes(schedule: Schedule) -> int:
    """Bytes of the constants that kernels read."""
    constants = {
        id(leaf): leaf.attr(Constant).value.nbytes
        for kernel in schedule.kernels
        for leaf in kernel.leaves
        if leaf.opcode == "constant"
    }
    return sum(constants.values())
