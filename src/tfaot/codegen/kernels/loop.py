"""Loop kernels: a fused expression for every element of an array, and piecewise-written arrays."""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.gather import start_index
from tfaot.codegen.index import Affine, Index, as_value
from tfaot.codegen.kernels.common import KernelContext, flat_from
from tfaot.ir.attributes import Concatenate, Pad
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.passes.dims import reshape_groups


def emit_loop(context: KernelContext) -> None:
    """Emit a kernel that has no anchor."""
    match context.kernel.root.opcode:
        case "concatenate":
            _emit_concatenate(context)
        case "pad":
            _emit_pad(context)
        case "dynamic-update-slice":
            _emit_update(context)
        case _:
            _emit_elements(context, context.kernel.root)


def _emit_concatenate(context: KernelContext) -> None:
    root = context.kernel.root
    dimension = root.attr(Concatenate).dimension
    start: Dim = 0
    for operand in root.operands:
        _emit_joined(context, operand, dimension, start)
        start = start + operand.array.dims[dimension]


def _emit_joined(context: KernelContext, operand: Instruction, dimension: int, start: Dim) -> None:
    """Write `operand` to the result from position `start` of a dimension.

    A reshaped operand is walked in its finer shape: indices join without divisions, which
    splitting them would take (an embedding's rows, laid end to end next to other features).
    """
    dims = operand.array.dims
    inner = operand.operands[0] if operand.opcode == "reshape" else operand
    groups = reshape_groups(inner.array.dims, dims)
    if inner is operand or id(inner) in context.leaves or any(len(g.outputs) > 1 for g in groups):
        _emit_piece(context, operand, dims, {}, {dimension: (start, 1)})
        return
    (result,) = context.results
    assert result is not None
    finer = inner.array.dims

    def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        e = context.expression(mask)
        target: list[Index] = []
        for group in groups:
            taken = slice(group.inputs.start, group.inputs.stop)
            target.append(e.index.join(finer[taken], indices[taken]))
        target[dimension] = e.index.shift(target[dimension], start)
        e.store(result, target, e.value(inner, indices))

    joined = groups[dimension].inputs
    split = max(flat_from(inner, context.leaves), joined.start)
    if dimension < len(dims) - 1:
        split = max(split, joined.stop)
    if result.pitch is not None:
        split = max(split, groups[-1].inputs.start)
    context.elements(finer, split, element)


def _emit_pad(context: KernelContext) -> None:
    root = context.kernel.root
    operand, filler = root.operands
    (result,) = context.results
    assert result is not None

    def fill(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        e = context.expression(mask)
        e.store(result, indices, e.value(filler, ()))

    split = 0 if result.pitch is None else root.array.rank - 1
    context.elements(root.array.dims, split, fill)
    attrs = root.attr(Pad)
    dims: list[Dim] = []
    sources: dict[int, Dim] = {}
    places: dict[int, tuple[Dim, int]] = {}
    for d, size in enumerate(operand.array.dims):
        low, high, step = attrs.low[d], attrs.high[d], attrs.interior[d] + 1
        first, last = _kept_range(size, low, high, step, root.array.dims[d])
        dims.append(last - first)
        if first != 0:
            sources[d] = first
        if low != 0 or high != 0 or step != 1:
            places[d] = (low + first * step, step)
    if any(isinstance(d, int) and d <= 0 for d in dims):
        return
    _emit_piece(context, operand, tuple(dims), sources, places)


def _emit_update(context: KernelContext) -> None:
    """The operand, unless it lies there already, then the update over it."""
    root = context.kernel.root
    operand, update, *starts = root.operands
    (result,) = context.results
    assert result is not None
    if not context.kernel.in_place:
        _emit_elements(context, operand)
    e = context.expression()
    offsets: list[ir.Value | int] = []
    for d, start in enumerate(starts):
        limit = operand.array.dims[d] - update.array.dims[d]
        if limit == 0:
            offsets.append(0)
            continue
        signed = start.array.dtype.is_signed
        place = start_index(e, e.value(start, ()), signed=signed, limit=limit)
        assert isinstance(place, Affine), "start indices are scalars"
        offsets.append(as_value(place.base))

    def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        inner = context.expression(mask)
        target = tuple(
            i if isinstance(o, int) else inner.index.shift(i, o)
            for i, o in zip(indices, offsets, strict=True)
        )
        inner.store(result, target, inner.value(update, indices))

    rank = update.array.rank
    split = flat_from(update, context.leaves)
    for d in range(rank):
        if update.array.dims[d] != operand.array.dims[d]:
            split = max(split, min(d + 1, rank - 1))
    if result.pitch is not None:
        split = max(split, rank - 1)
    context.elements(update.array.dims, min(split, rank), element)


def _emit_elements(context: KernelContext, operand: Instruction) -> None:
    (result,) = context.results
    assert result is not None

    def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        e = context.expression(mask)
        e.store(result, indices, e.value(operand, indices))

    split = flat_from(operand, context.leaves)
    if result.pitch is not None:
        split = max(split, operand.array.rank - 1)
    context.elements(operand.array.dims, split, element)


def _kept_range(size: Dim, low: Dim, high: Dim, step: int, out: Dim) -> tuple[int, Dim]:
    """The range of operand positions that padding keeps (negative padding cuts)."""
    first = -(-max(-low, 0) // step) if isinstance(low, int) else 0
    if isinstance(size, int) and isinstance(out, int) and isinstance(low, int):
        return first, min(size, max(first, -(-(out - low) // step)))
    cut = -high if isinstance(high, int) and high < 0 else 0
    assert cut == 0 or step == 1, "cutting a dilated batch axis"
    return first, size - cut


def _emit_piece(
    context: KernelContext,
    operand: Instruction,
    dims: tuple[Dim, ...],
    sources: dict[int, Dim],
    places: dict[int, tuple[Dim, int]],
) -> None:
    """Write operand elements source + i to result elements start + i * step, for i in dims."""
    (result,) = context.results
    assert result is not None
    rank = len(dims)

    def element(indices: tuple[Index, ...], mask: ir.Value | None) -> None:
        e = context.expression(mask)
        source = tuple(e.index.shift(i, sources.get(d, 0)) for d, i in enumerate(indices))
        target = list(indices)
        for d, (start, step) in places.items():
            target[d] = e.index.shift(e.index.scale(indices[d], step), start)
        e.store(result, target, e.value(operand, source))

    split = flat_from(operand, context.leaves)
    for d in (*places, *sources):
        split = max(split, min(d + 1, rank - 1))
    if result.pitch is not None:
        split = max(split, rank - 1)
    context.elements(dims, min(split, rank), element)
