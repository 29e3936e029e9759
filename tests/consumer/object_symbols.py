"""Symbols of objects for other systems, read without their tools.

Source: Apple's mach-o/loader.h and nlist.h; Microsoft's PE format, section on COFF symbols.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass


class Format(enum.Enum):
    """A format of object files."""

    MACH_O = "Mach-O arm64"
    COFF = "COFF x86-64"


@dataclass(frozen=True)
class Symbols:
    """What a linker sees: names of external symbols that are there, and that are missing."""

    format: Format
    defined: set[str]
    undefined: set[str]


def symbols_of(data: bytes) -> Symbols:
    """The external symbols of a Mach-O arm64 or COFF x86-64 object."""
    if struct.unpack_from("<II", data) == (0xFEEDFACF, 0x0100000C):
        return _mach_o(data)
    assert struct.unpack_from("<H", data) == (0x8664,), "neither Mach-O arm64 nor COFF x86-64"
    return _coff(data)


def _mach_o(data: bytes) -> Symbols:
    kind, commands = struct.unpack_from("<II", data, 12)
    assert kind == 1, "not a relocatable object"
    offset, defined, undefined = 32, set(), set()
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, offset)
        if command == 2:  # LC_SYMTAB
            table, count, strings, _ = struct.unpack_from("<IIII", data, offset + 8)
            for number in range(count):
                name, flags, section, _, _ = struct.unpack_from("<IBBHQ", data, table + 16 * number)
                text = _text(data, strings + name)
                if flags & 1:
                    (defined if section else undefined).add(text)
        offset += size
    return Symbols(Format.MACH_O, defined, undefined)


def _coff(data: bytes) -> Symbols:
    table, count = struct.unpack_from("<II", data, 8)
    strings, defined, undefined = table + 18 * count, set(), set()
    number = 0
    while number < count:
        entry = table + 18 * number
        name = data[entry : entry + 8]
        _, section, _, storage, further = struct.unpack_from("<IhHBB", data, entry + 8)
        zero, place = struct.unpack("<II", name)
        text = _text(data, strings + place) if zero == 0 else name.rstrip(b"\0").decode()
        if storage == 2 and section >= 0:  # external; -1 is for absolute values such as @feat.00
            (defined if section else undefined).add(text)
        number += 1 + further
    return Symbols(Format.COFF, defined, undefined)


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
