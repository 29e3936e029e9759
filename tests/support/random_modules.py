"""Random modules: graphs of ops with shared values, whose results are exact in every order.

Every value is a whole number of small magnitude, so that sums and products are exact in float32
and a compiled module must agree with the interpreter bit for bit, however it groups them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import BatchDim, Dim, dim_at
from tfaot.testing.build import ModuleBuilder, binary_computation

B = BatchDim(1)
SIZES = (0, 1, 2, 3, 4, 5, 8, 16, 17, 33)
LARGEST = 8.0
_MOST_ELEMENTS = 4096
_TYPES = (DType.F32, DType.F32, DType.S32)

Step = Callable[["_Graph"], "Instruction | None"]
_STEPS: list[Step] = []


def _step(function: Step) -> Step:
    _STEPS.append(function)
    return function


@dataclass(frozen=True)
class RandomGraph:
    """A module, by the choices that make it; equal ones build equal modules.

    Attributes:
        seed: of all choices but the following.
        parameters: how many inputs there are at least.
        steps: how many ops.
        outputs: how many outputs.
        rows_apart: whether the batch axis leads everywhere, and rows stay apart.
    """

    seed: int
    parameters: int
    steps: int
    outputs: int
    rows_apart: bool = False

    def build(self) -> Module:
        """The module."""
        graph = _Graph(np.random.default_rng(self.seed), self.rows_apart)
        for _ in range(self.parameters):
            graph.add_parameter()
        for _ in range(self.steps):
            graph.add_step()
        # Later values more often: what no output needs is dead.
        pools = [graph.values[-2:], graph.values[-2:], graph.values[-8:], graph.values]
        outputs = [graph.choice(graph.choice(pools)) for _ in range(self.outputs)]
        if all(p.array.is_static for p in graph.parameters):
            graph.parameters.append(graph.builder.parameter(DType.F32, (B, 2)))
        return graph.builder.module(*outputs)


def graphs(*, rows_apart: bool = False) -> st.SearchStrategy[RandomGraph]:
    """Graphs of up to thirty ops: deep from the first example on, and shrunk to their first ops."""
    return st.builds(
        RandomGraph,
        seed=st.integers(0, 2**32 - 1),
        parameters=st.integers(1, 3),
        steps=st.integers(2, 30),
        outputs=st.integers(1, 4),
        rows_apart=st.just(rows_apart),
    )


def inputs_of(module: Module, batch: int, seed: int = 0) -> list[NDArray[Any]]:
    """Seeded whole numbers for the parameters of a random module."""
    generator = np.random.default_rng([seed, batch])
    return [
        generator.integers(-3, 4, [dim_at(d, batch) for d in p.array.dims]).astype(
            p.array.dtype.numpy
        )
        for p in module.entry.parameters
    ]


class _Graph:
    def __init__(self, generator: np.random.Generator, rows_apart: bool) -> None:
        self.generator = generator
        self.rows_apart = rows_apart
        self.builder = ModuleBuilder("random")
        self.parameters: list[Instruction] = []
        self.values: list[Instruction] = []

    def add_parameter(self) -> None:
        rank = self.integer(0, 3)
        dims: list[Dim] = [self.choice(SIZES[1:]) for _ in range(rank)]
        if self.rows_apart or (rank < 3 and self.flag()):
            dims.insert(0 if self.rows_apart else self.integer(0, rank), B)
        if not self._fits(dims):
            dims = [B, 3]
        parameter = self.builder.parameter(self.choice(_TYPES), dims)
        self.parameters.append(parameter)
        self.values.append(parameter)

    def add_step(self) -> None:
        made = self.choice(_STEPS)(self)
        if made is not None and self._fits(made.array.dims):
            self.values.append(made)

    def _fits(self, dims: Sequence[Dim]) -> bool:
        symbolic = sum(isinstance(d, BatchDim) for d in dims)
        return symbolic <= 1 and np.prod([dim_at(d, 5) for d in dims]) <= _MOST_ELEMENTS

    # Choices

    def integer(self, low: int, high: int) -> int:
        return int(self.generator.integers(low, high, endpoint=True))

    def flag(self) -> bool:
        return self.integer(0, 1) == 1

    def choice(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def value(self, *, rank: int = 0) -> Instruction | None:
        """A value of at least the given rank, recent ones more often."""
        fitting = [v for v in self.values if v.array.rank >= rank]
        if not fitting:
            return None
        chosen: Instruction = self.choice(fitting[-3:] if self.integer(0, 2) else fitting)
        return chosen

    def like(self, x: Instruction) -> Instruction:
        """Another value of the same shape (maybe the same)."""
        same: Instruction = self.choice([v for v in self.values if v.shape == x.shape])
        return same

    def small(self, x: Instruction) -> Instruction:
        """`x` within the limits that keep everything exact."""
        b, dtype = self.builder, x.array.dtype
        return b.clamp(b.constant(-LARGEST, dtype), x, b.constant(LARGEST, dtype))

    def constant(self, dtype: DType, *dims: int) -> Instruction:
        generator = np.random.default_rng(self.integer(0, 99))
        return self.builder.constant(generator.integers(-2, 3, dims), dtype)

    def free_dims(self, x: Instruction) -> list[int]:
        """Dimensions that may be cut, turned or reduced."""
        fixed = [d for d, size in enumerate(x.array.dims) if isinstance(size, int)]
        return fixed if self.rows_apart else list(range(x.array.rank))


@_step
def _unary(g: _Graph) -> Instruction | None:
    x = g.value()
    return None if x is None else g.builder.unary(g.choice(("negate", "abs", "sign")), x)


@_step
def _binary(g: _Graph) -> Instruction | None:
    x = g.value()
    if x is None:
        return None
    opcode = g.choice(("add", "subtract", "multiply", "maximum", "minimum"))
    return g.small(g.builder.binary(opcode, x, g.like(x)))


@_step
def _select(g: _Graph) -> Instruction | None:
    x = g.value()
    if x is None:
        return None
    y = g.like(x)
    chosen = g.builder.compare(g.choice(("LT", "EQ", "GE")), x, y)
    return g.builder.select(chosen, g.builder.unary("negate", x), y)


@_step
def _convert(g: _Graph) -> Instruction | None:
    x = g.value()
    if x is None:
        return None
    return g.builder.convert(x, DType.S32 if x.array.dtype is DType.F32 else DType.F32)


@_step
def _bias(g: _Graph) -> Instruction | None:
    """A constant along one dimension, added."""
    x = g.value(rank=1)
    if x is None:
        return None
    sizes = [d for d, size in enumerate(x.array.dims) if isinstance(size, int)]
    if not sizes:
        return None
    d = g.choice(sizes)
    size = x.array.dims[d]
    assert isinstance(size, int)
    bias = g.builder.broadcast(g.constant(x.array.dtype, size), x.array.dims, (d,))
    return g.small(g.builder.binary("add", x, bias))


@_step
def _iota(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None:
        return None
    free = g.free_dims(x)
    if not free:
        return None
    counted = g.builder.iota(x.array.dtype, x.array.dims, g.choice(free))
    return g.small(g.builder.binary("add", x, counted))


@_step
def _broadcast(g: _Graph) -> Instruction | None:
    x = g.value()
    if x is None or x.array.rank > 3:
        return None
    size: Dim = g.choice((1, 2, 3, 5, 17))
    if x.array.is_static and g.flag():
        size = B
    first = 1 if g.rows_apart and not x.array.is_static else 0
    at = 0 if g.rows_apart and not isinstance(size, int) else g.integer(first, x.array.rank)
    dims = (*x.array.dims[:at], size, *x.array.dims[at:])
    return g.builder.broadcast(x, dims, [d for d in range(len(dims)) if d != at])


@_step
def _merge_dims(g: _Graph) -> Instruction | None:
    x = g.value(rank=2)
    if x is None:
        return None
    dims = x.array.dims
    d = g.integer(0, len(dims) - 2)
    merged: Dim = dims[d] * dims[d + 1] if isinstance(dims[d + 1], int) else dims[d + 1] * dims[d]
    if merged == 0 and not x.array.is_static:
        return None
    return g.builder.reshape(x, (*dims[:d], merged, *dims[d + 2 :]))


@_step
def _split_dim(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None or x.array.rank > 4:
        return None
    dims = x.array.dims
    d = g.integer(0, len(dims) - 1)
    size = dims[d]
    whole = size if isinstance(size, int) else size.scale
    factors = [f for f in (1, 2, 3, 4, 5, 16) if whole and whole % f == 0]
    if not factors or (isinstance(size, BatchDim) and size.offset):
        return None
    f = g.choice(factors)
    return g.builder.reshape(x, (*dims[:d], size // f, f, *dims[d + 1 :]))


@_step
def _transpose(g: _Graph) -> Instruction | None:
    x = g.value(rank=2)
    if x is None:
        return None
    order = list(range(x.array.rank))
    free = g.free_dims(x)
    for place, d in zip(free, g.generator.permutation(free).tolist(), strict=True):
        order[place] = d
    return g.builder.transpose(x, order)


@_step
def _slice(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None:
        return None
    starts: list[Dim] = [0] * x.array.rank
    limits = list(x.array.dims)
    strides = [1] * x.array.rank
    for d, size in enumerate(x.array.dims):
        if isinstance(size, int) and g.flag():
            start = g.integer(0, size)
            starts[d], limits[d] = start, g.integer(start, size)
            strides[d] = g.integer(1, 3)
    return g.builder.slice(x, starts, limits, strides)


@_step
def _reverse(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None:
        return None
    return g.builder.reverse(x, [d for d in g.free_dims(x) if g.flag()])


@_step
def _concatenate(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None or not g.free_dims(x):
        return None
    d = g.choice(g.free_dims(x))

    def joins(v: Instruction) -> bool:
        a, c = v.array, x.array
        same = a.dtype is c.dtype and a.rank == c.rank
        return same and a.dims[:d] == c.dims[:d] and a.dims[d + 1 :] == c.dims[d + 1 :]

    others = [v for v in g.values if joins(v)]
    parts = [x, *(g.choice(others) for _ in range(g.integer(0, 2)))]
    return g.builder.concatenate(parts, d)


@_step
def _pad(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None:
        return None
    low, high, interior = ([0] * x.array.rank for _ in range(3))
    for d, size in enumerate(x.array.dims):
        if isinstance(size, int) and g.flag():
            interior[d] = g.integer(0, 2)
            wide = size + max(size - 1, 0) * interior[d]
            low[d] = g.integer(-min(wide, 3), 2)
            high[d] = g.integer(-min(wide + low[d], 3), 3)
        elif not g.rows_apart and g.flag():
            low[d], high[d] = g.integer(0, 2), g.integer(0, 2)
    filler = g.builder.constant(g.integer(-3, 3), x.array.dtype)
    return g.builder.pad(x, filler, low, high, interior)


@_step
def _reduce(g: _Graph) -> Instruction | None:
    x = g.value(rank=1)
    if x is None:
        return None
    axes = [d for d in g.free_dims(x) if g.flag()]
    if not axes:
        return None
    opcode = g.choice(("add", "maximum", "minimum"))
    initial = g.builder.constant(0 if opcode == "add" else g.integer(-8, 8), x.array.dtype)
    reducer = binary_computation(opcode, x.array.dtype)
    return g.small(g.builder.reduce([x], [initial], axes, reducer))


@_step
def _dense(g: _Graph) -> Instruction | None:
    """A dot with constant weights, contracted along any static dimension."""
    x = g.value(rank=1)
    if x is None:
        return None
    sizes = [d for d, size in enumerate(x.array.dims) if isinstance(size, int)]
    if not sizes:
        return None
    d = g.choice(sizes)
    size = x.array.dims[d]
    assert isinstance(size, int)
    weights = g.constant(x.array.dtype, size, g.choice((1, 3, 16, 33)))
    return g.small(g.builder.dot(x, weights, (d,), (0,)))


@_step
def _batched_dot(g: _Graph) -> Instruction | None:
    """Products of all pairs of rows of two values of equal shape, as attention makes them."""
    x = g.value(rank=3)
    if (
        x is None
        or isinstance(x.array.dims[-1], BatchDim)
        or isinstance(x.array.dims[-2], BatchDim)
    ):
        return None
    rank = x.array.rank
    batch = tuple(range(rank - 2))
    return g.small(g.builder.dot(x, g.like(x), (rank - 1,), (rank - 1,), batch, batch))


@_step
def _gather(g: _Graph) -> Instruction | None:
    """Rows of a constant table, by indices that may lie outside of it."""
    indices = [v for v in g.values if v.array.dtype is DType.S32 and v.array.rank < 4]
    if not indices:
        return None
    table = g.constant(DType.F32, g.integer(1, 6), g.choice((1, 3, 17)))
    return g.builder.take_rows(table, g.choice(indices))
