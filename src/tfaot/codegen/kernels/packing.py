"""Which constants are stored as panels for register tiles."""

from __future__ import annotations

from collections.abc import Callable

from tfaot.codegen.kernels import convolution, dot
from tfaot.ir.module import Instruction
from tfaot.schedule.fusion import Schedule, storage_of

_RULES: dict[str, Callable[[Instruction, Instruction], bool]] = {
    "dot": dot.is_packable,
    "convolution": convolution.is_packable,
}
"""Whether an instruction reads a constant operand, of columns [..., N], in panels."""


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
                rule = _RULES.get(member.opcode)
                if rule is not None and stored is operand and rule(member, operand):
                    packable.add(id(stored))
                else:
                    other.add(id(stored))
    return frozenset(packable - other)
