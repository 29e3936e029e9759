"""Zip archives with the same bytes for the same contents.

Input: contents by path. Output: the archive. Members are in the order of their paths, have no date
or owner, and are stored as they are: weights hardly shrink, and what a compressor makes of the rest
depends on its version.
"""

from __future__ import annotations

import io
import zipfile

from tfaot.packaging.export.files import Contents

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip archive can have
_UNIX = 3
_REGULAR_FILE = 0o100644


def zip_archive(contents: Contents, last: tuple[str, ...] = ()) -> bytes:
    """The archive's bytes.

    Args:
        contents: what to store.
        last: paths that come behind all others, in this order.
    """
    stream = io.BytesIO()
    ordered = [path for path in sorted(contents) if path not in last]
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in (*ordered, *last):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = _REGULAR_FILE << 16
            entry.file_size = sum(map(len, contents[path]))  # so that large ones get wide fields
            with archive.open(entry, "w") as member:
                for piece in contents[path]:
                    member.write(piece)
    return stream.getvalue()
