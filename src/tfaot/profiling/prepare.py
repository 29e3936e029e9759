"""From a model's settings to the files that engines load, kept in a work folder for the next time.

Input: `ModelSettings`. Output: a `Subject`: the model's files, its inputs as arrays in a file, the
engines that are ready, and why the others are not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfaot.engines import OWN, Engine, EngineError, make_engine
from tfaot.engines.compiled import source_digest
from tfaot.engines.converter import Converter, freeze_model
from tfaot.engines.files import Input, ModelFiles, Origin
from tfaot.engines.protocol import tensorflow_availability
from tfaot.errors import UnsupportedError, UsageError
from tfaot.packaging.manifest import AffineDim, Manifest, Tensor, read_manifest
from tfaot.profiling.config import ModelSettings, Settings
from tfaot.profiling.inputs import InputSource, make_inputs, write_inputs


@dataclass
class Subject:
    """A model that is ready to be measured.

    Attributes:
        settings: what was asked for.
        digest: of the model's content, its options and its inputs.
        files: its files, where all engines look for theirs.
        inputs: the .npz file with its rows.
        batches: the batch sizes.
        engines: those that were asked for.
        versions: per engine that can be used, its version.
        failed: per engine that can't be used, why.
    """

    settings: ModelSettings
    digest: str
    files: ModelFiles
    inputs: Path
    batches: tuple[int, ...]
    engines: dict[str, Engine]
    versions: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def default_work_folder() -> Path:
    """Where conversions are kept: `tfaot-profile` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfaot-profile"


def engine_names(model: ModelSettings, settings: Settings) -> tuple[str, ...]:
    """The engines asked for; by default tfaot (from C where there is a compiler), TensorFlow."""
    chosen = model.engines or settings.engines
    if chosen:
        return chosen
    own = "tfaot-c" if make_engine("tfaot-c").availability() else "tfaot"
    return (own,) if model.model is None else (own, "tensorflow")


def prepare(
    model: ModelSettings,
    settings: Settings,
    work: Path,
    converter: Converter,
    say: Callable[[str], None],
) -> Subject:
    """Convert a model for its engines; what is in the work folder already is kept.

    Raises:
        TfaotError: the model or its inputs can't be read.
    """
    batches = model.batch_sizes or settings.batch_sizes
    source = model.inputs or settings.inputs
    engines = {name: make_engine(name) for name in engine_names(model, settings)}
    digest = _digest(model)
    folder = work / f"{_plain(model.label)}-{digest[:16]}"
    say(f"{model.label}: reading the model")
    failed = _unavailable(model, engines)
    files = _files(model, folder, converter)
    if all(size is not None for i in files.inputs for size in i.dims):
        batches = (1,)  # there is no batch axis
    arrays = make_inputs(source, files.inputs, max(batches))
    named = hashlib.sha256(f"{digest}\0{_input_digest(source)}\0{max(batches)}".encode())
    inputs = folder / f"inputs-{named.hexdigest()[:16]}.npz"
    if not inputs.exists():
        write_inputs(inputs, arrays)
    subject_digest = hashlib.sha256(f"{digest}\0{_input_digest(source)}".encode()).hexdigest()
    subject = Subject(model, subject_digest, files, inputs, batches, engines, {}, failed)
    for name, engine in engines.items():
        if name in failed:
            continue
        say(f"{model.label}: preparing {engine.title}")
        try:
            engine.prepare(files, [b for b in batches if engine.supports(b)], converter)
        except EngineError as error:
            subject.failed[name] = str(error)
            continue
        version = engine.availability().version
        subject.versions[name] = f"{version} {source_digest()}" if name in OWN else version
    return subject


def _unavailable(model: ModelSettings, engines: dict[str, Engine]) -> dict[str, str]:
    """Why engines can't be used, with what to do."""
    failed: dict[str, str] = {}
    converts = tensorflow_availability("TensorFlow")
    for name, engine in engines.items():
        found = engine.availability()
        if not found:
            failed[name] = f"{found.reason}: {found.remedy}"
        elif name in OWN and model.artifact is not None:
            continue
        elif model.model is None:
            failed[name] = (
                f"{engine.title} can't run a compiled model: give the model that it was "
                "compiled from, too (--model)"
            )
        elif not converts:
            failed[name] = f"models are read by TensorFlow: {converts.remedy}"
    return failed


