"""The files of a compiled model, and writing them so that no half of them is ever seen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfaot.errors import UsageError
from tfaot.pieces import Contents, buffers_of
from tfaot.replacing import replace_files

if TYPE_CHECKING:
    from tfaot.packaging.manifest import Manifest
    from tfaot.runtime.model import Model


@dataclass(frozen=True)
class Artifact:
    """Where a compiled model is: NAME.h, NAME.o, NAME.json, and further files asked for.

    `weights` is NAME.weights, None where the object holds them; `headers` are those of another
    interface (`--interface tfcompile`), `extra` intermediate files.
    """

    header: Path
    object: Path
    manifest: Path
    extra: tuple[Path, ...] = ()
    headers: tuple[Path, ...] = ()
    weights: Path | None = None

    def load(self) -> Model:
        """The model as a callable on NumPy arrays."""
        from tfaot.runtime.model import load

        return load(self.manifest)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the artifact's three first."""
        weights = () if self.weights is None else (self.weights,)
        return (self.header, self.object, self.manifest, *weights, *self.headers, *self.extra)


def check_output_dir(directory: str | Path) -> None:
    """UsageError where files can't be written to `directory`, or it can't be made; makes nothing.

    Call it before a long compilation, so that this does not fail at its end.
    """
    directory = Path(directory)
    nearest = directory
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UsageError(f"output folder '{directory}': '{nearest}' is a file (-o)")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError(f"can't write to output folder '{directory}': no permission (-o)")


def write_artifact(
    directory: str | Path,
    name: str,
    header_text: str,
    object_bytes: Contents,
    manifest: Manifest,
    extra: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    weights: Contents | None = None,
) -> Artifact:
    """Write the files of one model, all or none of them.

    Args:
        directory: the output folder, made where it is missing.
        name: the model's name, which the files are named by.
        header_text: contents of NAME.h.
        object_bytes: contents of NAME.o.
        manifest: contents of NAME.json; its `object` is set from `object_bytes`, its `headers`
            from `headers`.
        extra: further texts by file suffix (`ll`, `s`, `hlo`).
        headers: further headers by path below the folder, with `/`; folders are made.
        weights: contents of the weights' file, where the manifest tells of one.

    Raises:
        UsageError: the folder or a file in it can't be written.
    """
    from tfaot.packaging.manifest import ObjectFile

    directory = Path(directory)
    check_output_dir(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't make output folder '{directory}': {error.strerror}") from None
    digest = hashlib.sha256()
    for buffer in buffers_of(object_bytes):
        digest.update(buffer)
    texts = dict(sorted((headers or {}).items()))
    manifest = replace(
        manifest, object=ObjectFile(f"{name}.o", digest.hexdigest()), headers=tuple(texts)
    )
    further = {f"{name}.{suffix}": text for suffix, text in sorted((extra or {}).items())}
    assert (weights is None) == (manifest.weights is None)
    outside = {} if manifest.weights is None else {manifest.weights.file: weights or b""}
    contents: dict[str, Contents] = {
        **{file: text.encode() for file, text in (further | texts).items()},
        f"{name}.h": header_text.encode(),
        f"{name}.o": object_bytes,
        **outside,
        # Last, since it vouches for the object.
        f"{name}.json": manifest.to_json().encode(),
    }
    replace_files(directory, contents)
    return Artifact(
        directory / f"{name}.h",
        directory / f"{name}.o",
        directory / f"{name}.json",
        tuple(directory / file for file in further),
        tuple(directory / file for file in texts),
        next((directory / file for file in outside), None),
    )


def write_file(path: Path, data: Contents) -> None:
    """Write one file so that no half of it is ever seen; what maps the old one keeps it.

    Raises:
        UsageError: it can't be written.
    """
    check_output_dir(path.parent)
    if path.is_dir():
        raise UsageError(f"'{path}' is a folder: give the path of a file (-o)")
    replace_files(path.parent, {path.name: data})
