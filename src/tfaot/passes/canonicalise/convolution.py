"""Normal form of `convolution`: x [B, spatial..., C], kernel [window..., C, N], both in order."""

from __future__ import annotations

from dataclasses import replace

from tfaot.ir.attributes import Convolution, Pad, Slice, Transpose
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim, product
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import is_zero, rule


@rule("convolution")
def order_dimensions(node: Instruction) -> Instruction | None:
    """Any order of dimensions, through transposes of operands and result."""
    attrs = node.attr(Convolution)
    count = len(attrs.window)
    inner = tuple(range(1, count + 1))
    x_order = (attrs.input_batch, *attrs.input_spatial, attrs.input_feature)
    kernel_order = (
        *attrs.kernel_spatial,
        attrs.kernel_input_feature,
        attrs.kernel_output_feature,
    )
    out_order = (attrs.output_batch, *attrs.output_spatial, attrs.output_feature)
    identity = tuple(range(count + 2))
    if x_order == kernel_order == out_order == identity:
        return None
    x = build.transpose(node, node.operands[0], x_order)
    kernel = build.transpose(node, node.operands[1], kernel_order)
    ordered = replace(
        attrs,
        input_batch=0,
        input_spatial=inner,
        input_feature=count + 1,
        kernel_spatial=tuple(range(count)),
        kernel_input_feature=count,
        kernel_output_feature=count + 1,
        output_batch=0,
        output_spatial=inner,
        output_feature=count + 1,
    )
    shape = node.array.with_dims(tuple(node.array.dims[d] for d in out_order))
    result = build.make(node, "convolution", shape, (x, kernel), ordered)
    return build.transpose(node, result, build.inverse(out_order))


@rule("convolution")
def dilate_instead_of_rearranging(node: Instruction) -> Instruction | None:
    """A convolution over every d-th element, moved next to each other, is a dilated one.

    TensorFlow writes dilation as SpaceToBatch, convolution, BatchToSpace, which interleaves rows.
    Here the rearrangement passes to the result, where it meets its inverse.
    """
    attrs = node.attr(Convolution)
    x = node.operands[0]
    if attrs.batch_group_count != 1 or x.opcode != "reshape" or not _is_ordered(attrs):
        return None
    moved = x.operands[0]
    if moved.opcode != "transpose":
        return None
    if any(w.stride != 1 or w.base_dilation != 1 for w in attrs.window):
        return None
    source = moved.operands[0]
    spread = _spread(moved, x)
    if spread is None:
        return None
    dims: list[Dim] = [source.array.dims[0]]
    outer: list[Dim] = [source.array.dims[0]]
    split: list[Dim] = [source.array.dims[0]]
    window = []
    for d, (w, step) in enumerate(zip(attrs.window, spread, strict=True), start=1):
        size, outputs = x.array.dims[d], node.array.dims[d]
        if step == 0:
            if outputs != 1:
                return None
            step = 1
        else:
            split.extend((outputs, step) if step > 1 else (outputs,))
        dims.append(size * step)
        outer.append(outputs * step)
        window.append(
            replace(
                w,
                window_dilation=w.window_dilation * step,
                padding_low=w.padding_low * step,
                padding_high=w.padding_high * step,
            )
        )
    order = moved.attr(Transpose).permutation
    if len(order) != len(split) + 1:
        return None
    shape = node.array.with_dims((*outer, node.array.dims[-1]))
    whole = build.reshape(node, source, (*dims, x.array.dims[-1]))
    dilated = replace(attrs, window=tuple(window))
    result = build.make(node, "convolution", shape, (whole, node.operands[1]), dilated)
    # The rearrangement of the source, on the result: [B, O, d, ...] to [d, ..., B, O, ...].
    parts = build.reshape(node, result, (*split, node.array.dims[-1]))
    return build.reshape(node, build.transpose(node, parts, order), node.array.dims)


def _is_ordered(attrs: Convolution) -> bool:
    count = len(attrs.window)
    inner = tuple(range(1, count + 1))
    return (attrs.input_batch, attrs.input_spatial) == (0, inner) == (
        attrs.output_batch,
        attrs.output_spatial,
    ) and attrs.output_feature == attrs.input_feature == count + 1


