"""The attributes that hold sizes, and functions over their dimensions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tfaot.ir.attributes import Attributes, DynamicSlice, Gather, Pad, ReduceWindow, Slice
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape

# Fields that may depend on the batch size; every other attribute is structure.
SIZE_FIELDS: dict[type, tuple[str, ...]] = {
    Slice: ("starts", "limits"),
    DynamicSlice: ("sizes",),
    Pad: ("low", "high"),
    Gather: ("slice_sizes",),
}


def map_sizes(attrs: Attributes, change: Callable[[Dim], Dim]) -> Attributes:
    """`attrs` with `change` applied to every size among its fields."""
    if isinstance(attrs, ReduceWindow):
        return replace(attrs, window=tuple(w.map_sizes(change) for w in attrs.window))
    names = SIZE_FIELDS.get(type(attrs), ())
    if attrs is None or not names:
        return attrs
    new: dict[str, Any] = {n: tuple(map(change, getattr(attrs, n))) for n in names}
    changed: Attributes = replace(attrs, **new)
    return changed


def is_symbolic(shape: AnyShape) -> bool:
    """Whether any dimension depends on the batch size."""
    if isinstance(shape, Shape):
        return any(isinstance(d, BatchDim) for d in shape.dims)
    return any(map(is_symbolic, shape))
