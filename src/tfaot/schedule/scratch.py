"""Scratch memory of single kernels: workspace that lives while the kernel runs.

A kernel emitter that needs memory beyond registers and a few hundred bytes of stack registers here
how much; the arena finds a place, and the emitter gets a pointer to it (`KernelContext.scratch`).
"""

from __future__ import annotations

from collections.abc import Callable

from tfaot.schedule.fusion import Kernel
from tfaot.schedule.sizes import NOTHING, Bytes

Rule = Callable[[Kernel], Bytes]
_RULES: dict[str, Rule] = {}


def scratch_rule(*opcodes: str) -> Callable[[Rule], Rule]:
    """Register how many bytes of scratch kernels anchored at `opcodes` need."""

    def register(function: Rule) -> Rule:
        for opcode in opcodes:
            assert opcode not in _RULES, opcode
            _RULES[opcode] = function
        return function

    return register


def scratch_bytes(kernel: Kernel) -> Bytes:
    """Bytes of scratch that a kernel needs, for B rows."""
    if kernel.anchor is None:
        return NOTHING
    rule = _RULES.get(kernel.anchor.opcode)
    return NOTHING if rule is None else rule(kernel)
