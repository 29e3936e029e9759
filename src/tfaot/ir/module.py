"""Modules, computations and instructions.

Instructions form a directed acyclic graph by reference and compare by identity; a computation
lists its instructions in a topological order. Nothing is ever changed in place: passes build new
computations (see `Rewriter`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import NO_METADATA, Attributes, Constant, Metadata, Parameter
from tfaot.ir.shapes import AnyShape, Shape, TupleShape

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class Instruction:
    """One HLO instruction.

    Attributes:
        name: unique within its computation.
        opcode: the HLO opcode as XLA prints it (`add`, `dot`, `reduce-window`).
        shape: the result's shape.
        operands: the instructions whose results it takes.
        attrs: the opcode's attributes (`ir.attributes.ATTRIBUTES`), None where it has none.
        metadata: the TensorFlow op and layer it came from.
    """

    name: str
    opcode: str
    shape: AnyShape
    operands: tuple[Instruction, ...] = ()
    attrs: Attributes = None
    metadata: Metadata = NO_METADATA

    @property
    def array(self) -> Shape:
        """The shape of an array-valued instruction (assertion otherwise)."""
        assert isinstance(self.shape, Shape), self
        return self.shape

    def attr(self, kind: type[A]) -> A:
        """The attributes, known to be of class `kind`."""
        assert isinstance(self.attrs, kind), (self.opcode, self.attrs)
        return self.attrs

    @property
    def called(self) -> tuple[Computation, ...]:
        """The computations that this instruction calls, in the order of its attributes."""
        return called_computations(self.attrs)

    def __repr__(self) -> str:
        operands = ", ".join(o.name for o in self.operands)
        return f"%{self.name} = {self.shape} {self.opcode}({operands})"


@dataclass(frozen=True, eq=False)
class Computation:
    """A function: parameters by number, instructions in topological order, and the root."""

    name: str
    instructions: tuple[Instruction, ...]
    root: Instruction

    @property
    def parameters(self) -> tuple[Instruction, ...]:
        """The parameters in the order of their numbers."""
        found = [i for i in self.instructions if i.opcode == "parameter"]
        return tuple(sorted(found, key=lambda i: i.attr(Parameter).number))


@dataclass(frozen=True, eq=False)
class Module:
    """An HLO module: its entry computation, whose parameters are the model's inputs.

    The root of the entry is an array, or a (flat) tuple of the model's outputs.
    `batch` tells whether B occurs in shapes.
    """

    name: str
    entry: Computation
    batch: bool = False
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def outputs(self) -> tuple[Instruction, ...]:
        """The output values: the root tuple's operands, or the root alone."""
        root = self.entry.root
        return root.operands if root.opcode == "tuple" else (root,)

    def computations(self) -> tuple[Computation, ...]:
        """All computations, callees before callers, each once."""
        seen: dict[int, Computation] = {}

        def visit(computation: Computation) -> None:
            if id(computation) in seen:
                return
            for instruction in computation.instructions:
                for callee in instruction.called:
                    visit(callee)
            seen[id(computation)] = computation

        visit(self.entry)
        return tuple(seen.values())


def called_computations(attrs: Attributes) -> tuple[Computation, ...]:
    """The computations among the fields of `attrs`."""
    if attrs is None:
        return ()
    found: list[Computation] = []
    for f in fields(attrs):
        value = getattr(attrs, f.name)
        if isinstance(value, Computation):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(v for v in value if isinstance(v, Computation))
    return tuple(found)


def map_called(attrs: Attributes, change: Callable[[Computation], Computation]) -> Attributes:
    """`attrs` with every called computation replaced by `change(computation)`."""
    if attrs is None or not called_computations(attrs):
        return attrs
    new: dict[str, Any] = {}
    for f in fields(attrs):
        value = getattr(attrs, f.name)
        if isinstance(value, Computation):
            new[f.name] = change(value)
        elif isinstance(value, tuple) and any(isinstance(v, Computation) for v in value):
            new[f.name] = tuple(change(v) for v in value)
    result: Attributes = replace(attrs, **new)
    return result


