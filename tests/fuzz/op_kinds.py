"""Kinds of ops, by how their results may be rounded: what the judge of random modules goes by.

Input: an instruction. Output: its kind, or whether it may be merged with those around it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from tfaot.codegen.math import MATH
from tfaot.ir.module import Computation, Instruction
from tfaot.ir.shapes import Shape, TupleShape

EXACT, ZERO, ULP, MIXED, SUM, COMPLEX, FFT, CHOLESKY, SOLVE, UNKNOWN = [
    "exact",
    "zero",
    "ulp",
    "mixed",
    "sum",
    "complex",
    "fft",
    "cholesky",
    "solve",
    "unknown",
]
"""Kinds of ops: exact; exact but for the sign of zero; within an error in ULP; a sum that may be
contracted with a product; a sum in any order; complex arithmetic; and so on."""

_ZERO = frozenset({"maximum", "minimum", "clamp"})
_CORRECTLY_ROUNDED = frozenset({"sqrt", "remainder"})
_COMPLEX_EXACT = frozenset(
    """add subtract negate complex real imag compare select convert parameter constant iota
    """.split()  # noqa: SIM905
)
_MOVES = frozenset(
    """reshape bitcast broadcast transpose slice copy reverse concatenate pad opt-barrier
    get-tuple-element tuple dynamic-slice dynamic-update-slice gather select custom-call
    """.split()  # noqa: SIM905
)
_THROUGH = _MOVES | {"negate", "abs", "scatter"}
_PRODUCTS = frozenset({"multiply", "divide", "dot", "convolution", "power", "reduce"})
SUMS = frozenset({"add", "subtract"})
CONTROL = frozenset({"call", "map", "fusion", "while", "conditional"})
REDUCTIONS = frozenset({"reduce", "reduce-window", "scatter", "select-and-scatter"})


def is_inexact(node: Instruction) -> bool:
    """Whether the result may be rounded in several ways."""
    return kind_of_op(node) not in (EXACT, ZERO, UNKNOWN)


def kind_of_op(node: Instruction) -> str:
    """The kind of an op."""
    opcode = node.opcode
    if opcode in CONTROL:
        inner = [i for c in node.called for i in c.instructions]
        if not all(_is_exact(c) for c in node.called):
            return UNKNOWN
        return ZERO if any(kind_of_op(i) is ZERO for i in inner) else EXACT
    if opcode == "rng-bit-generator" or isinstance(node.shape, TupleShape):
        inner = [i for c in node.called for i in c.instructions]
        return EXACT if not any(kind_of_op(i) not in (EXACT, ZERO) for i in inner) else UNKNOWN
    dtype = node.shape.dtype
    shapes = [o.shape for o in node.operands if isinstance(o.shape, Shape)]
    if opcode in REDUCTIONS and (dtype.is_float or dtype.is_complex):
        inside = reducers_of(node)
        if inside & {"add", "multiply", "subtract"}:
            return SUM
        return ZERO if inside & _ZERO else EXACT
    if opcode in ("dot", "convolution"):
        return SUM if dtype.is_float or dtype.is_complex else EXACT
    if opcode in ("fft", "cholesky", "triangular-solve"):
        return {"fft": FFT, "cholesky": CHOLESKY}.get(opcode, SOLVE)
    if any(s.dtype.is_complex for s in shapes) and (dtype.is_float or dtype.is_complex):
        return EXACT if opcode in _COMPLEX_EXACT | _MOVES | REDUCTIONS else COMPLEX
    if not dtype.is_float:
        return EXACT
    if opcode in _ZERO:
        return ZERO
    if opcode in ("add", "subtract") and any(is_product(o) for o in node.operands):
        return MIXED
    if opcode in MATH and opcode not in _CORRECTLY_ROUNDED:
        return ULP
    return EXACT


def source_of(node: Instruction) -> Instruction:
    """The op whose result this only moves."""
    while node.opcode in _MOVES and node.operands:
        node = node.operands[0]
    return node


def is_product(node: Instruction, depth: int = 12) -> bool:
    """Whether this is a product, maybe moved or negated."""
    if node.opcode in _PRODUCTS:
        return True
    if node.opcode not in _THROUGH or not depth:
        return False
    return any(is_product(o, depth - 1) for o in node.operands)


_STEPS = frozenset({"add", "subtract", "multiply", "divide", "negate"})


def is_coefficient(node: Instruction) -> bool:
    """Whether this is made of constants alone."""
    if node.opcode in ("constant", "iota"):
        return True
    return bool(node.operands) and all(is_coefficient(o) for o in node.operands)


def _folds(node: Instruction) -> bool:
    """Whether this is a product with, or a sum with, a constant, or a dot with weights."""
    if not isinstance(node.shape, Shape) or not node.shape.dtype.is_float:
        return False
    if node.opcode in ("dot", "convolution"):
        return True
    constants = [is_coefficient(o) for o in node.operands]
    return node.opcode in _STEPS and (node.opcode == "negate" or any(constants))


def folded_into(node: Instruction, kept: Container[int] = ()) -> list[Instruction]:
    """Ops before `node` that a compile may merge with it, their constants into each other's.

    Args:
        node: any instruction.
        kept: ids of instructions that keep their values, being outputs.
    """
    if not _folds(node):
        return []
    found = []
    for operand in node.operands:
        while operand.opcode in ("reshape", "transpose", "bitcast") and id(operand) not in kept:
            operand = operand.operands[0]
        if id(operand) not in kept and _folds(operand):
            found.append(operand)
    return found


def _is_exact(computation: Computation) -> bool:
    return all(
        kind_of_op(i) in (EXACT, ZERO) and not folded_into(i) for i in computation.instructions
    )


def reducers_of(node: Instruction) -> set[str]:
    """The opcodes in the computations that an op calls."""
    return {i.opcode for c in node.called for i in c.instructions}


_IDENTITIES = {
    frozenset({"add"}): 0,
    frozenset({"or"}): 0,
    frozenset({"xor"}): 0,
    frozenset({"multiply"}): 1,
}


def is_identity(reducers: set[str], initial: Sequence[Any]) -> bool:
    """Whether initial values change nothing, however often they are used."""
    value = _IDENTITIES.get(frozenset(reducers - {"parameter"}))
    return value is not None and all(v is not None and bool(np.all(v == value)) for v in initial)


def adds_zero(node: Instruction) -> bool:
    """Whether a constant may be added that is 0, which XLA leaves out: then -0 stays -0."""
    if node.opcode == "add":
        return any(is_coefficient(o) for o in node.operands)
    return node.opcode in REDUCTIONS and "add" in reducers_of(node)


def _hides_product(node: Instruction) -> bool:
    """Whether XLA finds a product here: a called computation's, or the larger of it and itself."""
    node = source_of(node)
    if node.opcode in ("maximum", "minimum"):
        return node.operands[0] is node.operands[1] and is_product(node.operands[0])
    return node.opcode in CONTROL and bool(reducers_of(node) & {"multiply", "divide", "power"})


def sums_hidden_products(node: Instruction) -> bool:
    """Whether a sum has a product as its term once XLA has inlined and simplified both."""
    if node.opcode in CONTROL:
        sums = bool(reducers_of(node) & SUMS)
        return sums and any(is_product(o) or _hides_product(o) for o in node.operands)
    return node.opcode in SUMS and any(_hides_product(o) for o in node.operands)


def contracts(node: Instruction) -> bool:
    """Whether a called computation has products and sums."""
    inside = reducers_of(node)
    return bool(inside & {"multiply", "divide"}) and bool(inside & {"add", "subtract"})


def magnitude_of(node: Instruction) -> Instruction:
    """The op that adds where `node` adds or subtracts."""
    if node.opcode != "subtract":
        return node
    return Instruction(node.name, "add", node.shape, node.operands, node.attrs)


def is_input(node: Instruction) -> bool:
    """Whether this is an input, maybe moved: the signs of its NaNs are known."""
    if node.opcode in ("parameter", "constant", "iota"):
        return True
    return node.opcode in _MOVES and all(is_input(o) for o in node.operands)
