"""Tuples, calls, loops and branches: ops whose operands or results may be tuples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tfaot.ir.attributes import Call, Conditional, GetTupleElement, While
from tfaot.ir.module import Instruction
from tfaot.passes.batch_parallel.facts import Fact, FactTree, MixedRowsError

if TYPE_CHECKING:
    from tfaot.passes.batch_parallel.analysis import Analyser

Structured = Callable[[Instruction, "tuple[FactTree, ...]", "Analyser"], FactTree]

STRUCTURED: dict[str, Structured] = {}

# A loop's facts only ever gain dependences, at most three per carried array.
_MOST_TURNS = 1000


def structured(*opcodes: str) -> Callable[[Structured], Structured]:
    """Register the transfer function of opcodes that take or give tuples."""

    def register(function: Structured) -> Structured:
        for opcode in opcodes:
            STRUCTURED[opcode] = function
        return function

    return register


@structured("tuple")
def make_tuple(node: Instruction, operands: tuple[FactTree, ...], analyser: Analyser) -> FactTree:
    """The facts of the elements."""
    return operands


@structured("get-tuple-element")
def get_tuple_element(
    node: Instruction, operands: tuple[FactTree, ...], analyser: Analyser
) -> FactTree:
    """The fact of one element."""
    (whole,) = operands
    assert isinstance(whole, tuple)
    return whole[node.attr(GetTupleElement).index]


@structured("opt-barrier")
def barrier(node: Instruction, operands: tuple[FactTree, ...], analyser: Analyser) -> FactTree:
    """The operand itself."""
    return operands[0]


@structured("call", "fusion")
def call(node: Instruction, operands: tuple[FactTree, ...], analyser: Analyser) -> FactTree:
    """The callee on the operands."""
    return analyser.run(node.attr(Call).to_apply, operands)


@structured("conditional")
def conditional(node: Instruction, operands: tuple[FactTree, ...], analyser: Analyser) -> FactTree:
    """What either branch may give, chosen by a scalar that no row decides."""
    chooser, *arguments = operands
    branches = node.attr(Conditional).branches
    results = [
        analyser.run(branch, (argument,))
        for branch, argument in zip(branches, arguments, strict=True)
    ]
    joined = results[0]
    for result in results[1:]:
        joined = _join(node, joined, result)
    return _taint(joined, chooser)


@structured("while")
def loop(node: Instruction, operands: tuple[FactTree, ...], analyser: Analyser) -> FactTree:
    """A fixpoint of the carried value; the number of turns is the condition's doing."""
    attrs = node.attr(While)
    (state,) = operands
    for _ in range(_MOST_TURNS):
        condition = analyser.run(attrs.condition, (state,))
        after = _taint(_join(node, state, analyser.run(attrs.body, (state,))), condition)
        if after == state:
            return state
        state = after
    raise MixedRowsError(node, "carries a value whose batch rows can't be followed")


def _join(node: Instruction, a: FactTree, b: FactTree) -> FactTree:
    """What is known of a value that is either of two."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return tuple(_join(node, x, y) for x, y in zip(a, b, strict=True))
    assert isinstance(a, Fact)
    assert isinstance(b, Fact)
    if a.layout != b.layout:
        raise MixedRowsError(node, "moves the batch to another axis in one of its computations")
    return Fact(
        a.layout,
        a.position if a.position is not None else b.position,
        a.size if a.size is not None else b.size,
        a.index if a.index == b.index else 0,
    )


def _taint(fact: FactTree, by: FactTree) -> FactTree:
    """`fact` with the dependences on position and batch size of a deciding scalar."""
    assert isinstance(by, Fact)
    if isinstance(fact, tuple):
        return tuple(_taint(f, by) for f in fact)
    if by.position is None and by.size is None:
        return fact
    return replace(
        fact,
        position=fact.position if fact.position is not None else by.position,
        size=fact.size if fact.size is not None else by.size,
        index=0,
    )
