"""Constants that depend on the batch size in a recognisable way.

Input: a constant's values at the probed batch sizes. Output: HLO that computes it for every batch
size: elementwise `a*B + c` or `a/(B + k)`, rows that repeat or step along the batch axis (an iota
is the simplest), blocks of those, and square matrices constant below, on and above the diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import Attributes, Broadcast, Compare, Constant, Iota, Metadata
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Dim, Shape

_Array = NDArray[Any]
_OFFSETS = (0, -1, 1, -2, 2)


@dataclass(frozen=True)
class Emitter:
    """Makes instructions in place of one constant.

    Attributes:
        name: the constant's name, the stem of all names.
        metadata: the constant's origin.
        batch: gives the batch size as an s32 scalar.
    """

    name: str
    metadata: Metadata
    batch: Callable[[], Instruction]

    def op(
        self, opcode: str, shape: Shape, *operands: Instruction, attrs: Attributes = None
    ) -> Instruction:
        """An instruction."""
        return Instruction(self.name, opcode, shape, operands, attrs, self.metadata)

    def constant(self, value: _Array) -> Instruction:
        """A constant, splat ones as a broadcast scalar."""
        dtype = DType.from_numpy(value.dtype)
        flat = value.reshape(-1)
        if value.ndim and value.size and same_bits(flat, np.repeat(flat[:1], value.size)):
            scalar = self.op("constant", Shape(dtype), attrs=Constant(flat[:1].reshape(())))
            return self.op("broadcast", Shape(dtype, value.shape), scalar, attrs=Broadcast(()))
        return self.op("constant", Shape(dtype, value.shape), attrs=Constant(value))

    def batch_as(self, dtype: DType, dims: tuple[Dim, ...], offset: int = 0) -> Instruction:
        """B + offset in the given type, broadcast to `dims`."""
        size = self.batch()
        if offset:
            addend = self.constant(np.array(offset, np.int32))
            size = self.op("add", size.array, size, addend)
        if dtype is not DType.S32:
            size = self.op("convert", Shape(dtype), size)
        if dims:
            size = self.op("broadcast", Shape(dtype, dims), size, attrs=Broadcast(()))
        return size


def emit_constant(
    values: Sequence[_Array], shape: Shape, batches: Sequence[int], emitter: Emitter
) -> Instruction | None:
    """HLO that gives the constant for every batch size, None if no pattern is recognised.

    Args:
        values: the constant at each probed batch size.
        shape: the merged shape.
        batches: the probed batch sizes.
        emitter: makes the instructions.
    """
    if shape.is_static and all(same_bits(v, values[0]) for v in values):
        return emitter.constant(values[0])
    if 0 in shape.dims:
        nothing = emitter.constant(np.zeros((), shape.dtype.numpy))
        return emitter.op("broadcast", shape, nothing, attrs=Broadcast(()))
    symbolic = [axis for axis, dim in enumerate(shape.dims) if isinstance(dim, BatchDim)]
    if not symbolic:
        return _emit_elementwise(values, shape, batches, emitter)
    if len(symbolic) > 1:
        return _emit_band(values, shape, emitter)
    axis = symbolic[0]
    found = _emit_rows(values, shape, axis, batches, emitter)
    return _emit_blocks(values, shape, axis, batches, emitter) if found is None else found


def same_bits(left: _Array, right: _Array) -> bool:
    """Whether two arrays of one type have equal bytes (so that -0.0 is not 0.0, and NaN is NaN)."""
    if left is right:
        return True
    first, second = (np.ascontiguousarray(v).reshape(-1).view(np.uint8) for v in (left, right))
    return np.array_equal(first, second)


def _emit_elementwise(
    values: Sequence[_Array], shape: Shape, batches: Sequence[int], emitter: Emitter
) -> Instruction | None:
    dtype = shape.dtype
    if dtype.is_integer:
        return _emit_integer(values, shape, batches, emitter)
    if not dtype.is_float:
        return None
    wide = [v.astype(np.float64) for v in values]
    if not all(np.all(np.isfinite(w)) for w in wide):
        return None
    return _emit_proportional(wide, values, shape, batches, emitter) or _emit_affine_float(
        wide, values, shape, batches, emitter
    )


def _emit_integer(
    values: Sequence[_Array], shape: Shape, batches: Sequence[int], emitter: Emitter
) -> Instruction | None:
    wide = [v.astype(_exact(shape.dtype)) for v in values]
    span = batches[1] - batches[0]
    difference = wide[1] - wide[0]
    if np.any(difference % span):
        return None
    scale = difference // span
    offset = wide[0] - scale * batches[0]
    for value, batch in zip(wide, batches, strict=True):
        if np.any(scale * batch + offset != value):
            return None
    # B*B seen at two sizes looks affine: its slope is their sum, and it misses the origin.
    steep = (abs(scale) >= sum(batches[:2]) // 2) & (offset != 0)
    if len(batches) == 2 and np.any(steep):
        return None
    return _scaled(scale, offset, shape, emitter)


def _scaled(scale: Any, offset: Any, shape: Shape, emitter: Emitter) -> Instruction | None:
    """B * scale + offset, elementwise, None if a coefficient does not fit the type."""
    numpy = shape.dtype.numpy
    scales, offsets = np.asarray(scale).astype(numpy), np.asarray(offset).astype(numpy)
    result = emitter.batch_as(shape.dtype, shape.dims)
    if np.any(scales != np.ones((), numpy)):
        result = emitter.op("multiply", shape, result, emitter.constant(scales))
    if np.any(offsets != np.zeros((), numpy)):
        result = emitter.op("add", shape, result, emitter.constant(offsets))
    return result


def _agrees(dtype: DType, computed: _Array, wanted: _Array) -> bool:
    """Equal, or for the wider types at most one unit in the last place apart."""
    if dtype not in (DType.F32, DType.F64):
        return bool(np.array_equal(computed, wanted))
    return bool(np.all(np.abs(computed - wanted) <= np.spacing(np.abs(wanted))))


def _rounded(coefficient: _Array, dtype: DType) -> _Array:
    """The coefficient in its type; an integer where it is one but for rounding."""
    nearest = np.rint(coefficient)
    close = np.abs(coefficient - nearest) <= 1e-6 * np.maximum(np.abs(nearest), 1e-300)
    return np.asarray(np.where(close & (nearest != 0), nearest, coefficient)).astype(dtype.numpy)


def _emit_proportional(
    wide: Sequence[_Array],
    values: Sequence[_Array],
    shape: Shape,
    batches: Sequence[int],
    emitter: Emitter,
) -> Instruction | None:
    """A / (B + k) or a * B."""
    numpy = shape.dtype.numpy
    for offset in _OFFSETS:
        numerator = _rounded(wide[0] * (batches[0] + offset), shape.dtype)
        quotients = [numerator / np.asarray(b + offset).astype(numpy) for b in batches]
        if all(_agrees(shape.dtype, q, v) for q, v in zip(quotients, values, strict=True)):
            divisor = emitter.batch_as(shape.dtype, shape.dims, offset)
            return emitter.op("divide", shape, emitter.constant(numerator), divisor)
    factor = _rounded(wide[0] / batches[0], shape.dtype)
    products = [factor * np.asarray(b).astype(numpy) for b in batches]
    if all(_agrees(shape.dtype, p, v) for p, v in zip(products, values, strict=True)):
        return _scaled(factor, np.zeros(shape.static_dims, numpy), shape, emitter)
    return None


def _emit_affine_float(
    wide: Sequence[_Array],
    values: Sequence[_Array],
    shape: Shape,
    batches: Sequence[int],
    emitter: Emitter,
) -> Instruction | None:
    """A * B + c: any with three probes; with two, which always lie on a line, only integers."""
    scale = (wide[1] - wide[0]) / (batches[1] - batches[0])
    offset = wide[0] - scale * batches[0]
    integral = np.all(scale == np.rint(scale)) and np.all(offset == np.rint(offset))
    if len(batches) < 3 and not integral:
        return None
    if len(batches) == 2 and np.any((np.abs(scale) >= sum(batches) // 2) & (offset != 0)):
        return None
    scales, offsets = _rounded(scale, shape.dtype), _rounded(offset, shape.dtype)
    numpy = shape.dtype.numpy
    for batch, value in zip(batches, values, strict=True):
        computed = scales * np.asarray(batch).astype(numpy) + offsets
        if not _agrees(shape.dtype, computed, value):
            return None
    return _scaled(scales, offsets, shape, emitter)


def _emit_rows(
    values: Sequence[_Array], shape: Shape, axis: int, batches: Sequence[int], emitter: Emitter
) -> Instruction | None:
    """Row i along `axis` is row 0 plus i times a constant step (0: equal rows)."""
    stacks = [np.moveaxis(v, axis, 0) for v in values]
    if any(len(s) < 2 or s[0].size == 0 for s in stacks):
        return None
    steps = [_step(s, shape.dtype) for s in stacks]
    others = tuple(d for d in range(shape.rank) if d != axis)
    row_shape = Shape(shape.dtype, tuple(shape.dims[d] for d in others))
    row = emit_constant([np.asarray(s[0]) for s in stacks], row_shape, batches, emitter)
    if row is None or any(s is None for s in steps):
        return None
    rows = emitter.op("broadcast", shape, row, attrs=Broadcast(others))
    if not any(steps):
        return rows
    scalars = [np.asarray(s).astype(shape.dtype.numpy) for s in steps]
    step = emit_constant(scalars, Shape(shape.dtype), batches, emitter)
    if step is None:
        return None
    count = emitter.op("iota", shape, attrs=Iota(axis))
    if any(s != 1 for s in steps):
        spread = emitter.op("broadcast", shape, step, attrs=Broadcast(()))
        count = emitter.op("multiply", shape, count, spread)
    zero_row = all(not np.any(s[0]) for s in stacks)
    return count if zero_row else emitter.op("add", shape, count, rows)


def _emit_band(values: Sequence[_Array], shape: Shape, emitter: Emitter) -> Instruction | None:
    """A matrix with one value below its diagonal, one on it and one above: identity, mask."""
    if shape.rank != 2 or any(min(v.shape) < 2 for v in values):
        return None
    below, on, above = values[0][1, 0], values[0][0, 0], values[0][0, 1]
    for value in values:
        distance = np.subtract.outer(np.arange(value.shape[0]), np.arange(value.shape[1]))
        found = np.where(distance > 0, below, np.where(distance < 0, above, on))
        if not same_bits(found.astype(value.dtype), value):
            return None
    index = Shape(DType.S32, shape.dims)
    row, column = (emitter.op("iota", index, attrs=Iota(axis)) for axis in (0, 1))

    def spread(number: Any) -> Instruction:
        scalar = emitter.constant(np.asarray(number))
        return emitter.op("broadcast", shape, scalar, attrs=Broadcast(()))

    def where(direction: str, yes: Instruction, no: Instruction) -> Instruction:
        test = emitter.op(
            "compare",
            Shape(DType.PRED, shape.dims),
            row,
            column,
            attrs=Compare(direction, "SIGNED"),
        )
        return emitter.op("select", shape, test, yes, no)

    rest = spread(below)
    if not same_bits(np.asarray(above), np.asarray(below)):
        rest = where("LT", spread(above), rest)
    return where("EQ", spread(on), rest)


def _exact(dtype: DType) -> Any:
    """A type in which differences and products of values of `dtype` are exact or nearly so."""
    if dtype.is_integer:
        return object if dtype.bits == 64 else np.int64
    return np.float64


def _step(stack: _Array, dtype: DType) -> float | int | None:
    """The constant step between rows, 0 if all are equal, None if there is none."""
    first = stack[0]
    if same_bits(stack, np.broadcast_to(first, stack.shape)):
        return 0
    if not (dtype.is_integer or dtype.is_float):
        return None
    wide = stack.astype(_exact(dtype))
    step = np.asarray(wide[1] - wide[0], wide.dtype).reshape(-1)[0]
    index = np.arange(len(stack)).reshape(-1, *(1,) * first.ndim)
    computed = index.astype(wide.dtype) * step + wide[0]
    # Not `array_equal`: NaN rows never step.
    return step if bool(np.all(computed == wide)) else None


def _emit_blocks(
    values: Sequence[_Array], shape: Shape, axis: int, batches: Sequence[int], emitter: Emitter
) -> Instruction | None:
    """`k*B` entries along `axis` as B blocks of k that repeat or step."""
    dim = shape.dims[axis]
    assert isinstance(dim, BatchDim)
    if dim.offset or dim.scale < 2:
        return None
    before, after = shape.dims[:axis], shape.dims[axis + 1 :]
    split = Shape(shape.dtype, (*before, BatchDim(1), dim.scale, *after))
    blocks = [
        v.reshape(*v.shape[:axis], v.shape[axis] // dim.scale, dim.scale, *v.shape[axis + 1 :])
        for v in values
    ]
    found = _emit_rows(blocks, split, axis, batches, emitter)
    return None if found is None else emitter.op("reshape", shape, found)
