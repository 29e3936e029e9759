"""Sets of opcodes that passes treat alike."""

from __future__ import annotations

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction

UNARY = frozenset(
    "abs acos acosh asin asinh atanh bitcast-convert cbrt ceil convert copy cosh cosine "
    "count-leading-zeros erf exponential exponential-minus-one floor imag is-finite log "
    "log-plus-one logistic negate not popcnt real reduce-precision round-nearest-afz "
    "round-nearest-even rsqrt sign sine sinh sqrt tan tanh".split()
)
BINARY = frozenset(
    "add and atan2 compare complex divide maximum minimum multiply or power remainder shift-left "
    "shift-right-arithmetic shift-right-logical stochastic-convert subtract xor".split()
)
TERNARY = frozenset({"clamp", "select"})
ELEMENTWISE = UNARY | BINARY | TERNARY


def is_elementwise(instruction: Instruction) -> bool:
    """Whether each result element depends on the operands' elements at the same index alone."""
    if instruction.opcode not in ELEMENTWISE:
        return False
    dims = instruction.array.dims
    return all(o.array.dims == dims for o in instruction.operands)


def reducer(computation: Computation) -> str | None:
    """The opcode of a two-operand reducer (`add`, `maximum`, ...), None for any other.

    Converts around it, as XLA writes for reductions of bfloat16 in float32, count as none.
    """
    parameters = computation.parameters
    root = computation.root
    if root.opcode not in BINARY or len(parameters) != 2 or root.opcode == "compare":
        return None
    operands = root.operands
    same_order = operands[0] is parameters[0] and operands[1] is parameters[1]
    swapped = operands[0] is parameters[1] and operands[1] is parameters[0]
    commutes = root.opcode in ("add", "multiply", "maximum", "minimum", "and", "or", "xor")
    return root.opcode if same_order or (swapped and commutes) else None


def accumulates_exactly(dtype: DType) -> bool:
    """Whether sums in this type do not depend on their order."""
    return dtype.is_integer or dtype is DType.PRED
