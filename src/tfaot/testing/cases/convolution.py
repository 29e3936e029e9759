"""Cases of convolution: ranks, strides, dilations, groups, padding, orders of dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfaot.ir.attributes import Convolution, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.case import SIZES, B, Limits, OpCase, bind, make_case


@dataclass(frozen=True)
class Geometry:
    """Shapes of a convolution in the order b01f_01io->b01f, before dimensions are permuted."""

    spatial: tuple[int, ...]
    window: tuple[WindowDimension, ...]
    inputs: int
    outputs: int
    groups: int = 1
    batch_groups: int = 1
    batch: Dim = B


_W = WindowDimension

GEOMETRIES: dict[str, Geometry] = {
    "1x1": Geometry((5, 4), (_W(1), _W(1)), 7, 9),
    "3x3-same": Geometry((6, 5), (_W(3, 1, 1, 1), _W(3, 1, 1, 1)), 3, 16),
    "3x3-stride-2": Geometry((7, 9), (_W(3, 2, 0, 1), _W(3, 2, 1, 1)), 4, 5),
    "1d": Geometry((33,), (_W(5, 1, 2, 2),), 3, 8),
    "1d-causal-dilated": Geometry((33,), (_W(3, 1, 8, 0, window_dilation=4),), 2, 17),
    "3d": Geometry((4, 5, 3), (_W(2), _W(3, 2, 1, 1), _W(3, 1, 1, 1)), 2, 4),
    "transposed": Geometry((5, 4), (_W(3, 1, 2, 1, base_dilation=2),) * 2, 3, 4),
    "grouped": Geometry((5, 5), (_W(3, 1, 1, 1),) * 2, 6, 4, groups=2),
    "depthwise": Geometry((6, 6), (_W(3, 1, 1, 1),) * 2, 8, 8, groups=8),
    "depthwise-multiplied": Geometry((6, 6), (_W(3, 2, 1, 1),) * 2, 3, 6, groups=3),
    "batch-grouped": Geometry((5,), (_W(2),), 3, 4, batch_groups=2, batch=6),
    "reversed": Geometry((6, 5), (_W(3, reversal=True), _W(2)), 2, 3),
    "negative-padding": Geometry((8, 7), (_W(3, 1, -1, -2), _W(2, 1, 0, -1)), 2, 3),
    "pointless": Geometry((2,), (_W(4),), 2, 3),
}
"""Geometries by name; the last has no window that fits."""


def build_convolution(
    b: ModuleBuilder, dtype: DType, g: Geometry, layout: Sequence[int] | None = None
) -> Instruction:
    """The convolution of two parameters; `layout` places (batch, spatial..., feature)."""
    rank = len(g.spatial) + 2
    place = list(layout) if layout is not None else list(range(rank))
    x_dims: list[Dim] = [0] * rank
    for position, size in zip(place, (g.batch, *g.spatial, g.inputs), strict=True):
        x_dims[position] = size
    kernel_dims = (*(w.size for w in g.window), g.inputs // g.groups, g.outputs)
    attrs = Convolution(
        window=g.window,
        input_batch=place[0],
        input_feature=place[-1],
        input_spatial=tuple(place[1:-1]),
        kernel_input_feature=rank - 2,
        kernel_output_feature=rank - 1,
        kernel_spatial=tuple(range(rank - 2)),
        output_batch=place[0],
        output_feature=place[-1],
        output_spatial=tuple(place[1:-1]),
        feature_group_count=g.groups,
        batch_group_count=g.batch_groups,
    )
    return b.convolution(b.parameter(dtype, x_dims), b.parameter(dtype, kernel_dims), attrs)


def cases() -> Iterator[OpCase]:
    """All geometries for f32, some for other types and orders, features of every size."""
    small = Limits(-9, 9, special=False)
    for variant, geometry in GEOMETRIES.items():
        build = bind(build_convolution, DType.F32, geometry)
        yield make_case("convolution", "convolution", DType.F32, variant, build, small)
    for variant in ("3x3-same", "depthwise", "1d"):
        for dtype in (DType.F64, DType.F16, DType.BF16, DType.C64, DType.S32):
            build = bind(build_convolution, dtype, GEOMETRIES[variant])
            yield make_case("convolution", "convolution", dtype, variant, build, small)
    for name, layout in {"b f 0 1": (0, 2, 3, 1), "0 1 f b": (3, 0, 1, 2)}.items():
        variant = f"3x3-{name.replace(' ', '')}"
        build = bind(build_convolution, DType.F32, GEOMETRIES["3x3-stride-2"], layout)
        yield make_case("convolution", "convolution", DType.F32, variant, build, small)
    for size in SIZES:
        geometry = Geometry((5,), (_W(3, 1, 1, 1),), 3, size)
        build = bind(build_convolution, DType.F32, geometry)
        yield make_case("convolution", "convolution", DType.F32, f"outputs-{size}", build, small)
