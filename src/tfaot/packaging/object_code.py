"""The machine code in an object, of any format that is written: ELF, Mach-O and COFF, 64 bits.

Input: an object's bytes. Output: its code as one piece, the places of its functions, where branches
lead that a linker fills in, and the bytes that are in memory at run time.

Source: System V ABI, chapter 4; Apple's mach-o/loader.h, mach-o/nlist.h and mach-o/arm64/reloc.h;
Microsoft's PE format, sections on object files.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tfaot.errors import ArtifactError
from tfaot.packaging.elf import EM_X86_64, SHF_EXECINSTR, ElfObject

NOWHERE = -1

_MACH_O, _COFF_X86_64 = 0xFEEDFACF, 0x8664
_ELF_MACHINES = {EM_X86_64: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64le"}


@dataclass(frozen=True)
class ObjectCode:
    """The code of an object.

    Attributes:
        machine: `x86_64`, `aarch64`, `riscv64` or `ppc64le`.
        text: all sections of code, one behind the other.
        code_bytes: their bytes.
        functions: places in `text` of the symbols that are there.
        targets: where branches lead, by the place of the relocation; both places in `text`, or
            `NOWHERE` for what is not code of this object.
        loaded_bytes: bytes of all sections that are in memory at run time, code among them.
    """

    machine: str
    text: bytes
    code_bytes: int
    functions: Mapping[str, int]
    targets: Mapping[int, int]
    loaded_bytes: int


def read_code(data: bytes) -> ObjectCode:
    """The code of an object; ArtifactError where it is of no known format."""
    if data[:4] == b"\x7fELF":
        return _elf(data)
    if len(data) >= 32 and struct.unpack_from("<I", data)[0] == _MACH_O:
        return _mach_o(data)
    if len(data) >= 20 and struct.unpack_from("<H", data)[0] == _COFF_X86_64:
        return _coff(data)
    raise ArtifactError("an object of unknown format")


class _Text:
    """Sections of code put one behind the other; the place of each by its number."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.size = 0
        self.places: dict[int, int] = {}

    def add(self, number: int, contents: bytes) -> None:
        self.bytes += bytes(-len(self.bytes) % 16)
        self.places[number] = len(self.bytes)
        self.bytes += contents
        self.size += len(contents)


def _elf(data: bytes) -> ObjectCode:
    elf = ElfObject(data)
    text = _Text()
    for section in elf.sections:
        if section.is_loaded and section.flags & SHF_EXECINSTR:
            text.add(section.index, bytes(elf.contents(section)))
    functions = {
        s.name: text.places[s.section] + s.value
        for s in elf.symbols
        if s.section in text.places and s.name
    }
    # Relocations of x86-64 count from the end of the 4 bytes that they fill.
    behind = 4 if elf.machine == EM_X86_64 else 0
    targets = {}
    for section, relocations in elf.relocations():
        for relocation in relocations if section.index in text.places else ():
            symbol = elf.symbols[relocation.symbol]
            place = text.places[section.index] + relocation.offset
            targets[place] = NOWHERE
            if symbol.section in text.places:
                base = text.places[symbol.section] + symbol.value
                targets[place] = base + relocation.addend + behind
    return ObjectCode(
        _ELF_MACHINES.get(elf.machine, f"ELF machine {elf.machine}"),
        bytes(text.bytes),
        text.size,
        functions,
        targets,
        sum(s.size for s in elf.sections if s.is_loaded),
    )


