"""From the shapes that TensorFlow knows and the user's options to a typed signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim, Dim, affine, dim_at
from tfaot.signature import TensorSpec

PROBES = (31, 38, 41)
"""Batch sizes at which output sizes are compared, above the sizes that XLA unrolls at.

Primes and twice a prime are seldom dimensions of a model; odd ones alone would hide roundings to
even numbers.
"""

# TensorFlow's DataType enumeration (tensorflow/core/framework/types.proto).
_DTYPES: dict[int, DType] = {
    1: DType.F32,
    2: DType.F64,
    3: DType.S32,
    4: DType.U8,
    5: DType.S16,
    6: DType.S8,
    8: DType.C64,
    9: DType.S64,
    10: DType.PRED,
    14: DType.BF16,
    17: DType.U16,
    18: DType.C128,
    19: DType.F16,
    22: DType.U32,
    23: DType.U64,
    24: DType.F8E5M2,
    25: DType.F8E4M3FN,
    29: DType.S4,
    30: DType.U4,
}
_OTHER_TYPES = {7: "string", 20: "resource", 21: "variant"}


class IrregularError(UnsupportedError):
    """The shape of an output is not affine in the batch size."""


@dataclass(frozen=True)
class GraphInput:
    """An input of a frozen graph.

    Attributes:
        name: the user's name.
        tensor: the graph's tensor that it feeds (`node:0`).
        dtype: TensorFlow's DataType number.
        shape: dimensions with None where unknown; None where not even the rank is known.
    """

    name: str
    tensor: str
    dtype: int
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class GraphOutput:
    """An output of a frozen graph: the user's name, the tensor, TensorFlow's DataType number."""

    name: str
    tensor: str
    dtype: int


def element_type(number: int, what: str) -> DType:
    """The element type for TensorFlow's DataType `number`; `what` names the tensor in errors."""
    try:
        return _DTYPES[number]
    except KeyError:
        name = _OTHER_TYPES.get(number, f"number {number}")
        raise UnsupportedError(f"{what} has the type {name}, which can't be compiled") from None


def input_specs(
    inputs: Sequence[GraphInput],
    given: Mapping[str, tuple[int | str | None, ...]],
) -> tuple[TensorSpec, ...]:
    """The inputs with every axis known or the batch axis.

    The first unknown axis of an input is the batch axis; an unknown axis that does not lead
    is so only where no other input has a leading one. The user may name others, and several of one
    input: a matrix of rows against rows has two.

    Args:
        inputs: the graph's inputs.
        given: per input name the dimensions given by the user (`ModelSource.input_shapes`).

    Raises:
        UsageError: `given` names no input, or contradicts what the model knows.
        ModelError: an axis remains that only the user can know.
    """
    by_name = {_bare(i.name): i.name for i in inputs}
    shapes: dict[str, tuple[int | None, ...]] = {}
    for name, dims in given.items():
        if _bare(name) not in by_name:
            known = ", ".join(i.name for i in inputs) or "none"
            raise UsageError(f"--input-shape: there is no input '{name}' (inputs: {known})")
        shapes[by_name[_bare(name)]] = _parsed(name, dims)
    leading = any(
        i.shape is not None and i.shape[:1] == (None,) for i in inputs if i.name not in shapes
    ) or any(shape[:1] == (None,) for shape in shapes.values())
    return tuple(_input_spec(i, shapes.get(i.name), leading) for i in inputs)


