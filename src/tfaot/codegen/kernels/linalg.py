"""Cholesky factors and triangular systems, matrix by matrix.

XLA:CPU expands both before its graph reaches a compiler, so these are plain loops. Sums of
products are kept in double precision for float32 and complex64.
"""

from __future__ import annotations

import math

from llvmlite import ir

from tfaot.codegen import complex
from tfaot.codegen.expression import Expression
from tfaot.codegen.index import Affine, Index, Number, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.attributes import Cholesky, TriangularSolve
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import Shape

_WIDE = {DType.F16: DType.F64, DType.BF16: DType.F64, DType.F32: DType.F64, DType.C64: DType.C128}


class _Field:
    """Arithmetic on numbers of a type, real or complex, at a wider precision."""

    def __init__(self, v: VectorBuilder, dtype: DType) -> None:
        self.v = v
        self.dtype = dtype
        self.wide = _WIDE.get(dtype, dtype)

    def widen(self, a: ir.Value) -> ir.Value:
        """A value of the type at the wider precision."""
        if not self.dtype.is_complex:
            return self.v.convert(a, self.dtype, self.wide)
        parts = [self.v.convert(p, self.dtype.real, self.wide.real) for p in self.v.parts(a)]
        return self.v.pair(*parts)

    def narrow(self, a: ir.Value) -> ir.Value:
        """A value of the wider precision, rounded to the type."""
        if not self.dtype.is_complex:
            return self.v.convert(a, self.wide, self.dtype)
        parts = [self.v.convert(p, self.wide.real, self.dtype.real) for p in self.v.parts(a)]
        return self.v.pair(*parts)

    def conjugate(self, a: ir.Value) -> ir.Value:
        """The complex conjugate; a real number itself."""
        return complex.conjugate(self.v, a) if self.dtype.is_complex else a

    def less_product(self, c: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        """C - a * b."""
        if self.dtype.is_complex:
            return complex.subtract(self.v, c, complex.multiply(self.v, a, b))
        return self.v.fma(self.v.neg(a), b, c)

    def divide(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """A / b."""
        return complex.divide(self.v, a, b) if self.dtype.is_complex else self.v.div(a, b)


def emit_cholesky(context: KernelContext) -> None:
    """Emit a kernel that is built around a `cholesky`.

    Only one triangle of the operand is read; the other one of the result is zero. From the first
    pivot on that is not positive, the factor is NaN.
    """
    anchor = context.kernel.anchor
    (result,) = context.results
    assert anchor is not None
    assert result is not None
    target = result
    operand = anchor.operands[0]
    dims = operand.array.dims
    lower = anchor.attr(Cholesky).lower
    dtype = anchor.array.dtype
    size = context.size(dims[-1])
    builder = context.builder

    def matrix(outer: tuple[Index, ...]) -> None:
        def at(row: Number, column: Number) -> tuple[Index, ...]:
            pair = (row, column) if lower else (column, row)
            return (*outer, Affine(pair[0]), Affine(pair[1]))

        def known(e: Expression, field: _Field, row: Number, column: Number) -> ir.Value:
            """An element of the lower factor, at the wider precision."""
            value = field.widen(e.load(target, at(row, column)))
            return value if lower else field.conjugate(value)

        def reduced(row: Number, column: Number) -> ir.Value:
            """The operand's element without what earlier columns make of it."""
            e = context.expression()
            field = _Field(e.vector, dtype)
            start = field.widen(e.value(operand, at(row, column)))
            start = start if lower else field.conjugate(start)
            with Loop(builder, 0, column, 1, [start], "k") as loop:
                inner = context.expression()
                a = known(inner, field, row, loop.index)
                b = field.conjugate(known(inner, field, column, loop.index))
                loop.update([field.less_product(loop.carried[0], a, b)])
            return loop.results[0]

        with for_range(builder, 0, size, 1, "column") as column:
            with for_range(builder, 0, column, 1, "row") as row:
                e = context.expression()
                e.store(target, at(row, column), e.constant(Shape(dtype), 0))
            v = context.vector
            field = _Field(v, dtype)
            pivot = reduced(column, column)
            square = v.parts(pivot)[0] if dtype.is_complex else pivot
            positive = v.gt(square, v.const(square, 0.0))
            root = v.select(positive, v.sqrt(square), v.const(square, math.nan))
            diagonal = v.pair(root, v.const(root, 0.0)) if dtype.is_complex else root
            context.expression().store(target, at(column, column), field.narrow(diagonal))
            first = builder.add(as_value(column), as_value(1))
            with for_range(builder, first, size, 1, "row") as row:
                value = field.divide(reduced(row, column), diagonal)
                value = value if lower else field.conjugate(value)
                context.expression().store(target, at(row, column), field.narrow(value))

    context.loops(dims[:-2], matrix)


def emit_triangular_solve(context: KernelContext) -> None:
    """Emit a kernel that is built around a `triangular-solve`.

    The other triangle of the matrix, and with `unit_diagonal` its diagonal, is never read.
    """
    anchor = context.kernel.anchor
    (result,) = context.results
    assert anchor is not None
    assert result is not None
    target = result
    a, b = anchor.operands
    attrs = anchor.attr(TriangularSolve)
    dtype = anchor.array.dtype
    dims = b.array.dims
    left = attrs.left_side
    size = context.size(a.array.dims[-1])
    sides = context.size(dims[-1] if left else dims[-2])
    transposed = attrs.transpose != "NO_TRANSPOSE"
    # Of op(a) x = b, or of op(a)^T x^T = b^T where the unknown stands on the left.
    swapped = transposed == left
    forward = attrs.lower != swapped
    builder = context.builder

    def system(outer: tuple[Index, ...]) -> None:
        def coefficient(e: Expression, field: _Field, row: ir.Value, column: ir.Value) -> ir.Value:
            place = (column, row) if swapped else (row, column)
            value = e.value(a, (*outer, Affine(place[0]), Affine(place[1])))
            value = field.widen(value)
            return field.conjugate(value) if attrs.transpose == "ADJOINT" else value

        def at(row: ir.Value, side: Index) -> tuple[Index, ...]:
            return (*outer, Affine(row), side) if left else (*outer, side, Affine(row))

        def step(row: ir.Value, side: Index, mask: ir.Value | None) -> None:
            e = context.expression(mask)
            field = _Field(e.vector, dtype)
            start = field.widen(e.value(b, at(row, side)))
            first = as_value(0) if forward else builder.add(row, as_value(1))
            with Loop(builder, first, row if forward else size, 1, [start], "k") as loop:
                inner = context.expression(mask)
                known = field.widen(inner.load(target, at(loop.index, side)))
                factor = coefficient(inner, field, row, loop.index)
                factor, known, total = inner.alike(factor, known, loop.carried[0])
                loop.update([field.less_product(total, factor, known)])
            value = loop.results[0]
            e = context.expression(mask)
            if not attrs.unit_diagonal:
                diagonal = coefficient(e, field, row, row)
                value, diagonal = e.alike(value, diagonal)
                value = field.divide(value, diagonal)
            e.store(target, at(row, side), field.narrow(value))

        with for_range(builder, 0, size, 1, "row") as number:
            row = as_value(number)
            if not forward:
                row = builder.sub(builder.sub(as_value(size), as_value(1)), row)
            context.vector_loop(sides, lambda side, mask: step(row, side, mask))

    context.loops(dims[:-2], system)


__all__ = ["emit_cholesky", "emit_triangular_solve"]
