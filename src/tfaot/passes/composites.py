"""Row-wise composites: groups of instructions that are one known function along an axis.

Input: a computation in canonical form. Output: `Composite` records for kernel selection; opcodes
and values stay as they are. Matching looks through conversions between float types (XLA reduces
narrow floats in float32) and through units added to or dropped from a row's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import ml_dtypes
import numpy as np

from tfaot.ir.attributes import Broadcast, Reduce
from tfaot.ir.module import Computation, Instruction, post_order
from tfaot.ir.shapes import Shape
from tfaot.passes.canonicalise.rules import scalar_of
from tfaot.passes.dims import only_units_differ
from tfaot.passes.opcodes import reducer


class CompositeKind(Enum):
    """The function that a composite computes along its axis, for input x of n elements."""

    SOFTMAX = "softmax"
    """exp(x - max x) / sum exp(x - max x)."""
    LOG_SOFTMAX = "log-softmax"
    """(x - max x) - log sum exp(x - max x)."""
    LAYER_NORM = "layer-norm"
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, scale and shift optional."""
    L2_NORMALISE = "l2-normalise"
    """x / sqrt(sum x^2), with sum x^2 (or the root) bounded below by epsilon where there is one."""


@dataclass(frozen=True, eq=False)
class Composite:
    """A recognised group of instructions.

    Attributes:
        kind: what it computes.
        input: the value it starts from, which is no member.
        output: the member that holds the result.
        axis: the dimension of input and output along which it works.
        members: all instructions from input to output, operands first; scalar constants and
            reducers' initial values are left out. Only `output` has users outside.
        epsilon: the constant of layer-norm and l2-normalise, 0 where there is none.
        scale: the broadcast factor of a layer-norm that is written into it, else None.
        shift: the broadcast summand, likewise.
    """

    kind: CompositeKind
    input: Instruction
    output: Instruction
    axis: int
    members: tuple[Instruction, ...]
    epsilon: float = 0.0
    scale: Instruction | None = None
    shift: Instruction | None = None


@dataclass(frozen=True)
class _Match:
    """A match before its members are known."""

    kind: CompositeKind
    input: Instruction
    axis: int
    epsilon: float = 0.0
    scale: Instruction | None = None
    shift: Instruction | None = None


def find_composites(computation: Computation) -> list[Composite]:
    """The composites of a computation, in the order of their outputs; no two share a member."""
    found: list[Composite] = []
    taken: set[int] = set()
    takers: dict[int, list[Instruction]] = {id(i): [] for i in computation.instructions}
    for node in computation.instructions:
        for operand in node.operands:
            takers[id(operand)].append(node)
    # From the end, so that a form that contains another is tried first.
    for output in reversed(computation.instructions):
        if id(output) in taken or not isinstance(output.shape, Shape):
            continue
        for match in _MATCHERS:
            result = match(output)
            if result is None:
                continue
            members = _members(result, output)
            inside = {id(m) for m in members}
            private = all(
                m is output
                or (m is not computation.root and all(id(t) in inside for t in takers[id(m)]))
                for m in members
            )
            if private and not inside & taken:
                taken |= inside
                found.append(
                    Composite(
                        result.kind,
                        result.input,
                        output,
                        result.axis,
                        members,
                        result.epsilon,
                        result.scale,
                        result.shift,
                    )
                )
                break
    return found[::-1]


def _members(match: _Match, output: Instruction) -> tuple[Instruction, ...]:
    """The instructions between the input and the output that depend on the input."""
    depends: set[int] = {id(match.input)}
    members: list[Instruction] = []
    for node in post_order(output):
        if node is not match.input and any(id(o) in depends for o in node.operands):
            depends.add(id(node))
            members.append(node)
    # What the input itself depends on was visited too, but comes before it and is not marked.
    return tuple(members)


