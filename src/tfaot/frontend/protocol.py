"""Messages between a session and its worker: length-prefixed pickles over a pair of pipes."""

from __future__ import annotations

import pickle
import struct
from dataclasses import dataclass, field
from typing import IO, Any

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class Request:
    """A call of one of the worker's functions with keyword arguments."""

    verb: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Success:
    """What the function returned."""

    value: Any


@dataclass(frozen=True)
class Failure:
    """A TfaotError of the class called `kind`, or an unforeseen error with its traceback."""

    kind: str
    message: str
    traceback: str = ""


class ClosedError(EOFError):
    """The other side has closed the pipe."""


def send(stream: IO[bytes], message: Any) -> None:
    """Write one message; BrokenPipeError if the other side is gone."""
    payload = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(payload)))
    stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message; ClosedError if the pipe was closed before its end."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    return pickle.loads(_read(stream, length))


def _read(stream: IO[bytes], size: int) -> bytearray:
    data = bytearray(size)
    view = memoryview(data)
    filled = 0
    while filled < size:
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            raise ClosedError("the pipe was closed")
        filled += count
    return data
