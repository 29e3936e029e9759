"""Loading a relocatable object into this process, without a linker.

The file is mapped read-only: sections that need no relocation (the weights) are used where they
are, in the page cache that all processes share. Code, writable data and sections with relocations
are copied into fresh memory behind the file's mapping, within reach of 32-bit displacements, are
relocated there, and then lose write permission; nothing is ever writable and executable at once.

Source: System V ABI, AMD64 supplement, section 4.4 (relocation).
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import struct
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tfaot.errors import ArtifactError
from tfaot.packaging.elf import (
    EM_X86_64,
    MACHINES,
    SHF_EXECINSTR,
    SHF_TLS,
    SHF_WRITE,
    SHN_ABS,
    SHN_LORESERVE,
    SHN_UNDEF,
    SHT_NOBITS,
    ElfObject,
    Relocation,
    Section,
    Symbol,
)

_PAGE = mmap.PAGESIZE
_MAP_FIXED, _MAP_32BIT, _MAP_NORESERVE = 0x10, 0x40, 0x4000
_LARGEST = 1 << 40
_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True)
class _Field:
    """How a relocation writes its value: width, signedness, and what the value is."""

    bytes: int
    signed: bool
    relative: bool
    through_table: bool = False


# Numbers of the AMD64 supplement. PLT32 equals PC32 here: every function is in this object.
_X86_64: dict[int, _Field] = {
    1: _Field(8, False, False),  # R_X86_64_64
    2: _Field(4, True, True),  # R_X86_64_PC32
    4: _Field(4, True, True),  # R_X86_64_PLT32
    9: _Field(4, True, True, through_table=True),  # R_X86_64_GOTPCREL
    10: _Field(4, False, False),  # R_X86_64_32
    11: _Field(4, True, False),  # R_X86_64_32S
    24: _Field(8, True, True),  # R_X86_64_PC64
    41: _Field(4, True, True, through_table=True),  # R_X86_64_GOTPCRELX
    42: _Field(4, True, True, through_table=True),  # R_X86_64_REX_GOTPCRELX
}
_ABSOLUTE_32 = (10, 11)


class _Libc:
    """mmap, mprotect and munmap of this process, raising ArtifactError."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._mmap = library.mmap
        self._mmap.restype = ctypes.c_void_p
        self._mmap.argtypes = [
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_long,
        ]
        self._mprotect = library.mprotect
        self._mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self.munmap: Callable[[int, int], int] = library.munmap
        library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

    def map(self, address: int | None, size: int, protection: int, flags: int, fd: int) -> int:
        result = self._mmap(address, size, protection, flags, fd, 0)
        if result is None or result == _FAILED:
            raise ArtifactError(f"can't map it: {os.strerror(ctypes.get_errno())}")
        return int(result)

    def protect(self, address: int, size: int, protection: int) -> None:
        if self._mprotect(address, size, protection):
            reason = os.strerror(ctypes.get_errno())
            raise ArtifactError(f"the system refuses executable memory ({reason})")


