"""HLO as the readers deliver it: layouts, fusions and calls still in place.

Both readers (proto and text) fill these classes; `ir.normalise` turns them into a `Module`.
Attributes are kept in four small dictionaries under the names that HLO text uses, so that the typed
attributes are built in one place (`ir.raw_attributes`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import InvalidModuleError
from tfaot.ir.attributes import NO_METADATA, Metadata, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import AnyShape, Dim, Shape, TupleShape

Key = Union[int, str]


@dataclass(frozen=True)
class RawArray:
    """An array's type, dimensions and layout.

    Attributes:
        dtype: the element type.
        dims: logical dimensions (the bound, where a dimension is dynamic).
        minor_to_major: the layout, None for row-major.
        varying: the dimensions whose size depends on the data.
    """

    dtype: DType
    dims: tuple[Dim, ...]
    minor_to_major: tuple[int, ...] | None = None
    varying: tuple[int, ...] = ()

    @property
    def physical_order(self) -> tuple[int, ...]:
        """Logical dimensions from the slowest-varying to the fastest-varying."""
        if self.minor_to_major is None:
            return tuple(range(len(self.dims)))
        return tuple(reversed(self.minor_to_major))

    @property
    def is_row_major(self) -> bool:
        """Whether elements lie in logical order (dimensions of size 1 don't matter)."""
        order = [d for d in self.physical_order if self.dims[d] != 1]
        return order == sorted(order)

    def __str__(self) -> str:
        sizes = (f"<={d}" if n in self.varying else str(d) for n, d in enumerate(self.dims))
        text = f"{self.dtype}[{','.join(sizes)}]"
        if self.minor_to_major is None:
            return text
        return text + "{" + ",".join(map(str, self.minor_to_major)) + "}"


@dataclass(frozen=True)
class RawTuple:
    """The shape of a tuple; a token is an empty one."""

    elements: tuple[RawShape, ...] = ()

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.elements))})"


RawShape = Union[RawArray, RawTuple]
TOKEN = RawTuple()


@dataclass
class RawInstruction:
    """One instruction as read.

    Attributes:
        key: what other instructions refer to it by (id in protos, name in text).
        name: its name.
        opcode: its opcode.
        shape: its result, with layout.
        operands: keys of its operands.
        metadata: its origin.
        line: its line in HLO text, 0 in protos.
        ints: integer attributes; booleans are 0 and 1, scalars one-element tuples.
        words: string attributes.
        window: the window's dimensions.
        called: keys of called computations, by role (`to_apply`, `body`, `branches`, ...).
        literal: the value of a constant, in logical order.
        opaque: backend configuration of a custom-call.
    """

    key: Key
    name: str
    opcode: str
    shape: RawShape
    operands: tuple[Key, ...] = ()
    metadata: Metadata = NO_METADATA
    line: int = 0
    ints: dict[str, tuple[Dim, ...]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    window: tuple[WindowDimension, ...] = ()
    called: dict[str, tuple[Key, ...]] = field(default_factory=dict)
    literal: NDArray[Any] | None = None
    opaque: bytes = b""

    def static(self, name: str) -> tuple[int, ...]:
        """The integers of attribute `name`, none of which may depend on B; () if absent."""
        values = self.ints.get(name, ())
        fixed = tuple(v for v in values if isinstance(v, int))
        if len(fixed) != len(values):
            raise self.error(f"attribute {name} must not depend on the batch size")
        return fixed

    def integer(self, name: str, default: int | None = None) -> int:
        """The one integer of attribute `name`, or `default` (an error if that is None)."""
        values = self.static(name)
        if not values and default is not None:
            return default
        if len(values) != 1:
            raise self.error(f"attribute {name} must be one integer")
        return values[0]

    def flag(self, name: str) -> bool:
        """The boolean attribute `name`, False if absent."""
        return bool(self.integer(name, 0))

    def error(self, message: str) -> InvalidModuleError:
        """An InvalidModuleError that names this instruction, its line and its layer."""
        at = f"line {self.line}: " if self.line else ""
        return InvalidModuleError(
            f"{at}%{self.name} = {self.shape} {self.opcode}: {message}{where(self.metadata)}"
        )


@dataclass
class RawComputation:
    """A computation as read: instructions with operands first, and its root's key."""

    key: Key
    name: str
    instructions: list[RawInstruction]
    root: Key


@dataclass
class RawModule:
    """A module as read.

    Attributes:
        name: its name.
        computations: all computations by key.
        entry: the entry's key.
        layouts: parameters and result of the entry as callers see them, None if not stated.
        metadata: free key-value pairs.
    """

    name: str
    computations: dict[Key, RawComputation]
    entry: Key
    layouts: tuple[tuple[RawShape, ...], RawShape] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


def logical_shape(shape: RawShape) -> AnyShape:
    """The shape without layout."""
    if isinstance(shape, RawArray):
        return Shape(shape.dtype, shape.dims)
    return TupleShape(tuple(logical_shape(e) for e in shape.elements))


def arrays(shape: RawShape) -> list[RawArray]:
    """The arrays of a shape, tuples flattened."""
    if isinstance(shape, RawArray):
        return [shape]
    return [a for e in shape.elements for a in arrays(e)]


def to_logical(values: NDArray[Any], shape: RawArray) -> NDArray[Any]:
    """`values`, flat in the physical order of `shape`, as an array in logical order."""
    order = shape.physical_order
    dims = tuple(d for d in shape.dims if isinstance(d, int))
    physical = values.reshape(tuple(dims[d] for d in order))
    return np.ascontiguousarray(physical.transpose(np.argsort(order))).reshape(dims)


def where(metadata: Metadata) -> str:
    """` (from MatMul 'model/dense_1/MatMul')`: the origin for messages, empty where unknown."""
    if not metadata.op_type and not metadata.op_name:
        return ""
    name = f"'{metadata.op_name}'" if metadata.op_name else ""
    return f" (from {' '.join(filter(None, (metadata.op_type, name)))})"


def origin(message: str) -> str:
    """The TensorFlow node that an error's message names by `where`, empty where it names none."""
    found = _ORIGIN.search(message)
    return found.group(1) if found else ""


_ORIGIN = re.compile(r" \(from (?:\S+ )?'([^']*)'\)")
