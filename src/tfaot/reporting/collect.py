"""Gathers what a report shows: the artifact's manifest, and what running it tells.

Input: the path of a manifest, and where kernels are to be timed, the model. Output: `Facts`. What
can't be had is a note that says why, and how to get it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfaot.errors import ArtifactError, InputError, UsageError
from tfaot.packaging.internals import Internals, read_internals
from tfaot.packaging.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from tfaot.profiling.kernels import KernelProfile
    from tfaot.reporting.timing import BatchTime
    from tfaot.runtime.model import Model

Progress = Callable[[str, str], None]

ROWS = 64
"""Rows of a call in which kernels are timed, where the model takes any number."""


@dataclass(frozen=True)
class Request:
    """What a report is made of.

    Attributes:
        manifest: NAME.json.
        model: the model that the artifact was compiled from, to time its kernels; None for none.
        batch: rows of a call in which kernels are timed; None chooses.
        run: whether the artifact may be run.
        options: of the compilation, where the model needs them (`inputs`, `input_shapes`, ...).
    """

    manifest: Path
    model: object = None
    batch: int | None = None
    run: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What a report shows.

    Attributes:
        manifest: the artifact's.
        internals: what the compiler made of the model, None where the manifest does not tell.
        kernels: time per kernel, or None.
        kernels_note: why there is none.
        times: time over batch size.
        times_note: why there is none, or what to know about it.
        isa: the CPU whose code ran, empty where none did.
    """

    manifest: Manifest
    internals: Internals | None
    kernels: KernelProfile | None = None
    kernels_note: str = ""
    times: tuple[BatchTime, ...] = ()
    times_note: str = ""
    isa: str = ""


def collect(request: Request, progress: Progress) -> Facts:
    """Read the artifact and run it.

    Raises:
        ArtifactError: the manifest is missing or corrupt.
        UsageError: the model is missing, or not the one that the artifact was compiled from.
        TfaotError: the model can't be compiled.
    """
    manifest = read_manifest(request.manifest)
    if isinstance(request.model, (str, Path)) and not Path(request.model).exists():
        raise UsageError(f"there is no model '{request.model}' (--model)")
    if request.model is not None and not request.run:
        raise UsageError("--model times the kernels, which --no-run forbids: leave one of them out")
    _check_batch(request.batch, manifest)
    facts = Facts(manifest, read_internals(manifest))
    if not request.run:
        note = "The artifact was not run (--no-run)."
        return replace(facts, kernels_note=note, times_note=note)
    from tfaot.runtime.model import load

    try:
        model = load(request.manifest)
    except ArtifactError as error:
        if request.model is not None:
            raise
        note = f"The artifact could not be run: {error}."
        return replace(facts, kernels_note=note, times_note=note)
    return _run(replace(facts, isa=model.isa), model, request, progress)


def _check_batch(batch: int | None, manifest: Manifest) -> None:
    if batch is None:
        return
    if batch < 1:
        raise UsageError(f"--batch {batch}: give a batch size of 1 or more")
    sizes = manifest.batch.sizes
    if manifest.batch.kind == "static" and not manifest.batch.is_composed and batch not in sizes:
        known = ", ".join(map(str, sizes))
        raise UsageError(f"--batch {batch}: the artifact is for batch sizes {known} alone")


def _run(facts: Facts, model: Model, request: Request, progress: Progress) -> Facts:
    from tfaot.profiling.kernels import profile_kernels
    from tfaot.reporting.timing import batch_sizes, time_over_batch

    manifest = facts.manifest
    timed = manifest.symbols.timers is not None
    times = time_over_batch(model, batch_sizes(manifest.batch), progress)
    note = "The artifact times its kernels, which costs time itself." if timed else ""
    facts = replace(facts, times=times, times_note=note if times else "No batch size could be run.")
    rows = _rows(manifest, request.batch)
    try:
        if timed:
            progress("measure", "kernels")
            return replace(facts, kernels=profile_kernels(model, rows))
        if request.model is not None:
            return replace(
                facts, kernels=_timed_build(manifest, model.isa, request, rows, progress)
            )
    except InputError as error:
        return replace(facts, kernels_note=f"The kernels could not be timed: {error}.")
    return replace(
        facts,
        kernels_note="Only a build with timers tells: make the report with --model MODEL, which "
        "compiles one in a temporary folder, or of an artifact compiled with --timers.",
    )


def _rows(manifest: Manifest, batch: int | None) -> int:
    """Rows of a call in which kernels are timed."""
    if manifest.batch.kind == "none":
        return 1
    return batch or max(manifest.batch.sizes, default=ROWS)


def _timed_build(
    manifest: Manifest, isa: str, request: Request, rows: int, progress: Progress
) -> KernelProfile:
    """Compile the model again, with timers and for this CPU, and time its kernels."""
    from tfaot.compiler import compile_model
    from tfaot.options import make_options
    from tfaot.profiling.kernels import profile_kernels

    given = {
        "signature": manifest.source.signature,
        "batch_sizes": manifest.batch.sizes,
        "static": manifest.batch.kind == "static",
        **_recipe(manifest),
        **{key: value for key, value in request.options.items() if value},
    }
    with tempfile.TemporaryDirectory(prefix="tfaot-") as folder:
        options = make_options(
            folder, name=manifest.name, target=isa, timers=True, verify=False, **given
        )
        model = compile_model(options, request.model, progress).load()
        _check_same(manifest, model.manifest)
        progress("measure", "kernels")
        return profile_kernels(model, rows)


def _recipe(manifest: Manifest) -> dict[str, Any]:
    """The options that a manifest remembers, of artifacts whose weights are outside."""
    if manifest.weights is None:
        return {}
    recipe = manifest.weights.recipe
    keys = ("inputs", "outputs", "input_shapes", "custom_objects", "xla_flags", "tf_xla_flags")
    kept = {key: getattr(recipe, key) for key in keys}
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in recipe.set_values.items()}
    return {**kept, "set_values": values, "weights": "external"}


def _check_same(manifest: Manifest, timed: Manifest) -> None:
    # The digest of an object in memory is not that of its files.
    alike = manifest.source.kind == timed.source.kind
    ours, theirs = (m.source.digest if alike else "" for m in (manifest, timed))
    kinds = [[(k.kind, k.details) for k in m.kernels] for m in (manifest, timed)]
    if (ours and theirs and ours != theirs) or kinds[0] != kinds[1]:
        raise UsageError(
            f"the model is not the one that '{manifest.name}' was compiled from, or options differ "
            "(--model): compile it again, or give the model and the options of that compilation"
        )
