"""Contents of files in several pieces: all weights of a model are not copied to put them in one."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Union


@dataclass(frozen=True)
class Pieces:
    """Bytes in several buffers, one after the other."""

    buffers: tuple[bytes | bytearray | memoryview, ...]

    def __len__(self) -> int:
        """All bytes."""
        return sum(len(buffer) for buffer in self.buffers)

    def __iter__(self) -> Iterator[bytes | bytearray | memoryview]:
        """The buffers."""
        return iter(self.buffers)

    def __bytes__(self) -> bytes:
        """A copy in one piece."""
        return b"".join(self.buffers)


Contents = Union[bytes, bytearray, memoryview, Pieces]


def buffers_of(contents: Contents) -> tuple[bytes | bytearray | memoryview, ...]:
    """The buffers that hold the contents in order."""
    return contents.buffers if isinstance(contents, Pieces) else (contents,)


def mapped_file(path: Path) -> Pieces:
    """A file's contents, which take no memory while nobody reads them."""
    with path.open("rb") as file:
        return Pieces((memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)),))
