"""Random modules over all ops, types and values: the graph that steps add to, and its choices.

Input: a `RandomModule`, the numbers that make all choices. Output: a `Built` module with what its
inputs may hold. Ops whose results may be rounded in more than one way are outputs too ("taps"), so
that everything behind them can be checked exactly (`module_oracle`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from op_kinds import folded_into, is_inexact

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import BatchDim, Dim, Shape, dim_at
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import ANY, FINITE, Limits, values

B = BatchDim(1)
SIZES = (1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65)
"""Sizes on both sides of multiples of the vector width."""

LARGEST_BATCH = 65
MOST_ELEMENTS = 9000
WHOLE = Limits(-3, 3, special=False)
"""Whole numbers so small that sums and products of some are exact in every order."""

TYPES = (
    *(DType.F32,) * 8,
    *(DType.F64, DType.S32) * 2,
    DType.F16,
    DType.BF16,
    DType.S8,
    DType.S16,
    DType.S64,
    DType.U8,
    DType.U16,
    DType.U32,
    DType.U64,
    DType.PRED,
    DType.C64,
    DType.C128,
)

Step = Callable[["Graph"], "Instruction | Sequence[Instruction] | None"]
STEPS: dict[str, tuple[Step, int]] = {}
"""Every kind of step, with how often it is taken."""


def step(weight: int = 2) -> Callable[[Step], Step]:
    """Registers a function that adds to a graph; None where nothing fits."""

    def register(function: Step) -> Step:
        STEPS[function.__name__] = function, weight
        return function

    return register


@dataclass(frozen=True)
class Built:
    """A module, and which values each of its inputs takes."""

    module: Module
    limits: tuple[Limits, ...]

    def inputs(self, batch: int, seed: int = 0) -> list[NDArray[Any]]:
        """Seeded inputs of `batch` rows."""
        found = []
        for number, (parameter, limits) in enumerate(
            zip(self.module.entry.parameters, self.limits, strict=True)
        ):
            shape = parameter.array
            dims = tuple(dim_at(d, batch) for d in shape.dims)
            generator = np.random.default_rng([seed, number, batch])
            x = values(dims, shape.dtype, limits, generator)
            whole = limits == WHOLE and (shape.dtype.is_float or shape.dtype.is_complex)
            found.append(np.asarray(np.round(x)).astype(x.dtype) if whole else x)
        return found


@dataclass(frozen=True)
class RandomModule:
    """A module, by the choices that make it; equal ones build equal modules.

    Attributes:
        seed: of all choices but the following.
        steps: how many ops are added at most.
        rows_apart: whether the batch axis leads in all inputs, and steps don't touch it.
    """

    seed: int
    steps: int
    rows_apart: bool = False

    @classmethod
    def numbered(cls, number: int) -> RandomModule:
        """One of the sequence of modules of a long run."""
        generator = np.random.default_rng([number, 20])
        steps = 1 + int(generator.geometric(0.22))
        return cls(number, min(steps, 16), bool(generator.integers(0, 3) == 0))

    def build(self) -> Built:
        """The module."""
        import steps_elementwise  # noqa: F401  (steps register themselves)
        import steps_structured  # noqa: F401

        graph = Graph(np.random.default_rng([self.seed, 7]), self.rows_apart)
        graph.add_parameter()
        for _ in range(self.steps):
            graph.add_step()
        return graph.built()


def random_modules() -> st.SearchStrategy[RandomModule]:
    """Modules of up to sixteen ops, shrunk to their first ones."""
    return st.builds(
        RandomModule,
        seed=st.integers(0, 2**32 - 1),
        steps=st.integers(1, 16),
        rows_apart=st.booleans(),
    )


class Graph:
    """A module in the making.

    Attributes:
        values: the arrays made so far.
        whole: ids of those that hold small whole numbers.
        untapped: ids of ops that are exact because their operands are whole.
    """

    def __init__(self, generator: np.random.Generator, rows_apart: bool) -> None:
        self.generator = generator
        self.rows_apart = rows_apart
        self.builder = ModuleBuilder("fuzzed")
        self.limits: list[Limits] = []
        self.values: list[Instruction] = []
        self.whole: set[int] = set()
        self.untapped: set[int] = set()
        self.static = not rows_apart and self.integer(0, 3) == 0
        names = list(STEPS)
        self._names = [n for n in names for _ in range(STEPS[n][1])]

    def built(self) -> Built:
        """The module of some of the values, and of all taps."""
        if not self.values:
            self.add_parameter()
        pools = [self.values[-2:], self.values[-2:], self.values[-8:], self.values]
        outputs = [self.choice(self.choice(pools)) for _ in range(self.integer(1, 3))]
        module = self.builder.module(*outputs)
        taps = [
            i
            for i in module.entry.instructions
            if is_inexact(i) and id(i) not in self.untapped and isinstance(i.shape, Shape)
        ]
        for node in module.entry.instructions:
            # Merged with what follows, they would be rounded otherwise: some are left to be.
            taps += [i for i in folded_into(node) if self.integer(0, 7)]
        taps = list({id(t): t for t in taps}.values())
        seen = {id(o) for o in outputs}
        outputs += [t for t in taps if id(t) not in seen]
        module = self.builder.module(*outputs)
        parameters = module.entry.parameters
        if module.batch and all(p.array.is_static for p in parameters):
            self.parameter(DType.F32, (B, 2))
            module = self.builder.module(*outputs)
        return Built(module, tuple(self.limits))

    def parameter(
        self, dtype: DType, dims: Sequence[Dim], limits: Limits | None = None
    ) -> Instruction:
        """A new input."""
        if limits is None:
            limits = self.choice((ANY, ANY, FINITE, WHOLE))
        if dtype.is_unsigned and limits == WHOLE:
            limits = FINITE
        node = self.builder.parameter(dtype, dims)
        self.limits.append(limits)
        if limits == WHOLE and not dtype.is_integer:
            self.whole.add(id(node))
        return node

    def add_parameter(self, dtype: DType | None = None) -> Instruction:
        """A new input of random shape, among the values."""
        dims = [self.size() for _ in range(self.integer(0, 3))]
        if not self.static and (self.rows_apart or self.integer(0, 3)):
            dims.insert(0 if self.rows_apart or self.flag() else self.integer(0, len(dims)), B)
        if not self.fits(dims):
            dims = [5, 3] if self.static else [B, 3]
        node = self.parameter(dtype or self.choice(TYPES), dims)
        self.values.append(node)
        return node

    def add_step(self) -> None:
        """One more op, if the step that is chosen finds operands."""
        made = STEPS[self.choice(self._names)][0](self)
        for node in (made,) if isinstance(made, Instruction) else made or ():
            if self.fits(node.array.dims) and node.array.dtype in TYPES:
                self.values.append(node)

    def fits(self, dims: Sequence[Dim]) -> bool:
        """Whether an array of these sizes is small enough, and B occurs once at most."""
        symbolic = [d for d in dims if isinstance(d, BatchDim)]
        if len(symbolic) > 1 or any(d.scale < 1 or d.offset < 0 for d in symbolic):
            return False
        if self.rows_apart and symbolic and not isinstance(dims[0], BatchDim):
            return False
        return bool(np.prod([dim_at(d, 17) for d in dims], dtype=np.int64) <= MOST_ELEMENTS)

    def keep_whole(self, node: Instruction, *operands: Instruction) -> Instruction:
        """`node`, known to be whole where its operands are."""
        if all(id(o) in self.whole for o in operands):
            self.whole.add(id(node))
        return node

    def exact(self, node: Instruction, *operands: Instruction) -> Instruction:
        """`node`, a sum, moved into small limits where it is one of whole numbers."""
        if node.array.dtype.is_float and all(id(o) in self.whole for o in operands):
            b, dtype = self.builder, node.array.dtype
            self.untapped.add(id(node))
            node = b.clamp(b.constant(-8, dtype), node, b.constant(8, dtype))
            self.whole.add(id(node))
        return node

    # Choices

    def integer(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return int(self.generator.integers(low, high, endpoint=True))

    def flag(self) -> bool:
        """Heads or tails."""
        return self.integer(0, 1) == 1

    def choice(self, options: Sequence[Any]) -> Any:
        """One of several."""
        return options[self.integer(0, len(options) - 1)]

    def size(self) -> int:
        """The size of a dimension: rarely nothing, mostly small."""
        kind = self.integer(0, 29)
        if kind == 0:
            return 0
        return int(self.choice(SIZES[:8] if kind < 20 else SIZES))

    def value(
        self, types: Sequence[DType] | None = None, *, rank: int = 0, most: int = 9
    ) -> Instruction | None:
        """A value of one of the types and of a rank within limits, recent ones more often."""
        fitting = [
            v
            for v in self.values
            if rank <= v.array.rank <= most and (types is None or v.array.dtype in types)
        ]
        if not fitting:
            made = self.add_parameter(None if types is None else self.choice(tuple(types)))
            return made if rank <= made.array.rank <= most else None
        chosen: Instruction = self.choice(fitting[-3:] if self.integer(0, 2) else fitting)
        return chosen

    def like(self, x: Instruction) -> Instruction:
        """Another operand of the same shape: a value (maybe the same), an input, a constant."""
        same = [v for v in self.values if v.shape == x.shape and v is not x]
        kind = self.integer(0, 5)
        if same and kind < 3:
            return self.choice(same)
        if kind == 5 and not x.array.dtype.is_complex:
            return self.builder.broadcast(self.constant(x.array.dtype), x.array.dims)
        if kind == 4:
            return x
        return self.parameter(x.array.dtype, x.array.dims, WHOLE if id(x) in self.whole else None)

    def constant(self, dtype: DType, *dims: int, limits: Limits = ANY) -> Instruction:
        """A random constant."""
        drawn = values(dims, dtype, limits, np.random.default_rng([self.integer(0, 9999)]))
        if limits == WHOLE:
            drawn = np.asarray(np.round(drawn)).astype(drawn.dtype)
        node = self.builder.constant(drawn, dtype)
        if limits == WHOLE:
            self.whole.add(id(node))
        return node

    def free_dims(self, x: Instruction) -> list[int]:
        """Dimensions that may be cut, turned or reduced."""
        fixed = [d for d, size in enumerate(x.array.dims) if isinstance(size, int)]
        return fixed if self.rows_apart else list(range(x.array.rank))

    def one_sign_of_nan(self, x: Instruction) -> Instruction:
        """`x` with 0 for NaN, whose sign is not specified where it was computed."""
        if not x.array.dtype.is_float or x.opcode == "parameter":
            return x
        b = self.builder
        return b.select(b.compare("EQ", x, x), x, b.splat(0, x))

    def one_zero(self, x: Instruction) -> Instruction:
        """`x` with +0 for -0, which maxima and minima may take for each other."""
        if not x.array.dtype.is_float or x.opcode == "parameter" or self.integer(0, 3) == 0:
            return x
        b = self.builder
        return b.select(b.compare("EQ", x, b.splat(0, x)), b.splat(0, x), x)
