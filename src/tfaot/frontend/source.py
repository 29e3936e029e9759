"""What to load: a model's path and the options that decide which function of it is compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from tfaot.errors import ModelError

EXPORT_FILE = "exported_function.pickle"
"""File that marks a directory as the export of an in-memory object (`frontend.exported`)."""

_CHUNK = 1 << 20


class ModelKind(Enum):
    """Format of a model on disk."""

    SAVED_MODEL = "SavedModel"
    KERAS = "Keras"
    GRAPH = "frozen graph"
    EXPORTED = "exported function"


@dataclass(frozen=True)
class ModelSource:
    """A model on disk and what to take from it; every field can be pickled.

    Attributes:
        path: SavedModel directory, `.keras` or `.h5` file, frozen GraphDef (`.pb`, `.pbtxt`).
        signature: key of a SavedModel's signature, or name of a function of the saved object;
            None takes the default one.
        inputs: graph nodes that are the inputs of a frozen graph (with or without `:0`);
            empty: the placeholders that the outputs depend on.
        outputs: graph nodes that are the outputs; empty: the sinks of the graph.
        input_shapes: per input, its dimensions; None, -1 or "?" marks the batch axis.
        set_values: per placeholder or input, the value that it is fixed to.
        custom_objects: `module:name` of the Python objects that a Keras file refers to, or `module`
            for all that it defines.
        external_weights: whether code must not depend on the values of weights.
    """

    path: Path
    signature: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int | str | None, ...]] = field(default_factory=dict)
    set_values: Mapping[str, object] = field(default_factory=dict)
    custom_objects: tuple[str, ...] = ()
    external_weights: bool = False


def model_kind(path: Path) -> ModelKind:
    """The format of the model at `path`, from its name and its first bytes.

    Raises:
        ModelError: there is nothing, or nothing that is a model.
    """
    if not path.exists():
        raise ModelError(f"there is no model at '{path}': check the path")
    try:
        return _directory_kind(path) if path.is_dir() else _file_kind(path)
    except PermissionError:
        raise ModelError(f"the model at '{path}' can't be read: check its permissions") from None


def model_root(path: Path) -> Path:
    """The path of the model: a SavedModel's directory where the file in it was given."""
    inner = path.name in {"saved_model.pb", "saved_model.pbtxt"} and path.is_file()
    return path.parent if inner else path


def model_files(path: Path, kind: ModelKind) -> tuple[Path, ...]:
    """The files that make up the model's content, in a stable order."""
    if path.is_file():
        return (path,)
    if kind is ModelKind.EXPORTED:
        return (path / EXPORT_FILE,)
    roots = ("saved_model.pb", "saved_model.pbtxt")
    found = [path / name for name in roots if (path / name).is_file()]
    for folder in ("variables", "assets", "assets.extra"):
        found += sorted(p for p in (path / folder).rglob("*") if p.is_file())
    return tuple(found)


def digest_files(path: Path, kind: ModelKind) -> str:
    """SHA-256 of the model's files and their names relative to the model's own directory."""
    total = hashlib.sha256()
    for file in model_files(path, kind):
        name = file.relative_to(path).as_posix() if path.is_dir() else kind.value
        content = hashlib.sha256()
        for chunk in _chunks(file):
            content.update(chunk)
        total.update(f"{name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _directory_kind(path: Path) -> ModelKind:
    if (path / EXPORT_FILE).is_file():
        return ModelKind.EXPORTED
    if any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        return ModelKind.SAVED_MODEL
    names = sorted(p.name for p in path.iterdir())
    if not names:
        raise ModelError(f"the model directory '{path}' is empty: give a SavedModel directory")
    inner = [name for name in names if (path / name / "saved_model.pb").is_file()]
    if inner:
        raise ModelError(
            f"'{path}' is no SavedModel, but holds {', '.join(inner[:5])}: give '{path / inner[0]}'"
        )
    raise ModelError(
        f"'{path}' is no SavedModel: it has no saved_model.pb (only {', '.join(names[:5])})"
    )


def _file_kind(path: Path) -> ModelKind:
    if path.stat().st_size == 0:
        raise ModelError(f"the model file '{path}' is empty: export the model again")
    suffix = path.suffix.lower()
    if suffix in {".keras", ".h5", ".hdf5"}:
        return ModelKind.KERAS
    if suffix in {".pb", ".pbtxt", ".prototxt"}:
        return ModelKind.GRAPH
    with path.open("rb") as stream:
        head = stream.read(8)
    if head.startswith((b"\x89HDF", b"PK\x03\x04")):
        return ModelKind.KERAS
    raise ModelError(
        f"'{path}' is no model format that can be read: "
        "give a SavedModel directory, a .keras, .h5, .pb or .pbtxt file"
    )