def _softmax(output: Instruction) -> _Match | None:
    """E / broadcast(sum e), or e * broadcast(1 / sum e)."""
    root = _plain(output)
    if root.opcode == "divide":
        numerator, row = root.operands
        total = _row(row)
    elif root.opcode == "multiply":
        numerator, row = root.operands
        if _row(row) is None:
            numerator, row = row, numerator
        inner = _row(row)
        total = None
        if inner is not None and inner[0].opcode == "divide":
            one = scalar_of(inner[0].operands[0])
            if one is not None and float(one) == 1:
                total = _plain(inner[0].operands[1]), inner[1]
    else:
        return None
    if total is None:
        return None
    exponential = _plain(numerator)
    summed = _reduction(total[0], "add", 0.0)
    if summed is None or exponential.opcode != "exponential":
        return None
    if _plain(summed[0]) is not exponential or not _fits(total[1], exponential, summed[1]):
        return None
    shifted = _minus_maximum(exponential.operands[0])
    if shifted is None or shifted[1] != summed[1]:
        return None
    return _Match(CompositeKind.SOFTMAX, shifted[0], summed[1])


def _log_softmax(output: Instruction) -> _Match | None:
    """S - broadcast(log(sum(exp s))), for s = x - max x."""
    root = _plain(output)
    if root.opcode != "subtract":
        return None
    row = _row(root.operands[1])
    if row is None or row[0].opcode != "log":
        return None
    summed = _reduction(_plain(row[0].operands[0]), "add", 0.0)
    shifted = _plain(root.operands[0])
    if summed is None or not _fits(row[1], shifted, summed[1]):
        return None
    exponential = _plain(summed[0])
    if exponential.opcode != "exponential" or _plain(exponential.operands[0]) is not shifted:
        return None
    found = _minus_maximum(shifted)
    if found is None or found[1] != summed[1]:
        return None
    return _Match(CompositeKind.LOG_SOFTMAX, found[0], summed[1])


def _minus_maximum(node: Instruction) -> tuple[Instruction, int] | None:
    """(x, axis) where `node` is x - max x along the axis."""
    node = _plain(node)
    if node.opcode != "subtract":
        return None
    row = _row(node.operands[1])
    if row is None:
        return None
    largest = _reduction(row[0], "maximum", -np.inf)
    if largest is None or not _fits(row[1], node, largest[1]):
        return None
    x = _plain(node.operands[0])
    if _plain(largest[0]) is not x:
        return None
    # The value as it is before XLA widened it, where both sides go through one conversion.
    return x, largest[1]


def _l2_normalise(output: Instruction) -> _Match | None:
    """The row x times rsqrt, or divided by sqrt, of its (bounded) sum of squares."""
    root = _plain(output)
    for x, row in _factors(root):
        found = _row(row)
        if found is None:
            continue
        inverse = root.opcode == "multiply"
        bounded = _bounded(found[0], "minimum" if inverse else "maximum")
        node, bound = bounded
        if node.opcode != ("rsqrt" if inverse else "sqrt"):
            continue
        inner, epsilon = _bounded(_plain(node.operands[0]), "maximum")
        if bound:
            epsilon = bound**-2 if inverse else bound**2
        summed = _reduction(inner, "add", 0.0)
        if summed is None or not _fits(found[1], root, summed[1]):
            continue
        square = _plain(summed[0])
        if square.opcode != "multiply" or square.operands[0] is not square.operands[1]:
            continue
        if _plain(square.operands[0]) is _plain(x):
            return _Match(CompositeKind.L2_NORMALISE, _plain(x), summed[1], epsilon)
    return None


def _bounded(node: Instruction, opcode: str) -> tuple[Instruction, float]:
    """What `opcode` bounds by a positive constant, and the constant; the node and 0 without."""
    if node.opcode == opcode:
        bound = scalar_of(node.operands[1])
        if bound is not None and float(bound) > 0:
            return _plain(node.operands[0]), float(bound)
    return node, 0.0


def _factors(node: Instruction) -> tuple[tuple[Instruction, Instruction], ...]:
    """The ways to read a product or quotient as (value, row's factor)."""
    if node.opcode == "divide":
        return ((node.operands[0], node.operands[1]),)
    if node.opcode == "multiply":
        a, b = node.operands
        return ((a, b), (b, a))
    return ()


@dataclass(frozen=True)
class _Moments:
    """1 / sqrt(variance + epsilon) of an input along an axis."""

    input: Instruction
    axis: int
    mean: Instruction
    epsilon: float


def _layer_norm(output: Instruction) -> _Match | None:
    """(x - mean) * inverse, or x * (inverse * scale) + (shift - mean * (inverse * scale))."""
    root = _plain(output)
    for difference, row in _factors(root):
        moments = _deviation(row, root, inverse=root.opcode == "multiply")
        d = _plain(difference)
        if moments is None or d.opcode != "subtract" or _plain(d.operands[0]) is not moments.input:
            continue
        mean = _row(d.operands[1])
        if mean is not None and mean[0] is moments.mean and _fits(mean[1], root, moments.axis):
            return _Match(CompositeKind.LAYER_NORM, moments.input, moments.axis, moments.epsilon)
    return _folded_layer_norm(root)


