"""When two kernels are the same code: equal up to names and to which arrays they work on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np

from tfaot.ir.attributes import Attributes, Constant
from tfaot.ir.module import Computation, Instruction
from tfaot.schedule.fusion import Kernel


def kernel_key(kernel: Kernel, describe: Callable[[Instruction], str]) -> str:
    """A text that is equal for kernels that may share a function.

    Args:
        kernel: the kernel.
        describe: what else matters about an array (layout, where its batch axis lies).
    """
    numbers: dict[int, str] = {}
    lines: list[str] = []
    for n, leaf in enumerate(kernel.leaves):
        numbers[id(leaf)] = f"leaf{n}"
        lines.append(f"leaf{n} {leaf.shape} {describe(leaf)}")

    def reference(node: Instruction) -> str:
        if id(node) in numbers:
            return numbers[id(node)]
        operands = ",".join(reference(o) for o in node.operands)
        return f"({node.opcode} {node.shape} {_attrs(node.attrs)} {operands})"

    for n, member in enumerate(kernel.members):
        operands = ",".join(reference(o) for o in member.operands)
        if id(member) not in numbers:
            numbers[id(member)] = f"m{n}"
        lines.append(f"{member.opcode} {member.shape} {_attrs(member.attrs)} {operands}")
    for result in kernel.results:
        text = "-" if result is None else f"{result.shape} {describe(result)}"
        lines.append(f"result {text}")
    for stage in kernel.stages:
        stage_anchor = "-" if stage.anchor is None else numbers[id(stage.anchor)]
        lines.append(f"stage {numbers[id(stage.root)]} {stage_anchor}")
    anchor = "-" if kernel.anchor is None else numbers[id(kernel.anchor)]
    return "\n".join([*lines, f"root {numbers[id(kernel.root)]} anchor {anchor}"])


def _attrs(attrs: Attributes) -> str:
    if attrs is None:
        return ""
    if isinstance(attrs, Constant):
        return attrs.origin or np.ascontiguousarray(attrs.value).tobytes().hex()
    return repr([(f.name, _value(getattr(attrs, f.name))) for f in fields(attrs)])


def _value(value: object) -> object:
    return _computation(value) if isinstance(value, Computation) else value


def _computation(computation: Computation) -> str:
    numbers = {id(i): n for n, i in enumerate(computation.instructions)}
    return ";".join(
        f"{i.opcode} {i.shape} {_attrs(i.attrs)} {[numbers[id(o)] for o in i.operands]}"
        for i in computation.instructions
    )
