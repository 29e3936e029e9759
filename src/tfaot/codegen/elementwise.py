"""Elementwise ops, and ops that only choose among values at one place.

Narrow floats (float16, bfloat16) are computed in float32 and rounded after every op, as XLA:CPU
does. Source: HLO specification, "Element-wise" sections.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from llvmlite import ir

from tfaot.codegen.expression import Expression, rule, unsupported
from tfaot.codegen.index import Affine, Index
from tfaot.codegen.loops import Loop
from tfaot.codegen.math import MATH, expm1_nonpositive
from tfaot.codegen.types import Splat, bit_width
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.attributes import Call, Compare, ReducePrecision
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, known_value

Binary = Callable[[VectorBuilder, DType, ir.Value, ir.Value], ir.Value]
Unary = Callable[[VectorBuilder, DType, ir.Value], ir.Value]


def _is_signed(dtype: DType) -> bool:
    return dtype.is_signed or dtype.is_float


def _pred_or(plain: Binary, on_pred: Binary) -> Binary:
    return lambda v, t, a, b: (on_pred if t is DType.PRED else plain)(v, t, a, b)


BINARY: dict[str, Binary] = {
    "add": _pred_or(lambda v, t, a, b: v.add(a, b), lambda v, t, a, b: v.or_(a, b)),
    "subtract": _pred_or(lambda v, t, a, b: v.sub(a, b), lambda v, t, a, b: v.xor(a, b)),
    "multiply": _pred_or(lambda v, t, a, b: v.mul(a, b), lambda v, t, a, b: v.and_(a, b)),
    "divide": lambda v, t, a, b: v.div(a, b, signed=_is_signed(t)),
    "maximum": lambda v, t, a, b: v.max(a, b, signed=_is_signed(t)),
    "minimum": lambda v, t, a, b: v.min(a, b, signed=_is_signed(t)),
    "and": lambda v, t, a, b: v.and_(a, b),
    "or": lambda v, t, a, b: v.or_(a, b),
    "xor": lambda v, t, a, b: v.xor(a, b),
    "shift-left": lambda v, t, a, b: v.shift_left(a, b),
    "shift-right-logical": lambda v, t, a, b: v.shift_right_logical(a, b),
    "shift-right-arithmetic": lambda v, t, a, b: v.shift_right_arithmetic(a, b),
}

UNARY: dict[str, Unary] = {
    "negate": lambda v, t, a: v.neg(a),
    "abs": lambda v, t, a: a if t.is_unsigned or t is DType.PRED else v.abs(a),
    "sign": lambda v, t, a: v.sign(a, signed=_is_signed(t)),
    "not": lambda v, t, a: v.not_(a),
    "popcnt": lambda v, t, a: v.popcount(a),
    "count-leading-zeros": lambda v, t, a: v.count_leading_zeros(a),
    "sqrt": lambda v, t, a: v.sqrt(a),
    "floor": lambda v, t, a: v.floor(a),
    "ceil": lambda v, t, a: v.ceil(a),
    "round-nearest-even": lambda v, t, a: v.round_even(a),
    "round-nearest-afz": lambda v, t, a: v.round_afz(a),
}


def _operands(
    e: Expression, instruction: Instruction, indices: tuple[Index, ...]
) -> list[ir.Value]:
    if any(x.array.dtype.is_complex for x in (instruction, *instruction.operands)):
        raise unsupported(instruction)
    return e.alike(*(e.value(o, indices) for o in instruction.operands))


def _finish(e: Expression, value: ir.Value, dtype: DType) -> ir.Value:
    return e.vector.wrap_to(e.vector.round_to(value, dtype), dtype)


@rule(*BINARY)
def _binary(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dtype = instruction.array.dtype
    a, b = _operands(e, instruction, indices)
    if instruction.opcode == "add" and dtype in (DType.F32, DType.F64):
        x, y = instruction.operands
        for product, term in ((x, b), (y, a)):
            # Of polynomials: one rounding less than two ops have, and nothing that could cancel.
            if isinstance(term, Splat) and product.opcode == "multiply" and e.computes(product):
                return e.vector.fma(*e.alike(*_operands(e, product, indices), term))
    return _finish(e, BINARY[instruction.opcode](e.vector, dtype, a, b), dtype)


@rule(*UNARY)
def _unary(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dtype = instruction.array.dtype
    (a,) = _operands(e, instruction, indices)
    return _finish(e, UNARY[instruction.opcode](e.vector, dtype, a), dtype)


TRANSCENDENTAL = tuple(
    opcode for opcode in MATH if opcode not in ("power", "remainder") and opcode not in UNARY
)


@rule(*TRANSCENDENTAL)
def _transcendental(
    e: Expression, instruction: Instruction, indices: tuple[Index, ...]
) -> ir.Value:
    dtype = instruction.array.dtype
    if not dtype.is_float:
        raise unsupported(instruction)
    arguments = _operands(e, instruction, indices)
    return e.vector.round_to(MATH[instruction.opcode].emit(e.vector, *arguments), dtype)


@rule("power")
def _power(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dtype = instruction.array.dtype
    a, b = _operands(e, instruction, indices)
    if dtype.is_float:
        return e.vector.round_to(MATH["power"].emit(e.vector, a, b), dtype)
    if not dtype.is_integer:
        raise unsupported(instruction)
    return _finish(e, _integer_power(e.vector, dtype, a, b), dtype)


def _integer_power(v: VectorBuilder, dtype: DType, base: ir.Value, exponent: ir.Value) -> ir.Value:
    """Repeated squaring over all bits; negative exponents as XLA: 1, -1 or 0."""
    one, zero = v.const(base, 1), v.const(base, 0)
    if isinstance(exponent, Splat) and exponent.number >= 0:
        return _known_power(v, base, int(exponent.number))
    # A loop: unrolled, LLVM keeps the masks of all bits at once, on the stack.
    with Loop(v.ir, 0, dtype.bits, 1, [one, base, exponent], "power") as loop:
        product, square, left = loop.carried
        odd = v.ne(v.and_(left, one), zero)
        product = v.select(odd, v.mul(product, square), product)
        loop.update([product, v.mul(square, square), v.ir.lshr(left, one)])
    result = loop.results[0]
    if not dtype.is_signed:
        return result
    minus = v.const(base, -1)
    sign = v.select(v.ne(v.and_(exponent, one), zero), minus, one)
    inverse = v.select(v.eq(base, one), one, v.select(v.eq(base, minus), sign, zero))
    return v.select(v.lt(exponent, zero), inverse, result)


def _known_power(v: VectorBuilder, base: ir.Value, exponent: int) -> ir.Value:
    result: ir.Value = v.const(base, 1)
    square = base
    while exponent:
        if exponent & 1:
            result = v.mul(result, square)
        exponent >>= 1
        if exponent:
            square = v.mul(square, square)
    return result


@rule("remainder")
def _remainder(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dtype = instruction.array.dtype
    a, b = _operands(e, instruction, indices)
    if dtype.is_float:
        return e.vector.round_to(MATH["remainder"].emit(e.vector, a, b), dtype)
    if not dtype.is_integer:
        raise unsupported(instruction)
    return _finish(e, e.vector.rem(a, b, signed=dtype.is_signed), dtype)


@rule("compare")
def _compare(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    dtype = instruction.operands[0].array.dtype
    attrs = instruction.attr(Compare)
    a, b = _operands(e, instruction, indices)
    return e.vector.compare(
        attrs.direction, a, b, signed=_is_signed(dtype), total=attrs.order == "TOTALORDER"
    )


@rule("select")
def _select(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    predicate, on_true, on_false = instruction.operands
    chosen = e.value(predicate, () if predicate.array.rank == 0 else indices)
    otherwise = _where_not_positive(e, predicate, on_false, indices)
    if otherwise is None:
        otherwise = e.value(on_false, indices)
    condition, a, b = e.alike(chosen, e.value(on_true, indices), otherwise)
    return e.vector.select(condition, a, b)


def _where_not_positive(
    e: Expression, predicate: Instruction, branch: Instruction, indices: tuple[Index, ...]
) -> ir.Value | None:
    """The branch of `x > 0 ? ... : branch`, which may be anything for positive x.

    ELU and its kin (also scaled): their exponential then needs half of its range only. The bits are
    those of the full range. None where this is no such branch.
    """
    if predicate.opcode != "compare" or predicate.attr(Compare).direction not in ("GT", "GE"):
        return None
    x, bound = predicate.operands
    if not is_zero(bound):
        return None
    scales: list[Instruction] = []
    while branch.opcode == "multiply" and branch.operands[1].opcode in ("broadcast", "constant"):
        scales.append(branch)
        branch = branch.operands[0]
    if branch.opcode != "exponential-minus-one" or branch.operands[0] is not x:
        return None
    dtype = branch.array.dtype
    value = e.vector.round_to(expm1_nonpositive(e.vector, e.value(x, indices)), dtype)
    for scale in reversed(scales):
        value, factor = e.alike(value, e.value(scale.operands[1], indices))
        value = _finish(e, e.vector.mul(value, factor), dtype)
    return value


def is_zero(value: Instruction) -> bool:
    """Whether this is a constant zero, as a scalar or broadcast."""
    while value.opcode in ("broadcast", "reshape", "convert"):
        value = value.operands[0]
    number = known_value(value)
    return number is not None and not number.any()


@rule("clamp")
def _clamp(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    low, operand, high = (
        e.value(o, () if o.array.rank == 0 else indices) for o in instruction.operands
    )
    low, operand, high = e.alike(low, operand, high)
    return e.vector.clamp(low, operand, high, signed=_is_signed(instruction.array.dtype))


@rule("is-finite")
def _is_finite(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    (a,) = _operands(e, instruction, indices)
    return e.vector.is_finite(a)


@rule("convert")
def _convert(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    source, target = instruction.operands[0].array.dtype, instruction.array.dtype
    (a,) = _operands(e, instruction, indices)
    return e.vector.convert(a, source, target)


@rule("bitcast-convert")
def _bitcast_convert(
    e: Expression, instruction: Instruction, indices: tuple[Index, ...]
) -> ir.Value:
    (operand,) = instruction.operands
    source, target = operand.array.dtype, instruction.array.dtype
    v = e.vector
    if source.bits == target.bits == 4:
        return v.wrap_to(e.value(operand, indices), target)
    if min(source.bits, target.bits) < 8 or source.is_complex or target.is_complex:
        raise unsupported(instruction)
    if source.itemsize == target.itemsize:
        bits = _bits(e, operand, indices)
    elif source.itemsize > target.itemsize:
        *place, part = indices
        bits = _part_of_bits(e, _bits(e, operand, tuple(place)), part, target)
    else:
        wide = ir.IntType(target.bits)
        parts = (
            v.int_to_int(_bits(e, operand, (*indices, Affine(n))), wide, signed=False)
            for n in range(target.itemsize // source.itemsize)
        )
        shifted = [v.ir.shl(p, v.const(p, n * source.bits)) for n, p in enumerate(parts)]
        bits = functools.reduce(v.or_, shifted)
    return v.from_memory(v.bits_float(bits) if target in _WHOLE_FLOATS else bits, target)


_WHOLE_FLOATS = (DType.F32, DType.F64)
"""Floats that are floats in memory, not the integers of their bits."""


def _bits(e: Expression, operand: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    """The bits of an operand as integers of its width."""
    dtype = operand.array.dtype
    raw = e.vector.to_memory(e.value(operand, indices), dtype)
    return e.vector.float_bits(raw) if dtype in _WHOLE_FLOATS else raw


def _part_of_bits(e: Expression, bits: ir.Value, part: Index, target: DType) -> ir.Value:
    """The bits of `target`'s width at position `part`, counted from the lowest."""
    v = e.vector
    bits, place = e.alike(bits, e.index.position(part))
    width = ir.IntType(bit_width(bits.type))
    shift = v.int_to_int(v.ir.mul(place, v.const(place, target.bits)), width)
    return v.int_to_int(v.ir.lshr(bits, shift), ir.IntType(target.bits))


