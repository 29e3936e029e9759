"""A loaded model as HLO: symbolic in the batch where it has such a form, else per batch size.

Input: a model in TensorFlow. Output: `Lowered`, the modules as XLA's graph passes left them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfaot.errors import UnsupportedError
from tfaot.frontend.interface import PROBES
from tfaot.ir.module import Module
from tfaot.ir.proto import read_module
from tfaot.ir.shapes import Shape, dim_at
from tfaot.passes.canonicalise import Canonicalise
from tfaot.passes.pipeline import run_passes
from tfaot.symbolic.errors import NotSymbolicError
from tfaot.symbolic.merge import merge

if TYPE_CHECKING:
    from tfaot.frontend.session import LoadedModel

Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class Lowered:
    """A model as HLO.

    Attributes:
        modules: one symbolic (or batch-less) module, or one per static batch size.
        batches: None for the former, else the batch size of each module.
        reason: why there is no symbolic form, None where there is.
        composable: whether static sizes may be stitched together: rows seem to stay apart.
    """

    modules: tuple[Module, ...]
    batches: tuple[int | None, ...]
    reason: str | None = None
    composable: bool = True


def lower(loaded: LoadedModel, batch_sizes: Sequence[int], progress: Progress) -> Lowered:
    """The model's HLO: symbolic in the batch where it has such a form, else per batch size."""
    if not loaded.signature.has_batch:
        progress("lower", "")
        return Lowered((read_module(loaded.lower(None)),), (None,))
    modules: list[Module] = []
    reason = ""
    # Two probes settle most models; a third tells what is not affine, or matches more constants.
    for enough in (2, len(PROBES)):
        for batch in PROBES[len(modules) : enough]:
            progress("lower", f"batch {batch}")
            modules.append(read_module(loaded.lower(batch)))
        progress("symbolic", "")
        try:
            merged = _merged(modules)
        except NotSymbolicError as error:
            reason = str(error)
            continue
        if enough == len(PROBES) or not _bends(merged):
            return Lowered((merged,), (None,))
    modules.clear()
    if not batch_sizes:
        raise UnsupportedError(
            f"no form of this model serves every batch size ({reason}): "
            "give the sizes to compile it for, such as --batch-sizes 1,2,4,8"
        )
    static = []
    for batch in batch_sizes:
        progress("lower", f"batch {batch}")
        static.append(read_module(loaded.lower(batch)))
    return Lowered(tuple(static), tuple(batch_sizes), reason)


def _bends(module: Module) -> bool:
    """Whether a size is negative at one row: a line through two points of a curve (B * B) is."""
    return any(
        dim_at(dim, 1) < 0
        for computation in module.computations()
        for instruction in computation.instructions
        if isinstance(instruction.shape, Shape)
        for dim in instruction.shape.dims
    )


def _merged(modules: Sequence[Module]) -> Module:
    """The lowerings as one module, in canonical form where XLA chose differently by size."""
    probes = PROBES[: len(modules)]
    try:
        return merge(modules, probes)
    except NotSymbolicError as error:
        try:
            return merge([run_passes(m, [Canonicalise()]) for m in modules], probes)
        except NotSymbolicError:
            raise error from None
