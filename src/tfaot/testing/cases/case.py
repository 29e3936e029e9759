"""The op case: a module to build, limits of its inputs, and what is expected of it."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import TfaotError
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module
from tfaot.ir.shapes import BatchDim, Dim, dim_at
from tfaot.testing.build import ModuleBuilder

Array = NDArray[Any]

SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127)
"""Lengths that straddle vector widths; batch sizes to try for symbolic cases too."""

B = BatchDim(1)

FLOATS = (DType.F16, DType.BF16, DType.F32, DType.F64)
COMPLEX = (DType.C64, DType.C128)
SIGNED = (DType.S8, DType.S16, DType.S32, DType.S64)
UNSIGNED = (DType.U8, DType.U16, DType.U32, DType.U64)
INTEGERS = (*SIGNED, *UNSIGNED)
NUMBERS = (*FLOATS, *COMPLEX, *INTEGERS)
ALL_TYPES = (DType.PRED, *NUMBERS)


@dataclass(frozen=True)
class Limits:
    """What values a parameter takes.

    Attributes:
        low: the least value, None for no limit.
        high: the greatest value.
        special: whether a third of the elements are extreme values within the limits: NaN,
            infinities, zeros of both signs, denormals, the type's limits, halves.
    """

    low: float | None = None
    high: float | None = None
    special: bool = True


ANY = Limits()
FINITE = Limits(special=False)


@dataclass(frozen=True)
class OpCase:
    """One op on one type and shape.

    Attributes:
        name: unique: `family/opcode/dtype/variant`.
        family: the file it belongs to, in the interpreter and in code generation.
        opcode: the op under test.
        dtype: the element type under test.
        build: makes the module.
        limits: of all parameters, or one for each.
        error: the error that evaluating or compiling it has to raise; None for valid cases.
    """

    name: str
    family: str
    opcode: str
    dtype: DType
    build: Callable[[], Module]
    limits: tuple[Limits, ...] = (ANY,)
    error: type[TfaotError] | None = None

    def module(self) -> Module:
        """The module (a new one each time)."""
        return self.build()

    @property
    def symbolic(self) -> bool:
        """Whether shapes depend on the batch size."""
        return self.module().batch

    def inputs(self, seed: int = 0, batch: int = 3) -> list[Array]:
        """Seeded inputs for `batch` rows; a static case ignores `batch`."""
        parameters = self.module().entry.parameters
        return [
            values(_dims(p, batch), p.array.dtype, limits, self._generator(seed, k))
            for k, (p, limits) in enumerate(zip(parameters, self._limits(parameters), strict=True))
        ]

    def _limits(self, parameters: tuple[Instruction, ...]) -> tuple[Limits, ...]:
        return self.limits * len(parameters) if len(self.limits) == 1 else self.limits

    def _generator(self, seed: int, parameter: int) -> np.random.Generator:
        # Python's own hash of strings changes from run to run.
        return np.random.default_rng([seed, parameter, zlib.crc32(self.name.encode())])

    def __str__(self) -> str:
        return self.name


def _dims(parameter: Instruction, batch: int) -> tuple[int, ...]:
    return tuple(dim_at(d, batch) for d in parameter.array.dims)


def values(
    dims: tuple[int, ...], dtype: DType, limits: Limits, generator: np.random.Generator
) -> Array:
    """Random values of a type within limits, of all magnitudes where there are no limits."""
    if dtype is DType.PRED:
        return generator.integers(0, 2, dims).astype(np.bool_)
    if dtype.is_complex:
        parts = [values(dims, dtype.real, limits, generator) for _ in range(2)]
        result = np.empty(dims, dtype.numpy)
        result.real, result.imag = parts
        return result
    drawn = _floats(dims, limits, generator) if dtype.is_float else None
    result = (
        drawn.astype(dtype.numpy)
        if drawn is not None
        else _integers(dims, dtype, limits, generator)
    )
    extremes = special_values(dtype, limits) if limits.special else np.empty(0, dtype.numpy)
    if extremes.size:
        chosen = generator.random(dims) < 1 / 3
        result = np.where(chosen, extremes[generator.integers(0, extremes.size, dims)], result)
    return np.asarray(result)


def _floats(dims: tuple[int, ...], limits: Limits, generator: np.random.Generator) -> Array:
    if limits.low is not None and limits.high is not None:
        return generator.uniform(limits.low, limits.high, dims)
    scale = 10.0 ** generator.uniform(-3, 3, dims) if limits.special else 1.0
    drawn = generator.normal(size=dims) * scale
    return np.abs(drawn) + limits.low if limits.low is not None else drawn


def _integers(
    dims: tuple[int, ...], dtype: DType, limits: Limits, generator: np.random.Generator
) -> Array:
    low, high = integer_range(dtype)
    low = low if limits.low is None else int(limits.low)
    high = high if limits.high is None else int(limits.high)
    base = np.uint64 if low >= 0 else np.int64
    drawn = generator.integers(low, high, dims, dtype=base, endpoint=True)
    return np.asarray(drawn).astype(dtype.numpy)


def integer_range(dtype: DType) -> tuple[int, int]:
    """Least and greatest value of an integer type."""
    if dtype.is_signed:
        return -(1 << (dtype.bits - 1)), (1 << (dtype.bits - 1)) - 1
    return 0, (1 << dtype.bits) - 1


_TINY = {
    DType.F8E4M3FN: (2.0**-9, 2.0**-6, 448.0),
    DType.F8E5M2: (2.0**-16, 2.0**-14, 57344.0),
    DType.F16: (2.0**-24, 2.0**-14, 65504.0),
    DType.BF16: (2.0**-133, 2.0**-126, float.fromhex("0x1.fep127")),
    DType.F32: (2.0**-149, 2.0**-126, float.fromhex("0x1.fffffep127")),
    DType.F64: (2.0**-1074, 2.0**-1022, float.fromhex("0x1.fffffffffffffp1023")),
}
"""Smallest denormal, smallest normal and largest number of each float type."""


def special_values(dtype: DType, limits: Limits = ANY) -> Array:
    """The extreme values of a real type that lie within the limits."""
    low = -np.inf if limits.low is None else limits.low
    high = np.inf if limits.high is None else limits.high
    if dtype.is_float:
        denormal, normal, largest = _TINY[dtype]
        sizes = (0.0, denormal, normal, 0.5, 1.0, 1.5, 2.5, 127.5, 255.5, 2.0**31, 2.0**63, largest)
        found = [s * sign for s in (*sizes, np.inf) for sign in (1.0, -1.0)]
        kept = [v for v in found if low <= v <= high]
        if limits.low is None and limits.high is None:
            kept.append(np.nan)
        with np.errstate(over="ignore"):
            return np.array(kept, np.float64).astype(dtype.numpy)
    least, greatest = integer_range(dtype)
    bits = dtype.bits
    integers = (0, 1, -1, 2, least, least + 1, greatest, greatest - 1, bits - 1, bits, bits + 1)
    kept_integers = sorted({v for v in integers if max(least, low) <= v <= min(greatest, high)})
    return np.array([np.array(v, object) for v in kept_integers]).astype(dtype.numpy)


def shapes_for(dtype: DType) -> list[tuple[str, tuple[Dim, ...]]]:
    """Named shapes for elementwise cases: all sizes for f32, s32 and pred, a few for the rest."""
    sizes = SIZES if dtype in (DType.F32, DType.S32, DType.PRED) else (17, 64)
    static: list[tuple[str, tuple[Dim, ...]]] = [(str(n), (n,)) for n in sizes]
    return [*static, ("Bx3", (B, 3))]


Outputs = Union[Instruction, tuple[Instruction, ...]]
Build = Callable[[ModuleBuilder], Outputs]


def bind(function: Callable[..., Outputs], *arguments: Any) -> Build:
    """The function of a builder that calls `function(builder, *arguments)`."""
    return lambda builder: function(builder, *arguments)


def make_case(
    family: str,
    opcode: str,
    dtype: DType,
    variant: str,
    build: Build,
    *limits: Limits,
    error: type[TfaotError] | None = None,
) -> OpCase:
    """A case whose module is built by a function of a builder that returns its outputs."""
    name = f"{family}/{opcode}/{dtype}/{variant}"

    def module() -> Module:
        builder = ModuleBuilder(name.replace("/", "_").replace("-", "_"))
        outputs = build(builder)
        return builder.module(*(outputs if isinstance(outputs, tuple) else (outputs,)))

    return OpCase(name, family, opcode, dtype, module, limits or (ANY,), error)
