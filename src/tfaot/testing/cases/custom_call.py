"""Cases of calls of XLA's runtime; TopK is with the cases of sort."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tfaot.errors import UnsupportedError
from tfaot.ir.attributes import Metadata
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim, Shape
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import ALL_TYPES, ANY, SIZES, B, Limits, OpCase, bind, make_case

_COUNT = Limits(-1, 9, special=False)


def _sliced(
    b: ModuleBuilder, dtype: DType, dims: Sequence[Dim], varying: Sequence[int]
) -> tuple[Instruction, ...]:
    """An array with sizes along some axes that inputs tell, and these sizes."""
    x = b.parameter(dtype, dims)
    counts = {axis: b.parameter(DType.S32) for axis in varying}
    sizes = [
        counts[axis] if axis in counts else b.get_dimension_size(x, axis)
        for axis in range(len(dims))
    ]
    return b.custom_call("SliceToDynamic", x.shape, [x, *sizes]), *counts.values()


def _unknown_call(b: ModuleBuilder) -> Instruction:
    b.metadata = Metadata("EagerPyFunc", "model/callback")
    return b.custom_call("host_callback", Shape(DType.F32, (4,)), [b.parameter(DType.F32, (4,))])


def cases() -> Iterator[OpCase]:
    """All types; sizes along the first, a middle, the last and several axes, and beyond bounds."""
    family, opcode, f32 = "custom", "custom-call", DType.F32
    for dtype in ALL_TYPES:
        build = bind(_sliced, dtype, (9,), (0,))
        yield make_case(family, opcode, dtype, "slice-to-dynamic-some", build, ANY, _COUNT)
        build = bind(_sliced, dtype, (B, 5), (0,))
        yield make_case(family, opcode, dtype, "slice-to-dynamic-rows", build, ANY, _COUNT)
    for size in SIZES:
        limits = ANY, Limits(0, size, special=False)
        build = bind(_sliced, f32, (size,), (0,))
        yield make_case(family, opcode, f32, f"slice-to-dynamic-{size}", build, *limits)
        build = bind(_sliced, f32, (3, size), (1,))
        yield make_case(family, opcode, f32, f"slice-to-dynamic-3x{size}", build, *limits)
    build = bind(_sliced, f32, (9, 7, 5), (1,))
    yield make_case(family, opcode, f32, "slice-to-dynamic-middle", build, ANY, _COUNT)
    build = bind(_sliced, f32, (9, 7, 5), (0, 2))
    yield make_case(family, opcode, f32, "slice-to-dynamic-two-axes", build, ANY, _COUNT, _COUNT)
    build = bind(_sliced, f32, (B, 7, 20), (0, 1, 2))
    yield make_case(
        family, opcode, f32, "slice-to-dynamic-all-axes", build, ANY, _COUNT, _COUNT, _COUNT
    )
    yield make_case(family, opcode, f32, "refused", _unknown_call, error=UnsupportedError)
