"""How any number of rows is composed of the batch sizes that a model was compiled for.

Input: the sizes and what a call of each costs. Output: for every number of rows the parts, of which
the last may be larger than the rows that are left (it is padded with zeros). The parts are those
that cost least in sum, found by dynamic programming; beyond twice the largest size, the largest is
taken until no more than that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LONGEST_TABLE = 8192
"""Numbers of rows whose parts are stored; beyond, the largest size comes first."""

CALL_NS = 300.0
BYTES_PER_NS = 25.0
FLOPS_PER_NS = 80.0
PADDED_NS = 20.0
"""What calls, reading weights, multiply-adds and copying a padded row take, as a rule of thumb.

Only ratios matter, and `tfaot plan` measures.
"""


@dataclass(frozen=True)
class Composition:
    """Parts for every number of rows.

    Attributes:
        sizes: the sizes that a model was compiled for, ascending.
        table: the first part for each number of rows from 0 on (0 for none).
    """

    sizes: tuple[int, ...]
    table: tuple[int, ...]

    def first(self, rows: int) -> int:
        """The first part of some rows."""
        return self.table[rows] if rows < len(self.table) else self.sizes[-1]

    def parts(self, rows: int) -> tuple[int, ...]:
        """All parts of some rows; the last may be larger than what is left."""
        found = []
        while rows > 0:
            found.append(self.first(rows))
            rows -= found[-1]
        return tuple(found)

    @property
    def padded(self) -> tuple[int, ...]:
        """The sizes that are ever padded, ascending."""
        return tuple(sorted({size for rows, size in enumerate(self.table) if size > rows > 0}))


def cheapest(sizes: Sequence[int], cost: Callable[[int], float]) -> Composition:
    """The composition of least cost.

    Args:
        sizes: batch sizes, at least one.
        cost: what a call of one of them costs, in any unit; for padding, `PADDED_NS` a row is
            added, so nanoseconds are best.
    """
    ordered = tuple(sorted(set(sizes)))
    length = min(2 * ordered[-1], LONGEST_TABLE)
    costs = {size: cost(size) for size in ordered}
    best, table = [0.0], [0]
    for rows in range(1, length + 1):
        choices = [
            (
                costs[size] + (best[rows - size] if size <= rows else PADDED_NS * rows),
                -size,
            )
            for size in ordered
        ]
        least, size = min(choices)
        best.append(least)
        table.append(-size)
    return Composition(ordered, tuple(table))


def estimated_cost(work: Sequence[tuple[int, float]], weights_bytes: int) -> Callable[[int], float]:
    """Nanoseconds of a call, from the multiply-adds of each size and the weights that it reads.

    Args:
        work: batch sizes, each with its floating-point operations.
        weights_bytes: bytes of the weights.
    """
    operations = dict(work)

    def cost(size: int) -> float:
        return CALL_NS + weights_bytes / BYTES_PER_NS + operations[size] / FLOPS_PER_NS

    return cost
