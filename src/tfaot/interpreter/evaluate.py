"""Reference interpreter: HLO modules evaluated with NumPy.

Input: a module and concrete arrays. Output: the arrays of its outputs.

It defines what every op means here: tests, the constant folder and the verification of compiled
models compare with it. Semantics are the HLO specification's
(openxla.org/xla/operation_semantics), and XLA:CPU's where that is silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from tfaot.errors import InputError
from tfaot.interpreter import (  # noqa: F401  (imported for the rules they register)
    comparison,
    control,
    conversion,
    convolution,
    custom_call,
    dot,
    elementwise,
    gather,
    linalg,
    movement,
    random,
    reduce,
    sort,
    window,
)
from tfaot.interpreter.context import RULES, Array, Context, Value
from tfaot.ir.module import Computation, Instruction, Module
from tfaot.ir.shapes import BatchDim, Shape, TupleShape


def evaluate(
    module: Module,
    inputs: Sequence[Array],
    *,
    batch: int | None = None,
    float64: bool = False,
    context: Context | None = None,
) -> list[Array]:
    """Evaluates the entry computation for concrete inputs.

    Args:
        module: the module; its entry's parameters are the inputs.
        inputs: one array per parameter, of its type (float64 or complex128 is accepted too where
            `float64` is set) and shape.
        batch: the batch size B; found from the inputs' shapes where it is None.
        float64: evaluate all real floats in float64 and complex numbers in complex128. Converts
            between float types are then identities; integers stay as they are.
        context: evaluates each instruction, in place of one made of `batch` and `float64`.

    Returns:
        The outputs in order: the elements of the root tuple, flattened, or the root alone. In the
        model's types, or in float64 and complex128.

    Raises:
        InputError: an input's number, type or shape is wrong, or B can't be known.
        UnsupportedError: an op has no evaluation rule.
    """
    parameters = module.entry.parameters
    if len(inputs) != len(parameters):
        raise InputError(
            f"the module '{module.name}' takes {len(parameters)} inputs, {len(inputs)} were given"
        )
    if batch is None:
        batch = infer_batch(module, inputs)
    ctx = context or Context(batch, float64)
    arguments = [_argument(p, np.asarray(v), ctx) for p, v in zip(parameters, inputs, strict=True)]
    with np.errstate(all="ignore"):
        result = ctx.run(module.entry, arguments)
    return [np.array(a, order="C") for a in _flatten(result)]


def evaluate_computation(
    computation: Computation,
    arguments: Sequence[Value],
    *,
    batch: int | None = None,
    float64: bool = False,
) -> Value:
    """The root's value of any computation: an array, or a tuple for a tuple-valued root."""
    with np.errstate(all="ignore"):
        return Context(batch, float64).run(computation, arguments)


def fold(instruction: Instruction, operand_values: Sequence[Array]) -> Array:
    """The value of one array-valued instruction of static shape, in the model's types.

    Raises:
        UnsupportedError: the op has no evaluation rule.
    """
    assert isinstance(instruction.shape, Shape), instruction
    with np.errstate(all="ignore"):
        result = cast(Array, Context().apply(instruction, operand_values))
    return np.array(result, order="C")


def supported_opcodes() -> frozenset[str]:
    """The opcodes that can be evaluated (parameters included)."""
    return frozenset({"parameter", *RULES})


def infer_batch(module: Module, inputs: Sequence[Array]) -> int | None:
    """The batch size that the inputs' shapes imply; None where no input depends on it.

    Raises:
        InputError: two inputs disagree, or a size is no multiple of what it should be.
    """
    found: int | None = None
    for number, (parameter, value) in enumerate(zip(module.entry.parameters, inputs, strict=True)):
        shape = parameter.shape
        if isinstance(shape, TupleShape) or len(shape.dims) != np.ndim(value):
            continue
        for dim, size in zip(shape.dims, np.shape(value), strict=True):
            if not isinstance(dim, BatchDim):
                continue
            batch, rest = divmod(size - dim.offset, dim.scale)
            if rest or batch < 0:
                raise InputError(f"input {number}: size {size} is not {dim} for any batch size B")
            if found is not None and batch != found:
                raise InputError(
                    f"input {number} has batch size {batch}, an earlier one has {found}"
                )
            found = batch
    return found


def _argument(parameter: Instruction, value: Array, ctx: Context) -> Array:
    shape = parameter.array
    if value.shape != ctx.dims(shape):
        raise InputError(
            f"input '{parameter.name}' has shape {value.shape}, expected {shape}"
            + (f" with B={ctx.batch}" if not shape.is_static else "")
        )
    storage = ctx.storage(shape.dtype)
    if value.dtype not in (shape.dtype.numpy, storage):
        raise InputError(f"input '{parameter.name}' has type {value.dtype}, expected {shape.dtype}")
    return value.astype(storage, copy=False)


def _flatten(value: Value) -> list[Array]:
    if isinstance(value, tuple):
        return [array for element in value for array in _flatten(element)]
    return [value]
