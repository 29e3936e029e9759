"""What the passes did, for people: instructions before and after each, and what was folded where.

Input: the module as each pass leaves it, and the foldings that `FoldAffine` tells of. Output:
`PassCount` and `Folding`, in the order in which they happened.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tfaot.ir.module import Instruction, Module


@dataclass(frozen=True)
class PassCount:
    """One pass.

    Attributes:
        name: the pass.
        before: instructions of the module, in all computations.
        after: the same after it.
        change: by how many the instructions of each opcode changed, where they did.
    """

    name: str
    before: int
    after: int
    change: dict[str, int]


@dataclass(frozen=True)
class Folding:
    """Affine steps that went into the weights of one dot or convolution.

    Attributes:
        into: the layer (TensorFlow op name) of the dot or convolution.
        opcode: which of the two it is.
        before: the steps on its input, `opcode layer` each, in the order of the data.
        after: the steps on its result, the same way.
    """

    into: str
    opcode: str
    before: tuple[str, ...]
    after: tuple[str, ...]


def step_text(node: Instruction) -> str:
    """A step as foldings name it: its opcode, and its layer where it has one."""
    return f"{node.opcode} {node.metadata.op_name}".rstrip()


@dataclass
class PassLog:
    """Collects while passes run: `ran` is their hook, `fold` is called for each folding."""

    module: Module
    passes: list[PassCount] = field(default_factory=list)
    _foldings: dict[tuple[str, str], Folding] = field(default_factory=dict)

    def ran(self, name: str, module: Module) -> None:
        """A pass ran, and this is what it left."""
        before, after = _opcodes(self.module), _opcodes(module)
        change = {o: after[o] - before[o] for o in sorted(before | after) if after[o] != before[o]}
        self.passes.append(PassCount(name, before.total(), after.total(), change))
        self.module = module

    def fold(self, node: Instruction, before: list[Instruction], after: list[Instruction]) -> None:
        """Steps were folded into `node`; those folded into it earlier stay."""
        key = (node.name, node.metadata.op_name)
        old = self._foldings.get(key, Folding("", "", (), ()))
        first = (*map(step_text, before), *old.before)
        last = (*old.after, *map(step_text, after))
        self._foldings[key] = Folding(
            node.metadata.op_name,
            node.opcode,
            tuple(dict.fromkeys(first)),
            tuple(dict.fromkeys(last)),
        )

    @property
    def foldings(self) -> tuple[Folding, ...]:
        """All foldings, each dot or convolution once."""
        return tuple(self._foldings.values())


def _opcodes(module: Module) -> Counter[str]:
    return Counter(i.opcode for c in module.computations() for i in c.instructions)