_MANTISSA_BITS = {DType.F16: 10, DType.BF16: 7, DType.F32: 23, DType.F64: 52}


@rule("reduce-precision")
def _reduce_precision(
    e: Expression, instruction: Instruction, indices: tuple[Index, ...]
) -> ir.Value:
    attrs = instruction.attr(ReducePrecision)
    dtype = instruction.array.dtype
    if dtype not in _MANTISSA_BITS:
        raise unsupported(instruction)
    mantissa = _MANTISSA_BITS[dtype]
    exponent = dtype.bits - 1 - mantissa
    if attrs.mantissa_bits >= mantissa and attrs.exponent_bits >= exponent:
        # Taken apart and put together again, LLVM for AVX-512 loses what was negated before.
        return e.value(instruction.operands[0], indices)
    original = _bits(e, instruction.operands[0], indices)
    v = e.vector
    sign = v.and_(original, v.const(original, 1 << (dtype.bits - 1)))
    infinity = v.const(original, ((1 << exponent) - 1) << mantissa)
    magnitude = v.ir.xor(original, sign)
    is_nan = v.gt(magnitude, infinity)
    drop = mantissa - attrs.mantissa_bits
    if drop > 0:
        last = v.and_(v.ir.lshr(magnitude, v.const(original, drop)), v.const(original, 1))
        half = v.const(original, (1 << (drop - 1)) - 1)
        magnitude = v.add(v.add(magnitude, half), last)
        magnitude = v.and_(magnitude, v.const(original, -(1 << drop)))
    if attrs.exponent_bits < exponent:
        bias, reach = (1 << (exponent - 1)) - 1, (1 << (attrs.exponent_bits - 1)) - 1
        over = v.ge(magnitude, v.const(original, (bias + reach + 1) << mantissa))
        under = v.lt(magnitude, v.const(original, (bias - reach + 1) << mantissa))
        magnitude = v.select(over, infinity, magnitude)
        magnitude = v.select(under, v.const(original, 0), magnitude)
    bits = v.select(is_nan, original, v.or_(magnitude, sign))
    return v.from_memory(v.bits_float(bits) if dtype in _WHOLE_FLOATS else bits, dtype)


@rule("copy", "opt-barrier")
def _copy(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    return e.value(instruction.operands[0], indices)


@rule("map")
def _map(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    arguments = _operands(e, instruction, indices)
    return e.apply(instruction.attr(Call).to_apply, arguments)
