"""Gather, scatter and slices at computed positions."""

from __future__ import annotations

from tfaot.ir.attributes import Concatenate, DynamicSlice, Gather, Scatter
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import TupleShape
from tfaot.passes.batch_parallel.analysis import Analyser
from tfaot.passes.batch_parallel.facts import (
    Fact,
    FactTree,
    MixedRowsError,
    RowLayout,
    batch_dimensions,
    common_layout,
    layout_of_copies,
    transfer,
    union,
)

Facts = tuple[Fact, ...]


@transfer("dynamic-slice")
def dynamic_slice(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The rows' dimension is taken whole, whatever its index, which is clamped to 0."""
    fact, *starts = facts
    sizes = node.attr(DynamicSlice).sizes
    if fact.layout is None:
        layout = layout_of_copies(node)
        if layout is not None:
            raise MixedRowsError(node, "takes as many elements as the batch has rows")
        return union(facts, None)
    d = fact.layout.dimension
    if sizes[d] != node.operands[0].array.dims[d]:
        raise MixedRowsError(node, "takes part of the batch")
    return union((fact, *starts[:d], *starts[d + 1 :]), fact.layout)


@transfer("dynamic-update-slice")
def dynamic_update_slice(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The rows' dimension is updated whole, whatever its index, which is clamped to 0."""
    target, update, *starts = facts
    layout = common_layout(node, (target, update))
    if layout is None:
        return union(facts, None)
    d = layout.dimension
    if node.operands[1].array.dims[d] != node.array.dims[d]:
        raise MixedRowsError(node, "updates part of the batch")
    return union((target, update, *starts[:d], *starts[d + 1 :]), layout)


@transfer("gather")
def gather(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Rows are indices into one table, are taken whole, or each looks into itself."""
    operand, indices = facts
    attrs = node.attr(Gather)
    if operand.layout is None and indices.layout is None:
        if batch_dimensions(node.array):
            raise MixedRowsError(node, "takes as many elements as the batch has rows")
        return union(facts, None)
    offsets = tuple(attrs.offset_dims)
    batch_places = [d for d in range(node.array.rank) if d not in offsets]

    def at_index(dimension: int) -> int:
        """Where a dimension of the indices lies in the result."""
        return batch_places[dimension - (dimension > attrs.index_vector_dim)]

    if operand.layout is None:
        assert indices.layout is not None
        if indices.layout.dimension == attrs.index_vector_dim:
            raise MixedRowsError(node, "takes its index from several batch rows")
        place = RowLayout(at_index(indices.layout.dimension), indices.layout.rows_per_row)
        return union(facts, place)
    d = operand.layout.dimension
    dropped = (*attrs.collapsed_slice_dims, *attrs.operand_batching_dims)
    if indices.layout is None:
        if d in dropped or attrs.slice_sizes[d] != node.operands[0].array.dims[d]:
            raise MixedRowsError(node, "takes chosen rows of the batch")
        kept = [k for k in range(node.operands[0].array.rank) if k not in dropped]
        place = RowLayout(offsets[kept.index(d)], operand.layout.rows_per_row)
        return union(facts, place)
    place = RowLayout(at_index(indices.layout.dimension), indices.layout.rows_per_row)
    rows = operand.layout.rows_per_row
    if d in attrs.operand_batching_dims:
        partner = attrs.start_indices_batching_dims[attrs.operand_batching_dims.index(d)]
        if partner == indices.layout.dimension and rows == indices.layout.rows_per_row:
            return union(facts, place)
    elif d in attrs.start_index_map and attrs.slice_sizes[d] == 1:
        component = attrs.start_index_map.index(d)
        others = row_local(node.operands[1], component, attrs.index_vector_dim, rows, analyser)
        if others is not None:
            return union((operand, *others), place)
    raise MixedRowsError(node, "takes chosen rows of the batch")


def row_local(
    indices: Instruction, component: int, vector_dim: int, rows: int, analyser: Analyser
) -> list[Fact] | None:
    """Facts of the other components where `component` of an index stays within its own row.

    Args:
        indices: the index vectors, of one component, or parts concatenated (and then reshaped).
        component: which component is asked for.
        vector_dim: the dimension of `indices` that holds the components, or its rank.
        rows: `rows_per_row` of the dimension that the component indexes.
        analyser: for the facts of the parts.

    Returns:
        None where the component is not known to stay within its row.
    """
    rank = indices.array.rank
    if vector_dim == rank or indices.array.dims[vector_dim] == 1:
        fact = analyser.facts[id(indices)]
        assert isinstance(fact, Fact)
        return [] if component == 0 and fact.index == rows else None
    while indices.opcode in ("copy", "convert", "reshape"):
        inner = indices.operands[0]
        last = inner.array.rank - 1
        if indices.opcode == "reshape":
            if vector_dim != indices.array.rank - 1:
                return None
            if last < 0 or inner.array.dims[last] != indices.array.dims[vector_dim]:
                return None
            vector_dim = last
        indices = inner
    if indices.opcode != "concatenate" or indices.attr(Concatenate).dimension != vector_dim:
        return None
    others: list[Fact] = []
    found = False
    position = 0
    for part in indices.operands:
        fact = analyser.facts[id(part)]
        width = part.array.dims[vector_dim]
        assert isinstance(fact, Fact)
        assert isinstance(width, int)
        if position == component and width == 1 and fact.index == rows:
            found = True
        else:
            others.append(fact)
        position += width
    return others if found else None


@transfer("scatter")
def scatter(node: Instruction, facts: Facts, analyser: Analyser) -> FactTree:
    """Rows are written whole, or each into itself."""
    attrs = node.attr(Scatter)
    count = len(facts) // 2
    targets, indices, updates = facts[:count], facts[count], facts[count + 1 :]
    target, update = common_layout(node, targets), common_layout(node, updates)
    if target is None and update is None and indices.layout is None:
        return _each(node, union(facts, None))
    if target is None or update is None:
        raise MixedRowsError(node, "combines batch rows into one array")
    where = node.operands[count]
    written = node.operands[count + 1].array
    scattered = [k for k in range(written.rank) if k not in attrs.update_window_dims]
    dropped = (*attrs.inserted_window_dims, *attrs.input_batching_dims)
    kept = [k for k in range(node.operands[0].array.rank) if k not in dropped]
    window = dict(zip(kept, attrs.update_window_dims, strict=True))
    if indices.layout is None:
        whole = (
            window.get(target.dimension) == update.dimension
            and written.dims[update.dimension] == node.operands[0].array.dims[target.dimension]
        )
        if whole:
            return _each(node, union(facts, target))
        raise MixedRowsError(node, "writes chosen rows of the batch")
    place = indices.layout.dimension
    if place == attrs.index_vector_dim:
        raise MixedRowsError(node, "takes its index from several batch rows")
    aligned = (
        scattered[place - (place > attrs.index_vector_dim)] == update.dimension
        and indices.layout.rows_per_row == update.rows_per_row
    )
    if aligned and target.dimension in attrs.input_batching_dims:
        partner = attrs.scatter_indices_batching_dims[
            attrs.input_batching_dims.index(target.dimension)
        ]
        if partner == place and target.rows_per_row == update.rows_per_row:
            return _each(node, union(facts, target))
    elif aligned and target.dimension in attrs.scatter_dims_to_operand_dims:
        wide = target.dimension in window and written.dims[window[target.dimension]] != 1
        component = attrs.scatter_dims_to_operand_dims.index(target.dimension)
        rows = target.rows_per_row
        others = row_local(where, component, attrs.index_vector_dim, rows, analyser)
        if not wide and others is not None:
            return _each(node, union((*targets, *updates, *others), target))
    raise MixedRowsError(node, "writes chosen rows of the batch")


def _each(node: Instruction, fact: Fact) -> FactTree:
    if isinstance(node.shape, TupleShape):
        return tuple(fact for _ in node.shape)
    return fact
