"""The weight blob: every constant array once, in the layout in which kernels read it.

Input: constants, plain or as the right-hand side of register-tiled dots. Output: bytes, and the
offset of each constant in them.

A plain constant is row-major. Packed weights [K, N] are panels of 16 columns, [N/16][K][16]; the
last panel is [K][N % 16]. A panel of one cache line a row spreads over all sets of a cache, which
half of a wider row would not; and panels whose size is a multiple of a memory page lie one cache
line further apart, because kernels read several at once and would find them all in the same set.
Packing takes no further bytes. Kernels read the last row of a narrow
panel as whole vectors: `SLACK` readable bytes must follow the blob.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tfaot.mapped import let_go, raw_bytes
from tfaot.pieces import Pieces
from tfaot.weights_file import SLACK

PANEL = 16
"""Columns of a panel of packed weights: [K][16], the last panel [K][N % 16]."""

CACHE_LINE = 64
PAGE = 4096

ALIGNMENT = 64
_LARGE = 4096


def panel_stride(rows: int, itemsize: int) -> int:
    """Elements from one panel of `rows` rows to the next."""
    size = rows * PANEL
    return size + CACHE_LINE // itemsize if size * itemsize % PAGE == 0 else size


def pack_panels(matrix: NDArray[np.generic]) -> NDArray[np.generic]:
    """The elements of a [K, N] matrix in panel order, flat; leading dimensions count as one."""
    columns = matrix.shape[-1]
    matrix = matrix.reshape(-1, columns)
    rows = matrix.shape[0]
    stride = panel_stride(rows, matrix.itemsize)
    starts = range(0, columns, PANEL)
    last = columns - starts[-1] if starts else 0
    flat = np.zeros(max(len(starts) - 1, 0) * stride + rows * last, matrix.dtype)
    for number, column in enumerate(starts):
        panel = matrix[:, column : column + PANEL].reshape(-1)
        flat[number * stride : number * stride + panel.size] = panel
    return flat


@dataclass
class WeightBlob:
    """Collects constants; equal ones (in type, layout and bytes) are stored once.

    Of those with an origin (`ir.attributes.Constant`), whose place must not depend on their values,
    ones of equal origin are.
    """

    _pieces: list[tuple[NDArray[np.generic], int]] = field(default_factory=list)
    _known: dict[bytes, int] = field(default_factory=dict)
    _places: dict[tuple[int, bool, str], tuple[NDArray[np.generic], int]] = field(
        default_factory=dict
    )
    size: int = 0

    def add(self, value: NDArray[np.generic], *, packed: bool = False, origin: str = "") -> int:
        """The offset in bytes at which `value` lies."""
        # Every instruction set asks for the same arrays again.
        again = (id(value), packed, origin)
        if again not in self._places:
            self._places[again] = (value, self._place(value, packed, origin))
            # What was read, to pack it or for its digest, is next needed when it is verified.
            let_go(value)
        return self._places[again][1]

    def _place(self, value: NDArray[np.generic], packed: bool, origin: str) -> int:
        flat: NDArray[np.generic] | None = None
        if origin:
            key = f"{origin}\0{packed}".encode()
        else:
            flat = _flat(value, packed)
            digest = hashlib.sha256(raw_bytes(flat)).digest()
            key = digest + flat.itemsize.to_bytes(2, "little")
        if key in self._known:
            return self._known[key]
        flat = _flat(value, packed) if flat is None else flat
        align = ALIGNMENT if flat.nbytes >= _LARGE else max(flat.itemsize, 1)
        offset = -(-self.size // align) * align
        self._pieces.append((flat, offset))
        self._known[key] = offset
        self.size = offset + flat.nbytes
        return offset

    @property
    def layout(self) -> str:
        """Offset, type and length of each piece, as text."""
        return "".join(f"{offset} {flat.dtype} {flat.size}\n" for flat, offset in self._pieces)

    def pieces(self) -> Pieces:
        """The blob; constants that need no packing are not copied."""
        parts: list[bytes | memoryview] = []
        end = 0
        for flat, offset in self._pieces:
            parts += [bytes(offset - end), raw_bytes(flat)]
            end = offset + flat.nbytes
        return Pieces(tuple(part for part in parts if len(part)))


def _flat(value: NDArray[np.generic], packed: bool) -> NDArray[np.generic]:
    """The elements as they are stored, in one dimension."""
    flat = pack_panels(value) if packed else np.ascontiguousarray(value).reshape(-1)
    return flat.astype(np.uint8) if flat.dtype == np.bool_ else flat


__all__ = [
    "ALIGNMENT",
    "CACHE_LINE",
    "PAGE",
    "PANEL",
    "SLACK",
    "WeightBlob",
    "pack_panels",
    "panel_stride",
]