class LoadedObject:
    """An object in this process's memory; addresses stay valid while this object lives."""

    def __init__(self, path: Path, sha256: str | None = None) -> None:
        """Map, check and relocate the object file `path`.

        Args:
            path: the relocatable object.
            sha256: digest in hex that its bytes must have.

        Raises:
            ArtifactError: missing, corrupt, of another digest or machine, or not self-contained.
        """
        if not sys.platform.startswith("linux"):
            raise ArtifactError(f"loading objects is supported on Linux, not on {sys.platform}")
        libc = _Libc()
        with _open(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                raise ArtifactError(f"object '{path}' is empty: compile the model again")
            try:
                plan = _plan(file.fileno(), sha256)
                self._load(libc, file.fileno(), plan)
            except ArtifactError as error:
                raise ArtifactError(f"object '{path}': {error}") from None

    def _load(self, libc: _Libc, fd: int, plan: _Plan) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        if plan.needs_low_addresses:
            flags |= _MAP_32BIT
        base = libc.map(None, plan.size, 0, flags, -1)
        self._release = weakref.finalize(self, libc.munmap, base, plan.size)
        # At exit threads may still be inside the code.
        self._release.atexit = False
        read, write = mmap.PROT_READ, mmap.PROT_WRITE
        libc.map(base, plan.file_bytes, read, mmap.MAP_PRIVATE | _MAP_FIXED, fd)
        copied = plan.size - plan.file_pages
        if copied:
            libc.protect(base + plan.file_pages, copied, read | write)
        for section, place in plan.copies:
            if section.kind != SHT_NOBITS:
                ctypes.memmove(base + place, base + section.offset, section.size)
        for place, data in plan.patches(base):
            ctypes.memmove(base + place, data, len(data))
        for start, end, executable in plan.protections:
            libc.protect(base + start, end - start, read | (mmap.PROT_EXEC if executable else 0))
        self._symbols = {name: base + place for name, place in plan.symbols.items()}
        self._functions = plan.functions

    @property
    def functions(self) -> frozenset[str]:
        """Names of the global functions."""
        return self._functions

    def data(self, symbol: str) -> int:
        """The address of the global data `symbol`; ArtifactError where there is none."""
        if symbol not in self._symbols or symbol in self._functions:
            raise ArtifactError(f"the object has no data '{symbol}'")
        return self._symbols[symbol]

    def address(self, symbol: str) -> int:
        """The address of the global function `symbol`; ArtifactError where there is none."""
        if symbol not in self._functions:
            raise ArtifactError(f"the object has no function '{symbol}'")
        return self._symbols[symbol]


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise ArtifactError(
            f"there is no object '{path}': it belongs beside its manifest"
        ) from None
    except OSError as error:
        raise ArtifactError(f"can't read object '{path}': {error.strerror}") from None


class _Plan:
    """Where everything goes, relative to the start of the reserved memory."""

    def __init__(self, elf: ElfObject) -> None:
        self.file_bytes = len(elf.data)
        self.file_pages = _round_up(self.file_bytes, _PAGE)
        self.needs_low_addresses = False
        self.copies: list[tuple[Section, int]] = []
        self.protections: list[tuple[int, int, bool]] = []
        self._elf = elf
        self._relocations = list(elf.relocations())
        self._check()
        self._places = self._place_sections()
        self._table = self._place_table()
        self.symbols = {
            name: self._place(symbol)
            for name, symbol in elf.globals().items()
            if symbol.section < SHN_LORESERVE
        }
        self.functions = frozenset(
            name
            for name, symbol in elf.globals().items()
            if symbol.section < SHN_LORESERVE
            and elf.sections[symbol.section].flags & SHF_EXECINSTR
            and symbol.value < elf.sections[symbol.section].size
        )
        self._writes = self._plan_writes()

    def _check(self) -> None:
        elf = self._elf
        if elf.machine != EM_X86_64:
            name = MACHINES.get(elf.machine, f"ELF machine {elf.machine}")
            raise ArtifactError(f"it is for {name}: Python loads x86-64 objects only")
        # gcc lists the linker's own table as undefined, though only the relocations here use one.
        undefined = [name for name in elf.undefined() if name != "_GLOBAL_OFFSET_TABLE_"]
        if undefined:
            raise ArtifactError(f"it is not self-contained, it needs {', '.join(undefined[:5])}")
        if any(s.is_loaded and s.flags & SHF_TLS for s in elf.sections):
            raise ArtifactError("it has thread-local data, which can't be loaded")
        for section, relocations in self._relocations:
            for relocation in relocations:
                if relocation.kind == 0:
                    continue
                layout = _X86_64.get(relocation.kind)
                if layout is None:
                    raise ArtifactError(f"unknown relocation {relocation.kind} in {section.name}")
                if relocation.offset + layout.bytes > section.size:
                    raise ArtifactError(f"a relocation is outside section {section.name}")
                self.needs_low_addresses |= relocation.kind in _ABSOLUTE_32

    def _place_sections(self) -> dict[int, int]:
        """The place of each loaded section: in the file's mapping, or behind it."""
        changed = {section.index for section, entries in self._relocations if entries}
        places: dict[int, int] = {}
        groups: tuple[list[Section], list[Section], list[Section]] = ([], [], [])
        for section in self._elf.sections:
            if not section.is_loaded:
                continue
            writable, executable = section.flags & SHF_WRITE, section.flags & SHF_EXECINSTR
            if writable and executable:
                raise ArtifactError(f"section {section.name} is both writable and executable")
            if executable:
                groups[0].append(section)
            # .data.rel.ro is flagged writable for the linker's sake, and is read-only later.
            elif writable and not section.name.startswith(".data.rel.ro"):
                groups[2].append(section)
            elif (
                section.index in changed
                or section.offset % section.alignment
                or section.kind == SHT_NOBITS
            ):
                groups[1].append(section)
            else:
                places[section.index] = section.offset
        self.size = self.file_pages
        for section in self._elf.sections:
            if section.is_loaded and section.alignment > _PAGE:
                raise ArtifactError(f"section {section.name} is aligned to more than a page")
        for number, group in enumerate(groups):
            start = self.size
            for section in group:
                self.size = _round_up(self.size, section.alignment)
                places[section.index] = self.size
                self.copies.append((section, self.size))
                self.size += section.size
            self.size = _round_up(self.size, _PAGE)
            if self.size > start and number != 2:
                self.protections.append((start, self.size, number == 0))
        if self.size > _LARGEST:
            raise ArtifactError("its sections take more memory than a process can have")
        return places

    def _place_table(self) -> dict[int, int]:
        """One read-only pointer for each symbol that code reaches through a global offset table."""
        symbols = {
            r.symbol
            for _, relocations in self._relocations
            for r in relocations
            if r.kind in _X86_64 and _X86_64[r.kind].through_table
        }
        start = self.size
        table = {symbol: start + 8 * i for i, symbol in enumerate(sorted(symbols))}
        self.size = _round_up(start + 8 * len(table), _PAGE)
        if table:
            self.protections.append((start, self.size, False))
        return table

    def _place(self, symbol: Symbol) -> int:
        if symbol.section not in self._places:
            raise ArtifactError(f"symbol '{symbol.name}' is in no loaded section")
        return self._places[symbol.section] + symbol.value

    def _plan_writes(self) -> list[tuple[int, _Field, Relocation]]:
        writes = []
        for section, relocations in self._relocations:
            for relocation in relocations:
                if relocation.kind == 0:
                    continue
                symbol = self._elf.symbols[relocation.symbol]
                if symbol.section == SHN_UNDEF and symbol.name:
                    raise ArtifactError(f"it is not self-contained, it needs {symbol.name}")
                if symbol.section not in (SHN_UNDEF, SHN_ABS):
                    self._place(symbol)
                place = self._places[section.index] + relocation.offset
                writes.append((place, _X86_64[relocation.kind], relocation))
        return writes

    def _address(self, base: int, symbol: int) -> int:
        entry = self._elf.symbols[symbol]
        if entry.section == SHN_ABS:
            return entry.value
        return 0 if entry.section == SHN_UNDEF else base + self._place(entry)

    def patches(self, base: int) -> list[tuple[int, bytes]]:
        """What to write where, once the memory starts at `base`."""
        result = [
            (place, struct.pack("<Q", self._address(base, symbol)))
            for symbol, place in self._table.items()
        ]
        for place, layout, relocation in self._writes:
            target = (
                base + self._table[relocation.symbol]
                if layout.through_table
                else self._address(base, relocation.symbol)
            )
            value = target + relocation.addend - (base + place if layout.relative else 0)
            bits = 8 * layout.bytes
            low, high = (-(1 << bits - 1), 1 << bits - 1) if layout.signed else (0, 1 << bits)
            if not low <= value < high:
                raise ArtifactError("a relocation is out of range (is the object over 2 GB?)")
            result.append((place, value.to_bytes(layout.bytes, "little", signed=layout.signed)))
        return result


def _plan(fd: int, sha256: str | None) -> _Plan:
    """The plan for the object in the open file `fd`."""
    # No `with`: a mapping can't be closed while an error's traceback still refers to views of it.
    data = memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ArtifactError("its SHA-256 differs from the manifest's: compile the model again")
    return _Plan(ElfObject(data))


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
