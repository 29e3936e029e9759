"""Elementwise arithmetic, logic, bit operations and transcendental functions.

Integers wrap around. Narrow floats are computed in float32 and rounded; transcendental functions
are computed in float64 and rounded, so they are correctly rounded but for rare ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, rule, unsupported
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction

Function = Callable[..., Any]


def _operand_types(instruction: Instruction) -> list[DType]:
    return [o.array.dtype for o in instruction.operands]


def _elementwise(*opcodes: str) -> Callable[[Function], Function]:
    """Registers `f(dtype, *arrays)`, arrays in the computing type of the first operand's dtype."""

    def register(function: Function) -> Function:
        @rule(*opcodes, scalar_map=True)
        def evaluate(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
            types = _operand_types(node)
            wide = [ctx.widen(v, t) for v, t in zip(operands, types, strict=True)]
            return ctx.narrow(function(types[0], *wide), node.array.dtype)

        return function

    return register


def _transcendental(opcode: str, function: Function) -> None:
    """Registers a function of real or complex numbers, computed in double precision."""

    @rule(opcode, scalar_map=True)
    def evaluate(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
        types = _operand_types(node)
        if types[0].is_integer or types[0] is DType.PRED:
            raise unsupported(node, "takes floating-point numbers only")
        wide = [v.astype(ctx.widest(t), copy=False) for v, t in zip(operands, types, strict=True)]
        return ctx.narrow(function(*wide), node.array.dtype)


@_elementwise("add")
def _add(dtype: DType, x: Array, y: Array) -> Array:
    return x | y if dtype is DType.PRED else x + y


@_elementwise("subtract")
def _subtract(dtype: DType, x: Array, y: Array) -> Array:
    return x ^ y if dtype is DType.PRED else x - y


@_elementwise("multiply")
def _multiply(dtype: DType, x: Array, y: Array) -> Array:
    return x & y if dtype is DType.PRED else x * y


@_elementwise("divide")
def _divide(dtype: DType, x: Array, y: Array) -> Array:
    if dtype.is_complex:
        return _complex_divide(x, y)
    if not dtype.is_integer:
        return np.asarray(np.divide(x, y))
    zero = y == 0
    safe = np.where(zero, np.ones_like(y), y)
    quotient = np.floor_divide(x, safe)
    if dtype.is_signed:
        # floor_divide rounds down; HLO rounds toward zero. INT_MIN / -1 wraps to INT_MIN.
        inexact = np.fmod(x, safe) != 0
        quotient = quotient + (inexact & ((x < 0) != (safe < 0))).astype(x.dtype)
    return np.where(zero, np.array(-1).astype(x.dtype), quotient)


def _complex_divide(x: Array, y: Array) -> Array:
    """X / y of numbers near 1: NumPy's divisor overflows where its parts come near the limit."""
    wide = np.broadcast_arrays(x.astype(np.complex128), y.astype(np.complex128))
    sizes = [np.maximum(np.abs(z.real), np.abs(z.imag)) for z in wide]
    exponents = [np.where(np.isfinite(s), np.frexp(s)[1], 0) for s in sizes]
    near = [_times_power_of_two(z, -e) for z, e in zip(wide, exponents, strict=True)]
    return _times_power_of_two(np.divide(*near), exponents[0] - exponents[1])


def _times_power_of_two(z: Array, exponent: Array) -> Array:
    made = np.empty_like(z)
    made.real, made.imag = np.ldexp(z.real, exponent), np.ldexp(z.imag, exponent)
    return made


@_elementwise("remainder")
def _remainder(dtype: DType, x: Array, y: Array) -> Array:
    if not dtype.is_integer:
        return np.asarray(np.fmod(x, y))
    zero = y == 0
    # x % -1 is 0 for every x; dividing INT_MIN by -1 would trap on some machines.
    trivial = zero | (y == np.array(-1).astype(y.dtype)) if dtype.is_signed else zero
    rest = np.fmod(x, np.where(trivial, np.ones_like(y), y))
    return np.where(zero, x, rest)


@_elementwise("maximum")
def _maximum(dtype: DType, x: Array, y: Array) -> Array:
    return np.asarray(np.maximum(x, y))


@_elementwise("minimum")
def _minimum(dtype: DType, x: Array, y: Array) -> Array:
    return np.asarray(np.minimum(x, y))


@_elementwise("power")
def _power(dtype: DType, x: Array, y: Array) -> Array:
    if dtype.is_integer:
        return _integer_power(dtype, x, y)
    wide = np.complex128 if dtype.is_complex else np.float64
    return np.asarray(np.power(x.astype(wide), y.astype(wide)))


def _integer_power(dtype: DType, x: Array, y: Array) -> Array:
    result = np.ones(np.broadcast_shapes(x.shape, y.shape), x.dtype)
    base, exponent = x, np.where(y < 0, np.zeros_like(y), y)
    for _ in range(dtype.bits):
        result = np.where((exponent & 1) != 0, result * base, result)
        base, exponent = base * base, exponent >> 1
    if not dtype.is_signed:
        return result
    odd = (y & 1) != 0
    one = np.ones_like(x)
    inverse = np.where(x == 1, one, np.where(x == -1, np.where(odd, -one, one), np.zeros_like(x)))
    return np.where(y < 0, inverse, result)


@_elementwise("and")
def _and(dtype: DType, x: Array, y: Array) -> Array:
    return x & y


@_elementwise("or")
def _or(dtype: DType, x: Array, y: Array) -> Array:
    return x | y


@_elementwise("xor")
def _xor(dtype: DType, x: Array, y: Array) -> Array:
    return x ^ y


@_elementwise("not")
def _not(dtype: DType, x: Array) -> Array:
    return ~x


def _shift_amount(dtype: DType, y: Array) -> tuple[Array, Array]:
    """Shift amounts made safe, and where they are past the width (negative ones are)."""
    past = (y < 0) | (y >= dtype.bits)
    return np.where(past, np.zeros_like(y), y), past


@_elementwise("shift-left")
def _shift_left(dtype: DType, x: Array, y: Array) -> Array:
    amount, past = _shift_amount(dtype, y)
    return np.where(past, np.zeros_like(x), np.left_shift(x, amount))


@_elementwise("shift-right-logical")
def _shift_right_logical(dtype: DType, x: Array, y: Array) -> Array:
    amount, past = _shift_amount(dtype, y)
    unsigned = _unsigned(dtype, x)
    shifted = np.right_shift(unsigned, amount.astype(unsigned.dtype))
    return np.where(past, np.zeros_like(x), shifted.astype(x.dtype))


@_elementwise("shift-right-arithmetic")
def _shift_right_arithmetic(dtype: DType, x: Array, y: Array) -> Array:
    amount, past = _shift_amount(dtype, y)
    # The sign bit decides the fill even for unsigned types.
    signed = x.astype(np.dtype(f"i{x.dtype.itemsize}"))
    if dtype is DType.U4:
        signed = (signed ^ 8) - np.int8(8)
    fill = np.where(signed < 0, np.array(-1, signed.dtype), np.array(0, signed.dtype))
    shifted = np.right_shift(signed, amount.astype(signed.dtype))
    return np.where(past, fill, shifted).astype(x.dtype)


def _unsigned(dtype: DType, x: Array) -> Array:
    """The bits of an integer array as unsigned numbers (4-bit types: the low four)."""
    bits = x.astype(np.dtype(f"u{x.dtype.itemsize}"))
    return bits & np.uint8(15) if dtype.bits == 4 else bits


@_elementwise("popcnt")
def _popcnt(dtype: DType, x: Array) -> Array:
    bits = _unsigned(dtype, x)
    count = np.zeros_like(bits)
    for position in range(dtype.bits):
        count = count + ((bits >> np.array(position, bits.dtype)) & np.array(1, bits.dtype))
    return count.astype(x.dtype)


@_elementwise("count-leading-zeros")
def _count_leading_zeros(dtype: DType, x: Array) -> Array:
    bits = _unsigned(dtype, x)
    count = np.zeros_like(bits)
    for position in range(dtype.bits):
        # Each shift that leaves nothing is one more leading zero.
        count = count + (bits >> np.array(position, bits.dtype) == 0).astype(bits.dtype)
    return count.astype(x.dtype)


@_elementwise("abs")
def _abs(dtype: DType, x: Array) -> Array:
    return np.asarray(np.abs(x))


@_elementwise("negate")
def _negate(dtype: DType, x: Array) -> Array:
    return x if dtype is DType.PRED else np.asarray(np.negative(x))


@_elementwise("sign")
def _sign(dtype: DType, x: Array) -> Array:
    if dtype.is_float:
        return np.where((x == 0) | np.isnan(x), x, np.copysign(np.ones_like(x), x))
    if dtype.is_complex:
        size = np.abs(x)
        return np.where(size == 0, x, x / np.where(size == 0, np.ones_like(size), size))
    return np.asarray(np.sign(x))


@_elementwise("floor")
def _floor(dtype: DType, x: Array) -> Array:
    return np.asarray(np.floor(x))


@_elementwise("ceil")
def _ceil(dtype: DType, x: Array) -> Array:
    return np.asarray(np.ceil(x))


@_elementwise("round-nearest-even")
def _round_nearest_even(dtype: DType, x: Array) -> Array:
    return np.asarray(np.rint(x))


@_elementwise("round-nearest-afz")
def _round_nearest_afz(dtype: DType, x: Array) -> Array:
    whole = np.trunc(x)
    away = np.abs(x - whole) >= 0.5
    return np.where(away, whole + np.copysign(np.ones_like(x), x), whole)


@_elementwise("sqrt")
def _sqrt(dtype: DType, x: Array) -> Array:
    return np.asarray(np.sqrt(x))


@_elementwise("real")
def _real(dtype: DType, x: Array) -> Array:
    return np.asarray(np.real(x))


@_elementwise("imag")
def _imag(dtype: DType, x: Array) -> Array:
    return np.asarray(np.imag(x))


@_elementwise("complex")
def _complex(dtype: DType, real: Array, imag: Array) -> Array:
    wide = np.complex64 if real.dtype == np.float32 else np.complex128
    result = np.empty(np.broadcast_shapes(real.shape, imag.shape), wide)
    result.real = real
    result.imag = imag
    return result


@rule("is-finite", scalar_map=True)
def _is_finite(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    return np.isfinite(ctx.widen(operands[0], node.operands[0].array.dtype))


def erf(x: Array) -> Array:
    """The error function in float64, within the C library's error (less than 1 ULP)."""
    flat = np.fromiter(map(math.erf, x.reshape(-1).tolist()), np.float64, x.size)
    return flat.reshape(x.shape)


def logistic(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow, so that large negative x keep their accuracy."""
    if np.iscomplexobj(x):
        return _complex_divide(np.ones_like(x), 1.0 + np.exp(-x))
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1.0 + small)


def _rsqrt(x: Array) -> Array:
    return np.asarray(1.0 / np.sqrt(x))


def _tanh(x: Array) -> Array:
    if not np.iscomplexobj(x):
        return np.asarray(np.tanh(x))
    # NumPy's complex tanh overflows to NaN for large real parts on some platforms.
    clipped = np.clip(x.real, -350.0, 350.0) + 1j * x.imag
    return np.where(np.isnan(x), x, np.tanh(clipped))


def _atan2(y: Array, x: Array) -> Array:
    if not np.iscomplexobj(y):
        return np.asarray(np.arctan2(y, x))
    return np.asarray(-1j * np.log((x + 1j * y) / np.sqrt(x * x + y * y)))


_TRANSCENDENTALS: dict[str, Function] = {
    "exponential": np.exp,
    "exponential-minus-one": np.expm1,
    "log": np.log,
    "log-plus-one": np.log1p,
    "logistic": logistic,
    "tanh": _tanh,
    "sine": np.sin,
    "cosine": np.cos,
    "tan": np.tan,
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "atan2": _atan2,
    "rsqrt": _rsqrt,
    "cbrt": np.cbrt,
    "erf": erf,
}
for _opcode, _function in _TRANSCENDENTALS.items():
    _transcendental(_opcode, _function)
