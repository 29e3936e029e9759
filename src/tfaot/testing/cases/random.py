"""Cases of rng-bit-generator."""

from __future__ import annotations

from collections.abc import Iterator

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import OpCase, bind, make_case

STATE_WORDS = {"RNG_PHILOX": 3, "RNG_THREE_FRY": 2}
_DIMS: tuple[tuple[int, ...], ...] = ((), (1,), (7,), (64,), (3, 5), (3, 4), (5, 1, 7))


def build_bits(
    b: ModuleBuilder, algorithm: str, dtype: DType, dims: tuple[int, ...]
) -> tuple[Instruction, ...]:
    """The new state and the bits."""
    state = b.parameter(DType.U64, (STATE_WORDS[algorithm],))
    pair = b.rng_bit_generator(state, dtype, dims, algorithm)
    return b.get(pair, 0), b.get(pair, 1)


def cases() -> Iterator[OpCase]:
    """Both algorithms, all widths, even and odd counts; states near the counters' overflow."""
    for algorithm in STATE_WORDS:
        for dtype in (DType.U8, DType.U16, DType.U32, DType.U64):
            for dims in _DIMS:
                name = f"{algorithm.lower()}-{'x'.join(map(str, dims)) or 'scalar'}"
                build = bind(build_bits, algorithm, dtype, dims)
                yield make_case("random", "rng-bit-generator", dtype, name, build)
