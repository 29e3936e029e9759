"""gather and scatter, with XLA's rules for indices out of bounds.

A gather moves a window that would leave the operand back inside; a scatter skips an update window
that would leave it even in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfaot.interpreter.context import Array, Context, rule
from tfaot.interpreter.reduce import recognise
from tfaot.ir.attributes import Gather, Parameter, Scatter
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction


def _index_vectors(indices: Array, index_vector_dim: int) -> tuple[Array, ...]:
    """The components of the index vectors, each of the indices' batch shape, as int64."""
    if index_vector_dim == indices.ndim:
        indices = indices[..., np.newaxis]
    if indices.dtype == np.uint64:
        indices = np.minimum(indices, np.uint64(np.iinfo(np.int64).max))
    moved = np.moveaxis(indices.astype(np.int64), index_vector_dim, 0)
    return tuple(moved[k] for k in range(moved.shape[0]))


def _batching_iota(shape: tuple[int, ...], dim: int) -> Array:
    """Indices along `dim` of the indices' batch shape."""
    size = [1] * len(shape)
    size[dim] = shape[dim]
    return np.broadcast_to(np.arange(shape[dim]).reshape(size), shape)


def _batch_dim(dim: int, index_vector_dim: int) -> int:
    """A dimension of the indices as one of their batch shape (the index vectors removed)."""
    return dim if dim < index_vector_dim else dim - 1


@rule("gather")
def _gather(node: Instruction, operands: Sequence[Array], ctx: Context) -> Array:
    attrs = node.attr(Gather)
    x, indices = operands
    sizes = [ctx.dim(d) for d in attrs.slice_sizes]
    vectors = _index_vectors(indices, attrs.index_vector_dim)
    batch_shape = (
        vectors[0].shape if vectors else np.delete(indices.shape, attrs.index_vector_dim).tolist()
    )
    starts: list[Array] = [np.zeros((), np.int64)] * x.ndim
    for component, dim in zip(vectors, attrs.start_index_map, strict=True):
        starts[dim] = np.clip(component, 0, x.shape[dim] - sizes[dim])
    for dim, source in zip(
        attrs.operand_batching_dims, attrs.start_indices_batching_dims, strict=True
    ):
        starts[dim] = _batching_iota(tuple(batch_shape), _batch_dim(source, attrs.index_vector_dim))
    dims = ctx.dims(node.array)
    batch_dims = [d for d in range(len(dims)) if d not in attrs.offset_dims]
    kept = [
        d
        for d in range(x.ndim)
        if d not in attrs.collapsed_slice_dims and d not in attrs.operand_batching_dims
    ]
    index: list[Array] = []
    for dim in range(x.ndim):
        position = _place(starts[dim], batch_dims, len(dims))
        if dim in kept:
            out = attrs.offset_dims[kept.index(dim)]
            position = position + _place(np.arange(sizes[dim]), [out], len(dims))
        index.append(position)
    taken = x[tuple(index)].astype(ctx.storage(node.array.dtype), copy=False)
    return np.broadcast_to(taken, dims)


def _place(values: Array, dims: Sequence[int], rank: int) -> Array:
    """`values` with its dimensions at positions `dims` of `rank`, the others of size 1."""
    if values.ndim == 0:
        return values.reshape((1,) * rank)
    shape = [1] * rank
    for d, n in zip(dims, values.shape, strict=True):
        shape[d] = n
    return values.reshape(shape)


@rule("scatter")
def _scatter(node: Instruction, operands: Sequence[Array], ctx: Context) -> Any:
    attrs = node.attr(Scatter)
    count = len(operands) // 2
    arrays, indices, updates = operands[:count], operands[count], operands[count + 1 :]
    flat, valid = _targets(attrs, indices, arrays[0].shape, updates[0].shape)
    flat = flat[valid]
    chosen = [u.reshape(-1)[valid] for u in updates]
    types = [o.array.dtype for o in node.operands[:count]]
    results = combine_at([a.reshape(-1) for a in arrays], flat, chosen, types, attrs.to_apply, ctx)
    shaped = tuple(r.reshape(a.shape) for r, a in zip(results, arrays, strict=True))
    return shaped if count > 1 else shaped[0]


def _targets(
    attrs: Scatter, indices: Array, dims: tuple[int, ...], update_dims: tuple[int, ...]
) -> tuple[Array, Array]:
    """For each element of the updates (flat): the flat position it goes to, and whether it does."""
    rank = len(update_dims)
    vectors = _index_vectors(indices, attrs.index_vector_dim)
    scatter_dims = [d for d in range(rank) if d not in attrs.update_window_dims]
    batch_shape = tuple(update_dims[d] for d in scatter_dims)
    window_dims = [
        d
        for d in range(len(dims))
        if d not in attrs.inserted_window_dims and d not in attrs.input_batching_dims
    ]
    starts: list[Array] = [np.zeros((), np.int64)] * len(dims)
    for component, dim in zip(vectors, attrs.scatter_dims_to_operand_dims, strict=True):
        starts[dim] = component
    for dim, source in zip(
        attrs.input_batching_dims, attrs.scatter_indices_batching_dims, strict=True
    ):
        starts[dim] = _batching_iota(batch_shape, _batch_dim(source, attrs.index_vector_dim))
    flat: Array = np.zeros((1,) * rank, np.int64)
    valid: Array = np.ones((1,) * rank, np.bool_)
    for dim, n in enumerate(dims):
        start = _place(starts[dim], scatter_dims, rank)
        extent, position = 1, start
        if dim in window_dims:
            out = attrs.update_window_dims[window_dims.index(dim)]
            extent = update_dims[out]
            position = start + _place(np.arange(extent), [out], rank)
        # The whole window has to fit, or none of it is written.
        valid = valid & (start >= 0) & (start <= n - extent)
        flat = flat * n + position
    return (
        np.broadcast_to(flat, update_dims).reshape(-1),
        np.broadcast_to(valid, update_dims).reshape(-1),
    )


def combine_at(
    arrays: Sequence[Array],
    flat: Array,
    updates: Sequence[Array],
    types: Sequence[DType],
    combiner: Computation,
    ctx: Context,
) -> tuple[Array, ...]:
    """Flat arrays with updates combined into the flat positions, in the order of the updates."""
    root = combiner.root
    if root.opcode == "parameter" and root.attr(Parameter).number == 1 and len(arrays) == 1:
        result = arrays[0].copy()
        result[flat] = updates[0]
        return (result,)
    known = recognise(combiner)
    if known is not None:
        wide = ctx.widen(arrays[0], types[0]).copy()
        known.ufunc.at(wide, flat, ctx.widen(updates[0], types[0]))
        return (ctx.narrow(wide, types[0]),)
    results = [a.copy() for a in arrays]
    for chosen in _rounds(flat):
        target = flat[chosen]
        combined = ctx.lanes(
            combiner, [*(r[target] for r in results), *(u[chosen] for u in updates)]
        )
        for result, value in zip(results, combined, strict=True):
            result[target] = value
    return tuple(results)


def _rounds(flat: Array) -> list[Array]:
    """Positions of `flat` split into rounds in which no target occurs twice, order kept."""
    if flat.size == 0:
        return []
    order = np.argsort(flat, kind="stable")
    ordered = flat[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    lengths = np.diff(np.append(starts, flat.size))
    occurrence = np.arange(flat.size) - np.repeat(starts, lengths)
    return [order[occurrence == k] for k in range(int(lengths.max()))]