def _folded_layer_norm(root: Instruction) -> _Match | None:
    """The second form, whose factor and offset are computed apart."""
    if root.opcode not in ("add", "subtract"):
        return None
    pairs = (root.operands, root.operands[::-1]) if root.opcode == "add" else (root.operands,)
    for product, offset in pairs:
        for x, factor in _factors(product) if product.opcode == "multiply" else ():
            scale, inverse = _scaled(factor, root)
            if inverse is None or inverse.input is not _plain(x):
                continue
            found = _offset(offset, factor, inverse, negative=root.opcode == "subtract")
            if found is not None:
                shift = found[0]
                return _Match(
                    CompositeKind.LAYER_NORM,
                    inverse.input,
                    inverse.axis,
                    inverse.epsilon,
                    scale,
                    shift,
                )
    return None


def _scaled(factor: Instruction, root: Instruction) -> tuple[Instruction | None, _Moments | None]:
    """(scale, 1 / sqrt(...)) of a factor that is their product, or the latter alone."""
    moments = _deviation(factor, root, inverse=True)
    if moments is not None:
        return None, moments
    if factor.opcode == "multiply":
        for scale, row in _factors(factor):
            moments = _deviation(row, root, inverse=True)
            if moments is not None and _is_parameter(scale):
                return scale, moments
    return None, None


def _offset(
    node: Instruction, factor: Instruction, moments: _Moments, *, negative: bool
) -> tuple[Instruction | None] | None:
    """(shift,) where `node` is shift - mean * factor, or (`negative`) mean * factor."""
    if negative:
        return (None,) if _is_mean_times(node, factor, moments, negated=False) else None
    if _is_mean_times(node, factor, moments, negated=True):
        return (None,)
    if node.opcode == "subtract":
        shift, product = node.operands
        if _is_parameter(shift) and _is_mean_times(product, factor, moments, negated=False):
            return (shift,)
    if node.opcode == "add":
        for product, shift in (node.operands, node.operands[::-1]):
            if _is_parameter(shift) and _is_mean_times(product, factor, moments, negated=True):
                return (shift,)
    return None


def _is_mean_times(
    node: Instruction, factor: Instruction, moments: _Moments, *, negated: bool
) -> bool:
    """Whether `node` is the mean (or its negative) times `factor`."""
    if negated and node.opcode == "negate":
        return _is_mean_times(node.operands[0], factor, moments, negated=False)
    for mean, other in _factors(node) if node.opcode == "multiply" else ():
        if other is not factor:
            continue
        row = _row(mean)
        if row is None or not _fits(row[1], node, moments.axis):
            continue
        value = row[0]
        if negated:
            if value.opcode != "negate":
                continue
            value = _plain(value.operands[0])
        if value is moments.mean:
            return True
    return False


def _is_parameter(node: Instruction) -> bool:
    """Whether `node` is a broadcast constant or a constant."""
    if node.opcode == "broadcast":
        node = node.operands[0]
    return node.opcode == "constant"


def _deviation(row: Instruction, root: Instruction, *, inverse: bool) -> _Moments | None:
    """The moments where `row` is rsqrt(variance + epsilon) (`inverse`), or its sqrt, broadcast."""
    found = _row(row)
    if found is None or found[0].opcode != ("rsqrt" if inverse else "sqrt"):
        return None
    sum_ = _plain(found[0].operands[0])
    epsilon = 0.0
    if sum_.opcode == "add":
        constant = scalar_of(sum_.operands[1])
        if constant is None:
            return None
        epsilon, sum_ = float(constant), _plain(sum_.operands[0])
    moments = _variance(sum_)
    if moments is None or not _fits(found[1], root, moments[1]):
        return None
    x, axis, mean = moments
    return _Moments(x, axis, mean, epsilon)


