"""Compiled models as an export finds them: manifest, object and headers, read and checked.

Input: paths of manifests, or of folders that hold them. Output: `ExportModel`, one per model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfaot.errors import ArtifactError, UsageError
from tfaot.packaging.manifest import Manifest, read_manifest
from tfaot.weights_file import read_weights_header

NO_VERSION = "0.0.0"
"""The version of a model that was given none."""

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*\Z", re.ASCII)


@dataclass(frozen=True)
class ExportModel:
    """One compiled model.

    Attributes:
        path: where its manifest is.
        manifest: what it says.
        manifest_bytes: the file itself.
        object_bytes: the object, of which the digest was checked.
        version: the version that packages get.
        weights: the file of the weights, None where the object holds them.
    """

    path: Path
    manifest: Manifest
    manifest_bytes: bytes
    object_bytes: bytes
    version: str
    weights: bytes | None = None

    @property
    def name(self) -> str:
        """The model's name, a C identifier."""
        return self.manifest.name

    @property
    def architecture(self) -> str:
        """The CPU that the object is for, as LLVM's triples begin: `x86_64`, `aarch64` ..."""
        return self.manifest.target.triple.split("-", 1)[0]

    @property
    def run_time_files(self) -> dict[str, bytes]:
        """What a program reads as it runs, by file name: the weights, where they have a file."""
        weights = self.manifest.weights
        return {} if weights is None else {weights.file: self.weights or b""}

    def headers(self) -> dict[str, bytes]:
        """NAME.h, and the headers that the manifest lists besides, by relative path."""
        files = (f"{self.name}.h", *self.manifest.headers)
        return {file: _read(self.path.parent / file, "header") for file in files}


def read_models(paths: Sequence[str | Path], version: str | None = None) -> tuple[ExportModel, ...]:
    """The models at `paths`, by name.

    Args:
        paths: NAME.json, or folders of which all models are taken.
        version: the version that they get instead of their own.

    Raises:
        ArtifactError: a file is missing or corrupt, or an object isn't the one of its manifest.
        UsageError: there is no model, two have one name, or the version is none.
    """
    if version is not None:
        _check_version(version, "--model-version")
    models: dict[str, ExportModel] = {}
    for path in _manifests(paths):
        model = _read_model(path, version)
        other = models.setdefault(model.name, model)
        if other is not model:
            raise UsageError(
                f"'{other.path}' and '{path}' are both called '{model.name}': export one of them"
            )
    return tuple(models[name] for name in sorted(models))


def _manifests(paths: Sequence[str | Path]) -> list[Path]:
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_dir():
            inside = [p for p in sorted(path.glob("*.json")) if _is_manifest(p)]
            if not inside:
                raise UsageError(
                    f"there is no compiled model in '{path}': give a folder with NAME.json, or "
                    "compile one first"
                )
            found.update({p.resolve(): p for p in inside})
        else:
            found[path.resolve()] = path
    return list(found.values())


def _is_manifest(path: Path) -> bool:
    """Whether a JSON file in a folder is a model's, even a corrupt one, rather than another's."""
    if path.with_suffix(".o").exists() or path.with_suffix(".h").exists():
        return True
    try:
        return '"format_version"' in path.read_text("utf-8", errors="replace")
    except OSError:
        return False


def _read_model(path: Path, version: str | None) -> ExportModel:
    manifest = read_manifest(path)
    file = path.parent / manifest.object.file
    object_bytes = _read(file, "object")
    if hashlib.sha256(object_bytes).hexdigest() != manifest.object.sha256:
        raise ArtifactError(
            f"object '{file}': its SHA-256 differs from the manifest's: compile the model again"
        )
    if version is None:
        version = manifest.source.version or NO_VERSION
        _check_version(version, f"'{path}'")
    weights = None
    if manifest.weights is not None:
        place = path.parent / manifest.weights.file
        if read_weights_header(place).structure != manifest.weights.structure:
            raise ArtifactError(
                f"weights '{place}' are of another model: write them with 'tfaot weights'"
            )
        weights = _read(place, "file of weights")
    return ExportModel(path, manifest, path.read_bytes(), object_bytes, version, weights)


def _check_version(version: str, where: str) -> None:
    if not _VERSION.match(version):
        raise UsageError(
            f"{where}: '{version}' is no version, give one such as 1.2.0 (--model-version)"
        )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(
            f"there is no {what} '{path}': it belongs beside its manifest"
        ) from None
    except OSError as error:
        raise ArtifactError(f"can't read {what} '{path}': {error.strerror}") from None
