"""Several files of a folder replaced as one: however this process ends, all are old or all new.

Input: a folder and contents by path below it. Output: the files. They are written to a staging
folder beside their places first: whatever can fail for lack of room does so there. Then another
process renames them, which takes microseconds and goes on where this one is killed. A lock on the
folder lets one writer in at a time; the system drops it with its holder. What a killed writer
staged goes with the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tfaot import rename_all
from tfaot.errors import UsageError
from tfaot.pieces import Contents, buffers_of

STAGING = ".tfaot-"
"""What the names of staging folders begin with."""


def replace_files(folder: Path, contents: Mapping[str, Contents]) -> None:
    """Write files of `folder` (which exists), all or none.

    Args:
        folder: where they go.
        contents: by path below the folder, with `/`, in the order in which they appear there.

    Raises:
        UsageError: one can't be written; nothing has changed.
    """
    with _locked(folder) as lock:
        _check_places(folder, contents)
        staging = _stage(folder, contents, lock)
        try:
            failure = _rename_apart(folder, staging, tuple(contents), lock)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    if failure is not None:
        raise UsageError(f"can't write '{failure[0]}': {failure[1]}")


def _check_places(folder: Path, contents: Mapping[str, Contents]) -> None:
    for file in contents:
        if (folder / file).is_dir():
            raise UsageError(f"'{folder / file}' is a folder: remove it or choose --name")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int | None]:
    """The lock's descriptor; None on systems and file systems without locks on folders."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield None
        else:
            yield descriptor
    finally:
        os.close(descriptor)


def _stage(folder: Path, contents: Mapping[str, Contents], lock: int | None) -> Path:
    """A folder with the files, complete and on the disk."""
    if lock is not None:
        for left in folder.glob(f"{STAGING}*"):
            shutil.rmtree(left, ignore_errors=True)
    umask = os.umask(0)
    os.umask(umask)
    place = folder
    staging: Path | None = None
    try:
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
        for file, data in contents.items():
            place = folder / file
            staged = staging / file
            staged.parent.mkdir(parents=True, exist_ok=True)
            with staged.open("wb") as stream:
                for buffer in buffers_of(data):
                    stream.write(buffer)
                stream.flush()
                os.fsync(stream.fileno())
            staged.chmod(0o666 & ~umask)
    except BaseException as error:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        if isinstance(error, OSError):
            raise UsageError(f"can't write '{place}': {error.strerror}") from None
        raise
    return staging


def _rename_apart(
    folder: Path, staging: Path, files: tuple[str, ...], lock: int | None
) -> tuple[str, str] | None:
    """`rename_all` in a process of its own, which also holds the lock until it is done."""
    order = json.dumps([str(folder.absolute()), str(staging.absolute()), files])
    command = [sys.executable or "python3", "-I", "-S", rename_all.__file__]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        )
    except OSError:
        return rename_all.rename_all(folder, staging, files)
    try:
        outcome, _ = process.communicate(order.encode())
    except BaseException:
        # Interrupted: what has begun is finished before the staging folder goes.
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        raise
    if outcome:
        failure = json.loads(outcome)
        return None if failure is None else (str(failure[0]), str(failure[1]))
    if all((staging / file).exists() for file in files):
        # No Python was started (a program that embeds one): nothing has happened yet.
        return rename_all.rename_all(folder, staging, files)
    return str(folder), "what renames the files was ended: compile again"
