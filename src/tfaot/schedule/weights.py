"""The weight blob: every constant array once, in the layout in which kernels read it.

Input: constants, plain or as the right-hand side of register-tiled dots. Output: bytes, and the
offset of each constant in them.

A plain constant is row-major. Packed weights [K, N] are panels of 32 columns, [N/32][K][32]; the
last panel is [K][N % 32], so packing takes no extra bytes. Kernels read the last row of a narrow
panel as whole vectors: `SLACK` readable bytes must follow the blob.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

PANEL = 32
"""Columns of a panel of packed weights: [K][32], the last panel [K][N % 32]."""

SLACK = 256
"""Bytes after the blob that must be readable."""

ALIGNMENT = 64
_LARGE = 4096


def pack_panels(matrix: NDArray[np.generic]) -> NDArray[np.generic]:
    """The elements of a [K, N] matrix in panel order, flat; leading dimensions count as one."""
    columns = matrix.shape[-1]
    matrix = matrix.reshape(-1, columns)
    panels = [matrix[:, n : n + PANEL].reshape(-1) for n in range(0, columns, PANEL)]
    return np.concatenate(panels) if panels else matrix.reshape(-1)


@dataclass
class WeightBlob:
    """Collects constants; equal ones (in type, layout and bytes) are stored once."""

    _pieces: list[tuple[NDArray[np.generic], int]] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)
    size: int = 0

    def add(self, value: NDArray[np.generic], *, packed: bool = False) -> int:
        """The offset in bytes at which `value` lies."""
        flat = pack_panels(value) if packed else np.ascontiguousarray(value).reshape(-1)
        if flat.dtype == np.bool_:
            flat = flat.astype(np.uint8)
        digest = hashlib.sha256(flat.view(np.uint8).data if flat.size else b"").digest()
        key = digest + flat.itemsize.to_bytes(2, "little")
        if key in self._known:
            return self._known[key]
        align = ALIGNMENT if flat.nbytes >= _LARGE else max(flat.itemsize, 1)
        offset = -(-self.size // align) * align
        self._pieces.append((flat, offset))
        self._known[key] = offset
        self.size = offset + flat.nbytes
        return offset

    def to_bytes(self) -> bytes:
        """The blob."""
        blob = bytearray(self.size)
        for flat, offset in self._pieces:
            blob[offset : offset + flat.nbytes] = flat.view(np.uint8).tobytes()
        return bytes(blob)
