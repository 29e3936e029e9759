"""Memory on the stack, of a size that is known when code is generated."""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.index import as_value


def on_stack(builder: ir.IRBuilder, kind: ir.Type, count: int = 1, align: int = 0) -> ir.Value:
    """The address of `count` elements on the stack, at multiples of `align` bytes where given.

    They are taken at the function's very start. LLVM splits blocks (where it divides, for one), and
    what is taken behind such a place is a frame of its own, whose size nobody knows before the
    program runs.
    """
    entry = builder.function.entry_basic_block
    with builder.goto_block(entry):
        builder.position_at_start(entry)
        place = builder.alloca(kind, size=as_value(count))
        if align:
            place.align = align
    return place