def affine_dims(sizes: Sequence[tuple[int, ...]], what: str) -> tuple[Dim, ...]:
    """The dimensions `a*B + c` that take the values `sizes[i]` at the batch sizes `PROBES[i]`.

    Raises:
        IrregularError: some axis is no such function of the batch size.
    """
    if len({len(s) for s in sizes}) != 1:
        raise IrregularError(f"{what} changes its rank with the batch size")
    dims: list[Dim] = []
    for axis, values in enumerate(zip(*sizes, strict=True)):
        scale, rest = divmod(values[1] - values[0], PROBES[1] - PROBES[0])
        offset = values[0] - scale * PROBES[0]
        fits = all(v == scale * b + offset for v, b in zip(values, PROBES, strict=True))
        if rest or not fits:
            raise IrregularError(
                f"axis {axis} of {what} is no multiple of the batch size (plus a constant): "
                f"{', '.join(map(str, values))} at batch {', '.join(map(str, PROBES))}"
            )
        dims.append(affine(scale, offset))
    return tuple(dims)


def check_sizes(dims: Sequence[Dim], size: Sequence[int], batch: int, what: str) -> None:
    """Refuse dimensions found at `PROBES` that another batch contradicts, as of `x[:16]`.

    Raises:
        IrregularError: some axis has another size at the batch size `batch`.
    """
    for axis, (dim, actual) in enumerate(zip(dims, size, strict=True)):
        # Sizes that would be negative are left to those who compile for the larger batches.
        if 0 <= dim_at(dim, batch) != actual:
            raise IrregularError(
                f"axis {axis} of {what} is {dim} at batches {PROBES[0]} to {PROBES[-1]} and "
                f"{actual} at batch {batch}"
            )


def _bare(name: str) -> str:
    return name.removesuffix(":0")


def _parsed(name: str, dims: Sequence[int | str | None]) -> tuple[int | None, ...]:
    result: list[int | None] = []
    for dim in dims:
        if dim is None or dim in (-1, "-1", "?", "None"):
            result.append(None)
            continue
        try:
            size = int(dim)
        except ValueError:
            size = -1
        if size < 0:
            raise UsageError(f"--input-shape {name}: '{dim}' is no size: give a number >= 0 or ?")
        result.append(size)
    return tuple(result)


def _input_spec(
    source: GraphInput, given: tuple[int | None, ...] | None, leading: bool
) -> TensorSpec:
    dtype = element_type(source.dtype, f"the input '{source.name}'")
    shape = source.shape
    if given is not None:
        _check_given(source, given)
        return TensorSpec(source.name, dtype, _with_batch(given))
    if shape is None:
        raise ModelError(
            f"the rank of the input '{source.name}' is unknown: give its shape, "
            f"for example --input-shape {source.name}=?,10"
        )
    unknown = [axis for axis, dim in enumerate(shape) if dim is None]
    if len(unknown) > 1:
        example = ",".join(
            "?" if axis == unknown[0] else "50" if dim is None else str(dim)
            for axis, dim in enumerate(shape)
        )
        axes = " and ".join(str(axis) for axis in unknown[1:])
        raise ModelError(
            f"the size of axis {axes} of the input '{source.name}' is unknown: give it, "
            f"for example --input-shape {source.name}={example} (or ? where it is the batch too)"
        )
    if unknown and unknown[0] > 0 and leading:
        example = ",".join("50" if dim is None else str(dim) for dim in shape)
        raise ModelError(
            f"the size of axis {unknown[0]} of the input '{source.name}' is unknown: give it, for "
            f"example --input-shape {source.name}={example} (or ? where it is the batch axis)"
        )
    return TensorSpec(source.name, dtype, _with_batch(shape))


def _check_given(source: GraphInput, given: tuple[int | None, ...]) -> None:
    shape = source.shape
    if shape is None:
        return
    if len(shape) != len(given):
        raise UsageError(
            f"--input-shape {source.name}: the input has {len(shape)} axes, not {len(given)}"
        )
    for axis, (known, new) in enumerate(zip(shape, given, strict=True)):
        if known is not None and known != new:
            wanted = "the batch axis" if new is None else str(new)
            raise UsageError(
                f"--input-shape {source.name}: axis {axis} is {known} in the model, not {wanted}"
            )


def _with_batch(shape: tuple[int | None, ...]) -> tuple[Dim, ...]:
    return tuple(BatchDim(1) if dim is None else dim for dim in shape)
