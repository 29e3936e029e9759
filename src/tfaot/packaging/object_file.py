"""What is put into an object after LLVM made it: the weights, and what is counted in the object.

Input: the object's bytes, in any format, with markers where the values belong. Output: the bytes
with the values. So the weights never pass through LLVM.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import replace

from tfaot.errors import ArtifactError
from tfaot.packaging.elf import SHF_WRITE, SHT_NOBITS, SHT_PROGBITS, ElfObject
from tfaot.packaging.info import (
    CODE_BYTES_MARKER,
    DATA_BYTES_MARKER,
    STACK_BYTES_MARKER,
    run_symbol,
)
from tfaot.packaging.manifest import Manifest
from tfaot.packaging.object_code import read_code
from tfaot.packaging.stack import UnknownCodeError, stack_bytes
from tfaot.pieces import Contents, Pieces, buffers_of


def set_sizes(data: bytes, manifest: Manifest) -> tuple[bytes, Manifest]:
    """Object and manifest with the bytes of machine code, stack and further data filled in.

    Args:
        data: the object that holds `info_ir(manifest)`, and room for the weights.
        manifest: its manifest so far.

    Raises:
        ArtifactError: the object has no introspection record, or is of no known format.
    """
    code = read_code(data)
    stack: int | None = None
    # Where it can't be told (a CPU with instructions that no decoder knows) users go without.
    with contextlib.suppress(UnknownCodeError):
        stack = stack_bytes(code, (*manifest.symbols.names, run_symbol(manifest.name)))
    inside = manifest.weights_bytes if manifest.weights is None else 0
    further = code.loaded_bytes - code.code_bytes - inside
    sizes = {
        CODE_BYTES_MARKER: code.code_bytes,
        STACK_BYTES_MARKER: -1 if stack is None else stack,
        DATA_BYTES_MARKER: further,
    }
    filled = bytearray(data)
    for marker, size in sizes.items():
        place = _place_of(data, struct.pack("<Q", marker))
        filled[place : place + 8] = struct.pack("<q", size)
    return bytes(filled), replace(
        manifest, code_bytes=code.code_bytes, stack_bytes=stack, data_bytes=further
    )


def fill(data: Contents, marker: bytes, value: Contents) -> Pieces:
    """The object with a value written over the bytes that begin with a marker.

    Raises:
        ArtifactError: the marker is not there, or more than once.
    """
    found = [(n, place) for n, b in enumerate(buffers_of(data)) for place in _places(b, marker)]
    if len(found) != 1:
        raise _marker_error(marker)
    ((number, place),) = found
    buffers = list(buffers_of(data))
    whole = memoryview(buffers[number])
    padding = bytes(max(0, len(marker) - len(value)))
    behind = whole[place + len(value) + len(padding) :]
    buffers[number : number + 1] = [whole[:place], *buffers_of(value), padding, behind]
    return Pieces(tuple(buffers))


def attach(data: bytes, section: str, name: str, contents: Contents) -> Pieces:
    """An ELF object with contents for a section that has none; they are padded with zeros.

    The section becomes read-only data. Contents lie at the end of the file, and nothing else moves.

    Args:
        data: the object.
        section: the section's name, of a section of a size that holds the contents.
        name: the name that it gets.
        contents: the bytes.

    Raises:
        ArtifactError: the object is malformed, or has no such section.
    """
    elf = ElfObject(data)
    found = next((s for s in elf.sections if s.name == section and s.kind == SHT_NOBITS), None)
    if found is None or found.size < len(contents):
        raise ArtifactError(f"the object has no section '{section}' of {len(contents)} bytes")
    names = elf.names
    table = bytes(elf.contents(names)) + name.encode() + b"\0"
    head = bytearray(data) + bytes(-len(data) % 8)
    elf.patch_section(head, names.index, offset=len(head), size=len(table))
    end = len(head) + len(table)
    start = end + -end % found.alignment
    elf.patch_section(
        head,
        found.index,
        name=names.size,
        kind=SHT_PROGBITS,
        flags=found.flags & ~SHF_WRITE,
        offset=start,
    )
    rest = bytes(found.size - len(contents))
    return Pieces((head, table, bytes(start - end), *buffers_of(contents), rest))


def _place_of(data: bytes, marker: bytes) -> int:
    places = list(_places(data, marker))
    if len(places) != 1:
        raise _marker_error(marker)
    return places[0]


def _places(data: bytes | bytearray | memoryview, marker: bytes) -> Iterator[int]:
    """Where a marker is, as often as it is there."""
    view = memoryview(data)
    for start in range(0, len(view), _WINDOW):
        window = bytes(view[start : start + _WINDOW + len(marker) - 1])
        place = window.find(marker)
        while place >= 0:
            yield start + place
            place = window.find(marker, place + 1)


def _marker_error(marker: bytes) -> ArtifactError:
    return ArtifactError(f"the object does not have the marker '{marker[:8].hex()}' once")


_WINDOW = 1 << 20
