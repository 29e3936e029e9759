"""Which dots and convolutions have register tiles: products of rows by columns of fixed sizes."""

from __future__ import annotations

from tfaot.ir.attributes import Convolution, Dot
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim
from tfaot.schedule.fusion import storage_of


def is_tiled_dot(dot: Instruction) -> bool:
    """Whether register tiles apply: canonical dimensions, float32 or float64, K > 0."""
    attrs = dot.attr(Dot)
    lhs, rhs = dot.operands
    if dot.array.dtype not in (DType.F32, DType.F64):
        return False
    if not lhs.array.dtype is rhs.array.dtype is dot.array.dtype:
        return False
    batch = len(attrs.lhs_batch)
    leading = tuple(range(batch))
    if attrs.lhs_batch != leading or attrs.rhs_batch != leading:
        return False
    if attrs.lhs_contracting != (lhs.array.rank - 1,) or attrs.rhs_contracting != (batch,):
        return False
    if rhs.array.rank != batch + 2 or lhs.array.dims[-1] == 0:
        return False
    # Rows against rows are counted at run time only; the plain form does that.
    if sum(isinstance(d, BatchDim) for d in lhs.array.dims) > 1:
        return False
    return isinstance(lhs.array.dims[-1], int) and isinstance(rhs.array.dims[-1], int)


def is_tiled_convolution(node: Instruction) -> bool:
    """Whether register tiles apply: canonical dimensions, float32 or float64, fixed sizes."""
    attrs = node.attr(Convolution)
    x, kernel = node.operands
    dtype = node.array.dtype
    if dtype not in (DType.F32, DType.F64) or not (x.array.dtype is kernel.array.dtype is dtype):
        return False
    if attrs.batch_group_count != 1 or not is_canonical(attrs):
        return False
    fixed = [*x.array.dims[1:], *kernel.array.dims, *node.array.dims[1:]]
    if not all(isinstance(d, int) and d > 0 for d in fixed):
        return False
    return _rows_lead(x)


def is_canonical(attrs: Convolution) -> bool:
    """Whether dimensions are [B, spatial..., C], [window..., C, N] and [B, spatial..., N]."""
    last = len(attrs.window) + 1
    inner = tuple(range(1, last))
    return (
        (attrs.input_batch, attrs.input_spatial, attrs.input_feature) == (0, inner, last)
        and (attrs.output_batch, attrs.output_spatial, attrs.output_feature) == (0, inner, last)
        and attrs.kernel_spatial == tuple(range(last - 1))
        and (attrs.kernel_input_feature, attrs.kernel_output_feature) == (last - 1, last)
    )


def _rows_lead(x: Instruction) -> bool:
    """Whether the array behind `x` is contiguous also where it is part of a larger batch."""
    for dim in storage_of(x).array.dims:
        if isinstance(dim, BatchDim):
            return True
        if dim != 1:
            return not any(isinstance(d, BatchDim) for d in storage_of(x).array.dims)
    return True


def is_packable(node: Instruction, operand: Instruction) -> bool:
    """Whether `node` reads `operand` in panels, where that is a constant [..., N]."""
    if len(node.operands) < 2 or node.operands[1] is not operand:
        return False
    if node.opcode == "dot":
        # A dot without batch dimensions.
        return is_tiled_dot(node) and operand.array.rank == 2
    if node.opcode == "convolution":
        return is_tiled_convolution(node) and node.attr(Convolution).feature_group_count == 1
    return False
