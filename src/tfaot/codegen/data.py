"""Data that an object gets after LLVM made it: its place holds zeros, which begin with a marker.

Input: a symbol that the code refers to, the size of its data. Output: LLVM IR that defines it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.types import I8
from tfaot.schedule.sizes import ALIGNMENT

MARKER_BYTES = 64
"""Bytes at the start of the data's place that tell where in the object it is."""

EMPTY = ".bss.tfaot."
"""What the name of a section begins with that LLVM takes for one without contents in the file."""


@dataclass(frozen=True)
class LateData:
    """A constant whose bytes LLVM never sees.

    Attributes:
        module: whose code refers to it.
        symbol: its name.
    """

    module: ir.Module
    symbol: str

    def declare(self) -> ir.GlobalVariable:
        """The variable, for code to refer to."""
        variable = ir.GlobalVariable(self.module, I8, self.symbol)
        variable.linkage = "external"
        variable.global_constant = True
        return variable

    @property
    def marker(self) -> bytes:
        """What to look for in the object."""
        return hashlib.sha512(f"tfaot {self.symbol}".encode()).digest()

    def define(self, text: str, size: int, slack: int = 0) -> str:
        """The module's text with the data in place of its declaration.

        Args:
            text: of the module.
            size: bytes of the data; where it is 0 the linker may leave all of it out.
            slack: readable bytes behind them.
        """
        old = f'@"{self.symbol}" = external constant i8'
        assert old in text
        start = "".join(f"\\{byte:02X}" for byte in self.marker)
        first = f"[{MARKER_BYTES} x i8]"
        rest = f"[{max(size, MARKER_BYTES) + slack - MARKER_BYTES} x i8]"
        # LLVM must not take the zeros for the data: who initialises it is somebody else.
        new = (
            f'@"{self.symbol}" = internal externally_initialized constant <{{ {first}, {rest} }}> '
            f'<{{ {first} c"{start}", {rest} zeroinitializer }}>, '
            f'section "{self._section}", align {ALIGNMENT}'
        )
        return text.replace(old, new)

    @property
    def empty_section(self) -> str | None:
        """A section for data that isn't in the file yet; None where the format has no such thing.

        LLVM then never writes its zeros, of which there may be as many as weights in a model.
        """
        if "macos" in self.module.triple or "windows" in self.module.triple:
            return None
        return f"{EMPTY}{self.module.name}"

    def define_empty(self, text: str, size: int, slack: int = 0) -> str:
        """As `define`, in the empty section."""
        old = f'@"{self.symbol}" = external constant i8'
        assert old in text
        new = (
            f'@"{self.symbol}" = internal externally_initialized constant '
            f"[{max(size, MARKER_BYTES) + slack} x i8] zeroinitializer, "
            f'section "{self.empty_section}", align {ALIGNMENT}'
        )
        return text.replace(old, new)

    @property
    def _section(self) -> str:
        """A section of read-only data of the model's own, as the object's format spells it."""
        if "macos" in self.module.triple:
            return "__TEXT,__const"
        if "windows" in self.module.triple:
            return f".rdata${self.module.name}"
        return f".rodata.{self.module.name}"


def used(symbols: list[str]) -> str:
    """IR that keeps constants even where LLVM finds that no result depends on them."""
    if not symbols:
        return ""
    names = ", ".join(f'ptr @"{symbol}"' for symbol in symbols)
    return (
        f"\n@llvm.compiler.used = appending global [{len(symbols)} x ptr] [{names}], "
        'section "llvm.metadata"\n'
    )
