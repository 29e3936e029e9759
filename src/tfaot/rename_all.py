"""Moves files out of a folder to where they belong, all or none; also a program of its own.

Input: folder, staging folder below it, paths relative to both. Output: the files in their places,
with the staging folder gone; or everything as before and the error. As a program
(`python -I -S rename_all.py`) it reads the three as JSON and prints `null`, or the error as JSON.
The moves then go on where the process that wanted them is killed. It needs the standard library
alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


def rename_all(folder: Path, staging: Path, files: Sequence[str]) -> tuple[str, str] | None:
    """Move `staging/FILE` to `folder/FILE` for each file, in this order; then remove `staging`.

    Returns:
        None, or the path and what is wrong with it; then no file has changed.
    """
    made: list[Path] = []
    done: list[Path] = []
    kept = staging / ".old"
    target = kept
    try:
        kept.mkdir()
        for number, file in enumerate(files):
            target = folder / file
            for parent in _missing(target.parent):
                parent.mkdir()
                made.append(parent)
            if target.is_file():
                _keep(target, kept / str(number))
        for file in files:
            target = folder / file
            os.replace(staging / file, target)
            done.append(target)
    except OSError as error:
        for number, path in enumerate(done):
            old = kept / str(number)
            with contextlib.suppress(OSError):
                if old.exists():
                    os.replace(old, path)
                else:
                    path.unlink()
        for parent in reversed(made):
            with contextlib.suppress(OSError):
                parent.rmdir()
        return str(target), error.strerror or str(error)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    _flush(folder)
    return None


def _missing(folder: Path) -> Iterator[Path]:
    """The folder and its parents that are not there, outermost first."""
    if not folder.is_dir():
        yield from _missing(folder.parent)
        yield folder


def _keep(old: Path, place: Path) -> None:
    """A second name for a file; a copy where the file system knows no such thing."""
    try:
        os.link(old, place)
    except OSError:
        shutil.copy2(old, place)


def _flush(folder: Path) -> None:
    """The new names reach the disk."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def main() -> None:
    """Read the order, carry it out, print the outcome."""
    order = sys.stdin.read()
    try:
        folder, staging, files = json.loads(order)
    except ValueError:
        return  # whoever wrote it was killed while writing: nothing was ordered
    outcome = rename_all(Path(folder), Path(staging), files)
    with contextlib.suppress(OSError):  # nobody may be there to read it
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    main()
