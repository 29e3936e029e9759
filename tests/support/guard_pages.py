"""Calls of compiled modules whose buffers end right before, or begin right after, forbidden memory.

Reading or writing one byte outside of a buffer ends the process, on the side that is guarded.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
from compiled import CompiledModule
from numpy.typing import NDArray

Array = NDArray[Any]

_PAGE = mmap.PAGESIZE


class GuardedPages:
    """`size` bytes between two pages that can't be touched, at the end or the start of theirs."""

    def __init__(self, size: int, *, at_end: bool) -> None:
        whole = max(-(-size // _PAGE), 1) * _PAGE
        self._map = mmap.mmap(-1, whole + 2 * _PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for page in (start, start + _PAGE + whole):
            assert protect(page, _PAGE, 0) == 0
        self.address = start + _PAGE + (whole - size if at_end else 0)
        self.bytes = (ctypes.c_uint8 * size).from_address(self.address)


def run_between_guard_pages(
    run: CompiledModule, inputs: Sequence[Array], batch: int, *, at_end: bool
) -> list[Array]:
    """Outputs of a call whose inputs and outputs all lie between pages that can't be touched."""
    sources = [GuardedPages(x.nbytes, at_end=at_end) for x in inputs]
    for source, x in zip(sources, inputs, strict=True):
        ctypes.memmove(source.address, np.ascontiguousarray(x).ctypes.data, x.nbytes)
    shapes = [o.array.at(batch) for o in run.module.outputs]
    results = [
        GuardedPages(int(np.prod(s.static_dims)) * s.dtype.itemsize, at_end=at_end) for s in shapes
    ]
    # The workspace has to be aligned: rounded up to that, it can still end where its page does.
    size = -(-run.workspace_bytes(batch) // 64) * 64
    workspace = GuardedPages(size, at_end=at_end)
    buffers = [*sources, *results, workspace]
    status = run.call(batch, [b.address for b in buffers])
    assert status == 0, f"status {status}"
    return [
        np.frombuffer(bytes(r.bytes), s.dtype.numpy).reshape(s.static_dims)
        for r, s in zip(results, shapes, strict=True)
    ]
