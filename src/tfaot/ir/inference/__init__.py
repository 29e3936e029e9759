"""Shape and type inference, one file per op family."""

from __future__ import annotations

from tfaot.errors import InvalidModuleError
from tfaot.ir.attributes import ATTRIBUTES, Attributes
from tfaot.ir.inference import (
    control,
    convolution,
    dot,
    elementwise,
    indexing,
    linalg,
    movement,
    reduce,
    source,
    window,
)
from tfaot.ir.inference.registry import RULES, Query
from tfaot.ir.opcodes import OPCODES
from tfaot.ir.shapes import AnyShape

_FAMILIES = (
    control,
    convolution,
    dot,
    elementwise,
    indexing,
    linalg,
    movement,
    reduce,
    source,
    window,
)


def infer_shape(
    opcode: str,
    operand_shapes: tuple[AnyShape, ...],
    attrs: Attributes = None,
    result: AnyShape | None = None,
) -> AnyShape:
    """The shape of an instruction, all its constraints checked (for every batch size >= 1).

    Args:
        opcode: an opcode of `ir.opcodes.OPCODES`.
        operand_shapes: the operands' shapes, in order.
        attrs: the opcode's attributes.
        result: the declared shape; needed for opcodes that are `result_declared`, and taken for the
            element type of a dot or convolution that accumulates in a wider type. Elsewhere unused.

    Returns:
        The result's shape.

    Raises:
        InvalidModuleError: an unknown opcode, or one whose rules the operands break.
    """
    info = OPCODES.get(opcode)
    query = Query(opcode, tuple(operand_shapes), attrs, result)
    if info is None:
        raise InvalidModuleError(f"'{opcode}' is no known HLO opcode")
    low, high = info.arity
    count = len(operand_shapes)
    if count < low or (high is not None and count > high):
        wanted = str(low) if low == high else f"at least {low}"
        query.fail(f"takes {wanted} operands, not {count}")
    kind = ATTRIBUTES.get(opcode, type(None))
    if not isinstance(attrs, kind):
        query.fail(f"attributes must be {kind.__name__}, not {type(attrs).__name__}")
    return RULES[opcode](query)


__all__ = ["infer_shape"]
