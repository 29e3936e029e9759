"""Cases of Fourier transforms, Cholesky factors and triangular systems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from tfaot.ir.attributes import TriangularSolve
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import FINITE, B, OpCase, bind, make_case

_LENGTHS: tuple[tuple[int, ...], ...] = ((1,), (2,), (7,), (8,), (12,), (17,), (64,), (4, 6))
_TYPES = (DType.F32, DType.F64, DType.C64, DType.C128)


def _fft(b: ModuleBuilder, kind: str, dtype: DType, length: tuple[int, ...]) -> Instruction:
    dims: list[Dim] = [B, *length]
    if kind == "IRFFT":
        dims[-1] = length[-1] // 2 + 1
    return b.fft(b.parameter(dtype, dims), kind, length)


def _positive(b: ModuleBuilder, dtype: DType, size: int) -> Instruction:
    """A positive definite matrix from any: x x^H + 2 n."""
    x = b.parameter(dtype, (B, size, size))
    other = x
    if dtype.is_complex:
        other = b.binary("complex", b.unary("real", x), b.unary("negate", b.unary("imag", x)))
    square = b.dot(x, other, (2,), (2,), (0,), (0,))
    return b.binary("add", square, _scaled_identity(b, square, 2.0 * size))


def _scaled_identity(b: ModuleBuilder, like: Instruction, scale: float) -> Instruction:
    dims: Sequence[Dim] = like.array.dims
    rows, columns = b.iota(DType.S32, dims, 1), b.iota(DType.S32, dims, 2)
    return b.select(b.compare("EQ", rows, columns), b.splat(scale, like), b.splat(0, like))


def _cholesky(b: ModuleBuilder, dtype: DType, size: int, lower: bool) -> Instruction:
    return b.cholesky(_positive(b, dtype, size), lower)


def _solve(b: ModuleBuilder, dtype: DType, attrs: TriangularSolve) -> Instruction:
    a = b.parameter(dtype, (B, 5, 5))
    a = b.binary("add", a, _scaled_identity(b, a, 8.0))
    right = b.parameter(dtype, (B, 5, 3) if attrs.left_side else (B, 3, 5))
    return b.triangular_solve(a, right, attrs)


def cases() -> Iterator[OpCase]:
    """All kinds of transforms over several lengths; all options of the solvers."""
    for length in _LENGTHS:
        name = "x".join(map(str, length))
        for kind, dtypes in (
            ("FFT", (DType.C64, DType.C128)),
            ("IFFT", (DType.C64, DType.C128)),
            ("RFFT", (DType.F32, DType.F64)),
            ("IRFFT", (DType.C64, DType.C128)),
        ):
            for dtype in dtypes:
                build = bind(_fft, kind, dtype, length)
                yield make_case("linalg", "fft", dtype, f"{kind}-{name}", build, FINITE)
    for dtype, size, lower in product(_TYPES, (1, 4, 9), (True, False)):
        name = f"{size}-{'lower' if lower else 'upper'}"
        build = bind(_cholesky, dtype, size, lower)
        yield make_case("linalg", "cholesky", dtype, name, build, FINITE)
    for left, lower, unit, transpose in product(
        (True, False), (True, False), (True, False), ("NO_TRANSPOSE", "TRANSPOSE", "ADJOINT")
    ):
        attrs = TriangularSolve(left, lower, unit, transpose)
        side, half = ("left" if left else "right"), ("lower" if lower else "upper")
        name = f"{side}-{half}-{'unit' if unit else 'any'}-{transpose.lower()}"
        for dtype in (DType.F32, DType.C128):
            build = bind(_solve, dtype, attrs)
            yield make_case("linalg", "triangular-solve", dtype, name, build, FINITE)
