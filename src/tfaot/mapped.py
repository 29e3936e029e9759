"""Arrays passed between processes in files, which the reader maps: no copy of them in memory.

Pages that are not needed for now can be let go; they come back from the file when they are read.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import UsageError

MAPPED = 1 << 20
"""Bytes of an array from which it is mapped."""


@dataclass(frozen=True)
class ArrayFile:
    """What a file of elements alone does not tell: the type and shape of its array."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def write_array(path: Path, array: NDArray[Any]) -> ArrayFile:
    """Write an array's elements, in row-major order.

    Raises:
        UsageError: the disk is full.
    """
    try:
        with path.open("wb", buffering=0) as file:
            waiting = memoryview(raw_bytes(array))
            while waiting:
                waiting = waiting[file.write(waiting) :]
    except OSError as error:
        message = f"no room left for temporary files: {error.strerror} (TMPDIR names another disk)"
        raise UsageError(message) from None
    return ArrayFile(array.dtype, array.shape)


def map_array(path: Path, described: ArrayFile) -> NDArray[Any]:
    """The array in a file, read-only; the file is deleted, its space is freed with the array.

    Small ones are read: each that is mapped keeps a file open, of which a process may have few.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size >= MAPPED else file.read()
        )
    path.unlink()
    return np.frombuffer(data, described.dtype).reshape(described.shape)


def raw_bytes(array: NDArray[Any]) -> bytes | memoryview:
    """The elements in row-major order; a copy only where they lie otherwise."""
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(np.uint8).data if flat.size else b""


def let_go(array: NDArray[Any]) -> None:
    """Free the memory of the pages that an array made by `map_array` is in, or a view of one."""
    base: Any = array
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