def _files(model: ModelSettings, folder: Path, converter: Converter) -> ModelFiles:
    manifest = None if model.artifact is None else read_manifest(model.artifact)
    if model.model is None or (manifest and not tensorflow_availability("TensorFlow")):
        assert manifest is not None
        assert model.artifact is not None
        files = artifact_files(manifest, model.artifact, folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write()
        return files
    found = tensorflow_availability("TensorFlow")
    if not found:
        raise UsageError(f"the model '{model.model}' is read by TensorFlow: {found.remedy}")
    origin = Origin(
        str(model.model.resolve()),
        model.input_nodes,
        model.output_nodes,
        model.set_values,
        model.signature,
        model.input_shapes,
        model.custom_objects,
    )
    files = freeze_model(origin, folder, converter, model.target)
    if manifest is None:
        return files
    assert model.artifact is not None
    compiled = artifact_files(manifest, model.artifact, folder)
    check_same_inputs(str(model.artifact), compiled.inputs, str(model.model), files.inputs)
    files = replace(files, artifact=compiled.artifact)
    files.write()
    return files


def check_same_inputs(
    artifact: str, compiled: Sequence[Input], model: str, source: Sequence[Input]
) -> None:
    """UsageError where an artifact was not compiled from a model, as far as inputs tell."""
    advice = "give the model that it was compiled from"
    if len(compiled) != len(source):
        raise UsageError(
            f"'{artifact}' has {len(compiled)} inputs, '{model}' has {len(source)}: {advice}"
        )
    for mine, other in zip(compiled, source, strict=True):
        if (mine.dtype, mine.dims) != (other.dtype, other.dims):
            raise UsageError(
                f"'{artifact}' has the input {_described(mine)}, '{model}' has "
                f"{_described(other)}: {advice}"
            )


def artifact_files(manifest: Manifest, path: Path, folder: Path) -> ModelFiles:
    """A compiled model without its source, as the engines of tfaot take it.

    Raises:
        UnsupportedError: an input's size is neither fixed nor the batch size.
    """
    from tfaot.runtime.arrays import numpy_dtype

    return ModelFiles(
        folder,
        Origin(str(path)),
        tuple(Input(t.name, numpy_dtype(t).name, _dims(t)) for t in manifest.inputs),
        tuple(t.name for t in manifest.outputs),
        False,
        artifact=str(path.resolve()),
    )


def _dims(tensor: Tensor) -> tuple[int | None, ...]:
    dims: list[int | None] = []
    for dim in tensor.dims:
        if isinstance(dim, int):
            dims.append(dim)
        elif dim == AffineDim(1, 0):
            dims.append(None)
        else:
            raise UnsupportedError(
                f"the input '{tensor.name}' has an axis that is not the batch size but computed "
                "of it: it can't be profiled"
            )
    return tuple(dims)


def _described(tensor: Input) -> str:
    dims = ", ".join("n" if size is None else str(size) for size in tensor.dims)
    return f"'{tensor.name}' {tensor.dtype}[{dims}]"


def _digest(model: ModelSettings) -> str:
    """Of everything that decides what the engines make of a model."""
    from tfaot.frontend.source import digest_files, model_kind, model_root

    total = hashlib.sha256()
    if model.model is not None:
        root = model_root(model.model)
        total.update(f"{root.resolve()}\0{digest_files(root, model_kind(root))}".encode())
    if model.artifact is not None:
        manifest = read_manifest(model.artifact)
        total.update(str(model.artifact.resolve()).encode())
        names = [model.artifact.name, manifest.object.file]
        names += [] if manifest.weights is None else [manifest.weights.file]
        for path in (model.artifact.parent / name for name in names):
            total.update(path.read_bytes() if path.exists() else b"")
    options = (
        model.signature,
        model.input_nodes,
        model.output_nodes,
        sorted(model.input_shapes.items()),
        sorted(model.set_values.items()),
        model.custom_objects,
        model.target,
    )
    total.update(repr(options).encode())
    return total.hexdigest()


def _input_digest(source: InputSource) -> str:
    content = ""
    if source.file is not None:
        status = source.file.stat()
        content = f"{source.file.resolve()} {status.st_size} {status.st_mtime_ns}"
    return f"{source.kind} {content} {source.tree} {sorted(source.columns.items())}"


def _plain(label: str) -> str:
    """A label as part of a file's name."""
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in label)[:40]


def supported(engine: Engine, batches: Sequence[int]) -> list[int]:
    """The batch sizes that an engine is tried at."""
    return [b for b in batches if engine.supports(b)]
