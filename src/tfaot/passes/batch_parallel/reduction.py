"""Reductions, windows, sorts, dots, convolutions, Fourier transforms and linear algebra."""

from __future__ import annotations

from tfaot.ir.attributes import (
    Convolution,
    CustomCall,
    Dot,
    Fft,
    Reduce,
    ReduceWindow,
    SelectAndScatter,
    Sort,
    TriangularSolve,
    WindowDimension,
)
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import TupleShape
from tfaot.passes.batch_parallel.analysis import Analyser
from tfaot.passes.batch_parallel.facts import (
    Fact,
    FactTree,
    MixedRowsError,
    RowLayout,
    common_layout,
    transfer,
    union,
)

Facts = tuple[Fact, ...]


def _each(node: Instruction, fact: Fact) -> FactTree:
    """`fact` for the result, or for every element of a tuple-valued one."""
    if isinstance(node.shape, TupleShape):
        return tuple(fact for _ in node.shape)
    return fact


@transfer("reduce")
def reduce(node: Instruction, facts: Facts, analyser: Analyser) -> FactTree:
    """Other dimensions than the rows' are reduced."""
    layout = common_layout(node, facts)
    reduced = node.attr(Reduce).dimensions
    if layout is not None:
        if layout.dimension in reduced:
            raise MixedRowsError(node, "reduces over the batch")
        shift = sum(d < layout.dimension for d in reduced)
        layout = RowLayout(layout.dimension - shift, layout.rows_per_row)
    return _each(node, union(facts, layout))


@transfer("reduce-window")
def reduce_window(node: Instruction, facts: Facts, analyser: Analyser) -> FactTree:
    """The window is one element along the rows."""
    layout = common_layout(node, facts)
    _check_window(node, layout, node.attr(ReduceWindow).window)
    return _each(node, union(facts, layout))


@transfer("select-and-scatter")
def select_and_scatter(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The window is one element along the rows."""
    layout = common_layout(node, facts)
    _check_window(node, layout, node.attr(SelectAndScatter).window)
    return union(facts, layout)


def _check_window(
    node: Instruction, layout: RowLayout | None, window: tuple[WindowDimension, ...]
) -> None:
    if layout is None:
        return
    w = window[layout.dimension]
    if w.size != 1 or w.stride != 1 or w.padding_low or w.padding_high or w.base_dilation != 1:
        raise MixedRowsError(node, "has a window that spans the batch")


@transfer("sort")
def sort(node: Instruction, facts: Facts, analyser: Analyser) -> FactTree:
    """Each row is sorted by itself."""
    layout = common_layout(node, facts)
    if layout is not None and layout.dimension == node.attr(Sort).dimension:
        raise MixedRowsError(node, "sorts along the batch")
    return _each(node, union(facts, layout))


@transfer("dot")
def dot(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Rows are a batch dimension of both sides, or a free dimension of one."""
    lhs, rhs = facts
    attrs = node.attr(Dot)
    batch = len(attrs.lhs_batch)
    if lhs.layout is None and rhs.layout is None:
        return union(facts, None)
    sides = (
        (lhs.layout, attrs.lhs_batch, attrs.lhs_contracting),
        (rhs.layout, attrs.rhs_batch, attrs.rhs_contracting),
    )
    for layout, _, contracting in sides:
        if layout is not None and layout.dimension in contracting:
            raise MixedRowsError(node, "sums over the batch")
    if lhs.layout is not None and rhs.layout is not None:
        paired = zip(attrs.lhs_batch, attrs.rhs_batch, strict=True)
        place = next(
            (
                i
                for i, (a, b) in enumerate(paired)
                if a == lhs.layout.dimension and b == rhs.layout.dimension
            ),
            None,
        )
        if place is None or lhs.layout.rows_per_row != rhs.layout.rows_per_row:
            raise MixedRowsError(node, "multiplies every batch row with every other")
        return union(facts, RowLayout(place, lhs.layout.rows_per_row))
    lhs_free = node.operands[0].array.rank - batch - len(attrs.lhs_contracting)
    offset = batch
    for layout, batched, contracting in sides:
        if layout is not None:
            taken = (*batched, *contracting)
            place = layout.dimension - sum(d < layout.dimension for d in taken) + offset
            return union(facts, RowLayout(place, layout.rows_per_row))
        offset = batch + lhs_free
    raise AssertionError(node)


@transfer("convolution")
def convolution(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Rows are the batch of the input, or output features of the kernel."""
    x, kernel = facts
    attrs = node.attr(Convolution)
    if x.layout is None and kernel.layout is None:
        return union(facts, None)
    if kernel.layout is None and x.layout is not None:
        if x.layout.dimension == attrs.input_batch and attrs.batch_group_count == 1:
            return union(facts, RowLayout(attrs.output_batch, x.layout.rows_per_row))
    elif x.layout is None and kernel.layout is not None:
        free = kernel.layout.dimension == attrs.kernel_output_feature
        if free and attrs.feature_group_count == attrs.batch_group_count == 1:
            return union(facts, RowLayout(attrs.output_feature, kernel.layout.rows_per_row))
    raise MixedRowsError(node, "convolves over the batch")


@transfer("fft")
def fft(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Trailing dimensions are transformed, not the rows'."""
    (fact,) = facts
    first = node.array.rank - len(node.attr(Fft).length)
    if fact.layout is not None and fact.layout.dimension >= first:
        raise MixedRowsError(node, "transforms along the batch")
    return union(facts, fact.layout)


@transfer("cholesky")
def cholesky(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """The last two dimensions are the matrix, not the rows."""
    (fact,) = facts
    if fact.layout is not None and fact.layout.dimension >= node.array.rank - 2:
        raise MixedRowsError(node, "factorises a matrix that spans the batch")
    return union(facts, fact.layout)


@transfer("triangular-solve")
def triangular_solve(node: Instruction, facts: Facts, analyser: Analyser) -> Fact:
    """Rows are a leading dimension of both, or the right sides of one system."""
    matrix, right = facts
    rank = node.array.rank
    sides = rank - 1 if node.attr(TriangularSolve).left_side else rank - 2
    if matrix.layout is None and right.layout is not None and right.layout.dimension == sides:
        return union(facts, right.layout)
    layout = common_layout(node, facts)
    if layout is not None and layout.dimension >= rank - 2:
        raise MixedRowsError(node, "solves a system that spans the batch")
    return union(facts, layout)


@transfer("custom-call")
def custom_call(node: Instruction, facts: Facts, analyser: Analyser) -> FactTree:
    """TopK takes the largest of the last dimension; other targets are unknown."""
    attrs = node.attr(CustomCall)
    if attrs.target == "SliceToDynamic":
        if any(f.layout is not None for f in facts):
            raise MixedRowsError(node, "keeps as many elements as the data of all rows tell")
        return union(facts, None)
    if attrs.target != "TopK" or len(facts) != 1:
        raise MixedRowsError(node, f"calls '{attrs.target}', not known to keep batch rows apart")
    fact, rank = facts[0], node.operands[0].array.rank
    if fact.layout is not None and fact.layout.dimension == rank - 1:
        raise MixedRowsError(node, "takes the largest along the batch")
    return _each(node, union(facts, fact.layout))
