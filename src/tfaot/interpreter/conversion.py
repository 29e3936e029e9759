"""Changes of type: convert, bitcast-convert, reduce-precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Array, Context, rule, unsupported
from tfaot.ir.attributes import ReducePrecision
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction


def integer_limits(dtype: DType) -> tuple[int, int]:
    """The least and the greatest value of an integer type."""
    if dtype.is_signed:
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return 0, (1 << dtype.bits) - 1


def convert(value: Array, source: DType, target: DType, ctx: Context) -> Array:
    """`value` of type `source` as `target`.

    Floats become integers by truncation, saturating, NaN becoming 0; integers wrap; anything but
    zero becomes true; the imaginary part is dropped on the way to a real type.
    """
    if source is target:
        return value
    wide = ctx.widen(value, source)
    if source.is_complex and not target.is_complex:
        wide, source = np.real(wide), source.real
    if target is DType.PRED:
        return np.asarray(wide != 0)
    if target.is_integer and source.is_float:
        return ctx.narrow(_saturate(wide, target), target)
    if target.is_float and not source.is_float:
        # Narrow floats are reached through float32, as XLA:CPU does.
        wide = wide.astype(ctx.compute(target))
    if target.bits == 4 and not source.is_float:
        wide = wide.astype(np.int8)
    return ctx.narrow(wide, target)


def _saturate(x: Array, target: DType) -> Array:
    low, high = integer_limits(target)
    x = x.astype(np.float64, copy=False)
    # 2**bits limits are exact in float64 although `high` itself may not be.
    above, below, nan = x >= float(high + 1), x <= float(low), np.isnan(x)
    integer = np.where(above | below | nan, 0.0, x).astype(
        target.numpy if target.bits > 4 else np.int8
    )
    integer = np.where(above, np.array(high).astype(integer.dtype), integer)
    return np.where(below, np.array(low).astype(integer.dtype), integer)


@rule("convert", scalar_map=True)
def _convert(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return convert(operands[0], node.operands[0].array.dtype, node.array.dtype, ctx)


def bitcast(
    value: Array, source: DType, target: DType, dims: tuple[int, ...], ctx: Context
) -> Array:
    """The bytes of `value` (in the type `source`) as an array of `target` with sizes `dims`."""
    if source is target:
        return value.reshape(dims)
    original = np.ascontiguousarray(value.astype(source.numpy, copy=False)).reshape(value.shape)
    if source.bits == target.bits == 4:
        return ctx.narrow(ctx.widen(original, source), target).reshape(dims)
    count = value.size * source.itemsize // target.itemsize
    raw = np.frombuffer(original.tobytes(), target.numpy, count).reshape(dims)
    return raw.astype(ctx.storage(target), copy=False)


@rule("bitcast-convert", scalar_map=True)
def _bitcast_convert(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    source, target = node.operands[0].array.dtype, node.array.dtype
    if (source.bits == 4) != (target.bits == 4):
        raise unsupported(node, "packs 4-bit numbers, which is not supported")
    if source.itemsize == target.itemsize:
        return bitcast(operands[0], source, target, operands[0].shape, ctx)
    return bitcast(operands[0], source, target, ctx.dims(node.array), ctx)


_MANTISSA_BITS = {DType.F16: 10, DType.BF16: 7, DType.F32: 23, DType.F64: 52}


@rule("reduce-precision", scalar_map=True)
def _reduce_precision(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs, dtype = node.attr(ReducePrecision), node.array.dtype
    if dtype not in _MANTISSA_BITS:
        raise unsupported(node, "takes f16, bf16, f32 and f64 only")
    original = operands[0].astype(dtype.numpy, copy=False)
    rounded = _round_bits(original, _MANTISSA_BITS[dtype], attrs.exponent_bits, attrs.mantissa_bits)
    return rounded.astype(ctx.storage(dtype), copy=False)


def _round_bits(x: Array, source_mantissa: int, exponent_bits: int, mantissa_bits: int) -> Array:
    """`x` rounded to nearest even, overflowing to infinity, underflowing to zero of its sign."""
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    width = 8 * x.dtype.itemsize
    bits = np.ascontiguousarray(x).reshape(x.shape).view(unsigned)
    sign_mask = np.array(1 << (width - 1), unsigned)
    infinity = np.array(((1 << (width - 1 - source_mantissa)) - 1) << source_mantissa, unsigned)
    nan = (bits & ~sign_mask) > infinity
    if mantissa_bits < source_mantissa:
        dropped = source_mantissa - mantissa_bits
        last = (bits >> np.array(dropped, unsigned)) & np.array(1, unsigned)
        half = np.array((1 << (dropped - 1)) - 1, unsigned)
        bits = (bits + half + last) & ~np.array((1 << dropped) - 1, unsigned)
    source_exponent = width - 1 - source_mantissa
    if exponent_bits < source_exponent:
        bias = (1 << (source_exponent - 1)) - 1
        reduced = (1 << (exponent_bits - 1)) - 1
        exponent = (bits & infinity).astype(np.int64) >> source_mantissa
        sign = bits & sign_mask
        bits = np.where(exponent > bias + reduced, sign | infinity, bits)
        bits = np.where(exponent <= bias - reduced, sign, bits)
    result = np.asarray(bits, unsigned).view(x.dtype)
    return np.where(nan, x, result)
