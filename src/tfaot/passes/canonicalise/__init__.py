"""Canonical form: the many ways to write one value become one.

Input: any valid module. Output: an equivalent module in which each instruction is a fixpoint of
the rules of its family (`data_movement`, `elementwise`, `reduction`, `dot`, `convolution`,
`control`).
"""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.ir.module import Computation, Instruction, Module, Rewriter
from tfaot.passes import build
from tfaot.passes.canonicalise import (
    control,
    convolution,
    data_movement,
    dot,
    elementwise,
    reduction,
)
from tfaot.passes.canonicalise.rules import RULES, simplify

__all__ = [
    "RULES",
    "Canonicalise",
    "control",
    "convolution",
    "data_movement",
    "dot",
    "elementwise",
    "reduction",
    "simplify",
]


@dataclass(frozen=True)
class Canonicalise:
    """Apply the rewrite rules to a fixpoint.

    Attributes:
        rounds: sweeps over a computation after which it is left as it is.
    """

    rounds: int = 32

    @property
    def name(self) -> str:
        """Name in dumps."""
        return "canonicalise"

    def run(self, module: Module) -> Module:
        """The canonical module; `module` itself where it is canonical."""
        return build.rewrite_module(module, self._computation)

    def _computation(self, computation: Computation) -> Computation:
        for _ in range(self.rounds):
            swept = _sweep(computation)
            if swept is computation:
                break
            computation = swept
        return computation


def _sweep(computation: Computation) -> Computation:
    """One pass over all instructions, operands first."""
    changed = False

    def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        nonlocal changed
        node = build.rebuild(old, operands)
        new = simplify(node)
        changed |= new is not node
        return new

    swept = Rewriter(change).run(computation)
    return swept if changed else computation
