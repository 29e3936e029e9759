"""Which constants are stored as panels for register tiles."""

from __future__ import annotations

from tfaot.codegen.kernels.dot import is_packable
from tfaot.schedule.fusion import Schedule, storage_of


def packed_constants(schedule: Schedule) -> frozenset[int]:
    """Constants that only tiled dots read, as their right-hand sides."""
    packable: set[int] = set()
    other: set[int] = set()
    for kernel in schedule.kernels:
        for member in kernel.members:
            for operand in member.operands:
                stored = storage_of(operand)
                if stored.opcode != "constant":
                    continue
                if member.opcode == "dot" and stored is operand and is_packable(member, operand):
                    packable.add(id(stored))
                else:
                    other.add(id(stored))
    return frozenset(packable - other)
