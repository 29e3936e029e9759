"""Normal form of `dot`: lhs [batch..., M, K], rhs [batch..., K, N], constants on the right."""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.ir.attributes import Convolution, Dot
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Dim, Shape, product
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import rule


def is_canonical_dot(node: Instruction) -> bool:
    """Whether a `dot` is in the normal form that `normalise_dot` makes."""
    attrs = node.attr(Dot)
    batch = len(attrs.lhs_batch)
    lead = tuple(range(batch))
    lhs, rhs = node.operands
    return attrs == Dot((batch + 1,), (batch,), lead, lead) and (
        lhs.array.rank == rhs.array.rank == batch + 2
    )


@dataclass(frozen=True)
class _Side:
    """One operand of a dot, with its dimensions by role."""

    value: Instruction
    batch: tuple[int, ...]
    contracting: tuple[int, ...]

    @property
    def free(self) -> tuple[int, ...]:
        """Dimensions neither batch nor contracting, in the order of the result."""
        taken = self.batch + self.contracting
        return tuple(d for d in range(self.value.array.rank) if d not in taken)

    @property
    def merged(self) -> tuple[int, ...]:
        """The free dimensions in the order in which they merge: batch-dependent ones lead.

        The rows of one example then stay next to each other.
        """
        dims = self.value.array.dims
        return tuple(sorted(self.free, key=lambda d: isinstance(dims[d], int)))

    def sizes(self, dimensions: tuple[int, ...]) -> tuple[Dim, ...]:
        """The sizes of some dimensions."""
        return tuple(self.value.array.dims[d] for d in dimensions)


def is_weight(x: Instruction) -> bool:
    """Whether `x` is a constant, perhaps rearranged."""
    while x.opcode in ("reshape", "transpose", "convert", "reverse", "slice"):
        x = x.operands[0]
    return x.opcode == "constant"


@rule("dot")
def normalise_dot(node: Instruction) -> Instruction | None:
    """Any dot in normal form, through reshapes and transposes of operands and result."""
    if is_canonical_dot(node):
        lhs, rhs = node.operands
        if not is_weight(lhs) or is_weight(rhs):
            return None
    attrs = node.attr(Dot)
    left = _Side(node.operands[0], attrs.lhs_batch, attrs.lhs_contracting)
    right = _Side(node.operands[1], attrs.rhs_batch, attrs.rhs_contracting)
    swap = is_weight(left.value) and not is_weight(right.value)
    if swap:
        left, right = right, left
    # The contraction's order is free: keep the left side's own, which no transpose then touches.
    order = sorted(range(len(left.contracting)), key=lambda i: left.contracting[i])
    left = _Side(left.value, left.batch, tuple(left.contracting[i] for i in order))
    right = _Side(right.value, right.batch, tuple(right.contracting[i] for i in order))

    batch = left.sizes(left.batch)
    rows, columns = left.sizes(left.merged), right.sizes(right.merged)
    depth = left.sizes(left.contracting)
    if not (_mergeable(rows) and _mergeable(columns) and _mergeable(depth)):
        return None
    m, n, k = product(rows), product(columns), product(depth)

    lhs = build.transpose(node, left.value, left.batch + left.merged + left.contracting)
    lhs = build.reshape(node, lhs, (*batch, m, k))
    rhs = build.transpose(node, right.value, right.batch + right.contracting + right.merged)
    rhs = build.reshape(node, rhs, (*batch, k, n))
    lead = tuple(range(len(batch)))
    canonical = Dot((len(batch) + 1,), (len(batch),), lead, lead)
    shape = Shape(node.array.dtype, (*batch, m, n))
    result = build.make(node, "dot", shape, (lhs, rhs), canonical)
    result = build.reshape(node, result, (*batch, *rows, *columns))

    offset = len(batch)
    row_at = [offset + left.merged.index(d) for d in left.free]
    column_at = [offset + len(rows) + right.merged.index(d) for d in right.free]
    first, second = (column_at, row_at) if swap else (row_at, column_at)
    return build.transpose(node, result, (*lead, *first, *second))


@rule("dot")
def unmerge_rows(node: Instruction) -> Instruction | None:
    """Rows merged with the batch not in front, as of time-major sequences, merge batch first.

    XLA merges [T, B, K] to [T*B, K], which spreads the elements of one example over all of it.
    """
    lhs, rhs = node.operands
    if not is_canonical_dot(node) or lhs.opcode != "reshape" or rhs.array.rank != 2:
        return None
    source = lhs.operands[0]
    lead = source.array.rank - 1
    if lead < 2 or source.array.dims[lead] != lhs.array.dims[1]:
        return None
    dims = source.array.dims
    order = tuple(sorted(range(lead), key=lambda d: isinstance(dims[d], int)))
    moved = tuple(d for d in order if dims[d] != 1)
    if moved == tuple(sorted(moved)) or not _mergeable(dims[:lead]):
        return None
    x = build.transpose(node, source, (*order, lead))
    rows, columns = lhs.array.dims[0], rhs.array.dims[1]
    x = build.reshape(node, x, (rows, dims[lead]))
    result = build.make(node, "dot", node.shape, (x, rhs), node.attrs)
    result = build.reshape(node, result, (*(dims[d] for d in order), columns))
    result = build.transpose(node, result, (*build.inverse(order), lead))
    return build.reshape(node, result, node.array.dims)


@rule("convolution")
def pointwise_convolution(node: Instruction) -> Instruction | None:
    """A convolution over windows of one element is a dot over the features."""
    attrs = node.attr(Convolution)
    plain = all(
        w.size == 1
        and w.stride == 1
        and w.padding_low == w.padding_high == 0
        and w.base_dilation == 1
        for w in attrs.window
    )
    if not plain or attrs.feature_group_count != 1 or attrs.batch_group_count != 1:
        return None
    x, kernel = node.operands
    last = node.array.rank - 1
    trailing = attrs.input_feature == last and attrs.output_feature == last
    in_order = (attrs.input_batch, *attrs.input_spatial) == (
        attrs.output_batch,
        *attrs.output_spatial,
    )
    if not trailing or not in_order or x.array.dtype is not node.array.dtype:
        return None
    if x.array.dtype is not kernel.array.dtype or x.array.dtype is DType.PRED:
        return None
    k = kernel.array.dims[attrs.kernel_input_feature]
    n = kernel.array.dims[attrs.kernel_output_feature]
    order = (attrs.kernel_input_feature, attrs.kernel_output_feature)
    matrix = build.transpose(node, kernel, (*order, *attrs.kernel_spatial))
    matrix = build.reshape(node, matrix, (k, n))
    return build.make(node, "dot", node.shape, (x, matrix), Dot((last,), (0,)))


def _mergeable(dims: tuple[Dim, ...]) -> bool:
    """Whether the product of `dims` is still affine in the batch size."""
    return sum(isinstance(d, BatchDim) for d in dims) <= 1
