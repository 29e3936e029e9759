"""Weights in a file of their own: mapped read-only, checked and attached by the object's code.

Input: the address of NAME_attach_weights, a path. Output: the object works with the file's weights.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tfaot.errors import ArtifactError

_TRUNCATED = 13
_REASONS = {
    12: "are not for this model: write them with 'tfaot weights', or compile the model again",
    _TRUNCATED: "are truncated: copy the file again, or write it with 'tfaot weights'",
    14: "are corrupt: copy the file again, or write it with 'tfaot weights'",
}


def attach_function(address: int) -> Callable[[int, int], int]:
    """NAME_attach_weights at an address: takes the contents' address and length, gives a status."""
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64)(address)


class ExternalWeightsLoader:
    """Maps files of weights for one loaded object.

    Attributes:
        path: the file in use, None before the first one.
    """

    def __init__(self, attach_address: int, name: str) -> None:
        self.path: Path | None = None
        self._attach = attach_function(attach_address)
        self._name = name
        self._lock = threading.Lock()
        # A call may still read what was attached before: mappings stay as long as the model.
        self._mapped: list[mmap.mmap] = []

    def load(self, path: str | Path) -> None:
        """Map and attach a file; the one before stays in use where it is refused.

        Raises:
            ArtifactError: it is missing, truncated, corrupt, or not for this model.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                empty = file.seek(0, 2) == 0
                mapped = None if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise ArtifactError(
                f"can't read weights '{path}' of '{self._name}': {error.strerror or error}"
            ) from None
        if mapped is None:
            raise ArtifactError(f"weights '{path}' {_REASONS[_TRUNCATED]}")
        address = np.frombuffer(mapped, np.uint8).ctypes.data
        with self._lock:
            status = self._attach(address, len(mapped))
            if status == 0:
                self._mapped.append(mapped)
                self.path = path
        if status:
            reason = _REASONS.get(status, f"are refused with status {status}")
            raise ArtifactError(f"weights '{path}' {reason}")
