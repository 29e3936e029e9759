"""NAME.weights: the weight blob of an artifact in a file of its own.

Input: the blob, the hash of the structure that it belongs to. Output: the file's bytes, and back.
All numbers are little-endian:

    0  "TFAOTWTS"
    8  u32 version of the format (1), u32 offset of the blob (128)
    16 32 bytes: the structure's hash
    48 u64 bytes of the blob
    56 u64 checksum of everything that follows
    64 32 bytes: SHA-256 of the model that the weights came from, zeros where unknown
    96 32 zeros
    128 the blob, then zeros up to a length of 64 plus a multiple of 4096, at least `SLACK` of them

So a file that is mapped, or read to an address that is a multiple of 64, has the blob aligned.
The object checks it (`codegen.external`), and the checksum is made for that: eight independent
chains of 64-bit multiplications, one for each word of a cache line, faster than memory. Each step
is a bijection of the chain, so that any change of a single word changes the sum. It guards against
damage, not against malice.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from tfaot.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tfaot.pieces import Contents

MAGIC = b"TFAOTWTS"
VERSION = 1
SUFFIX = ".weights"

IDENTITY_BYTES = 56
"""Bytes at the start that are the same in all files that fit one object."""

SUMMED_FROM = 64
"""Where the part begins that the checksum is of."""

BLOB_OFFSET = 128
SLACK = 256
"""Readable bytes that must follow the blob."""

BLOCK = 4096
LANES = 8
ROUNDS = BLOCK // (8 * LANES)

SEEDS = (
    0x9AE16A3B2F90404F,
    0xC3A5C85C97CB3127,
    0xB492B66FBE98F273,
    0xD6E8FEB86659FD93,
    0xA0761D6478BD642F,
    0xE7037ED1A0B428DB,
    0x8EBC6AF09C88C6E3,
    0x589965CC75374CC3,
)
MULTIPLIER = 0x9E3779B97F4A7C15
STEP = 0xBF58476D1CE4E5B9
"""What the number of a block, from 1, is multiplied with and added to its seeds."""

ROTATION = 29
FOLD_ROTATION = 31

_HEADER = struct.Struct("<8sII32sQQ32s32x")
_IDENTITY = struct.Struct("<8sII32sQ")
_BLOCKS_AT_ONCE = 2048

Buffer = Union[bytes, bytearray, memoryview]


def identity(structure: bytes, blob_bytes: int) -> bytes:
    """The first `IDENTITY_BYTES` of every file for a structure (32 bytes) and size of blob."""
    assert len(structure) == 32
    return _IDENTITY.pack(MAGIC, VERSION, BLOB_OFFSET, structure, blob_bytes)


def file_bytes(blob_bytes: int) -> int:
    """The length of the file of a blob of some length."""
    blocks = -(-(BLOB_OFFSET - SUMMED_FROM + blob_bytes + SLACK) // BLOCK)
    return SUMMED_FROM + blocks * BLOCK


def checksum(data: Buffer) -> int:
    """The checksum of bytes, a multiple of `BLOCK` long, as an unsigned 64-bit number."""
    import numpy as np  # here, so that reading a manifest does not import it

    def rotated(x: NDArray[np.uint64], by: int) -> NDArray[np.uint64]:
        result: NDArray[np.uint64] = (x << np.uint64(by)) | (x >> np.uint64(64 - by))
        return result

    words = np.frombuffer(data, np.dtype("<u8")).reshape(-1, ROUNDS, LANES)
    seeds = np.array(SEEDS, np.uint64)
    multiplier, total = np.uint64(MULTIPLIER), np.uint64(0)
    with np.errstate(over="ignore"):
        for first in range(0, len(words), _BLOCKS_AT_ONCE):
            some = words[first : first + _BLOCKS_AT_ONCE]
            numbers = np.arange(first + 1, first + 1 + len(some), dtype=np.uint64)
            lanes = seeds + (numbers * np.uint64(STEP))[:, None]
            for number in range(ROUNDS):
                lanes = rotated(lanes ^ some[:, number], ROTATION) * multiplier
            folded = np.zeros(len(some), np.uint64)
            for lane in range(LANES):
                folded = rotated(folded ^ lanes[:, lane], FOLD_ROTATION) * multiplier
            total = total + np.sum(folded ^ (folded >> np.uint64(32)), dtype=np.uint64)
    return int(total)


def weights_file(blob: Contents, structure: bytes, source: str = "") -> bytearray:
    """The contents of NAME.weights.

    Args:
        blob: the weights as the code reads them.
        structure: the hash of that code, 32 bytes.
        source: SHA-256 in hex of the model that the weights came from, empty where unknown.
    """
    from tfaot.pieces import buffers_of  # not at the top: who only reads weights has no need of it

    data = bytearray(file_bytes(len(blob)))
    origin = bytes.fromhex(source) if len(source) == 64 else bytes(32)
    _HEADER.pack_into(data, 0, MAGIC, VERSION, BLOB_OFFSET, structure, len(blob), 0, origin)
    end = BLOB_OFFSET
    for buffer in buffers_of(blob):
        data[end : end + len(buffer)] = buffer
        end += len(buffer)
    struct.pack_into("<Q", data, IDENTITY_BYTES, checksum(memoryview(data)[SUMMED_FROM:]))
    return data


@dataclass(frozen=True)
class WeightsHeader:
    """What a weights file says of itself: hashes in hex, bytes of the blob."""

    structure: str
    blob_bytes: int
    source: str


def read_weights_header(path: str | Path) -> WeightsHeader:
    """The header of a weights file; the contents are not looked at.

    Raises:
        ArtifactError: there is no such file, or it is none.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(BLOB_OFFSET)
    except OSError as error:
        raise ArtifactError(f"can't read weights '{path}': {error.strerror}") from None
    if len(data) < BLOB_OFFSET:
        raise ArtifactError(f"weights '{path}' are truncated: write them again (tfaot weights)")
    magic, version, _, structure, size, _, source = _HEADER.unpack(data)
    if magic != MAGIC or version != VERSION:
        raise ArtifactError(f"'{path}' is no weights file that this tfaot reads")
    return WeightsHeader(structure.hex(), size, source.hex() if any(source) else "")
