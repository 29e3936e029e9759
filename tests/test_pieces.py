"""Files in several pieces, and values that are put into them."""

import pytest

from tfaot.errors import ArtifactError
from tfaot.packaging import object_file
from tfaot.packaging.object_file import fill
from tfaot.pieces import Pieces, buffers_of, mapped_file

MARKER = bytes(range(64))


def test_pieces_are_their_buffers_in_order():
    pieces = Pieces((b"ab", bytearray(b"c"), memoryview(b"def"), b""))

    assert len(pieces) == 6
    assert bytes(pieces) == b"abcdef"
    assert buffers_of(pieces) == pieces.buffers
    assert buffers_of(b"x") == (b"x",)


def test_a_mapped_file_outlives_its_name(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    pieces = mapped_file(path)
    path.unlink()

    assert bytes(pieces) == b"contents"


@pytest.mark.parametrize("place", [0, 1, 100, 900, 961, 1000, 1023, 1024, 2000])
@pytest.mark.parametrize("size", [0, 10, 64, 300])
def test_a_value_is_written_over_its_marker(place, size, monkeypatch):
    """Wherever it lies in the windows that are searched one after the other."""
    monkeypatch.setattr(object_file, "_WINDOW", 1024)
    data = b"\1" * place + MARKER + bytes(max(0, size - 64)) + b"\2" * 700
    value = Pieces((b"v" * (size // 2), b"w" * (size - size // 2)))

    filled = fill(Pieces((b"head", data, b"tail")), MARKER, value)

    expected = b"\1" * place + bytes(value).ljust(64, b"\0") + b"\2" * 700
    assert bytes(filled) == b"head" + expected + b"tail"


@pytest.mark.parametrize("data", [b"", b"x" * 3000, MARKER * 2, MARKER + bytes(2000) + MARKER])
def test_a_marker_that_is_not_there_once_is_refused(data, monkeypatch):
    monkeypatch.setattr(object_file, "_WINDOW", 1024)
    with pytest.raises(ArtifactError, match="does not have the marker '0001020304050607' once"):
        fill(data, MARKER, b"value")
    with pytest.raises(ArtifactError, match="once"):
        fill(Pieces((data, data)), MARKER, b"value")
