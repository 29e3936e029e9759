"""Where an element of a window lies in the array under it."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.expression import Expression
from tfaot.codegen.index import Affine, Index, Lanes, Number, as_value
from tfaot.ir.attributes import WindowDimension
from tfaot.ir.shapes import Dim


@dataclass(frozen=True)
class WindowPlace:
    """An index along one dimension, always within the array, and whether it is meant (i1).

    Attributes:
        index: 0 where the window's element lies in padding or between elements.
        valid: None where it never does.
    """

    index: Index
    valid: ir.Value | None


def never_pads(window: WindowDimension, size: Dim) -> bool:
    """Whether every element of every window position lies on an element of the array."""
    padding = (window.padding_low, window.padding_high)
    return window.base_dilation == 1 and all(isinstance(p, int) and p <= 0 for p in padding)


def window_place(
    e: Expression, window: WindowDimension, size: Dim, position: Index, tap: Number
) -> WindowPlace:
    """Where element `tap` of the window at `position` lies along a dimension of `size` elements."""
    v = e.vector
    origin = e.index.scale(position, window.stride)
    reach: Number = e.index.mul(tap, window.window_dilation)
    place = e.index.shift(origin, e.index.add(reach, e.index.size(-window.padding_low)))
    if never_pads(window, size):
        return WindowPlace(place, None)
    place, exact = e.index.floor_divide(place, window.base_dilation)
    place = e.index.evaluate(place)
    if isinstance(place, Affine) and place.stride == 0:
        here, limit, zero = as_value(place.base), as_value(e.index.size(size)), as_value(0)
    else:
        here = e.index.lane_values(place)
        limit, zero = e.index.splat(e.index.size(size)), e.index.splat(0)
    valid = v.ir.icmp_unsigned("<", here, limit)
    if exact is not None:
        # Rounding toward zero takes some places before the array to 0, but none exactly.
        valid = v.ir.and_(valid, exact)
    inside = v.select(valid, here, zero)
    if isinstance(place, Affine) and place.stride == 0:
        return WindowPlace(Affine(inside), valid)
    return WindowPlace(Lanes(inside), valid)
