"""Which constants are stored as panels for register tiles."""

from __future__ import annotations

from tfaot.schedule.fusion import Schedule, storage_of
from tfaot.schedule.register_tiles import is_packable


def packed_constants(schedule: Schedule) -> frozenset[int]:
    """Constants that only register tiles read, as the right-hand sides of matrix products."""
    packable: set[int] = set()
    other: set[int] = set()
    for kernel in schedule.kernels:
        for member in kernel.members:
            for operand in member.operands:
                stored = storage_of(operand)
                if stored.opcode != "constant":
                    continue
                if stored is operand and is_packable(member, operand):
                    packable.add(id(stored))
                else:
                    other.add(id(stored))
    return frozenset(packable - other)
