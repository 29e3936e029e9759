"""Shape rules of Fourier transforms and linear algebra."""

from __future__ import annotations

from tfaot.ir.attributes import Cholesky, Fft, TriangularSolve
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.elementwise import check_type
from tfaot.ir.inference.registry import Query, rule
from tfaot.ir.shapes import AnyShape

_COMPLEX = {DType.F32: DType.C64, DType.F64: DType.C128}


@rule("fft")
def _fft(query: Query) -> AnyShape:
    operand, attrs = query.array(0), query.attr(Fft)
    check_type(query, operand)
    rank, length = len(attrs.length), attrs.length
    query.require(1 <= rank <= 3, "transforms 1 to 3 dimensions")
    query.require(operand.rank >= rank, "transforms more dimensions than there are")
    outer, inner = operand.dims[:-rank], operand.dims[-rank:]
    if attrs.kind == "RFFT":
        query.require(operand.dtype.is_float, "RFFT takes real numbers")
        query.require(inner == length, "fft_length must be the operand's dimensions")
        shape = operand.with_dtype(_COMPLEX[operand.dtype])
        return shape.with_dims((*outer, *length[:-1], length[-1] // 2 + 1))
    query.require(operand.dtype.is_complex, f"{attrs.kind} takes complex numbers")
    if attrs.kind == "IRFFT":
        halved = (*length[:-1], length[-1] // 2 + 1)
        query.require(inner == halved, "the last dimension must be fft_length / 2 + 1")
        return operand.with_dtype(operand.dtype.real).with_dims((*outer, *length))
    query.require(attrs.kind in ("FFT", "IFFT"), f"fft_type '{attrs.kind}' is unknown")
    query.require(inner == length, "fft_length must be the operand's dimensions")
    return operand


@rule("cholesky")
def _cholesky(query: Query) -> AnyShape:
    operand = query.array(0)
    query.attr(Cholesky)
    check_type(query, operand)
    square = operand.rank >= 2 and operand.dims[-1] == operand.dims[-2]
    query.require(square, "takes square matrices")
    return operand


@rule("triangular-solve")
def _triangular_solve(query: Query) -> AnyShape:
    matrix, right = query.arrays
    attrs = query.attr(TriangularSolve)
    check_type(query, matrix)
    known = attrs.transpose in ("NO_TRANSPOSE", "TRANSPOSE", "ADJOINT")
    query.require(known, f"transpose '{attrs.transpose}' is unknown")
    square = matrix.rank >= 2 and matrix.dims[-1] == matrix.dims[-2]
    query.require(square, "takes square matrices")
    query.require(matrix.dtype is right.dtype, "both sides must have one type")
    fits = matrix.rank == right.rank and matrix.dims[:-2] == right.dims[:-2]
    query.require(fits, "both sides must have equal batch dimensions")
    side = right.dims[-2] if attrs.left_side else right.dims[-1]
    query.require(side == matrix.dims[-1], "the right side's dimension must be the matrix's")
    return right
