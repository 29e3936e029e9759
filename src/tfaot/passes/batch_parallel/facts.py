"""What the analysis knows of a value, and the registry of its rules.

A value whose shape depends on B holds rows: its `RowLayout` tells where. Three more facts guard
what a layout alone can't see: values that depend on a row's position, on the batch size itself,
and values that are the row's own number (the iota of a row-local gather).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Union

from tfaot.ir.module import Instruction
from tfaot.ir.shapes import AnyShape, BatchDim, Shape, TupleShape

if TYPE_CHECKING:
    from tfaot.passes.batch_parallel.analysis import Analyser


@dataclass(frozen=True)
class RowLayout:
    """Where the batch rows lie in an array.

    Attributes:
        dimension: the dimension that holds them, of size `rows_per_row * B`.
        rows_per_row: m, the indices that belong to one batch row: row r has r*m to (r+1)*m - 1.
    """

    dimension: int
    rows_per_row: int = 1


@dataclass(frozen=True)
class Fact:
    """What is known of an array.

    Attributes:
        layout: where rows lie; None where the value does not depend on them.
        position: an instruction through which a row's value depends on its position, if any.
        size: an instruction through which the value depends on the batch size, if any.
        index: m > 0 where every element of row r is an integer from r*m to (r+1)*m - 1: as an index
            into a dimension of m rows per row it stays within its own row. Else 0.
    """

    layout: RowLayout | None = None
    position: Instruction | None = None
    size: Instruction | None = None
    index: int = 0

    @property
    def plain(self) -> bool:
        """Whether the value depends on neither rows, positions nor the batch size."""
        return self.layout is None and self.position is None and self.size is None

    def at(self, layout: RowLayout | None) -> Fact:
        """The same values with the rows elsewhere."""
        return replace(self, layout=layout)


FactTree = Union[Fact, tuple["FactTree", ...]]

UNIFORM = Fact()


class MixedRowsError(Exception):
    """An instruction lets rows depend on each other; caught by the analysis."""

    def __init__(self, instruction: Instruction, why: str) -> None:
        self.instruction = instruction
        layer = instruction.metadata.op_name or instruction.name
        super().__init__(f"op '{instruction.opcode}' {instruction.shape} of layer '{layer}' {why}")


Transfer = Callable[[Instruction, "tuple[Fact, ...]", "Analyser"], FactTree]
"""(instruction, facts of its array operands, analyser) -> fact of its result."""

TRANSFERS: dict[str, Transfer] = {}


def transfer(*opcodes: str) -> Callable[[Transfer], Transfer]:
    """Register the transfer function of `opcodes`."""

    def register(function: Transfer) -> Transfer:
        for opcode in opcodes:
            assert opcode not in TRANSFERS, opcode
            TRANSFERS[opcode] = function
        return function

    return register


def union(facts: Sequence[Fact], layout: RowLayout | None) -> Fact:
    """A value at `layout` that depends on whatever any of `facts` depends on."""
    position = next((f.position for f in facts if f.position is not None), None)
    size = next((f.size for f in facts if f.size is not None), None)
    return Fact(layout, position, size)


def common_layout(node: Instruction, facts: Sequence[Fact]) -> RowLayout | None:
    """The one layout of all values that hold rows; MixedRowsError where they differ."""
    layouts = [f.layout for f in facts if f.layout is not None]
    if any(layout != layouts[0] for layout in layouts):
        raise MixedRowsError(node, "combines values whose batch rows lie along different axes")
    return layouts[0] if layouts else None


def batch_dimensions(shape: Shape) -> tuple[int, ...]:
    """The dimensions of `shape` that depend on B."""
    return tuple(d for d, dim in enumerate(shape.dims) if isinstance(dim, BatchDim))


def layout_of_copies(node: Instruction) -> RowLayout | None:
    """The layout of a new array whose rows are all alike, from its shape alone."""
    found = batch_dimensions(node.array)
    if not found:
        return None
    if len(found) > 1:
        raise MixedRowsError(node, "has more than one axis that grows with the batch")
    dim = node.array.dims[found[0]]
    assert isinstance(dim, BatchDim)
    if dim.offset or dim.scale < 0:
        raise MixedRowsError(node, f"has an axis of {dim} elements, not a multiple of the batch B")
    return RowLayout(found[0], dim.scale)


def depends_on_batch(shape: AnyShape) -> bool:
    """Whether any dimension of a shape, or of a tuple's elements, depends on B."""
    if isinstance(shape, TupleShape):
        return any(depends_on_batch(e) for e in shape)
    return not shape.is_static
