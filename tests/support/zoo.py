"""The zoo: one small model for each family of ops, for tests of whole objects in a user's program.

Those of `models` and of tests/consumer, and beside them convolutions, sorts, transforms, scatters,
linear algebra, control flow, recurrent layers, random numbers and all element types.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import consumer_models
import models
import numpy as np
from compiled import signature_of
from consumer_models import Model, compile_to

from tfaot.artifact import Artifact
from tfaot.ir.attributes import Scatter, TriangularSolve, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, Module
from tfaot.ir.shapes import BatchDim, Shape, TupleShape
from tfaot.testing.build import (
    ModuleBuilder,
    binary_computation,
    canonical_convolution,
    comparator,
)

B = BatchDim(1)
F32, S32 = DType.F32, DType.S32

CHOOSING = ("zoo_control", "zoo_mixing_user", "zoo_scatter", "zoo_sorts", "zoo_stitched_user")
"""Models that hold all levels even in the fast tests; in the slow ones all do."""

Outputs = Any  # an instruction, or a tuple of them
_RECIPES: dict[str, Callable[[ModuleBuilder], Outputs]] = {}


def _animal(function: Callable[[ModuleBuilder], Outputs]) -> Callable[[ModuleBuilder], Outputs]:
    _RECIPES[function.__name__.strip("_")] = function
    return function


def zoo() -> dict[str, Model]:
    """All models by name, each name a C identifier that begins with `zoo_`."""
    found: dict[str, Model] = {}
    for model in consumer_models.all_models():
        found[f"zoo_{model.name}_user"] = model
    for name, small in models.MODELS.items():
        module = small.build()
        found[f"zoo_{name.replace('-', '_')}"] = Model(name, module, signature_of(module))
    for name in _RECIPES:
        module = module_of(name)
        found[f"zoo_{name}"] = Model(name, module, signature_of(module))
    return found


def module_of(name: str) -> Module:
    """The module of one of the models that are defined here."""
    b = ModuleBuilder(name)
    outputs = _RECIPES[name](b)
    return b.module(*(outputs if isinstance(outputs, tuple) else (outputs,)))


def compile_zoo(folder: Path, target: str, names: tuple[str, ...] = ()) -> dict[str, Artifact]:
    """Artifacts of the models in a folder; `names` chooses some."""
    chosen = {n: m for n, m in zoo().items() if not names or n in names}
    return {name: compile_to(folder, m, target, name) for name, m in chosen.items()}


def write_list(folder: Path, names: tuple[str, ...]) -> None:
    """models.h, which zoo.h reads."""
    lines = [*(f'#include "{name}.h"' for name in names), "#define MODELS \\"]
    lines += [f"  {name}_info, \\" for name in names]
    (folder / "models.h").write_text("\n".join(lines) + "\n\n")


def _weights(b: ModuleBuilder, *dims: int) -> Instruction:
    generator = np.random.default_rng(dims)
    scale = np.sqrt(np.prod(dims[:-1]) or 1)
    return b.constant((generator.normal(size=dims) / scale).astype(np.float32))


def _biased(b: ModuleBuilder, x: Instruction) -> Instruction:
    last = x.array.rank - 1
    width = x.array.dims[last]
    assert isinstance(width, int)
    return b.binary("add", x, b.broadcast(_weights(b, width), x.array.dims, (last,)))


def _relu(b: ModuleBuilder, x: Instruction) -> Instruction:
    return b.binary("maximum", x, b.splat(0.0, x))


@_animal
def _convolution(b: ModuleBuilder) -> Outputs:
    """Two convolutions, one of them strided, a pooling, a depthwise one, a dense layer."""
    x = b.parameter(F32, (B, 13, 11, 3))
    same = WindowDimension(3, padding_low=1, padding_high=1)
    y = b.convolution(x, _weights(b, 3, 3, 3, 20), canonical_convolution([same] * 2))
    y = _relu(b, _biased(b, y))
    half = WindowDimension(2, 2)
    whole = WindowDimension(1)
    low = b.constant(-np.inf, F32)
    y = b.reduce_window([y], [low], [whole, half, half, whole], binary_computation("maximum", F32))
    y = b.convolution(y, _weights(b, 3, 3, 1, 20), canonical_convolution([same] * 2, 20))
    y = _relu(b, _biased(b, y))
    y = b.convolution(y, _weights(b, 2, 2, 20, 7), canonical_convolution([half] * 2))
    flat = b.reshape(y, (B, 3 * 2 * 7))
    return _biased(b, b.matmul(flat, _weights(b, 42, 5))), y


@_animal
def _convolution_1d(b: ModuleBuilder) -> Outputs:
    """A dilated convolution over a sequence, and a transposed one."""
    x = b.parameter(F32, (B, 21, 5))
    causal = WindowDimension(3, padding_low=4, window_dilation=2)
    y = _relu(b, b.convolution(x, _weights(b, 3, 5, 18), canonical_convolution([causal])))
    wider = WindowDimension(4, padding_low=2, padding_high=2, base_dilation=2, reversal=True)
    return b.convolution(y, _weights(b, 4, 18, 3), canonical_convolution([wider]))


@_animal
def _sorts(b: ModuleBuilder) -> Outputs:
    """Sorted rows with their order, the greatest of them, and rows of a table at these indices."""
    x = b.parameter(F32, (B, 23))
    both = b.sort([x, b.iota(S32, (B, 23), 1)], 1, comparator("GT", F32, S32))
    shape = TupleShape((Shape(F32, (B, 4)), Shape(S32, (B, 4))))
    top = b.custom_call("TopK", shape, [x])
    rows = b.take_rows(_weights(b, 23, 6), b.get(top, 1))
    return b.get(both, 0), b.get(both, 1), b.get(top, 0), rows


@_animal
def _spectrum(b: ModuleBuilder) -> Outputs:
    """A filter between two Fourier transforms, of a length with a factor of 3 and of a prime."""
    x = b.parameter(F32, (B, 24))
    spectrum = b.fft(x, "RFFT", (24,))
    window = np.exp(1j * np.arange(13) / 5).astype(np.complex64)
    filtered = b.binary("multiply", spectrum, b.broadcast(b.constant(window), (B, 13), (1,)))
    z = b.parameter(DType.C64, (B, 17))
    return b.fft(filtered, "IRFFT", (24,)), b.fft(z, "FFT", (17,)), b.unary("abs", filtered)


@_animal
def _scatter(b: ModuleBuilder) -> Outputs:
    """Rows added to a table at indices of which some lie outside of it."""
    table, index = b.parameter(F32, (9, 5)), b.parameter(S32, (B, 1))
    updates = b.parameter(F32, (B, 5))
    attrs = Scatter((1,), (0,), (0,), 1, binary_computation("add", F32))
    counts = b.scatter([table], index, [updates], attrs)
    own = b.parameter(F32, (B, 9, 3))
    where = b.parameter(S32, (B, 4, 1))
    within = Scatter((2,), (1,), (1,), 2, binary_computation("maximum", F32), (0,), (0,))
    return counts, b.scatter([own], where, [b.parameter(F32, (B, 4, 3))], within)


@_animal
def _linear_algebra(b: ModuleBuilder) -> Outputs:
    """A Cholesky factor of x x' + 2 n and the solution of its triangular system."""
    x = b.parameter(F32, (B, 6, 6))
    square = b.dot(x, x, (2,), (2,), (0,), (0,))
    rows, columns = (b.iota(S32, (B, 6, 6), axis) for axis in (1, 2))
    diagonal = b.compare("EQ", rows, columns)
    eye = b.select(diagonal, b.splat(12.0, square), b.splat(0.0, square))
    factor = b.cholesky(b.binary("add", square, eye), lower=True)
    right = b.parameter(F32, (B, 6, 2))
    solve = TriangularSolve(
        left_side=True, lower=True, unit_diagonal=False, transpose="NO_TRANSPOSE"
    )
    return factor, b.triangular_solve(factor, right, solve)