def _spread(moved: Instruction, x: Instruction) -> list[int] | None:
    """How far apart in the source neighbours along each spatial dimension of `x` are, 0 for units.

    `moved` transposes [B, S, d, ...] (d where it is above 1) to [d, ..., B, S, ..., C], and `x`
    merges the first dimensions of that, and may add units among the spatial ones.
    """
    order = moved.attr(Transpose).permutation
    dims = moved.operands[0].array.dims
    last = len(dims) - 1
    if 0 not in order or order[-1] != last or not order.index(0):
        return None
    lead = order.index(0)
    factors, kept = order[:lead], order[lead + 1 : -1]
    if list(kept) != sorted(kept) or any(f - 1 not in kept for f in factors):
        return None
    if (
        x.array.dims[-1] != dims[last]
        or product(tuple(dims[f] for f in (*factors, 0))) != (x.array.dims[0])
    ):
        return None
    spatial = list(x.array.dims[1:-1])
    spread: list[int] = []
    rest = list(kept)
    for position, size in enumerate(spatial):
        left = len(spatial) - position
        if rest and size == dims[rest[0]] and (size != 1 or left == len(rest)):
            step = dims[rest[0] + 1] if rest[0] + 1 in factors else 1
            if not isinstance(step, int):
                return None
            spread.append(step)
            rest.pop(0)
        elif size == 1:
            spread.append(0)
        else:
            return None
    return None if rest else spread


@rule("convolution")
def absorb_padding(node: Instruction) -> Instruction | None:
    """Zeros padded around the image are the window's padding."""
    attrs = node.attr(Convolution)
    x = node.operands[0]
    padded = x.operands[0] if x.opcode == "reshape" else x
    if padded.opcode != "pad" or not _is_ordered(attrs) or attrs.batch_group_count != 1:
        return None
    inner, filler = padded.operands
    pad = padded.attr(Pad)
    if not is_zero(filler, negative=False) or any(pad.interior):
        return None
    if any(w.base_dilation != 1 for w in attrs.window):
        return None
    places = _without_units(padded.array.dims, x.array.dims)
    if places is None:
        return None
    dims = list(x.array.dims)
    window = list(attrs.window)
    for d, place in enumerate(places):
        low, high = pad.low[d], pad.high[d]
        if low == 0 and high == 0:
            continue
        if not isinstance(low, int) or not isinstance(high, int) or low < 0 or high < 0:
            return None
        if place in (0, len(dims) - 1):
            return None
        w = window[place - 1]
        window[place - 1] = replace(
            w, padding_low=w.padding_low + low, padding_high=w.padding_high + high
        )
        dims[place] = inner.array.dims[d]
    whole = build.reshape(node, inner, tuple(dims))
    own = replace(attrs, window=tuple(window))
    return build.make(node, "convolution", node.shape, (whole, node.operands[1]), own)


def _without_units(dims: tuple[Dim, ...], wider: tuple[Dim, ...]) -> list[int] | None:
    """Where each of `dims` lies in `wider`, which adds units among them; None where it does not."""
    places = []
    position = 0
    for size in dims:
        while position < len(wider) and wider[position] != size and wider[position] == 1:
            position += 1
        if position == len(wider) or wider[position] != size:
            return None
        if size == 1 and len(dims) != len(wider):
            return None
        places.append(position)
        position += 1
    return places if all(n == 1 for n in wider[position:]) else None


@rule("slice")
def crop_by_padding(node: Instruction) -> Instruction | None:
    """The last positions of a dilated convolution, cut off, are never computed.

    Only BatchToSpace cuts these, so that nothing else needs the whole result.
    """
    x = node.operands[0]
    whole = x.operands[0] if x.opcode == "reshape" else x
    if whole.opcode != "convolution":
        return None
    attrs = whole.attr(Convolution)
    cut = node.attr(Slice)
    places = _without_units(node.operands[0].array.dims, whole.array.dims)
    if places is None or not _is_ordered(attrs) or any(s != 1 for s in cut.strides):
        return None
    dims = list(whole.array.dims)
    window = list(attrs.window)
    for d, place in enumerate(places):
        size, kept = x.array.dims[d], node.array.dims[d]
        if size == kept:
            continue
        if place in (0, len(dims) - 1) or cut.starts[d] != 0:
            return None
        w = window[place - 1]
        less = size - kept
        if w.window_dilation == 1 or w.stride != 1 or not isinstance(less, int) or kept == 0:
            return None
        window[place - 1] = replace(w, padding_high=w.padding_high - less)
        dims[place] = kept
    own = replace(attrs, window=tuple(window))
    shape = whole.array.with_dims(tuple(dims))
    result = build.make(whole, "convolution", shape, whole.operands, own)
    return build.reshape(node, result, node.array.dims)
