"""Complex numbers in expressions: pairs of real values, one struct {T, T} each.

Sums, differences and products are those of the parts, in the type's own precision. Everything else
is computed in double: for complex64 nothing can overflow there that need not, and for complex128
the formulas scale by powers of two where squares could overflow.

Sources: W. Kahan, "Branch cuts for complex elementary functions" (1987), for tanh and sqrt;
C99 Annex G for zeros and infinities, as far as the HLO specification speaks of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.expression import Expression, complex_rule, rule, unsupported
from tfaot.codegen.index import Index
from tfaot.codegen.math import MATH
from tfaot.codegen.types import F32, F64, register_element, with_element
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.attributes import Call, Compare, Iota
from tfaot.ir.module import Instruction

Real = ir.Value
Pair = tuple[ir.Value, ir.Value]
"""Real and imaginary part."""


def add(v: VectorBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The sum of two complex values."""
    (ar, ai), (br, bi) = v.parts(a), v.parts(b)
    return v.pair(v.add(ar, br), v.add(ai, bi))


def subtract(v: VectorBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The difference of two complex values."""
    (ar, ai), (br, bi) = v.parts(a), v.parts(b)
    return v.pair(v.sub(ar, br), v.sub(ai, bi))


def multiply(v: VectorBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The product of two complex values, every step rounded."""
    (ar, ai), (br, bi) = v.parts(a), v.parts(b)
    real = v.sub(v.mul(ar, br), v.mul(ai, bi))
    return v.pair(real, v.add(v.mul(ar, bi), v.mul(ai, br)))


def divide(v: VectorBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """The quotient of two complex values."""
    return _in_double(v, lambda m, x, y: m.divide(x, y), a, b)


def conjugate(v: VectorBuilder, a: ir.Value) -> ir.Value:
    """A complex value with the other sign of its imaginary part."""
    real, imaginary = v.parts(a)
    return v.pair(real, v.neg(imaginary))


@dataclass(frozen=True)
class _Scale:
    """Powers of two around a magnitude: `down` brings it near 1, `up` is 1 / down."""

    exponent: ir.Value
    down: ir.Value
    up: ir.Value


class DoubleComplex:
    """Functions of pairs of doubles.

    Args:
        v: where code goes.
        wide_range: whether squares of operands may overflow or vanish (complex128).
    """

    def __init__(self, v: VectorBuilder, wide_range: bool) -> None:
        self.v = v
        self.wide_range = wide_range

    def _math(self, opcode: str, *arguments: Real) -> Real:
        return MATH[opcode].emit(self.v, *arguments)

    def _times(self, a: Real, b: Real) -> Real:
        """A * b, where a zero `a` gives zero even if b is infinite."""
        return self.v.select(self.v.eq(a, self.v.const(a, 0.0)), a, self.v.mul(a, b))

    def _scale(self, x: Real, y: Real, even: bool = False) -> _Scale:
        """Powers of two for the larger magnitude of x and y (even ones, whose roots are exact)."""
        v = self.v
        largest = v.max(v.abs(x), v.abs(y))
        bits = v.float_bits(largest)
        exponent = v.ir.lshr(bits, v.const(bits, 52))
        exponent = v.clamp(v.const(bits, 1), exponent, v.const(bits, 2045))
        if even:
            exponent = v.or_(exponent, v.const(bits, 1))
        shift = v.const(bits, 52)
        down = v.bits_float(v.ir.shl(v.sub(v.const(bits, 2046), exponent), shift))
        return _Scale(exponent, down, v.bits_float(v.ir.shl(exponent, shift)))

    def square(self, z: Pair) -> Real:
        """|z|^2."""
        v = self.v
        return v.fma(z[0], z[0], v.mul(z[1], z[1]))

    def absolute(self, z: Pair) -> Real:
        """|z|; infinite where any part is."""
        v = self.v
        if self.wide_range:
            scale = self._scale(*z)
            size = v.sqrt(self.square((v.mul(z[0], scale.down), v.mul(z[1], scale.down))))
            size = v.mul(size, scale.up)
        else:
            size = v.sqrt(self.square(z))
        return v.select(self._any_infinite(z), v.const(size, math.inf), size)

    def _any_infinite(self, z: Pair) -> ir.Value:
        v = self.v
        infinity = v.const(z[0], math.inf)
        return v.or_(v.eq(v.abs(z[0]), infinity), v.eq(v.abs(z[1]), infinity))

    def divide(self, a: Pair, b: Pair) -> Pair:
        """A / b; a / 0 is that of the parts, and a finite number by an infinite one is 0."""
        v = self.v
        zero = v.const(a[0], 0.0)
        x, y = a, b
        if self.wide_range:
            top, bottom = self._scale(*a), self._scale(*b)
            x = v.mul(a[0], top.down), v.mul(a[1], top.down)
            y = v.mul(b[0], bottom.down), v.mul(b[1], bottom.down)
        size = self.square(y)
        real = v.div(v.fma(x[0], y[0], v.mul(x[1], y[1])), size)
        imaginary = v.div(v.fma(x[1], y[0], v.neg(v.mul(x[0], y[1]))), size)
        if self.wide_range:
            # Half of the exponent at a time: what is between neither overflows nor vanishes.
            exponent = v.sub(top.exponent, bottom.exponent)
            first = v.ir.ashr(exponent, v.const(exponent, 1))
            for half in (first, v.sub(exponent, first)):
                field = v.ir.shl(v.add(half, v.const(half, 1023)), v.const(half, 52))
                factor = v.bits_float(field)
                real, imaginary = v.mul(real, factor), v.mul(imaginary, factor)
        by_zero = v.and_(v.eq(b[0], zero), v.eq(b[1], zero))
        size = v.abs(b[0])
        finite = v.and_(v.is_finite(a[0]), v.is_finite(a[1]))
        vanishes = v.and_(self._any_infinite(b), finite)
        parts = []
        for quotient, part in ((real, a[0]), (imaginary, a[1])):
            quotient = v.select(by_zero, v.div(part, size), quotient)
            parts.append(v.select(vanishes, zero, quotient))
        return parts[0], parts[1]

    def _scaled_exp(self, x: Real) -> tuple[Real, Real]:
        """Two factors of e^x, neither of which overflows before a product by something small."""
        v = self.v
        if not self.wide_range:
            return self._math("exponential", x), v.const(x, 1.0)
        large = v.gt(x, v.const(x, 700.0))
        # The subtraction is exact.
        base = v.select(large, v.sub(x, v.const(x, 100.0)), x)
        factor = v.select(large, v.const(x, math.exp(100.0)), v.const(x, 1.0))
        return self._math("exponential", base), factor

    def _without_angle(self, z: Pair, infinite: ir.Value) -> Pair:
        """Z, with no imaginary part where that is infinite or NaN and `infinite` holds.

        There the size alone decides: e^(-inf + iy) is 0 for every y (C99 Annex G).
        """
        v = self.v
        nowhere = v.and_(infinite, v.not_(v.is_finite(z[1])))
        return z[0], v.select(nowhere, v.const(z[1], 0.0), z[1])

    def exponential(self, z: Pair) -> Pair:
        """The function e^z."""
        v = self.v
        z = self._without_angle(z, v.eq(z[0], v.const(z[0], -math.inf)))
        size, factor = self._scaled_exp(z[0])
        cosine, sine = self._math("cosine", z[1]), self._math("sine", z[1])
        return (
            v.mul(self._times(cosine, size), factor),
            v.mul(self._times(sine, size), factor),
        )

    def expm1(self, z: Pair) -> Pair:
        """The function e^z - 1."""
        v = self.v
        z = self._without_angle(z, v.eq(z[0], v.const(z[0], -math.inf)))
        half = self._math("sine", v.mul(z[1], v.const(z[1], 0.5)))
        whole = self.exponential(z)
        # e^x cos y - 1 = (e^x - 1) cos y - 2 sin^2 (y / 2)
        small = self._math("exponential-minus-one", z[0])
        near = v.mul(small, self._math("cosine", z[1]))
        near = v.sub(near, v.mul(v.mul(v.const(half, 2.0), half), half))
        far = v.gt(z[0], v.const(half, 40.0))
        return v.select(far, whole[0], near), whole[1]

    def log(self, z: Pair) -> Pair:
        """The principal logarithm."""
        v = self.v
        x, y = v.abs(z[0]), v.abs(z[1])
        large, small = v.max(x, y), v.min(x, y)
        one, half = v.const(x, 1.0), v.const(x, 0.5)
        # |z|^2 - 1 without cancellation where |z| is near 1.
        excess = v.fma(small, small, v.mul(v.sub(large, one), v.add(large, one)))
        close = v.and_(v.gt(excess, v.neg(half)), v.lt(excess, one))
        near = v.mul(half, self._math("log-plus-one", v.select(close, excess, half)))
        if self.wide_range:
            scale = self._scale(*z)
            size = self.square((v.mul(x, scale.down), v.mul(y, scale.down)))
            exponent = v.sub(scale.exponent, v.const(scale.exponent, 1023))
            shift = v.mul(v.int_to_float(exponent, F64), v.const(x, math.log(2.0)))
            far = v.fma(half, self._math("log", size), shift)
        else:
            far = v.mul(half, self._math("log", self.square(z)))
        real = v.select(close, near, far)
        real = v.select(self._any_infinite(z), v.const(x, math.inf), real)
        return real, self._math("atan2", z[1], z[0])

    def log1p(self, z: Pair) -> Pair:
        """The logarithm of 1 + z, accurate for small z."""
        v = self.v
        x, y = z
        one, half, two = v.const(x, 1.0), v.const(x, 0.5), v.const(x, 2.0)
        moved = v.add(x, one)
        far = self.log((moved, y))
        # |1 + z|^2 - 1
        excess = v.fma(x, v.add(x, two), v.mul(y, y))
        close = v.and_(v.gt(excess, v.neg(half)), v.lt(excess, one))
        near = v.mul(half, self._math("log-plus-one", v.select(close, excess, half)))
        return v.select(close, near, far[0]), far[1]

    def sqrt(self, z: Pair) -> Pair:
        """The principal square root."""
        v = self.v
        zero, half = v.const(z[0], 0.0), v.const(z[0], 0.5)
        x, y = z
        if self.wide_range:
            scale = self._scale(*z, even=True)
            x, y = v.mul(x, scale.down), v.mul(y, scale.down)
        size = v.sqrt(self.square((x, y)))
        large = v.sqrt(v.mul(half, v.add(size, v.abs(x))))
        nothing = v.eq(large, zero)
        small = v.div(v.mul(half, y), v.select(nothing, v.const(x, 1.0), large))
        right = v.ge(x, zero)
        real = v.select(right, large, v.abs(small))
        imaginary = v.select(right, small, v.copysign(large, y))
        if self.wide_range:
            bits = v.add(scale.exponent, v.const(scale.exponent, 1023))
            bits = v.ir.lshr(bits, v.const(bits, 1))
            root = v.bits_float(v.ir.shl(bits, v.const(bits, 52)))
            real, imaginary = v.mul(real, root), v.mul(imaginary, root)
        infinite = v.eq(v.abs(z[1]), v.const(x, math.inf))
        real = v.select(infinite, v.const(x, math.inf), real)
        return real, v.select(v.or_(infinite, nothing), z[1], imaginary)

    def rsqrt(self, z: Pair) -> Pair:
        """1 / sqrt(z)."""
        one, zero = self.v.const(z[0], 1.0), self.v.const(z[0], 0.0)
        return self.divide((one, zero), self.sqrt(z))

    def _hyperbolic(self, x: Real) -> tuple[Real, Real, Real]:
        """Sinh x and cosh x, both still to be multiplied by a factor."""
        v = self.v
        size = v.abs(x)
        one, half = v.const(x, 1.0), v.const(x, 0.5)
        large = v.gt(size, v.const(x, 22.0))
        whole, factor = self._scaled_exp(v.select(large, size, one))
        whole = v.mul(half, whole)
        grown = self._math("exponential-minus-one", v.select(large, one, size))
        rest = v.div(grown, v.add(grown, one))
        sinh = v.mul(half, v.add(grown, rest))
        cosh = v.fma(v.mul(half, grown), rest, one)
        sinh = v.copysign(v.select(large, whole, sinh), x)
        return sinh, v.select(large, whole, cosh), v.select(large, factor, one)

    def sinh(self, z: Pair) -> Pair:
        """The hyperbolic sine."""
        v = self.v
        sinh, cosh, factor = self._hyperbolic(z[0])
        cosine, sine = self._math("cosine", z[1]), self._math("sine", z[1])
        return (
            v.mul(self._times(cosine, sinh), factor),
            v.mul(self._times(sine, cosh), factor),
        )

    def cosh(self, z: Pair) -> Pair:
        """The hyperbolic cosine."""
        v = self.v
        sinh, cosh, factor = self._hyperbolic(z[0])
        cosine, sine = self._math("cosine", z[1]), self._math("sine", z[1])
        return (
            v.mul(self._times(cosine, cosh), factor),
            v.mul(self._times(sine, sinh), factor),
        )

    def sine(self, z: Pair) -> Pair:
        """The sine: -i sinh(i z)."""
        real, imaginary = self.sinh((self.v.neg(z[1]), z[0]))
        return imaginary, self.v.neg(real)

    def cosine(self, z: Pair) -> Pair:
        """The cosine: cosh(i z)."""
        return self.cosh((self.v.neg(z[1]), z[0]))

    def tanh(self, z: Pair) -> Pair:
        """The hyperbolic tangent."""
        v = self.v
        size = v.abs(z[0])
        z = self._without_angle(z, v.eq(size, v.const(size, math.inf)))
        limit, one = v.const(size, 22.0), v.const(size, 1.0)
        large = v.gt(size, limit)
        sinh, cosh, _ = self._hyperbolic(v.select(large, one, z[0]))
        cosine, sine = self._math("cosine", z[1]), self._math("sine", z[1])
        both = v.mul(sine, cosine)
        below = v.fma(sinh, sinh, v.mul(cosine, cosine))
        tail = self._math("exponential", v.mul(v.const(size, -2.0), size))
        far = v.mul(v.mul(v.const(size, 4.0), both), tail)
        real = v.select(large, v.copysign(one, z[0]), v.div(v.mul(sinh, cosh), below))
        return real, v.select(large, far, v.div(both, below))

    def tan(self, z: Pair) -> Pair:
        """The tangent: -i tanh(i z)."""
        real, imaginary = self.tanh((self.v.neg(z[1]), z[0]))
        return imaginary, self.v.neg(real)

    def logistic(self, z: Pair) -> Pair:
        """1 / (1 + e^-z)."""
        v = self.v
        one, zero = v.const(z[0], 1.0), v.const(z[0], 0.0)
        grown = self.exponential((v.neg(z[0]), v.neg(z[1])))
        return self.divide((one, zero), (v.add(one, grown[0]), grown[1]))

    def sign(self, z: Pair) -> Pair:
        """The number z / |z|; zeros stay."""
        v = self.v
        x, y = z
        if self.wide_range:
            scale = self._scale(*z)
            x, y = v.mul(x, scale.down), v.mul(y, scale.down)
        size = v.sqrt(self.square((x, y)))
        nothing = v.eq(size, v.const(size, 0.0))
        return (
            v.select(nothing, z[0], v.div(x, size)),
            v.select(nothing, z[1], v.div(y, size)),
        )

    def power(self, a: Pair, b: Pair) -> Pair:
        """The function a^b = e^(b log a); 0^b is 0, but 1 for b = 0."""
        v = self.v
        zero, one = v.const(a[0], 0.0), v.const(a[0], 1.0)
        log = self.log(a)
        exponent = (
            v.sub(v.mul(b[0], log[0]), v.mul(b[1], log[1])),
            v.add(v.mul(b[0], log[1]), v.mul(b[1], log[0])),
        )
        real, imaginary = self.exponential(exponent)
        of_zero = v.and_(v.eq(a[0], zero), v.eq(a[1], zero))
        of_zero = v.and_(of_zero, v.gt(b[0], zero))
        to_zero = v.and_(v.eq(b[0], zero), v.eq(b[1], zero))
        real = v.select(to_zero, one, v.select(of_zero, zero, real))
        return real, v.select(v.or_(of_zero, to_zero), zero, imaginary)


Function = Callable[..., Pair]

FUNCTIONS: dict[str, Function] = {
    "divide": DoubleComplex.divide,
    "power": DoubleComplex.power,
    "exponential": DoubleComplex.exponential,
    "exponential-minus-one": DoubleComplex.expm1,
    "log": DoubleComplex.log,
    "log-plus-one": DoubleComplex.log1p,
    "logistic": DoubleComplex.logistic,
    "sqrt": DoubleComplex.sqrt,
    "rsqrt": DoubleComplex.rsqrt,
    "sine": DoubleComplex.sine,
    "cosine": DoubleComplex.cosine,
    "tan": DoubleComplex.tan,
    "tanh": DoubleComplex.tanh,
    "sinh": DoubleComplex.sinh,
    "cosh": DoubleComplex.cosh,
    "sign": DoubleComplex.sign,
}
"""Functions of complex numbers that are computed in double, by opcode."""


def _is_single(value: ir.Value) -> bool:
    return "float" in str(value.type)


def _widened(v: VectorBuilder, z: ir.Value) -> Pair:
    real, imaginary = v.parts(z)
    if not _is_single(z):
        return real, imaginary
    wide = with_element(real.type, F64)
    return v.ir.fpext(real, wide), v.ir.fpext(imaginary, wide)


def _in_double(v: VectorBuilder, function: Function, *arguments: ir.Value) -> ir.Value:
    single = _is_single(arguments[0])
    result = function(DoubleComplex(v, not single), *(_widened(v, a) for a in arguments))
    if not single:
        return v.pair(*result)
    narrow = with_element(result[0].type, F32)
    return v.pair(v.ir.fptrunc(result[0], narrow), v.ir.fptrunc(result[1], narrow))


def _operands(
    e: Expression, instruction: Instruction, indices: tuple[Index, ...]
) -> list[ir.Value]:
    return e.alike(*(e.value(o, indices) for o in instruction.operands))


@complex_rule(*FUNCTIONS)
def _function(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    arguments = _operands(e, instruction, indices)
    return _in_double(e.vector, FUNCTIONS[instruction.opcode], *arguments)


ARITHMETIC: dict[str, Callable[[VectorBuilder, ir.Value, ir.Value], ir.Value]] = {
    "add": add,
    "subtract": subtract,
    "multiply": multiply,
}


@complex_rule(*ARITHMETIC)
def _arithmetic(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    a, b = _operands(e, instruction, indices)
    return ARITHMETIC[instruction.opcode](e.vector, a, b)


@complex_rule("negate")
def _negate(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    (a,) = _operands(e, instruction, indices)
    real, imaginary = e.vector.parts(a)
    return e.vector.pair(e.vector.neg(real), e.vector.neg(imaginary))


@complex_rule("abs")
def _abs(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    (a,) = _operands(e, instruction, indices)
    v, single = e.vector, _is_single(a)
    size = DoubleComplex(v, not single).absolute(_widened(v, a))
    return v.ir.fptrunc(size, with_element(size.type, F32)) if single else size


@complex_rule("complex")
def _complex(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    real, imaginary = _operands(e, instruction, indices)
    return e.vector.pair(real, imaginary)


@complex_rule("real")
def _real(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    (a,) = _operands(e, instruction, indices)
    return e.vector.parts(a)[0]


@complex_rule("imag")
def _imag(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    (a,) = _operands(e, instruction, indices)
    return e.vector.parts(a)[1]


@rule("real")
def _real_of_real(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    return e.value(instruction.operands[0], indices)


@rule("imag")
def _imag_of_real(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    return e.constant(instruction.array, 0.0)


@complex_rule("iota")
def _iota(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    v = e.vector
    position = e.index.position(indices[instruction.attr(Iota).dimension])
    real = v.int_to_float(position, register_element(instruction.array.dtype.real))
    return v.pair(real, v.const(real, 0.0))


@complex_rule("map")
def _map(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    return e.apply(instruction.attr(Call).to_apply, _operands(e, instruction, indices))


@complex_rule("compare")
def _compare(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    direction = instruction.attr(Compare).direction
    a, b = _operands(e, instruction, indices)
    v = e.vector
    (ar, ai), (br, bi) = v.parts(a), v.parts(b)
    match direction:
        case "EQ":
            return v.and_(v.eq(ar, br), v.eq(ai, bi))
        case "NE":
            return v.or_(v.ne(ar, br), v.ne(ai, bi))
    raise unsupported(instruction)


@complex_rule("convert")
def _convert(e: Expression, instruction: Instruction, indices: tuple[Index, ...]) -> ir.Value:
    source, target = instruction.operands[0].array.dtype, instruction.array.dtype
    (a,) = _operands(e, instruction, indices)
    v = e.vector
    if not source.is_complex:
        real = v.convert(a, source, target.real)
        return v.pair(real, v.const(real, 0.0))
    parts = [v.convert(p, source.real, target.real) for p in v.parts(a)]
    return v.pair(*parts) if target.is_complex else parts[0]
