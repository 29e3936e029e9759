"""Shape rules of windowed ops, and the size of a windowed dimension."""

from __future__ import annotations

from tfaot.ir.attributes import ReduceWindow, SelectAndScatter, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.inference.reduce import check_reducer, split_reduction
from tfaot.ir.inference.registry import Query, at_least, one_or_tuple, rule
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape


def windowed_size(query: Query, size: Dim, window: WindowDimension) -> Dim:
    """The number of window positions along a dimension, after dilation and padding."""
    dilations_ok = window.window_dilation >= 1 and window.base_dilation >= 1
    query.require(at_least(window.size, 1), "window sizes must be positive")
    query.require(window.stride >= 1 and dilations_ok, "strides and dilations must be positive")
    extent = (window.size - 1) * window.window_dilation + 1
    spread = size if size == 0 else (size - 1) * window.base_dilation + 1
    room = spread + window.padding_low + window.padding_high - extent
    if isinstance(room, int):
        return room // window.stride + 1 if room >= 0 else 0
    affine = room.scale % window.stride == 0 and at_least_none(room)
    query.require(affine, f"window over dimension {size} is not affine in B")
    return BatchDim(room.scale // window.stride, room.offset // window.stride + 1)


def at_least_none(room: BatchDim) -> bool:
    """Whether the window fits at least zero times for every batch size >= 1."""
    return room.scale > 0 and room.at(1) >= -1


@rule("reduce-window")
def _reduce_window(query: Query) -> AnyShape:
    values, initial = split_reduction(query)
    attrs = query.attr(ReduceWindow)
    query.require(len(attrs.window) == values[0].rank, "the window must name every dimension")
    check_reducer(query, attrs.to_apply, initial)
    dims = tuple(
        windowed_size(query, n, w) for n, w in zip(values[0].dims, attrs.window, strict=True)
    )
    return one_or_tuple(tuple(i.with_dims(dims) for i in initial))


@rule("select-and-scatter")
def _select_and_scatter(query: Query) -> AnyShape:
    operand, source, initial = query.arrays
    attrs = query.attr(SelectAndScatter)
    query.require(len(attrs.window) == operand.rank, "the window must name every dimension")
    static = all(w.is_static for w in attrs.window)
    query.require(static, "the window must not depend on the batch size")
    scalar = Shape(operand.dtype)
    query.require(initial == scalar, "the initial value must be a scalar of the operand's type")
    selected = query.signature("select", attrs.select, (scalar, scalar))
    query.require(selected == Shape(DType.PRED), "select must return pred[]")
    combined = query.signature("scatter", attrs.scatter, (scalar, scalar))
    query.require(combined == scalar, f"scatter must return {scalar}")
    pairs = zip(operand.dims, attrs.window, strict=True)
    dims = tuple(windowed_size(query, n, w) for n, w in pairs)
    query.require(source == operand.with_dims(dims), "the source must have one element per window")
    return operand
