"""The format of NAME.weights: what is written is read, and the checksum is the one defined."""

import numpy as np
import pytest

from tfaot.errors import ArtifactError
from tfaot.weights_file import (
    BLOB_OFFSET,
    BLOCK,
    FOLD_ROTATION,
    IDENTITY_BYTES,
    LANES,
    MULTIPLIER,
    ROTATION,
    SEEDS,
    SLACK,
    STEP,
    SUMMED_FROM,
    checksum,
    file_bytes,
    read_weights_header,
    weights_file,
)

MASK = 2**64 - 1
STRUCTURE = bytes(range(32))


def plain_checksum(data):
    """The definition, one number at a time."""

    def mixed(state, word, by):
        state ^= word
        return ((state << by | state >> (64 - by)) & MASK) * MULTIPLIER & MASK

    words = np.frombuffer(data, np.uint64).tolist()
    total = 0
    for number, first in enumerate(range(0, len(words), BLOCK // 8), 1):
        lanes = [(seed + number * STEP) & MASK for seed in SEEDS]
        for position in range(first, first + BLOCK // 8):
            lanes[position % LANES] = mixed(lanes[position % LANES], words[position], ROTATION)
        folded = 0
        for lane in lanes:
            folded = mixed(folded, lane, FOLD_ROTATION)
        total = (total + (folded ^ folded >> 32)) & MASK
    return total


@pytest.mark.parametrize("blocks", [0, 1, 3, 5])
def test_checksum_is_the_one_defined(blocks):
    data = np.random.default_rng(blocks).bytes(blocks * BLOCK)

    assert checksum(data) == plain_checksum(data)


def test_checksum_of_many_blocks_does_not_depend_on_how_they_are_grouped(monkeypatch):
    data = np.random.default_rng(0).bytes(50 * BLOCK)
    whole = checksum(data)
    monkeypatch.setattr("tfaot.weights_file._BLOCKS_AT_ONCE", 7)

    assert checksum(data) == whole


@pytest.mark.parametrize("size", [0, 1, 63, 64, 3775, 3776, 3777, 4096, 100_000])
def test_a_file_has_the_blob_and_what_is_read_beyond_it(size, tmp_path):
    blob = np.random.default_rng(size).bytes(size)
    data = weights_file(blob, STRUCTURE, "ab" * 32)
    path = tmp_path / "m.weights"
    path.write_bytes(data)
    header = read_weights_header(path)

    assert len(data) == file_bytes(size)
    assert (len(data) - SUMMED_FROM) % BLOCK == 0
    assert data[BLOB_OFFSET : BLOB_OFFSET + size] == blob
    rest = data[BLOB_OFFSET + size :]
    assert len(rest) >= SLACK
    assert not any(rest)
    assert (header.structure, header.blob_bytes) == (STRUCTURE.hex(), size)
    assert header.source == "ab" * 32
    assert int.from_bytes(data[IDENTITY_BYTES:SUMMED_FROM], "little") == plain_checksum(
        data[SUMMED_FROM:]
    )


def test_a_file_without_a_source_says_so(tmp_path):
    path = tmp_path / "m.weights"
    path.write_bytes(weights_file(b"", STRUCTURE))

    assert read_weights_header(path).source == ""


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    path = tmp_path / "m.weights"
    with pytest.raises(ArtifactError, match="can't read weights"):
        read_weights_header(path)
    path.write_bytes(b"TFAOTWTS")
    with pytest.raises(ArtifactError, match="truncated"):
        read_weights_header(path)
    path.write_bytes(b"x" * 5000)
    with pytest.raises(ArtifactError, match="no weights file"):
        read_weights_header(path)
