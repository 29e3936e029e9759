"""Cases of control flow and tuples, and of ops that are refused."""

from __future__ import annotations

from collections.abc import Iterator

from tfaot.errors import UnsupportedError
from tfaot.ir.attributes import Metadata
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Shape, TupleShape
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import FINITE, B, Limits, OpCase, make_case

_COUNT = Limits(0, 9, special=False)


def _two_outputs(b: ModuleBuilder) -> tuple[Instruction, ...]:
    x, y = b.parameter(DType.F32, (B, 3)), b.parameter(DType.S32, (B, 5))
    pair = b.tuple(b.unary("negate", x), y)
    return b.get(pair, 1), b.get(pair, 0), x


def _call(b: ModuleBuilder) -> Instruction:
    inner = ModuleBuilder("square")
    p = inner.parameter(DType.F32, (B, 3))
    function = inner.computation(inner.binary("multiply", p, p))
    return b.call(function, b.call(function, b.parameter(DType.F32, (B, 3))))


def _counted_loop(b: ModuleBuilder) -> Instruction:
    """X * 0.5 as often as an input says: the trip count is unknown at compile time."""
    carried = TupleShape((Shape(DType.S32), Shape(DType.F32, (B, 7))))
    test = ModuleBuilder("positive")
    state = test.shaped_parameter(carried)
    condition = test.computation(
        test.compare("GT", test.get(state, 0), test.constant(0, DType.S32))
    )
    step = ModuleBuilder("halve")
    state = step.shaped_parameter(carried)
    count, x = step.get(state, 0), step.get(state, 1)
    fewer = step.binary("subtract", count, step.constant(1, DType.S32))
    body = step.computation(step.tuple(fewer, step.binary("multiply", x, step.splat(0.5, x))))
    initial = b.tuple(b.parameter(DType.S32), b.parameter(DType.F32, (B, 7)))
    return b.get(b.while_loop(condition, body, initial), 1)


def _conditional(chosen: DType, b: ModuleBuilder) -> Instruction:
    branches = []
    for opcode in ("negate", "abs") if chosen is DType.PRED else ("negate", "abs", "floor"):
        inner = ModuleBuilder(opcode)
        branches.append(inner.computation(inner.unary(opcode, inner.parameter(DType.F32, (B, 3)))))
    selector, x = b.parameter(chosen), b.parameter(DType.F32, (B, 3))
    return b.conditional(selector, branches, [x] * len(branches))


def _stateful_random(b: ModuleBuilder) -> Instruction:
    b.metadata = Metadata("RandomUniform", "model/noise/random_uniform")
    limits = b.parameter(DType.F32), b.parameter(DType.F32)
    return b.instruction("rng", Shape(DType.F32, (4,)), limits)


def cases() -> Iterator[OpCase]:
    """Tuples, calls, loops and branches; random state is refused."""
    f32 = DType.F32
    yield make_case("control", "tuple", f32, "two-outputs", _two_outputs)
    yield make_case("control", "call", f32, "twice", _call, FINITE)
    yield make_case("control", "while", f32, "counted", _counted_loop, _COUNT, FINITE)
    yield make_case(
        "control", "conditional", f32, "predicate", lambda b: _conditional(DType.PRED, b)
    )
    yield make_case(
        "control",
        "conditional",
        f32,
        "index",
        lambda b: _conditional(DType.S32, b),
        Limits(-1, 3, special=False),
        FINITE,
    )
    yield make_case("control", "rng", f32, "refused", _stateful_random, error=UnsupportedError)
