"""tfaot from Python: `model(x)`, and `Model.bind`, whose calls reuse their buffers."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import tfaot
from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles
from tfaot.engines.protocol import Array, Availability, BoundCall, Engine, EngineError, Runner
from tfaot.errors import TfaotError
from tfaot.packaging.manifest import read_manifest

TARGET = "native"
NAME = "model"


@cache
def source_digest() -> str:
    """A digest of tfaot's own source: artifacts are of the compiler at hand, never of an older."""
    root = Path(tfaot.__file__).resolve().parent
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if path.suffix in {".py", ".j2"} and inside[0] not in {
            "engines",
            "cli",
            "profiling",
            "testing",
        }:
            total.update(f"{'/'.join(inside)}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()[:12]


def artifact_folder(files: ModelFiles) -> Path:
    """Where header, object and manifest of the model are."""
    return files.folder / f"tfaot-{source_digest()}-{files.target}"


def manifest_path(files: ModelFiles) -> Path:
    """The manifest of the compiled model: the one given, or where `compile_files` makes it."""
    return Path(files.artifact) if files.artifact else artifact_folder(files) / f"{NAME}.json"


def compile_files(files: ModelFiles, batches: Sequence[int], converter: Converter) -> Path:
    """The manifest of the compiled model, which is compiled unless it is there.

    `compile.json` beside it tells the seconds of each stage. Models without a symbolic form are
    compiled for the batch sizes given, and again where others are asked for that can't be composed.

    Raises:
        EngineError: the model can't be compiled.
    """
    folder = artifact_folder(files)
    manifest = manifest_path(files)
    if files.artifact or (manifest.exists() and _covers(manifest, batches)):
        return manifest
    try:
        stages = _compile(files, folder, (), converter)
    except TfaotError as first:
        if "--batch-sizes" not in str(first):
            raise EngineError(f"tfaot: {first}") from first
        try:
            stages = _compile(files, folder, tuple(batches), converter)
        except TfaotError as error:
            raise EngineError(f"tfaot: {error}") from error
    (folder / "compile.json").write_text(json.dumps(stages, indent=1) + "\n")
    return manifest


def _covers(manifest: Path, batches: Sequence[int]) -> bool:
    batch = read_manifest(manifest).batch
    return batch.kind != "static" or batch.is_composed or set(batches) <= set(batch.sizes)


def _compile(
    files: ModelFiles, folder: Path, sizes: tuple[int, ...], converter: Converter
) -> dict[str, float]:
    from tfaot.compiler import compile_model
    from tfaot.options import make_options

    origin = files.origin
    options = make_options(
        folder,
        name=NAME,
        target=files.target,
        batch_sizes=sizes,
        inputs=origin.inputs,
        outputs=origin.outputs,
        set_values=dict(origin.set_values),
        signature=origin.signature,
        input_shapes=dict(origin.input_shapes),
        custom_objects=origin.custom_objects,
        verify=False,
    )
    stages: dict[str, float] = {}
    name, since = "", time.perf_counter()

    def progress(stage: str, detail: str) -> None:
        nonlocal name, since
        now = time.perf_counter()
        if name:
            stages[name] = stages.get(name, 0.0) + now - since
        name, since = stage, now

    compile_model(options, origin.path, progress, session=converter.session)
    progress("", "")
    return stages


class TfaotEngine(Engine):
    """A compiled model, called through `Model.bind`."""

    name = "tfaot"
    title = "tfaot (Python)"
    color = "#a87c9f"

    def availability(self) -> Availability:
        """Always there; what it compiles runs on this CPU."""
        return Availability(version=tfaot.__version__)

    def supports(self, batch: int) -> bool:
        """Every batch size, 0 too."""
        return batch >= 0

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Compile the model."""
        compile_files(files, batches, converter)

    def load(self, files: ModelFiles) -> Runner:
        """Load the artifact."""
        return _TfaotRunner(files, bound=True)


class TfaotCallEngine(TfaotEngine):
    """A compiled model, called as `model(x)`, which makes a new output each time."""

    name = "tfaot-call"
    title = "tfaot (Python, model(x))"
    color = "#c9a9c2"

    def load(self, files: ModelFiles) -> Runner:
        """Load the artifact."""
        return _TfaotRunner(files, bound=False)


class _TfaotRunner(Runner):
    def __init__(self, files: ModelFiles, *, bound: bool) -> None:
        try:
            self._model = tfaot.load(manifest_path(files))
        except TfaotError as error:
            raise EngineError(f"tfaot: {error}") from error
        self._bound = bound

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """Inputs are the caller's arrays; nothing is copied."""
        model = self._model
        try:
            bound = model.bind(*inputs)
            bound()
        except TfaotError as error:
            raise EngineError(f"tfaot: {error}") from error
        if self._bound:
            return BoundCall(bound, lambda: bound.outputs, kept=(model,))
        arrays, last = tuple(inputs), list(bound.outputs)

        def call() -> None:
            model(*arrays)

        def results() -> list[Array]:
            result = model(*arrays)
            last[:] = list(result.values()) if isinstance(result, dict) else [result]
            return last

        if len(arrays) == 1:
            (only,) = arrays

            def call_one() -> None:
                model(only)

            return BoundCall(call_one, results, kept=(model,))
        return BoundCall(call, results, kept=(model,))
