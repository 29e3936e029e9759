"""The typed interface of a model: names, element types and shapes of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import Dim, Shape


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the user's name (`serving_default` key, Keras layer or graph node).
        dtype: the element type.
        dims: the dimensions; `BatchDim(1)` is the batch axis, any `a*B + c` may occur in outputs.
    """

    name: str
    dtype: DType
    dims: tuple[Dim, ...]

    @property
    def shape(self) -> Shape:
        """Type and dimensions as an HLO shape."""
        return Shape(self.dtype, self.dims)


@dataclass(frozen=True)
class Signature:
    """Inputs in the order in which they are passed, outputs in the order in which they return."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @property
    def has_batch(self) -> bool:
        """Whether any dimension depends on the batch size."""
        return any(not spec.shape.is_static for spec in (*self.inputs, *self.outputs))
