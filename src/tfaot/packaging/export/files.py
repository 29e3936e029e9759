"""Writing many files below one folder so that all of them appear, or none.

Input: contents by relative path. Output: the files.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfaot.artifact import check_output_dir
from tfaot.errors import UsageError

Contents = Mapping[str, tuple[bytes, ...]]
"""Pieces of each file by its path, with `/` between folders."""


def write_files(directory: str | Path, contents: Contents) -> tuple[Path, ...]:
    """Write files below `directory`, which is made where it is missing; others in it stay.

    Everything is written to a hidden folder in it first, and then moved.

    Returns:
        The paths, in the order of `contents`.

    Raises:
        UsageError: the folder or a file in it can't be written; nothing is left behind.
    """
    directory = Path(directory)
    check_output_dir(directory)
    made = _make_folders(directory)
    done = False
    try:
        _check_places(directory, contents)
        with _staging_folder(directory) as staging:
            for path, pieces in contents.items():
                _write(staging / path, pieces, directory / path)
            for path in contents:
                made += _make_folders((directory / path).parent)
            for path in contents:
                _move(staging / path, directory / path)
        done = True
    finally:
        if not done:
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    folder.rmdir()
    return tuple(directory / path for path in contents)


def _make_folders(directory: Path) -> list[Path]:
    """Make `directory`; the folders that were missing, outer ones first."""
    missing = []
    folder = directory
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"can't make output folder '{directory}': {error.strerror}") from None
    return missing[::-1]


def _check_places(directory: Path, contents: Contents) -> None:
    """UsageError where a folder stands in a file's place, or a file in a folder's."""
    for path in contents:
        target = directory / path
        if target.is_dir():
            raise UsageError(f"'{target}' is a folder: remove it or choose another -o")
        for parent in target.parents:
            if parent == directory:
                break
            if parent.exists() and not parent.is_dir():
                raise UsageError(f"'{parent}' is a file: remove it or choose another -o")


@contextlib.contextmanager
def _staging_folder(directory: Path) -> Iterator[Path]:
    try:
        staging = Path(tempfile.mkdtemp(prefix=".tfaot-export-", dir=directory))
    except OSError as error:
        raise UsageError(f"can't write to '{directory}': {error.strerror}") from None
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(temporary: Path, pieces: tuple[bytes, ...], target: Path) -> None:
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise UsageError(f"can't write '{target}': {error.strerror}") from None


def _move(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        raise UsageError(f"can't write '{target}': {error.strerror}") from None
