"""Arithmetic, logic, comparison and selection.

Each rewrite keeps every bit of every result, infinities, NaNs and signed zeros included, or (power
by a small constant, logistic) is nearer to the exact value than what it replaces.
"""

from __future__ import annotations

import math
from dataclasses import replace

from tfaot.ir.attributes import Broadcast, Compare
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import (
    is_scalar,
    is_zero,
    rule,
    scalar_of,
)
from tfaot.passes.opcodes import ELEMENTWISE, is_elementwise

_FLIPPED = {"EQ": "EQ", "NE": "NE", "LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE"}
_OPPOSITE = {"EQ": "NE", "NE": "EQ", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT"}


@rule(*sorted(ELEMENTWISE))
def sink_into_broadcast(node: Instruction) -> Instruction | None:
    """Arithmetic on copies is done once, and the result copied."""
    if not is_elementwise(node) or any(o.opcode != "broadcast" for o in node.operands):
        return None
    kept = sorted({d for o in node.operands for d in o.attr(Broadcast).dimensions})
    dims = node.array.dims
    if all(d in kept or dims[d] == 1 for d in range(len(dims))):
        return None
    inner_dims = tuple(dims[d] for d in kept)
    operands: list[Instruction] = []
    for o in node.operands:
        dimensions = tuple(kept.index(d) for d in o.attr(Broadcast).dimensions)
        operands.append(build.broadcast(o, o.operands[0], inner_dims, dimensions))
    inner = replace(node, shape=node.array.with_dims(inner_dims), operands=tuple(operands))
    return build.broadcast(node, inner, dims, tuple(kept))


@rule(*sorted(ELEMENTWISE))
def constant_of_equal_elements(node: Instruction) -> Instruction | None:
    """Operands whose elements are all equal become broadcasts of a scalar."""
    operands: list[Instruction] = []
    for o in node.operands:
        value = scalar_of(o) if o.opcode == "constant" and o.array.rank else None
        operands.append(o if value is None else build.splat(o, value, o.array))
    changed = build.rebuild(node, tuple(operands))
    return None if changed is node else changed


def _weight(x: Instruction) -> int:
    """How far to the right an operand belongs: constants after everything else."""
    if x.opcode == "broadcast":
        return 1 if x.operands[0].opcode == "constant" else 0
    return 2 if x.opcode == "constant" else 0


@rule("add", "multiply", "and", "or", "xor", "maximum", "minimum")
def constant_second(node: Instruction) -> Instruction | None:
    """Constants come second where the order of operands does not matter."""
    a, b = node.operands
    if _weight(a) <= _weight(b):
        return None
    if node.opcode in ("maximum", "minimum") and node.array.dtype.is_float:
        # Which zero wins, and which NaN, may depend on the order.
        value = scalar_of(a)
        if value is None or bool(value == 0) or bool(value != value):
            return None
    return replace(node, operands=(b, a))


@rule("compare")
def compare_constant_second(node: Instruction) -> Instruction | None:
    """The same for comparisons, whose direction turns round."""
    a, b = node.operands
    if _weight(a) <= _weight(b):
        return None
    attrs = node.attr(Compare)
    return build.compare(node, _FLIPPED[attrs.direction], attrs.order, b, a)


@rule("add")
def add_nothing(node: Instruction) -> Instruction | None:
    """Adding -0 keeps every float, and adding 0 every integer; so does adding 0 after a dot.

    The sign of a zero that a sum of products makes is not specified.
    """
    x, y = node.operands
    if is_zero(y, negative=True):
        return x
    if x.opcode in ("dot", "convolution") and is_zero(y, negative=False):
        return x
    return None


@rule("subtract")
def subtract_nothing(node: Instruction) -> Instruction | None:
    """Subtracting +0 keeps every value."""
    x, y = node.operands
    return x if is_zero(y, negative=False) else None


@rule("multiply")
def multiply_by_unit(node: Instruction) -> Instruction | None:
    """Products with 1, with -1 and (integers) with 0."""
    x, y = node.operands
    if node.array.dtype is DType.PRED or node.array.dtype.is_complex:
        return None
    if is_scalar(y, 1):
        return x
    if not node.array.dtype.is_unsigned and is_scalar(y, -1):
        return build.unary(node, "negate", x)
    if node.array.dtype.is_integer and is_scalar(y, 0):
        return y
    return None


@rule("divide")
def divide_by_constant(node: Instruction) -> Instruction | None:
    """Division by 1; by a power of two whose reciprocal is a normal number, a product."""
    x, y = node.operands
    if node.array.dtype.is_complex:
        return None
    if is_scalar(y, 1):
        return x
    value = scalar_of(y)
    if value is None or node.array.dtype not in (DType.F16, DType.BF16, DType.F32, DType.F64):
        return None
    number = float(value)
    if not math.isfinite(number) or number == 0 or abs(math.frexp(number)[0]) != 0.5:
        return None
    reciprocal = value.dtype.type(1.0 / number)
    smallest = 2.0 ** {"f16": -14, "f64": -1022}.get(node.array.dtype.value, -126)
    if not smallest <= abs(float(reciprocal)) < math.inf:
        return None
    return build.binary(node, "multiply", x, build.splat(y, reciprocal, y.array))


@rule("negate", "not")
def undo_twice(node: Instruction) -> Instruction | None:
    """Double negation."""
    x = node.operands[0]
    return x.operands[0] if x.opcode == node.opcode else None


@rule("not")
def not_of_compare(node: Instruction) -> Instruction | None:
    """The opposite comparison, where no NaN can make both false."""
    x = node.operands[0]
    if x.opcode != "compare":
        return None
    attrs = x.attr(Compare)
    if attrs.order == "FLOAT" and attrs.direction not in ("EQ", "NE"):
        return None
    return build.compare(node, _OPPOSITE[attrs.direction], attrs.order, *x.operands)


@rule("abs")
def abs_of_sign_change(node: Instruction) -> Instruction | None:
    """Absolute value ignores an inner sign change."""
    x = node.operands[0]
    if x.opcode == "abs" and x.shape == node.shape:
        return x
    if x.opcode == "negate" and x.array.dtype.is_float:
        return build.unary(node, "abs", x.operands[0])
    return None


@rule("add")
def add_of_negation(node: Instruction) -> Instruction | None:
    """The sum a + (-b) is a - b, and (-a) + b is b - a (constants keep their form)."""
    a, b = node.operands
    if not node.array.dtype.is_float:
        return None
    if b.opcode == "negate":
        return build.binary(node, "subtract", a, b.operands[0])
    if a.opcode == "negate" and _weight(b) == 0:
        return build.binary(node, "subtract", b, a.operands[0])
    return None


@rule("subtract")
def subtract_of_negation(node: Instruction) -> Instruction | None:
    """The difference a - (-b) is a + b."""
    a, b = node.operands
    if b.opcode != "negate" or not node.array.dtype.is_float:
        return None
    return build.binary(node, "add", a, b.operands[0])


@rule("and", "or", "xor")
def logic_with_constant(node: Instruction) -> Instruction | None:
    """Logic with all bits clear or all set, and of a value with itself."""
    x, y = node.operands
    if x is y:
        if node.opcode == "xor":
            return build.splat(node, 0, node.array)
        return x
    value = scalar_of(y)
    if value is None:
        return None
    clear = not value.any()
    full = bool(value) if node.array.dtype is DType.PRED else bool(~value == 0)
    if node.opcode == "and":
        return y if clear else x if full else None
    if node.opcode == "or":
        return x if clear else y if full else None
    if clear:
        return x
    return build.unary(node, "not", x) if full else None


@rule("select")
def simplify_select(node: Instruction) -> Instruction | None:
    """Selection with a known or negated predicate, or between equals."""
    predicate, on_true, on_false = node.operands
    if on_true is on_false:
        return on_true
    value = scalar_of(predicate)
    if value is not None:
        return on_true if bool(value) else on_false
    if predicate.opcode == "not":
        return replace(node, operands=(predicate.operands[0], on_false, on_true))
    if node.array.dtype is DType.PRED:
        if is_scalar(on_true, 1) and is_scalar(on_false, 0):
            return predicate
        if is_scalar(on_true, 0) and is_scalar(on_false, 1):
            return build.unary(node, "not", predicate)
    return None


@rule("compare")
def compare_of_predicate(node: Instruction) -> Instruction | None:
    """A converted predicate compared with 0 or 1 is the predicate or its negation."""
    x, y = node.operands
    attrs = node.attr(Compare)
    source = x.operands[0] if x.opcode == "convert" else x
    if source.array.dtype is not DType.PRED or attrs.order == "TOTALORDER":
        return None
    zero, one = is_scalar(y, 0), is_scalar(y, 1)
    if not zero and not one:
        return None
    results = {
        ("NE", 0): True,
        ("GT", 0): True,
        ("EQ", 1): True,
        ("GE", 1): True,
        ("EQ", 0): False,
        ("LE", 0): False,
        ("NE", 1): False,
        ("LT", 1): False,
    }
    same = results.get((attrs.direction, 1 if one else 0))
    if same is None:
        return None
    return source if same else build.unary(node, "not", source)


@rule("compare")
def compare_with_itself(node: Instruction) -> Instruction | None:
    """An integer is equal to itself."""
    a, b = node.operands
    if a is not b or not (a.array.dtype.is_integer or a.array.dtype is DType.PRED):
        return None
    return build.splat(node, node.attr(Compare).direction in ("EQ", "LE", "GE"), node.array)


@rule("compare")
def compare_count_with_zero(node: Instruction) -> Instruction | None:
    """Counts (iota) are never negative, so an index made of them need not wrap round."""
    a, b = node.operands
    if not a.array.dtype.is_integer or not is_scalar(b, 0) or not _counts(a):
        return None
    direction = node.attr(Compare).direction
    if direction not in ("LT", "GE"):
        return None
    return build.splat(node, direction == "GE", node.array)


def _counts(x: Instruction) -> bool:
    """Whether `x` holds elements of an iota of its own type alone."""
    while x.opcode in ("reshape", "broadcast", "transpose", "slice", "reverse"):
        x = x.operands[0]
    return x.opcode == "iota"


@rule("power")
def power_of_constant(node: Instruction) -> Instruction | None:
    """x^1, x^2 and x^-1, which a product or quotient gives correctly rounded."""
    x, y = node.operands
    if not node.array.dtype.is_float:
        return None
    if is_scalar(y, 1):
        return x
    if is_scalar(y, 2):
        return build.binary(node, "multiply", x, x)
    if is_scalar(y, -1):
        return build.binary(node, "divide", build.splat(node, 1, node.array), x)
    return None


@rule("divide")
def recognise_logistic(node: Instruction) -> Instruction | None:
    """1 / (1 + exp(-x)) is logistic(x), which rounds once where the formula rounds thrice."""
    one, sum_ = node.operands
    if not node.array.dtype.is_float or not is_scalar(one, 1) or sum_.opcode != "add":
        return None
    a, b = sum_.operands
    if is_scalar(b, 1) and a.opcode == "exponential":
        power = a.operands[0]
    elif is_scalar(a, 1) and b.opcode == "exponential":
        power = b.operands[0]
    else:
        return None
    if power.opcode == "negate":
        return build.unary(node, "logistic", power.operands[0])
    return build.unary(node, "logistic", build.unary(power, "negate", power))
