"""Reading ELF64 relocatable objects: sections, symbols and relocations, all bounds-checked.

Source: System V ABI, chapters 4 and 5 (gABI), and the processor supplement for x86-64.
Every error is an ArtifactError; no input makes this read outside the bytes that it was given.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tfaot.errors import ArtifactError

SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 3, 4, 8, 9
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_TLS = 0x1, 0x2, 0x4, 0x400
SHN_UNDEF, SHN_LORESERVE, SHN_ABS, SHN_COMMON, SHN_XINDEX = 0, 0xFF00, 0xFFF1, 0xFFF2, 0xFFFF
STB_LOCAL = 0
EM_X86_64 = 62
MACHINES = {EM_X86_64: "x86-64", 183: "aarch64", 243: "riscv", 3: "x86", 40: "arm"}

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")
_LARGEST = 2**47


@dataclass(frozen=True)
class Section:
    """One section: index, name, flags, place in the file and alignment."""

    index: int
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int

    @property
    def is_loaded(self) -> bool:
        """Whether the section occupies memory at run time."""
        return bool(self.flags & SHF_ALLOC)


@dataclass(frozen=True)
class Symbol:
    """One symbol: its name, the section it is in (or a reserved index), offset and binding."""

    name: str
    section: int
    value: int
    size: int
    binding: int
    kind: int


@dataclass(frozen=True)
class Relocation:
    """One relocation: the place in its section, type, symbol index and addend."""

    offset: int
    kind: int
    symbol: int
    addend: int


class ElfObject:
    """A relocatable object, parsed from its bytes (which are kept, not copied)."""

    def __init__(self, data: bytes | memoryview) -> None:
        """Parse headers, sections and symbols; ArtifactError where they are malformed."""
        self.data = memoryview(data)
        header = self._unpack(_HEADER, 0, "header")
        kind, machine = header[1], header[2]
        identification = bytes(self.data[:6])
        if identification[:4] != b"\x7fELF":
            raise ArtifactError("not an ELF object")
        if identification[4:] != b"\x02\x01" or kind != 1:
            raise ArtifactError("not a 64-bit little-endian relocatable object")
        self.machine = int(machine)
        self.sections = self._read_sections(header[6], header[11], header[12], header[13])
        self.symbols = self._read_symbols()

    def _unpack(self, layout: struct.Struct, offset: int, what: str) -> tuple[int, ...]:
        if offset < 0 or offset + layout.size > len(self.data):
            raise ArtifactError(f"truncated: the {what} is outside the file")
        return layout.unpack_from(self.data, offset)

    def contents(self, section: Section) -> memoryview:
        """The bytes of a section (none for .bss)."""
        if section.kind == SHT_NOBITS:
            return self.data[:0]
        return self.data[section.offset : section.offset + section.size]

    def _read_sections(
        self, offset: int, entry_size: int, count: int, names: int
    ) -> tuple[Section, ...]:
        if entry_size != _SECTION.size:
            raise ArtifactError("corrupt: unknown size of section headers")
        first = self._unpack(_SECTION, offset, "section table")
        # More sections than a half-word counts: the numbers are in section 0.
        count = count or first[5]
        names = first[6] if names == SHN_XINDEX else names
        if not 0 < count <= len(self.data) // _SECTION.size:
            raise ArtifactError("truncated: the section table is outside the file")
        raw = [
            self._unpack(_SECTION, offset + i * _SECTION.size, "section table")
            for i in range(count)
        ]
        if not 0 < names < count or raw[names][1] != SHT_STRTAB:
            raise ArtifactError("corrupt: no section names")
        for entry in raw[1:]:
            _, kind, _, _, start, size, _, _, alignment, _ = entry
            if size >= _LARGEST or (kind != SHT_NOBITS and start + size > len(self.data)):
                raise ArtifactError("truncated: a section is outside the file")
            if alignment & (alignment - 1) or alignment > 1 << 21:
                raise ArtifactError("corrupt: impossible alignment of a section")
        self._table, self._names = offset, names
        table = self.data[raw[names][4] : raw[names][4] + raw[names][5]]
        return tuple(
            Section(i, _string(table, e[0]), e[1], e[2], e[4], e[5], e[6], e[7], max(e[8], 1), e[9])
            for i, e in enumerate(raw)
        )

    def _read_symbols(self) -> tuple[Symbol, ...]:
        tables = [s for s in self.sections if s.kind == SHT_SYMTAB]
        if not tables:
            return ()
        table = tables[0]
        if table.entry_size != _SYMBOL.size or table.size % _SYMBOL.size:
            raise ArtifactError("corrupt: unknown size of symbols")
        if not 0 < table.link < len(self.sections):
            raise ArtifactError("corrupt: no symbol names")
        strings = self.contents(self.sections[table.link])
        symbols = []
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(self.contents(table)):
            inside = section < SHN_LORESERVE
            if section == SHN_XINDEX or (inside and section >= len(self.sections)):
                raise ArtifactError("corrupt: a symbol is in no section")
            if inside and section and value + size > self.sections[section].size:
                raise ArtifactError("corrupt: a symbol is outside its section")
            symbols.append(
                Symbol(_string(strings, name), section, value, size, info >> 4, info & 15)
            )
        return tuple(symbols)

    @property
    def names(self) -> Section:
        """The section with the names of sections."""
        return self.sections[self._names]

    def patch_section(
        self,
        data: bytearray,
        index: int,
        *,
        offset: int,
        name: int | None = None,
        kind: int | None = None,
        flags: int | None = None,
        size: int | None = None,
    ) -> None:
        """Change entries of a section's header in `data`, a copy of this object."""
        place = self._table + index * _SECTION.size
        entry = list(_SECTION.unpack_from(data, place))
        for field, value in ((0, name), (1, kind), (2, flags), (4, offset), (5, size)):
            entry[field] = entry[field] if value is None else value
        _SECTION.pack_into(data, place, *entry)

    def relocations(self) -> Iterator[tuple[Section, tuple[Relocation, ...]]]:
        """Each loaded section that has relocations, with them; offsets lie inside the section."""
        for table in self.sections:
            if table.kind not in (SHT_RELA, SHT_REL):
                continue
            if not 0 < table.info < len(self.sections):
                raise ArtifactError("corrupt: relocations of no section")
            section = self.sections[table.info]
            if not section.is_loaded:
                continue
            if table.kind == SHT_REL or table.entry_size != _RELA.size or table.size % _RELA.size:
                raise ArtifactError("corrupt: unknown kind of relocations")
            entries = []
            for offset, info, addend in _RELA.iter_unpack(self.contents(table)):
                if offset >= section.size or info >> 32 >= len(self.symbols):
                    raise ArtifactError("corrupt: a relocation is outside its section")
                entries.append(Relocation(offset, info & 0xFFFFFFFF, info >> 32, addend))
            yield section, tuple(entries)

    def globals(self) -> dict[str, Symbol]:
        """The defined symbols that are visible to a linker, by name."""
        return {
            s.name: s for s in self.symbols if s.binding != STB_LOCAL and s.section != SHN_UNDEF
        }

    def undefined(self) -> tuple[str, ...]:
        """Names of the symbols that another object would have to define."""
        names = {s.name for s in self.symbols[1:] if s.section == SHN_UNDEF and s.name}
        return tuple(sorted(names))


def _string(table: memoryview, offset: int) -> str:
    """The zero-terminated string at `offset` of a string table."""
    if offset >= len(table):
        if offset == 0:
            return ""
        raise ArtifactError("corrupt: a name is outside the string table")
    end = offset
    limit = min(len(table), offset + 4096)
    while end < limit and table[end]:
        end += 1
    if end == limit:
        raise ArtifactError("corrupt: a name has no end")
    return bytes(table[offset:end]).decode("utf-8", "replace")