def _mach_o(data: bytes) -> ObjectCode:
    """Objects of Apple's systems for arm64."""
    machine, _, _, commands = struct.unpack_from("<IIII", data, 4)
    text, loaded, number, offset = _Text(), 0, 0, 32
    starts: dict[int, int] = {}
    relocated: list[tuple[int, int, int]] = []
    symbols: list[tuple[str, int, int]] = []
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, offset)
        if command == 0x19:  # LC_SEGMENT_64
            (count,) = struct.unpack_from("<I", data, offset + 64)
            for entry in range(offset + 72, offset + 72 + 80 * count, 80):
                number += 1
                address, length, place, _, where, many, flags = struct.unpack_from(
                    "<QQIIIII", data, entry + 32
                )
                debug = flags & 0x02000000
                loaded += 0 if debug else length
                if flags & 0x80000400:  # pure or some instructions
                    text.add(number, data[place : place + length])
                    starts[number] = address
                    relocated.append((number, where, many))
        elif command == 2:  # LC_SYMTAB
            table, count, strings, _ = struct.unpack_from("<IIII", data, offset + 8)
            for entry in range(table, table + 16 * count, 16):
                name, _, section, _, value = struct.unpack_from("<IBBHQ", data, entry)
                symbols.append((_string(data, strings + name), section, value))
        offset += size
    places = [
        text.places[section] + value - starts[section] if section in starts else None
        for _, section, value in symbols
    ]
    targets: dict[int, int] = {}
    for section, where, many in relocated:
        for entry in range(where, where + 8 * many, 8):
            at, word = struct.unpack_from("<II", data, entry)
            external, kind = word >> 27 & 1, word >> 28
            target = places[word & 0xFFFFFF] if external else None
            if kind == 2:  # ARM64_RELOC_BRANCH26
                targets[text.places[section] + at] = NOWHERE if target is None else target
    return ObjectCode(
        "aarch64" if machine == 0x0100000C else f"Mach-O machine {machine:#x}",
        bytes(text.bytes),
        text.size,
        {
            n.removeprefix("_"): p
            for (n, _, _), p in zip(symbols, places, strict=True)
            if p is not None
        },
        targets,
        loaded,
    )


def _coff(data: bytes) -> ObjectCode:
    """Objects of Windows for x86-64."""
    _, count, _, table, many, optional, _ = struct.unpack_from("<HHIIIHH", data)
    text, loaded = _Text(), 0
    relocated: list[tuple[int, int, int]] = []
    for number in range(1, count + 1):
        header = 20 + optional + 40 * (number - 1)
        size, place, where = struct.unpack_from("<III", data, header + 16)
        (relocations,) = struct.unpack_from("<H", data, header + 32)
        (flags,) = struct.unpack_from("<I", data, header + 36)
        # Neither removed by the linker, nor for it alone, nor discardable.
        loaded += 0 if flags & 0x02000A00 else size
        if flags & 0x20:
            text.add(number, data[place : place + size])
            relocated.append((number, where, relocations))
    symbols = dict(_coff_symbols(data, table, many))
    functions = {
        name: text.places[section] + value
        for name, section, value in symbols.values()
        if section in text.places
    }
    targets = {}
    for section, where, relocations in relocated:
        for entry in range(where, where + 10 * relocations, 10):
            at, index, kind = struct.unpack_from("<IIH", data, entry)
            _, home, value = symbols[index]
            if kind == 4:  # IMAGE_REL_AMD64_REL32
                place = text.places[section] + at
                addend = int.from_bytes(text.bytes[place : place + 4], "little", signed=True)
                inside = home in text.places
                targets[place] = text.places[home] + value + addend if inside else NOWHERE
    return ObjectCode("x86_64", bytes(text.bytes), text.size, functions, targets, loaded)


def _coff_symbols(
    data: bytes, table: int, count: int
) -> Iterator[tuple[int, tuple[str, int, int]]]:
    """Each symbol's number, name, section and place in it."""
    strings, number = table + 18 * count, 0
    while number < count:
        entry = table + 18 * number
        zero, place = struct.unpack_from("<II", data, entry)
        short = data[entry : entry + 8].rstrip(b"\0").decode("utf-8", "replace")
        value, section, _, _, further = struct.unpack_from("<IhHBB", data, entry + 8)
        yield number, (short if zero else _string(data, strings + place), section, value)
        number += 1 + further


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode("utf-8", "replace")
