"""Registry of shape rules: one function per opcode from operands and attributes to the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from tfaot.errors import InvalidModuleError
from tfaot.ir.attributes import Attributes
from tfaot.ir.module import Computation
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape, TupleShape

A = TypeVar("A")


@dataclass(frozen=True)
class Query:
    """An instruction-to-be whose result shape is asked for.

    Attributes:
        opcode: the HLO opcode.
        operands: the shapes of its operands.
        attrs: its attributes.
        result: the shape it is declared to have, needed where it can't be inferred.
    """

    opcode: str
    operands: tuple[AnyShape, ...]
    attrs: Attributes = None
    result: AnyShape | None = None

    def array(self, position: int) -> Shape:
        """The shape of operand `position`, which must be an array."""
        shape = self.operands[position]
        if not isinstance(shape, Shape):
            self.fail(f"operand {position} must be an array")
        return shape

    @property
    def arrays(self) -> tuple[Shape, ...]:
        """The shapes of all operands, which must be arrays."""
        return tuple(self.array(i) for i in range(len(self.operands)))

    def attr(self, kind: type[A]) -> A:
        """The attributes, which must be of class `kind`."""
        if not isinstance(self.attrs, kind):
            self.fail(f"has no {kind.__name__} attributes")
        return self.attrs

    @property
    def declared(self) -> AnyShape:
        """The declared result."""
        if self.result is None:
            self.fail("needs its result shape to be given")
        return self.result

    @property
    def declared_array(self) -> Shape:
        """The declared result, which must be an array."""
        shape = self.declared
        if not isinstance(shape, Shape):
            self.fail("must give an array")
        return shape

    def require(self, condition: bool, message: str) -> None:
        """Fail with `message` unless `condition` holds."""
        if not condition:
            self.fail(message)

    def fail(self, message: str) -> NoReturn:
        """Raise InvalidModuleError for this instruction."""
        raise InvalidModuleError(f"{self.describe()}: {message}")

    def describe(self) -> str:
        """The instruction as text: opcode, operand shapes and declared result."""
        text = f"{self.opcode}({', '.join(map(str, self.operands))})"
        return text if self.result is None else f"{text} -> {self.result}"

    def distinct(self, what: str, dims: tuple[int, ...], rank: int) -> None:
        """Require `dims` to be distinct dimensions of an array of rank `rank`."""
        ok = len(set(dims)) == len(dims) and all(0 <= d < rank for d in dims)
        self.require(ok, f"{what} {braces(dims)} must be distinct dimensions below {rank}")

    def signature(
        self, what: str, computation: Computation, parameters: tuple[AnyShape, ...]
    ) -> AnyShape:
        """The result of `computation`, required to take `parameters`."""
        given = tuple(p.shape for p in computation.parameters)
        self.require(
            given == parameters,
            f"{what} takes {TupleShape(given)} but must take {TupleShape(parameters)}",
        )
        return computation.root.shape


Rule = Callable[[Query], AnyShape]
RULES: dict[str, Rule] = {}


def rule(*opcodes: str) -> Callable[[Rule], Rule]:
    """Register the decorated function as the shape rule of `opcodes`."""

    def register(function: Rule) -> Rule:
        for opcode in opcodes:
            assert opcode not in RULES, opcode
            RULES[opcode] = function
        return function

    return register


def braces(values: tuple[object, ...]) -> str:
    """`{a,b,c}`, as HLO text writes lists."""
    return "{" + ",".join(map(str, values)) + "}"


def at_least(value: Dim, bound: Dim) -> bool:
    """Whether value >= bound for every batch size B >= 1."""
    difference = value - bound
    if isinstance(difference, BatchDim):
        return difference.scale > 0 and difference.at(1) >= 0
    return difference >= 0


def scalars(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """The same element types as scalars."""
    return tuple(Shape(s.dtype) for s in shapes)


def one_or_tuple(shapes: tuple[Shape, ...]) -> AnyShape:
    """The result of an op of one or several results: the array alone or the tuple of all."""
    return shapes[0] if len(shapes) == 1 else TupleShape(shapes)


def polynomial(dims: tuple[Dim, ...]) -> tuple[int, ...]:
    """The product of `dims` as coefficients of powers of B, lowest first, without trailing 0."""
    result = [1]
    for dim in dims:
        low, high = (dim.offset, dim.scale) if isinstance(dim, BatchDim) else (dim, 0)
        longer = [low * c for c in result] + [0]
        for power, coefficient in enumerate(result):
            longer[power + 1] += high * coefficient
        result = longer
    while result and result[-1] == 0:
        result.pop()
    return tuple(result)
