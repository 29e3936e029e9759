"""Static libraries: the `ar` archive of one object, made without binutils.

Input: an object, its file name and the symbols that it defines. Output: the archive's bytes, with
the symbol table that linkers look members up in, and zeros for date, owner and group.

Sources: the System V ABI's and GNU's `ar(5)` (ELF), Apple's `ranlib(5)` (Mach-O), and the archive
chapter of Microsoft's "PE Format" (COFF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

MAGIC = b"!<arch>\n"
_FIELDS = 60  # bytes of a member's header
_LONGEST_NAME = 15  # beside the slash that ends it


def static_library(object_bytes: bytes, file: str, symbols: Iterable[str]) -> tuple[bytes, ...]:
    """The archive with one object as its member, as pieces to be written one after the other.

    Args:
        object_bytes: the object: ELF, Mach-O or COFF, which decides on the form of the table.
        file: the member's name, ASCII (`tagger.o`).
        symbols: names of the functions that it defines, as users write them in C.

    The pieces hold the object itself, not a copy, since weights may be large.
    """
    names = sorted(symbols)
    if object_bytes[:4] in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe"):
        return _mach_o(object_bytes, file, names)
    if object_bytes[:4] == b"\x7fELF":
        return _system_v(object_bytes, file, names, second_table=False)
    return _system_v(object_bytes, file, names, second_table=True)


def _system_v(
    object_bytes: bytes, file: str, names: list[str], second_table: bool
) -> tuple[bytes, ...]:
    """GNU's form, and Microsoft's, which has a second symbol table behind the first."""
    longs = b"" if len(file) <= _LONGEST_NAME else f"{file}/\n".encode()
    strings = b"".join(name.encode() + b"\0" for name in names)
    tables = [4 + 4 * len(names) + len(strings)]
    if second_table:
        tables.append(4 + 4 + 4 + 2 * len(names) + len(strings))
    if longs:
        tables.append(len(longs))
    offset = len(MAGIC) + sum(_FIELDS + _even(size) for size in tables)
    pieces = [MAGIC]
    first = struct.pack(f">{1 + len(names)}I", len(names), *[offset] * len(names)) + strings
    pieces += _member("/", first)
    if second_table:
        head = struct.pack("<III", 1, offset, len(names))
        pieces += _member("/", head + struct.pack(f"<{len(names)}H", *[1] * len(names)) + strings)
    if longs:
        pieces += _member("//", longs)
    pieces += _member("/0" if longs else f"{file}/", object_bytes)
    return tuple(pieces)


def _mach_o(object_bytes: bytes, file: str, names: list[str]) -> tuple[bytes, ...]:
    """BSD's form: names behind the header, members aligned to 8 bytes, `_` before C's names."""
    names = [f"_{name}" for name in names]
    strings = b"".join(name.encode() + b"\0" for name in names)
    strings += bytes(-len(strings) % 8)
    contents_bytes = 4 + 8 * len(names) + 4 + len(strings)
    contents_bytes += -contents_bytes % 8
    title = b"__.SYMDEF SORTED"
    table_bytes = _FIELDS + _padded_name(title, len(MAGIC)) + contents_bytes
    offset = len(MAGIC) + table_bytes
    entries, place = b"", 0
    for name in names:
        entries += struct.pack("<II", place, offset)
        place += len(name) + 1
    contents = struct.pack("<I", len(entries)) + entries
    contents += struct.pack("<I", len(strings)) + strings
    contents += bytes(contents_bytes - len(contents))
    return (
        MAGIC,
        *_bsd_member(title, contents, len(MAGIC)),
        *_bsd_member(file.encode(), object_bytes, offset),
    )


def _padded_name(name: bytes, offset: int) -> int:
    """Bytes of a member's name, with zeros so that its contents lie at a multiple of 8."""
    return len(name) + -(offset + _FIELDS + len(name)) % 8


def _bsd_member(name: bytes, contents: bytes, offset: int) -> list[bytes]:
    name += bytes(_padded_name(name, offset) - len(name))
    padding = bytes(-len(contents) % 8)
    size = len(name) + len(contents) + len(padding)
    return [_header(f"#1/{len(name)}", size), name, contents, padding]


def _member(name: str, contents: bytes) -> list[bytes]:
    return [_header(name, len(contents)), contents, b"\n" * (len(contents) % 2)]


def _header(name: str, size: int) -> bytes:
    date, owner, group, mode = 0, 0, 0, 0o644
    text = f"{name:<16}{date:<12}{owner:<6}{group:<6}{mode:<8o}{size:<10}`\n"
    assert len(text) == _FIELDS, "a member of 10 GB"
    return text.encode("ascii")


def _even(size: int) -> int:
    return size + size % 2
