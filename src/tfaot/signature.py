"""The typed interface of a model: names, element types and shapes of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim, Dim, Shape, affine, dim_at


@dataclass(frozen=True)
class ListedDim:
    """A dimension of an output that is not `a*B + c`: its size at each static batch size.

    Attributes:
        sizes: pairs of a batch size and the dimension's size at it, ascending.
    """

    sizes: tuple[tuple[int, int], ...]

    def at(self, batch: int) -> int:
        """The size for the batch size `batch`, which must be one of those compiled for."""
        return dict(self.sizes)[batch]

    def __str__(self) -> str:
        return "|".join(str(size) for _, size in self.sizes)


SpecDim = Union[Dim, ListedDim]


def listed_dim(batches: Sequence[int], sizes: Sequence[int]) -> SpecDim:
    """The dimension that has the size `sizes[i]` at `batches[i]`: fixed or affine where it can be.

    Args:
        batches: the static batch sizes, ascending and distinct.
        sizes: as many sizes.
    """
    if len(set(sizes)) == 1:
        return sizes[0]
    scale, rest = divmod(sizes[1] - sizes[0], batches[1] - batches[0])
    offset = sizes[0] - scale * batches[0]
    if not rest and all(s == scale * b + offset for b, s in zip(batches, sizes, strict=True)):
        return affine(scale, offset)
    return ListedDim(tuple(zip(batches, sizes, strict=True)))


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the user's name (`serving_default` key, Keras layer or graph node).
        dtype: the element type.
        dims: the dimensions; `BatchDim(1)` is the batch axis, any `a*B + c` may occur in outputs,
            and `ListedDim` in those of models for static batch sizes.
        varying: the axes of an output whose size depends on the data. `dims` has its bound, the
            elements beyond the size are 0, and the next output is the size (`with_sizes`).
    """

    name: str
    dtype: DType
    dims: tuple[SpecDim, ...]
    varying: tuple[int, ...] = ()

    @property
    def shape(self) -> Shape:
        """Type and dimensions as an HLO shape (assertion where one has no rule)."""
        dims = tuple(d for d in self.dims if not isinstance(d, ListedDim))
        assert len(dims) == len(self.dims), self
        return Shape(self.dtype, dims)

    def sizes(self, batch: int) -> tuple[int, ...]:
        """The dimensions for the batch size `batch`."""
        return tuple(
            d.at(batch) if isinstance(d, ListedDim) else dim_at(d, batch) for d in self.dims
        )

    @property
    def batch_axes(self) -> tuple[int, ...]:
        """The axes whose size depends on the batch size."""
        return tuple(axis for axis, dim in enumerate(self.dims) if not isinstance(dim, int))

    @property
    def rows_lead(self) -> bool:
        """Whether the first axis is a multiple of the batch, or none depends on it."""
        if not self.batch_axes:
            return True
        first = self.dims[0]
        return self.batch_axes == (0,) and isinstance(first, BatchDim) and first.offset == 0


def with_sizes(outputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The outputs, each whose size depends on the data followed by `NAME_size`.

    That is an s32 scalar where one axis varies, else an array with the size of each such axis.
    """
    names = {spec.name for spec in outputs}
    result: list[TensorSpec] = []
    for spec in outputs:
        result.append(spec)
        if spec.varying:
            name = f"{spec.name.removesuffix(':0')}_size"
            while name in names:
                name += "_"
            names.add(name)
            count = len(spec.varying)
            result.append(TensorSpec(name, DType.S32, () if count == 1 else (count,)))
    return tuple(result)


@dataclass(frozen=True)
class Signature:
    """Inputs in the order in which they are passed, outputs in the order in which they return.

    Attributes:
        inputs: the inputs.
        outputs: the outputs.
        irregular: why some output's shape is not affine in the batch size, None where all are.
            Their dimensions are known once the model is lowered at static batch sizes.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    irregular: str | None = None

    def is_size(self, number: int) -> bool:
        """Whether an output is the size of the one before it."""
        return number > 0 and bool(self.outputs[number - 1].varying)

    @property
    def has_batch(self) -> bool:
        """Whether any dimension depends on the batch size."""
        return any(spec.batch_axes for spec in (*self.inputs, *self.outputs))
