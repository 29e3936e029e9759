"""How many rows run at once where rows are independent.

A tile's activations should stay in the second-level cache, next to the weights that stream through
it; taller tiles read the weights less often. Half a megabyte suits caches of 1 MB and more, and is
what the workspace then costs per thread at most (plus one row, where a single row is larger).
"""

from __future__ import annotations

from tfaot.schedule.arena import plan_arena
from tfaot.schedule.fusion import Schedule

ARENA_BYTES = 512 * 1024
MOST_ROWS = 1024


def rows_per_tile(schedule: Schedule) -> int:
    """The largest power of two of rows, up to `MOST_ROWS`, whose arena fits `ARENA_BYTES`."""
    rows = MOST_ROWS
    while rows > 1 and plan_arena(schedule, rows).size.at(rows) > ARENA_BYTES:
        rows //= 2
    return rows