def _loop(shape: TupleShape, step: Callable[[ModuleBuilder, Instruction], Instruction]) -> Any:
    """Condition and body of a loop as long as the first of its state is positive."""
    test = ModuleBuilder("positive")
    state = test.shaped_parameter(shape)
    condition = test.computation(test.compare("GT", test.get(state, 0), test.constant(0, S32)))
    inner = ModuleBuilder("step")
    body = inner.computation(step(inner, inner.shaped_parameter(shape)))
    return condition, body


@_animal
def _control(b: ModuleBuilder) -> Outputs:
    """A loop as often as an input says, and a branch that an input chooses."""
    carried = TupleShape((Shape(S32), Shape(F32, (B, 7))))

    def step(inner: ModuleBuilder, state: Instruction) -> Instruction:
        x = inner.get(state, 1)
        fewer = inner.binary("subtract", inner.get(state, 0), inner.constant(1, S32))
        return inner.tuple(fewer, inner.unary("tanh", inner.binary("add", x, inner.splat(0.5, x))))

    count, x, chosen = b.parameter(S32), b.parameter(F32, (B, 7)), b.parameter(S32)
    looped = b.while_loop(*_loop(carried, step), b.tuple(count, x))
    branches: list[Computation] = []
    for opcode in ("negate", "exponential", "floor"):
        branch = ModuleBuilder(opcode)
        branches.append(branch.computation(branch.unary(opcode, branch.parameter(F32, (B, 7)))))
    y = b.get(looped, 1)
    return y, b.conditional(chosen, branches, [x, y, x])


