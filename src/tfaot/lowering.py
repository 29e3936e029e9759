"""A loaded model as HLO: symbolic in the batch where it has such a form, else per batch size.

Input: a model in TensorFlow. Output: `Lowered`, the modules as XLA's graph passes left them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tfaot.errors import ModelError, UnsupportedError
from tfaot.frontend.interface import PROBES
from tfaot.ir.attributes import Constant
from tfaot.ir.module import Module
from tfaot.ir.shapes import Shape, TupleShape, dim_at
from tfaot.passes.canonicalise import Canonicalise
from tfaot.passes.pipeline import run_passes
from tfaot.passes.prefix_sums import RestorePrefixSums
from tfaot.signature import listed_dim
from tfaot.symbolic.errors import NotSymbolicError
from tfaot.symbolic.merge import merge
from tfaot.symbolic.specialise import specialise

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
        composable: whether static sizes may be stitched together: rows seem to stay apart. Never
            where an output's shape is another than the signature's affine one.
        symbolic: of static modules, the one that serves every batch size, where there is one.
    """

    modules: tuple[Module, ...]
    batches: tuple[int | None, ...]
    reason: str | None = None
    composable: bool = True
    symbolic: Module | None = None


def lower(
    loaded: LoadedModel, batch_sizes: Sequence[int], progress: Progress, *, static: bool = False
) -> Lowered:
    """The model's HLO: symbolic in the batch where it has such a form, else per batch size.

    With `static` it is per batch size in any case.

    Where output shapes are not affine in the batch size, the static sizes settle what
    `loaded.signature` says of them.

    Raises:
        UnsupportedError: there is no symbolic form and no batch size is given; names the op.
    """
    if not loaded.signature.has_batch:
        progress("lower", "")
        module = _module(loaded, None)
        if _is_bulky(module, loaded):
            module = _smaller(module, _module(loaded.unfolded(), None))
        _check_outputs(loaded, module)
        return Lowered((module,), (None,))
    lowered = None if loaded.signature.irregular else _symbolic(loaded, progress)
    if isinstance(lowered, str):
        unfolded = _symbolic(loaded.unfolded(), progress)
        lowered = unfolded if isinstance(unfolded, Lowered) else lowered
    elif lowered is not None and _is_bulky(lowered.modules[0], loaded):
        unfolded = _symbolic(loaded.unfolded(), progress)
        if isinstance(unfolded, Lowered):
            smaller = _smaller(lowered.modules[0], unfolded.modules[0])
            lowered = replace(lowered, modules=(smaller,))
    if isinstance(lowered, Lowered):
        _check_outputs(loaded, lowered.modules[0])
        return _specialised(lowered.modules[0], batch_sizes) if static else lowered
    reason = lowered or _irregularity(loaded, bool(batch_sizes), progress)
    if not batch_sizes:
        raise UnsupportedError(
            f"no form of this model serves every batch size ({reason}): "
            "give the sizes to compile it for, such as --batch-sizes 1,2,4,8"
        )
    modules = []
    for batch in batch_sizes:
        progress("lower", f"batch {batch}")
        modules.append(_module(loaded, batch))
        _check_outputs(loaded, modules[-1])
    regular = _settle_outputs(loaded, modules, batch_sizes)
    return Lowered(tuple(modules), tuple(batch_sizes), reason, composable=regular)


def _specialised(module: Module, batch_sizes: Sequence[int]) -> Lowered:
    modules = tuple(specialise(module, size) for size in batch_sizes)
    reason = "compiled for these sizes as asked (--static)"
    return Lowered(modules, tuple(batch_sizes), reason, symbolic=module)


def _symbolic(loaded: LoadedModel, progress: Progress) -> Lowered | str:
    """The symbolic form, or why there is none."""
    modules: list[Module] = []
    reason = ""
    # Two probes settle most models; a third tells what is not affine, or matches more constants.
    for enough in (2, len(PROBES)):
        for batch in PROBES[len(modules) : enough]:
            progress("lower", f"batch {batch}")
            modules.append(_module(loaded, batch))
        progress("symbolic", "")
        try:
            merged = _merged(modules)
        except NotSymbolicError as error:
            reason = str(error)
            continue
        if enough == len(PROBES) or not _bends(merged):
            return Lowered((merged,), (None,))
    return reason


def _is_bulky(module: Module, loaded: LoadedModel) -> bool:
    """Whether constants take more than the model's parameters: something was made of them."""
    return _constant_bytes(module) > 1.02 * loaded.parameter_bytes + _SMALL


def _smaller(folded: Module, unfolded: Module) -> Module:
    """The module with fewer bytes of constants; the folded one where they are equal."""
    return unfolded if _constant_bytes(unfolded) < _constant_bytes(folded) else folded


def _constant_bytes(module: Module) -> int:
    """Bytes of a module's distinct constants, equal scalars aside."""
    sizes = {
        id(i.attrs.value): i.attrs.value.nbytes
        for computation in module.computations()
        for i in computation.instructions
        if isinstance(i.attrs, Constant) and i.attrs.value.size > 1
    }
    return sum(sizes.values())


_SMALL = 2048
"""Bytes of constants that no model is lowered again for."""


def _irregularity(loaded: LoadedModel, known: bool, progress: Progress) -> str:
    """Why output shapes are not affine in the batch size: the op, unless `known` will do."""
    reason = loaded.signature.irregular
    assert reason is not None
    if known:
        return reason
    try:
        found = _symbolic(loaded, progress)
    except ModelError:
        return reason
    return found if isinstance(found, str) else reason


def _module(loaded: LoadedModel, batch: int | None) -> Module:
    """The model's HLO at one batch size, with prefix sums whole."""
    return RestorePrefixSums().run(loaded.module(batch))


def _check_outputs(loaded: LoadedModel, module: Module) -> None:
    """Refuse a lowering with more sizes that depend on the data than the signature tells of."""
    if len(module.outputs) != len(loaded.signature.outputs):
        raise UnsupportedError(
            "the size of an output depends on the data for XLA, while TensorFlow gives it a fixed "
            "shape: leave that shape open (no set_shape, no ensure_shape)"
        )


def _settle_outputs(loaded: LoadedModel, modules: Sequence[Module], batches: Sequence[int]) -> bool:
    """Give the signature the output shapes of the lowerings; whether it had them already."""
    signature = loaded.signature
    roots = [m.entry.root.shape for m in modules]
    shapes = [tuple(r) if isinstance(r, TupleShape) else (r,) for r in roots]
    outputs = []
    for spec, column in zip(signature.outputs, zip(*shapes, strict=True), strict=True):
        sizes = [s.static_dims for s in column if isinstance(s, Shape)]
        if len({len(s) for s in sizes}) != 1:
            raise UnsupportedError(
                f"the output '{spec.name}' changes its rank with the batch size: compile the "
                "model for one size at a time"
            )
        if signature.irregular or any(
            s != spec.sizes(b) for s, b in zip(sizes, batches, strict=True)
        ):
            dims = tuple(listed_dim(batches, axis) for axis in zip(*sizes, strict=True))
            spec = replace(spec, dims=dims)
        outputs.append(spec)
    regular = not signature.irregular and tuple(outputs) == signature.outputs
    loaded.signature = replace(signature, outputs=tuple(outputs))
    return regular


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