def _variance(node: Instruction) -> tuple[Instruction, int, Instruction] | None:
    """(x, axis, mean) where `node` is mean((x - mean)^2), or mean(x^2) - mean^2 (bounded by 0)."""
    if node.opcode == "maximum":
        bound = scalar_of(node.operands[1])
        if bound is None or float(bound) != 0:
            return None
        node = _plain(node.operands[0])
    averaged = _average(node)
    if averaged is not None:
        square = _plain(averaged[0])
        if square.opcode != "multiply" or square.operands[0] is not square.operands[1]:
            return None
        d = _plain(square.operands[0])
        if d.opcode != "subtract":
            return None
        row = _row(d.operands[1])
        mean = None if row is None else _average(row[0])
        if row is None or mean is None or mean[1] != averaged[1]:
            return None
        x = _plain(d.operands[0])
        matches = _plain(mean[0]) is x and _fits(row[1], d, mean[1])
        return (x, mean[1], row[0]) if matches else None
    if node.opcode != "subtract":
        return None
    squares, squared = _average(_plain(node.operands[0])), _plain(node.operands[1])
    if squares is None or squared.opcode != "multiply":
        return None
    if squared.operands[0] is not squared.operands[1]:
        return None
    mean_node = _plain(squared.operands[0])
    mean = _average(mean_node)
    square = _plain(squares[0])
    if mean is None or square.opcode != "multiply" or mean[1] != squares[1]:
        return None
    x = _plain(mean[0])
    same = square.operands[0] is square.operands[1] and _plain(square.operands[0]) is x
    return (x, mean[1], mean_node) if same else None


def _average(node: Instruction) -> tuple[Instruction, int] | None:
    """(x, axis) where `node` is the sum of x along the axis over its number of elements."""
    if node.opcode not in ("multiply", "divide"):
        return None
    constant = scalar_of(node.operands[1])
    summed = _reduction(_plain(node.operands[0]), "add", 0.0)
    if constant is None or summed is None:
        return None
    count = summed[0].array.dims[summed[1]]
    if not isinstance(count, int):
        return None
    expected = count if node.opcode == "divide" else 1 / count
    exact = constant.dtype.type(expected)
    return summed if bool(constant == exact) else None


def _plain(node: Instruction) -> Instruction:
    """`node` before conversions between float types."""
    while node.opcode == "convert":
        inner = node.operands[0]
        if not (node.array.dtype.is_float and inner.array.dtype.is_float):
            break
        node = inner
    return node


def _row(node: Instruction) -> tuple[Instruction, Instruction] | None:
    """(the value per row, the broadcast) where `node` copies a value that is not constant."""
    node = _plain(node)
    if node.opcode != "broadcast":
        return None
    value = _plain(node.operands[0])
    while value.opcode == "reshape" and only_units_differ(
        value.array.dims, value.operands[0].array.dims
    ):
        value = _plain(value.operands[0])
    return None if value.opcode == "constant" else (value, node)


def _reduction(node: Instruction, opcode: str, neutral: float) -> tuple[Instruction, int] | None:
    """(x, axis) where `node` reduces x along one axis by `opcode` from its neutral element."""
    while node.opcode == "reshape" and only_units_differ(
        node.array.dims, node.operands[0].array.dims
    ):
        node = _plain(node.operands[0])
    if node.opcode != "reduce" or len(node.operands) != 2 or not isinstance(node.shape, Shape):
        return None
    attrs = node.attr(Reduce)
    x, init = node.operands
    wide = [d for d in attrs.dimensions if x.array.dims[d] != 1]
    if len(wide) != 1 or reducer(attrs.to_apply) != opcode or not x.array.dtype.is_float:
        return None
    start = scalar_of(_plain(init))
    if start is None:
        return None
    lowest = opcode == "maximum" and float(start) <= -float(_largest(start))
    return (x, wide[0]) if lowest or float(start) == neutral else None


def _largest(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> float:
    """The greatest finite number of a float type."""
    limits: Any = ml_dtypes.finfo
    return float(limits(value.dtype).max)


def _fits(broadcast: Instruction, node: Instruction, axis: int) -> bool:
    """Whether `broadcast` gives each row along `axis` of `node` that row's value."""
    dims = node.array.dims
    if broadcast.array.dims != dims:
        return False
    inner = broadcast.operands[0].array.dims
    placed = [
        d for d, size in zip(broadcast.attr(Broadcast).dimensions, inner, strict=True) if size != 1
    ]
    return placed == [d for d in range(len(dims)) if d != axis and dims[d] != 1]


_MATCHERS = (_softmax, _log_softmax, _layer_norm, _l2_normalise)
