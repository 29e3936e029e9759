"""Order of the passes, and the runner that checks the module between them.

Input: a valid module. Output: a valid, equivalent module in canonical form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from tfaot.ir.module import Module
from tfaot.ir.verifier import verify
from tfaot.passes.canonicalise import Canonicalise
from tfaot.passes.constant_fold import ConstantFold
from tfaot.passes.cse import CommonSubexpressions
from tfaot.passes.fold_affine import FoldAffine
from tfaot.passes.log import PassLog


class Pass(Protocol):
    """A rewrite of modules: a frozen dataclass whose fields are its options."""

    @property
    def name(self) -> str:
        """Name in dumps, unique among passes."""

    def run(self, module: Module) -> Module:
        """An equivalent module; `module` itself where the pass changes nothing."""


@dataclass(frozen=True)
class Simplify:
    """Canonicalise, merge common subexpressions and fold constants, to a common fixpoint.

    Attributes:
        rounds: turns after which the module is left as it is.
    """

    rounds: int = 16

    @property
    def name(self) -> str:
        """Name in dumps."""
        return "simplify"

    def run(self, module: Module) -> Module:
        """The simplified module; `module` itself where it is already."""
        steps: tuple[Pass, ...] = (Canonicalise(), CommonSubexpressions(), ConstantFold())
        for _ in range(self.rounds):
            before = module
            for step in steps:
                module = step.run(module)
            if module is before:
                break
        return module


def default_passes(log: PassLog | None = None) -> tuple[Pass, ...]:
    """The passes of a compile, in order; a log is told what is folded.

    1. `Simplify`: one form for each value, dots in normal form, weights folded into it.
    2. `FoldAffine`: normalisations into the weights of neighbouring dots and convolutions.
    3. `Simplify`: what the folding left behind.
    """
    folding = FoldAffine() if log is None else FoldAffine(folded=log.fold)
    return (Simplify(), folding, Simplify())


def run_passes(
    module: Module,
    passes: Iterable[Pass],
    *,
    hook: Callable[[str, Module], None] | None = None,
) -> Module:
    """Run `passes` in order, verifying the module before the first and after each.

    Args:
        module: the module to transform; it is not changed.
        passes: the passes, such as `default_passes()`.
        hook: called with each pass's name and the module it returned, for dumps.

    Returns:
        The transformed module.

    Raises:
        InvalidModuleError: the module is invalid before the first pass.
    """
    verify(module)
    for step in passes:
        module = step.run(module)
        verify(module)
        if hook is not None:
            hook(step.name, module)
    return module
