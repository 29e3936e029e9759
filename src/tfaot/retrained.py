"""New weights for an artifact whose weights are in a file of their own.

Input: the artifact's manifest, and a model of the same structure. Output: the file of its weights.
The model goes through the stages of a compile up to the code, which is compared with that of the
artifact by its hash; LLVM has nothing to do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfaot.artifact import check_output_dir, write_artifact, write_file
from tfaot.codegen.module import GeneratedModule
from tfaot.codegen.platforms import NATIVE
from tfaot.codegen.target import Target, resolve_targets
from tfaot.compiler import Lowered, Origin, build, generate_code
from tfaot.errors import ArtifactError, ModelError, UsageError
from tfaot.lowering import Progress, lower
from tfaot.options import EXTERNAL, CompileOptions
from tfaot.packaging.external import Recipe
from tfaot.packaging.manifest import Manifest, Source, Tensor, read_manifest, tensors_of
from tfaot.runtime.cpu import runs_here
from tfaot.signature import Signature
from tfaot.verification.composition import with_composition
from tfaot.weights_file import weights_file

if TYPE_CHECKING:
    from tfaot.frontend.session import LoadedModel


def write_weights(
    manifest_path: str | Path,
    model: object,
    output: str | Path | None = None,
    *,
    verify: bool = True,
    custom_objects: Mapping[str, object] | Sequence[str] = (),
    progress: Progress = lambda stage, detail: None,
    session: Any = None,
) -> Path:
    """Write the weights of a model of the same structure, for an artifact that exists.

    Args:
        manifest_path: the artifact's NAME.json.
        model: the model, as for `compile_model`.
        output: where to write them; by default over NAME.weights beside the manifest. What maps
            the old file keeps it.
        verify: whether the artifact runs with them against TensorFlow first.
        custom_objects: as for a compile; by default those that the artifact was compiled with.
        progress: called with a stage and a detail as work goes on.
        session: a running `TensorFlowSession` to load the model in; by default one is started.

    Returns:
        The path of the file.

    Raises:
        UsageError: the artifact has its weights in the object, or the file can't be written.
        ModelError: the model has another structure, or other inputs or outputs.
        TfaotError: as for a compile; nothing was written.
    """
    from tfaot.frontend.session import open_with
    from tfaot.verification import verify_model

    manifest_path = Path(manifest_path)
    manifest = read_manifest(manifest_path)
    if manifest.weights is None:
        raise UsageError(
            f"'{manifest.name}' has its weights in the object: compile it with --weights external"
        )
    path = manifest_path.parent / manifest.weights.file if output is None else Path(output)
    check_output_dir(path.parent)
    recipe = manifest.weights.recipe
    options = _options(manifest, recipe, path.parent, custom_objects)
    progress("load", str(model) if isinstance(model, (str, Path)) else type(model).__name__)
    with open_with(model, options, session) as loaded:
        for note in loaded.notes:
            progress("note", note)
        lowered = with_composition(
            lower(loaded, options.batch_sizes, progress, static=options.static), loaded
        )
        targets = _targets(recipe)
        generated, _ = generate_code(
            manifest.name,
            loaded.signature,
            lowered,
            targets,
            options,
            loaded.parameter_bytes,
            progress,
        )
        _check_same(manifest, generated, loaded, progress)
        loaded.signature = _renamed(loaded.signature, manifest)
        data = weights_file(generated.weights, generated.structure, loaded.digest)
        if verify:
            with tempfile.TemporaryDirectory(prefix="tfaot-") as scratch:
                trial = _trial(Path(scratch), manifest_path, manifest, data)
                if not runs_here(manifest.target):
                    trial = _compiled_here(Path(scratch), manifest, loaded, lowered, options)
                verify_model(trial, loaded, lowered, progress)
    progress("write", str(path))
    write_file(path, data)
    return path


def _options(
    manifest: Manifest,
    recipe: Recipe,
    folder: Path,
    custom_objects: Mapping[str, object] | Sequence[str],
) -> CompileOptions:
    """The options that the artifact was compiled with, as far as they matter for its weights."""
    given = custom_objects if isinstance(custom_objects, Mapping) else tuple(custom_objects)
    return CompileOptions(
        output_dir=folder,
        name=manifest.name,
        signature=manifest.source.signature,
        inputs=recipe.inputs,
        outputs=recipe.outputs,
        input_shapes=recipe.input_shapes,
        set_values={name: _as_tuples(value) for name, value in recipe.set_values.items()},
        custom_objects=given or recipe.custom_objects,
        batch_sizes=recipe.batch_sizes,
        static=recipe.static,
        timers=recipe.timers,
        xla_flags=recipe.xla_flags,
        tf_xla_flags=recipe.tf_xla_flags,
        weights=EXTERNAL,
    )


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _targets(recipe: Recipe) -> tuple[Target, ...]:
    try:
        return tuple(Target(**described) for described in recipe.targets)
    except TypeError:
        raise ArtifactError(
            "field 'weights.recipe.targets' is not of this tfaot: compile the model again"
        ) from None


def _check_same(
    manifest: Manifest, generated: GeneratedModule, loaded: LoadedModel, progress: Progress
) -> None:
    """Refuse a model with other code, interface, or sizes of weights."""
    from tfaot import __version__

    assert manifest.weights is not None
    found = tensors_of(loaded.signature)
    _check_interface(manifest, "inputs", manifest.inputs, found[0], progress)
    _check_interface(manifest, "outputs", manifest.outputs, found[1], progress)
    if generated.structure.hex() == manifest.weights.structure:
        return
    why = "something other than the values of its weights differs"
    then = manifest.versions
    now = {"tfaot": __version__, "tensorflow": loaded.versions.get("tensorflow", "")}
    for tool, version in now.items():
        if then.get(tool, version) != version:
            why = f"it was compiled with {tool} {then[tool]}, this is {version}"
            break
    else:
        if len(generated.weights) != manifest.weights_bytes:
            why = f"{len(generated.weights)} bytes of weights instead of {manifest.weights_bytes}"
    raise ModelError(
        f"the model has another structure than '{manifest.name}' was compiled from ({why}): "
        "compile it again"
    )


def _check_interface(
    manifest: Manifest,
    kind: str,
    known: Sequence[Tensor],
    found: Sequence[Tensor],
    progress: Progress,
) -> None:
    """Refuse tensors of other types or shapes, or the same ones in another order.

    Other names are told of: who trains a model in a notebook gets 'input_layer_1' the second time.
    """
    names = [t.name for t in known]
    same = len(known) == len(found) and all(
        (a.dtype, a.dims) == (b.dtype, b.dims) and (a.name == b.name or b.name not in names)
        for a, b in zip(known, found, strict=True)
    )
    if not same:
        raise ModelError(
            f"the model has other {kind} than '{manifest.name}' was compiled with "
            f"({_list(found)} instead of {_list(known)}): compile it again"
        )
    for a, b in zip(known, found, strict=True):
        if a.name != b.name:
            progress("note", f"'{b.name}' of the model is '{a.name}' of {manifest.name}")


def _list(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{t.name} {t.dtype}{list(t.shape(1))}" for t in tensors) or "none"


def _renamed(signature: Signature, manifest: Manifest) -> Signature:
    """The signature with the names that the artifact has."""
    inputs = zip(signature.inputs, manifest.inputs, strict=True)
    outputs = zip(signature.outputs, manifest.outputs, strict=True)
    return replace(
        signature,
        inputs=tuple(replace(spec, name=tensor.name) for spec, tensor in inputs),
        outputs=tuple(replace(spec, name=tensor.name) for spec, tensor in outputs),
    )


def _trial(folder: Path, manifest_path: Path, manifest: Manifest, data: bytearray) -> Path:
    """The artifact with its new weights in another folder; its manifest."""
    assert manifest.weights is not None
    try:
        shutil.copy(manifest_path.parent / manifest.object.file, folder / manifest.object.file)
    except OSError as error:
        raise ArtifactError(
            f"can't read the object of '{manifest.name}' to verify the weights "
            f"({error.strerror}): put it beside the manifest, or give --no-verify"
        ) from None
    (folder / manifest.weights.file).write_bytes(data)
    trial = folder / manifest_path.name
    trial.write_text(manifest.to_json(), "utf-8")
    return trial


def _compiled_here(
    folder: Path,
    manifest: Manifest,
    loaded: LoadedModel,
    lowered: Lowered,
    options: CompileOptions,
) -> Path:
    """The same model as code for this CPU: another machine's can't run here."""
    own = build(
        manifest.name,
        loaded.signature,
        lowered,
        resolve_targets(NATIVE),
        options,
        Origin(Source("retrained")),
    )
    return write_artifact(
        folder / "here",
        manifest.name,
        own.header,
        own.object,
        own.manifest,
        weights=own.weights,
    ).manifest


__all__ = ["write_weights"]
