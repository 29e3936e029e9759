"""Shape rules of gather, scatter and dynamic slices."""

from __future__ import annotations

from tfaot.ir.attributes import DynamicSlice, Gather, Scatter
from tfaot.ir.inference.reduce import check_reducer
from tfaot.ir.inference.registry import Query, at_least, one_or_tuple, rule
from tfaot.ir.shapes import AnyShape, Dim, Shape


def _check_starts(query: Query, starts: tuple[Shape, ...], rank: int) -> None:
    query.require(len(starts) == rank, "needs one start index per dimension")
    for start in starts:
        scalar = start.dtype.is_integer and not start.dims
        query.require(scalar, "start indices must be integer scalars")
        query.require(start == starts[0], "start indices must have equal types")


@rule("dynamic-slice")
def _dynamic_slice(query: Query) -> AnyShape:
    operand, *starts = query.arrays
    sizes = query.attr(DynamicSlice).sizes
    _check_starts(query, tuple(starts), operand.rank)
    query.require(len(sizes) == operand.rank, "needs one size per dimension")
    for size, have in zip(sizes, operand.dims, strict=True):
        fits = at_least(size, 0) and at_least(have, size)
        query.require(fits, f"size {size} exceeds dimension {have} for some batch size")
    return operand.with_dims(sizes)


@rule("dynamic-update-slice")
def _dynamic_update_slice(query: Query) -> AnyShape:
    operand, update, *starts = query.arrays
    _check_starts(query, tuple(starts), operand.rank)
    same = update.dtype is operand.dtype and update.rank == operand.rank
    query.require(same, "the update must have the operand's type and rank")
    for size, have in zip(update.dims, operand.dims, strict=True):
        query.require(at_least(have, size), f"update {size} exceeds dimension {have}")
    return operand


def _index_batch(query: Query, indices: Shape, vector_dim: int) -> tuple[tuple[Dim, ...], Dim]:
    """Dimensions of `indices` without the index vector's, and the index vector's length."""
    query.require(indices.dtype.is_integer, "indices must be of integer type")
    query.require(0 <= vector_dim <= indices.rank, "index_vector_dim is out of range")
    batch = tuple(n for d, n in enumerate(indices.dims) if d != vector_dim)
    return batch, indices.dims[vector_dim] if vector_dim < indices.rank else 1


def _check_batching(
    query: Query, operand: Shape, indices: Shape, ours: tuple[int, ...], theirs: tuple[int, ...]
) -> None:
    query.distinct("batching dimensions of the indices", theirs, indices.rank)
    equal = len(ours) == len(theirs) and all(
        operand.dims[a] == indices.dims[b] for a, b in zip(ours, theirs, strict=True)
    )
    query.require(equal, "batching dimensions of operand and indices must be equal")


@rule("gather")
def _gather(query: Query) -> AnyShape:
    operand, indices = query.arrays
    a = query.attr(Gather)
    batch, length = _index_batch(query, indices, a.index_vector_dim)
    query.require(length == len(a.start_index_map), "start_index_map must map every index")
    removed = (*a.collapsed_slice_dims, *a.operand_batching_dims)
    query.distinct("start_index_map", (*a.start_index_map, *a.operand_batching_dims), operand.rank)
    query.distinct("collapsed_slice_dims", removed, operand.rank)
    _check_batching(query, operand, indices, a.operand_batching_dims, a.start_indices_batching_dims)
    query.require(len(a.slice_sizes) == operand.rank, "needs one slice size per dimension")
    for axis, (size, have) in enumerate(zip(a.slice_sizes, operand.dims, strict=True)):
        fits = at_least(size, 0) and at_least(have, size)
        query.require(fits, f"slice size {size} exceeds dimension {have} for some batch size")
        if axis in removed:
            query.require(at_least(1, size), "collapsed slice sizes must be at most 1")
    window = [n for d, n in enumerate(a.slice_sizes) if d not in removed]
    query.require(len(window) == len(a.offset_dims), "offset_dims must name the kept slice sizes")
    rank = len(batch) + len(window)
    query.distinct("offset_dims", a.offset_dims, rank)
    query.require(a.offset_dims == tuple(sorted(a.offset_dims)), "offset_dims must be sorted")
    outer, inner = iter(batch), iter(window)
    dims = tuple(next(inner) if d in a.offset_dims else next(outer) for d in range(rank))
    return operand.with_dims(dims)


@rule("scatter")
def _scatter(query: Query) -> AnyShape:
    arrays = query.arrays
    query.require(len(arrays) % 2 == 1, "takes k operands, the indices and k updates")
    count = len(arrays) // 2
    operands, indices, updates = arrays[:count], arrays[count], arrays[count + 1 :]
    a = query.attr(Scatter)
    first = operands[0]
    batch, length = _index_batch(query, indices, a.index_vector_dim)
    mapped = a.scatter_dims_to_operand_dims
    query.require(length == len(mapped), "scatter_dims_to_operand_dims must map every index")
    query.distinct("scatter_dims_to_operand_dims", (*mapped, *a.input_batching_dims), first.rank)
    inserted = (*a.inserted_window_dims, *a.input_batching_dims)
    query.distinct("inserted_window_dims", inserted, first.rank)
    _check_batching(query, first, indices, a.input_batching_dims, a.scatter_indices_batching_dims)
    window = [n for d, n in enumerate(first.dims) if d not in inserted]
    rank = len(batch) + len(window)
    query.require(len(window) == len(a.update_window_dims), "update_window_dims miss dimensions")
    query.distinct("update_window_dims", a.update_window_dims, rank)
    for operand, update in zip(operands, updates, strict=True):
        query.require(operand.dims == first.dims, "operands must have equal dimensions")
        query.require(update.dtype is operand.dtype, "updates must have the operands' types")
        query.require(update.rank == rank, f"updates must have rank {rank}")
        outer = tuple(n for d, n in enumerate(update.dims) if d not in a.update_window_dims)
        query.require(outer == batch, "updates must have the indices' dimensions")
        for have, axis in zip(window, a.update_window_dims, strict=True):
            fits = at_least(have, update.dims[axis])
            query.require(fits, f"update window {update.dims[axis]} exceeds dimension {have}")
    check_reducer(query, a.to_apply, operands)
    return one_or_tuple(operands)
