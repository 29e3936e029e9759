"""Small modules of the kinds that real models are made of, for tests of whole objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import BatchDim, Dim, dim_at
from tfaot.testing.build import ModuleBuilder, binary_computation

B = BatchDim(1)
F32 = DType.F32


@dataclass(frozen=True)
class SmallModel:
    """A module, whether its rows are independent, and which inputs have no batch axis."""

    build: Callable[[], Module]
    rows_apart: bool
    fixed: tuple[bool, ...]


MODELS: dict[str, SmallModel] = {}


def _model(
    name: str, *, rows_apart: bool = True, fixed: tuple[bool, ...] = (False,)
) -> Callable[[Callable[[ModuleBuilder], Any]], None]:
    def register(function: Callable[[ModuleBuilder], Any]) -> None:
        def build() -> Module:
            b = ModuleBuilder(name)
            outputs = function(b)
            return b.module(*(outputs if isinstance(outputs, tuple) else (outputs,)))

        MODELS[name] = SmallModel(build, rows_apart, fixed)

    return register


def inputs_of(name: str, batch: int, seed: int = 0) -> list[NDArray[Any]]:
    """Seeded inputs for `batch` rows: indices in range, floats around one."""
    generator = np.random.default_rng([seed, batch])
    arrays: list[NDArray[Any]] = []
    for parameter in MODELS[name].build().entry.parameters:
        dims = [dim_at(d, batch) for d in parameter.array.dims]
        if parameter.array.dtype.is_integer:
            arrays.append(generator.integers(0, 20, dims).astype(parameter.array.dtype.numpy))
        else:
            arrays.append(generator.normal(size=dims).astype(parameter.array.dtype.numpy))
    return arrays


def _weights(b: ModuleBuilder, *dims: int) -> Instruction:
    generator = np.random.default_rng(dims)
    return b.constant((generator.normal(size=dims) / np.sqrt(dims[0])).astype(np.float32))


def _dense(b: ModuleBuilder, x: Instruction, columns: int) -> Instruction:
    rows = x.array.dims[-1]
    assert isinstance(rows, int)
    y = b.dot(x, _weights(b, rows, columns), (x.array.rank - 1,), (0,))
    bias = b.broadcast(_weights(b, columns), y.array.dims, (y.array.rank - 1,))
    return b.binary("add", y, bias)


def _over_last(b: ModuleBuilder, x: Instruction, opcode: str) -> Instruction:
    """A reduction over the last dimension, broadcast back."""
    last = x.array.rank - 1
    initial = b.constant(-np.inf if opcode == "maximum" else 0.0, F32)
    value = b.reduce([x], [initial], (last,), binary_computation(opcode, F32))
    return b.broadcast(value, x.array.dims, tuple(range(last)))


def _softmax(b: ModuleBuilder, x: Instruction) -> Instruction:
    shifted = b.binary("subtract", x, _over_last(b, x, "maximum"))
    powers = b.unary("exponential", shifted)
    return b.binary("divide", powers, _over_last(b, powers, "add"))


@_model("dense")
def _dense_model(b: ModuleBuilder) -> Instruction:
    x = b.parameter(F32, (B, 19))
    for columns in (33, 70, 5):
        x = b.unary("tanh", _dense(b, x, columns))
    return _softmax(b, x)


@_model("reductions")
def _reductions(b: ModuleBuilder) -> tuple[Instruction, ...]:
    x = b.parameter(F32, (B, 7, 37))
    zero = b.constant(0.0, F32)
    add = binary_computation("add", F32)
    return (
        b.reduce([x], [zero], (2,), add),
        b.reduce([x], [zero], (1,), add),
        b.reduce([b.unary("tanh", x)], [zero], (1, 2), add),
        b.reduce([x], [b.constant(-np.inf, F32)], (2,), binary_computation("maximum", F32)),
    )


@_model("embedding", fixed=(True, False))
def _embedding(b: ModuleBuilder) -> Instruction:
    table, indices = b.parameter(F32, (20, 13)), b.parameter(DType.S32, (B, 6))
    found = b.take_rows(table, indices)
    flat = b.reshape(found, (B, 78))
    return b.unary("logistic", _dense(b, flat, 3))


@_model("sequence")
def _sequence(b: ModuleBuilder) -> Instruction:
    """A dense layer per step, a bias per step, a transpose and a mean over steps."""
    x = b.parameter(F32, (B, 10, 4))
    flat = b.reshape(x, (B * 10, 4))
    y = b.reshape(_dense(b, flat, 16), (B, 10, 16))
    y = b.binary("add", y, b.broadcast(_weights(b, 10), (B, 10, 16), (1,)))
    turned = b.transpose(b.unary("tanh", y), (0, 2, 1))
    return _softmax(b, turned)


@_model("attention")
def _attention(b: ModuleBuilder) -> Instruction:
    x = b.parameter(F32, (B, 9, 8))
    q, k, v = (_dense(b, x, 8) for _ in range(3))
    scores = _softmax(b, b.dot(q, k, (2,), (2,), (0,), (0,)))
    return b.dot(scores, v, (2,), (1,), (0,), (0,))


@_model("pieces", fixed=(False, False))
def _pieces(b: ModuleBuilder) -> tuple[Instruction, ...]:
    """Concatenation, padding, slices; an input as output, a duplicate, a constant."""
    x, y = b.parameter(F32, (B, 5)), b.parameter(F32, (B, 3))
    both = b.concatenate([x, b.unary("exponential", y), x], 1)
    padded = b.pad(both, b.constant(2.5, F32), (0, 1), (0, 2), (0, 1))
    part = b.slice(padded, (0, 2), (B, 20), (1, 3))
    return part, x, part, b.reverse(padded, (1,))


@_model("over-rows", rows_apart=False)
def _over_rows(b: ModuleBuilder) -> tuple[Instruction, ...]:
    """Statistics over the batch, which every row then needs."""
    x = b.parameter(F32, (B, 17))
    total = b.reduce([x], [b.constant(0.0, F32)], (0,), binary_computation("add", F32))
    dims: tuple[Dim, ...] = (B, 17)
    centred = b.binary("subtract", x, b.broadcast(b.unary("tanh", total), dims, (1,)))
    return _dense(b, centred, 9), total, b.transpose(centred, (1, 0))


@_model("batch-inside", rows_apart=False)
def _batch_inside(b: ModuleBuilder) -> tuple[Instruction, ...]:
    """The batch axis is not the first, and leads to no output of its own."""
    x = b.parameter(F32, (5, B, 3))
    shifted = b.unary("negate", b.slice(x, (1, 0, 0), (5, B, 3)))
    return shifted, b.constant(np.arange(4, dtype=np.float32))


@_model("rows-against-rows", rows_apart=False)
def _rows_against_rows(b: ModuleBuilder) -> tuple[Instruction, ...]:
    """Attention between the rows of a batch: arrays of B x B elements."""
    x = b.parameter(F32, (B, 5))
    weights = _softmax(b, b.dot(x, x, (1,), (1,)))
    return weights, b.transpose(weights, (1, 0)), b.matmul(weights, x)