def post_order(root: Instruction) -> Iterator[Instruction]:
    """The instructions that `root` depends on and `root` itself, operands first."""
    done: set[int] = set()
    stack: list[tuple[Instruction, int]] = [(root, 0)]
    while stack:
        node, position = stack.pop()
        if id(node) in done:
            continue
        if position < len(node.operands):
            stack.append((node, position + 1))
            if id(node.operands[position]) not in done:
                stack.append((node.operands[position], 0))
        else:
            done.add(id(node))
            yield node


def make_computation(
    name: str, root: Instruction, parameters: tuple[Instruction, ...] = ()
) -> Computation:
    """The computation of everything `root` needs; `parameters` are kept even where unused."""
    order = list(post_order(root))
    present = {id(i) for i in order}
    unused = [p for p in parameters if id(p) not in present]
    return Computation(name, (*unused, *order), root)


class Rewriter:
    """Rebuilds a computation with some instructions replaced.

    Call `run(computation)`; `change(instruction, operands)` is asked once per instruction, operands
    first, with the operands already rewritten, and returns the replacement, or None to keep it.
    Dead instructions disappear, parameters stay.
    """

    def __init__(
        self,
        change: Callable[[Instruction, tuple[Instruction, ...]], Instruction | None],
    ) -> None:
        self._change = change

    def run(self, computation: Computation) -> Computation:
        """The rewritten computation."""
        new: dict[int, Instruction] = {}
        for old in computation.instructions:
            operands = tuple(new[id(o)] for o in old.operands)
            changed = self._change(old, operands)
            if changed is None:
                same = all(a is b for a, b in zip(operands, old.operands, strict=True))
                changed = old if same else replace(old, operands=operands)
            new[id(old)] = changed
        parameters = tuple(new[id(p)] for p in computation.parameters)
        return unique_names(
            make_computation(computation.name, new[id(computation.root)], parameters)
        )


def unique_names(computation: Computation) -> Computation:
    """The same computation with clashing instruction names numbered apart."""
    names: set[str] = set()
    clash = False
    for instruction in computation.instructions:
        clash |= instruction.name in names
        names.add(instruction.name)
    if not clash:
        return computation
    used: set[str] = set()
    new: dict[int, Instruction] = {}
    order: list[Instruction] = []
    for old in computation.instructions:
        name, count = old.name, 0
        while name in used or (count and name in names):
            count += 1
            name = f"{old.name}.{count}"
        used.add(name)
        operands = tuple(new[id(o)] for o in old.operands)
        node = replace(old, name=name, operands=operands)
        new[id(old)] = node
        order.append(node)
    return Computation(computation.name, tuple(order), new[id(computation.root)])


def users(computation: Computation) -> dict[int, list[Instruction]]:
    """For each instruction (by id), the instructions that take its result, in order."""
    found: dict[int, list[Instruction]] = {id(i): [] for i in computation.instructions}
    for instruction in computation.instructions:
        for operand in instruction.operands:
            if not any(u is instruction for u in found[id(operand)]):
                found[id(operand)].append(instruction)
    return found


def is_constant(instruction: Instruction) -> bool:
    """Whether this is a `constant`."""
    return isinstance(instruction.attrs, Constant)


def known_value(instruction: Instruction) -> NDArray[np.generic] | None:
    """The value of a `constant` that code may depend on; None for anything else."""
    attrs = instruction.attrs
    return attrs.value if isinstance(attrs, Constant) and not attrs.origin else None


__all__ = [
    "Computation",
    "Instruction",
    "Module",
    "Rewriter",
    "TupleShape",
    "called_computations",
    "is_constant",
    "known_value",
    "make_computation",
    "map_called",
    "post_order",
    "unique_names",
    "users",
]
