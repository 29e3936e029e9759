"""Timers around kernels, for finding out where time goes; never in an artifact for production.

Input: the calls of kernels. Output: the same calls between two readings of the CPU's counter, and
the table `NAME_timers`: for each kernel, in the manifest's order, ticks and calls so far. Threads
add to it without a lock, so that one thread alone gets true numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from tfaot.codegen.index import as_value
from tfaot.codegen.types import I64

ENTRY = 2
"""Numbers of 64 bits per kernel: ticks and calls."""


class Timers:
    """Emits the readings.

    Args:
        module: where they go.
        name: the model's name.
    """

    def __init__(self, module: ir.Module, name: str) -> None:
        self.symbol = f"{name}_timers"
        self._count = 0
        self._table = ir.GlobalVariable(module, I64, self.symbol)
        self._table.linkage = "external"
        # ARM's cycle counter is the kernel's; the other one counts at a fixed rate, as x86's does.
        counter = "readcyclecounter" if module.triple.startswith("x86") else "readsteadycounter"
        self._now = ir.Function(module, ir.FunctionType(I64, []), f"llvm.{counter}")

    @contextmanager
    def timed(self, builder: ir.IRBuilder, number: int) -> Iterator[None]:
        """Time the code that is emitted inside, as kernel `number`."""
        self._count = max(self._count, number + 1)
        start = builder.call(self._now, [])
        yield
        ticks = builder.sub(builder.call(self._now, []), start)
        for place_in_entry, more in enumerate((ticks, as_value(1))):
            index = as_value(number * ENTRY + place_in_entry)
            place = builder.gep(self._table, [index], source_etype=I64)
            before = builder.load(place, typ=I64)
            builder.store(builder.add(before, more), place)

    def defined(self, text: str) -> str:
        """The module's text with the table in place of its declaration."""
        old = f'@"{self.symbol}" = external global i64'
        assert old in text
        size = max(self._count, 1) * ENTRY
        return text.replace(
            old, f'@"{self.symbol}" = global [{size} x i64] zeroinitializer, align 64'
        )
