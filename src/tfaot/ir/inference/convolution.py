"""Shape rule of `convolution`."""

from __future__ import annotations

from tfaot.ir.attributes import Convolution
from tfaot.ir.inference.dot import accumulated_type
from tfaot.ir.inference.registry import Query, rule
from tfaot.ir.inference.window import windowed_size
from tfaot.ir.shapes import AnyShape, Dim


@rule("convolution")
def _convolution(query: Query) -> AnyShape:
    data, kernel = query.arrays
    a = query.attr(Convolution)
    rank = len(a.window) + 2
    query.require(data.rank == rank and kernel.rank == rank, f"operands must have rank {rank}")
    layouts = (
        ("input", a.input_batch, a.input_feature, a.input_spatial),
        ("kernel", a.kernel_input_feature, a.kernel_output_feature, a.kernel_spatial),
        ("output", a.output_batch, a.output_feature, a.output_spatial),
    )
    for what, first, second, spatial in layouts:
        complete = len(spatial) == rank - 2
        query.require(complete, f"{what} dimensions must name {rank - 2} spatial ones")
        query.distinct(f"{what} dimensions", (first, second, *spatial), rank)
    groups, batches = a.feature_group_count, a.batch_group_count
    query.require(groups >= 1 and batches >= 1, "group counts must be positive")
    query.require(groups == 1 or batches == 1, "only one of both group counts may exceed 1")
    features, outputs = data.dims[a.input_feature], kernel.dims[a.kernel_output_feature]
    query.require(
        kernel.dims[a.kernel_input_feature] * groups == features,
        "the kernel's input features times the groups must be the input's features",
    )
    if isinstance(outputs, int):
        divides = outputs % (groups * batches) == 0
        query.require(divides, "output features must be a multiple of the groups")
    batch = data.dims[a.input_batch]
    if batches > 1:
        if not isinstance(batch, int) or batch % batches:
            query.fail(f"batch {batch} must be a multiple of batch_group_count {batches}")
        batch //= batches
    static = all(w.is_static for w in a.window)
    query.require(static, "the window must not depend on the batch size")
    dims: list[Dim] = [0] * rank
    dims[a.output_batch], dims[a.output_feature] = batch, outputs
    for window, ours, theirs, axis in zip(
        a.window, a.input_spatial, a.kernel_spatial, a.output_spatial, strict=True
    ):
        query.require(kernel.dims[theirs] == window.size, "window sizes must be the kernel's")
        # An empty kernel dimension has no window; XLA gives such convolutions an empty sum.
        dims[axis] = windowed_size(query, data.dims[ours], window)
    return accumulated_type(query).with_dims(tuple(dims))
