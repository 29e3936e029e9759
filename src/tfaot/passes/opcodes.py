"""Sets of opcodes that passes treat alike."""

from __future__ import annotations

from tfaot.ir.module import Computation, Instruction
from tfaot.ir.opcodes import OPCODES
from tfaot.ir.shapes import Shape

ELEMENTWISE = frozenset(
    name for name, info in OPCODES.items() if info.family == "elementwise" and name != "map"
)
COMMUTATIVE = frozenset(name for name, info in OPCODES.items() if info.commutative)


def is_elementwise(instruction: Instruction) -> bool:
    """Whether each result element depends on the operands' elements at the same index alone."""
    if instruction.opcode not in ELEMENTWISE:
        return False
    dims = instruction.array.dims
    return all(o.array.dims == dims for o in instruction.operands)


def reducer(computation: Computation) -> str | None:
    """The opcode of a two-operand reducer (`add`, `maximum`, ...), None for any other.

    Conversions around the op, as XLA writes to reduce narrow floats in a wider type, count as
    none: the reducer of a narrow type is the op, however wide its intermediate is.
    """
    parameters = computation.parameters
    root = _unconverted(computation.root)
    if len(parameters) != 2 or root.opcode not in ELEMENTWISE or len(root.operands) != 2:
        return None
    if root.array.dtype.itemsize < parameters[0].array.dtype.itemsize:
        return None
    operands = tuple(_unconverted(o) for o in root.operands)
    if operands[0] is parameters[0] and operands[1] is parameters[1]:
        return root.opcode
    swapped = operands[0] is parameters[1] and operands[1] is parameters[0]
    return root.opcode if swapped and root.opcode in COMMUTATIVE else None


def _unconverted(node: Instruction) -> Instruction:
    """The value before floating-point conversions of scalars."""
    while node.opcode == "convert" and isinstance(node.operands[0].shape, Shape):
        if not (node.array.dtype.is_float and node.operands[0].array.dtype.is_float):
            break
        node = node.operands[0]
    return node