@_animal
def _recurrent(b: ModuleBuilder) -> Outputs:
    """A gated recurrent layer over ten steps; every state is an output."""
    x = b.parameter(F32, (10, B, 4))
    states = b.broadcast(b.constant(0.0, F32), (10, B, 16))
    first = b.broadcast(b.constant(0.0, F32), (B, 16))
    carried = TupleShape(
        (Shape(S32), Shape(F32, (B, 16)), Shape(F32, (10, B, 16)), Shape(F32, (10, B, 4)))
    )

    def step(c: ModuleBuilder, state: Instruction) -> Instruction:
        left, h, seen, steps = (c.get(state, i) for i in range(4))
        at = c.binary("subtract", c.constant(10, S32), left)
        zero = c.constant(0, S32)
        now = c.reshape(c.dynamic_slice(steps, [at, zero, zero], (1, B, 4)), (B, 4))
        both = c.concatenate([now, h], 1)
        gate = c.unary("logistic", _biased(c, c.matmul(both, _weights(c, 20, 16))))
        fresh = c.unary("tanh", _biased(c, c.matmul(both, _weights(c, 20, 16))))
        kept = c.binary("multiply", gate, c.binary("subtract", fresh, h))
        h = c.binary("add", h, kept)
        seen = c.dynamic_update_slice(seen, c.reshape(h, (1, B, 16)), [at, zero, zero])
        fewer = c.binary("subtract", left, c.constant(1, S32))
        return c.tuple(fewer, h, seen, steps)

    start = b.tuple(b.constant(10, S32), first, states, x)
    end = b.while_loop(*_loop(carried, step), start)
    return b.get(end, 1), b.get(end, 2)


@_animal
def _types(b: ModuleBuilder) -> Outputs:
    """Inputs and outputs of every width; conversions, comparisons and shifts between them."""
    wide = {t: b.parameter(t, (B, 5)) for t in (DType.F64, DType.S64, DType.C64)}
    narrow = {
        t: b.parameter(t, (B, 5)) for t in (DType.PRED, DType.S8, DType.U16, DType.F16, DType.BF16)
    }
    f16 = b.unary("tanh", narrow[DType.F16])
    bf16 = b.binary("multiply", narrow[DType.BF16], b.convert(f16, DType.BF16))
    shifted = b.binary("shift-left", wide[DType.S64], b.convert(narrow[DType.U16], DType.S64))
    return (
        b.select(narrow[DType.PRED], wide[DType.F64], b.convert(shifted, DType.F64)),
        b.binary("divide", wide[DType.C64], b.unary("exponential", wide[DType.C64])),
        b.convert(narrow[DType.S8], DType.U16),
        b.compare("LT", narrow[DType.U16], b.convert(narrow[DType.S8], DType.U16)),
        bf16,
        f16,
        shifted,
    )


@_animal
def _random(b: ModuleBuilder) -> Outputs:
    """Random bits from a state, as noise; the next state is an output."""
    state, x = b.parameter(DType.U64, (2,)), b.parameter(F32, (B, 7))
    pair = b.rng_bit_generator(state, DType.U32, (7,), "RNG_THREE_FRY")
    bits = b.convert(b.get(pair, 1), F32)
    noise = b.binary("multiply", bits, b.splat(2.0**-32, bits))
    return b.get(pair, 0), b.binary("add", x, b.broadcast(noise, (B, 7), (1,)))


@_animal
def _windows(b: ModuleBuilder) -> Outputs:
    """Sums over windows and of all elements so far, and what a pooling passes back."""
    x = b.parameter(F32, (B, 12, 3))
    add = binary_computation("add", F32)
    one, zero = WindowDimension(1), b.constant(0.0, F32)
    so_far = WindowDimension(12, padding_low=11)
    pool = WindowDimension(3, 3)
    pooled = b.reduce_window([x], [zero], [one, pool, one], add)
    back = b.select_and_scatter(x, pooled, zero, [one, pool, one], comparator("GE", F32), add)
    return b.reduce_window([x], [zero], [one, so_far, one], add), pooled, back


@_animal
def _no_inputs(b: ModuleBuilder) -> Outputs:
    """A model that takes nothing: its output is a constant."""
    return b.unary("exponential", b.constant(np.linspace(-2, 2, 33, dtype=np.float32)))


OWN = tuple(_RECIPES)
