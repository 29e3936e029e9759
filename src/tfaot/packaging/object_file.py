"""What is put into an object after LLVM made it: the weights, and what is counted in the object.

Input: the object's bytes, in any format, with markers where the values belong. Output: the bytes
with the values. So the weights never pass through LLVM.
"""

from __future__ import annotations

import contextlib
import struct
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


def fill(data: bytes, marker: bytes, value: bytes) -> bytes:
    """The object with a value written over the bytes that begin with a marker.

    Raises:
        ArtifactError: the marker is not there, or more than once.
    """
    place = _place_of(data, marker)
    value = value.ljust(len(marker), b"\0")
    return b"".join((data[:place], value, data[place + len(value) :]))


def attach(data: bytes, section: str, name: str, contents: bytes) -> bytes:
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
    # All at once: the contents may be most of the memory that there is.
    return b"".join((head, table, bytes(start - end), contents, bytes(found.size - len(contents))))


def _place_of(data: bytes, marker: bytes) -> int:
    place = data.find(marker)
    if place < 0 or data.find(marker, place + 1) >= 0:
        raise ArtifactError(f"the object does not have the marker '{marker[:8].hex()}' once")
    return place
