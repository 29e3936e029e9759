"""Tuples, calls, fusions, maps and conditionals whose branch is known."""

from __future__ import annotations

from dataclasses import replace

from tfaot.ir.attributes import Call, Conditional, GetTupleElement, Parameter
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Shape
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import literal, rule
from tfaot.passes.opcodes import ELEMENTWISE


@rule("get-tuple-element")
def element_of_tuple(node: Instruction) -> Instruction | None:
    """The element of a tuple that was just made."""
    x = node.operands[0]
    return x.operands[node.attr(GetTupleElement).index] if x.opcode == "tuple" else None


@rule("call", "fusion")
def inline_call(node: Instruction) -> Instruction | None:
    """A call is the callee's instructions on the caller's operands."""
    return inline(node.attr(Call).to_apply, node.operands)


@rule("conditional")
def known_branch(node: Instruction) -> Instruction | None:
    """A conditional on a constant is the branch taken (predicates: the first is for true)."""
    value = literal(node.operands[0])
    if value is None:
        return None
    branches = node.attr(Conditional).branches
    if node.operands[0].array.dtype is DType.PRED:
        index = 0 if bool(value) else 1
    else:
        # An index out of range takes the last branch, as the specification says.
        index = int(value) if 0 <= int(value) < len(branches) else len(branches) - 1
    return inline(branches[index], (node.operands[1 + index],))


@rule("map")
def map_to_elementwise(node: Instruction) -> Instruction | None:
    """A map whose computation is scalar arithmetic is that arithmetic on whole arrays."""
    computation = node.attr(Call).to_apply
    allowed = ELEMENTWISE | {"parameter", "constant"}
    if any(i.opcode not in allowed or i.called for i in computation.instructions):
        return None
    dims = node.array.dims
    new: dict[int, Instruction] = {}
    for old in computation.instructions:
        if old.opcode == "parameter":
            new[id(old)] = node.operands[old.attr(Parameter).number]
        elif old.opcode == "constant":
            new[id(old)] = build.broadcast(node, old, dims, ())
        else:
            operands = tuple(new[id(o)] for o in old.operands)
            shape = Shape(old.array.dtype, dims)
            new[id(old)] = replace(old, shape=shape, operands=operands, metadata=node.metadata)
    return new[id(computation.root)]


def inline(computation: Computation, operands: tuple[Instruction, ...]) -> Instruction:
    """The root of `computation` on `operands` instead of its parameters."""
    new: dict[int, Instruction] = {}
    for old in computation.instructions:
        if old.opcode == "parameter":
            new[id(old)] = operands[old.attr(Parameter).number]
        else:
            new[id(old)] = build.rebuild(old, tuple(new[id(o)] for o in old.operands))
    return new[id(computation.root)]
