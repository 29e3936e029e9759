"""What is put into an object after LLVM made it: the weights, and the number of bytes of code.

Input: the object's bytes, in any format, with markers where the values belong. Output: the bytes
with the values. So the weights never pass through LLVM.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from tfaot.errors import ArtifactError
from tfaot.packaging.info import CODE_BYTES_MARKER
from tfaot.packaging.manifest import Manifest


def set_code_bytes(data: bytes, manifest: Manifest) -> tuple[bytes, Manifest]:
    """Object and manifest with the number of bytes of machine code filled in.

    Args:
        data: the object that holds `info_ir(manifest)`.
        manifest: its manifest so far.

    Raises:
        ArtifactError: the object has no introspection record.
    """
    from tfaot.codegen.llvm import code_bytes

    size = code_bytes(data)
    filled = fill(data, struct.pack("<Q", CODE_BYTES_MARKER), struct.pack("<q", size))
    return filled, replace(manifest, code_bytes=size)


def fill(data: bytes, marker: bytes, value: bytes) -> bytes:
    """The object with a value written over the bytes that begin with a marker.

    Raises:
        ArtifactError: the marker is not there, or more than once.
    """
    place = data.find(marker)
    if place < 0 or data.find(marker, place + 1) >= 0:
        raise ArtifactError(f"the object does not have the marker '{marker[:8].hex()}' once")
    value = value.ljust(len(marker), b"\0")
    return b"".join((data[:place], value, data[place + len(value) :]))
