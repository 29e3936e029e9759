"""Attributes of HLO instructions: one frozen dataclass per opcode that has any.

Names and meanings are those of the HLO specification (openxla.org/xla/operation_semantics).
`ATTRIBUTES` maps each opcode to its class; an opcode that is absent carries `None`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Union

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.shapes import Dim

if TYPE_CHECKING:
    from tfaot.ir.module import Computation


@dataclass(frozen=True, eq=False)
class Constant:
    """Value of a `constant`: an array of the instruction's static shape and type.

    Where the weights are outside of the code, `origin` tells the variables that the value comes
    from, and how: code must then be the same for any value, and equal origins mean equal values.
    It is empty where code may depend on the value.
    """

    value: NDArray[np.generic]
    origin: str = ""


@dataclass(frozen=True)
class Parameter:
    """Position of a `parameter` among its computation's parameters."""

    number: int


@dataclass(frozen=True)
class GetTupleElement:
    """Element taken by a `get-tuple-element`."""

    index: int


@dataclass(frozen=True)
class Broadcast:
    """`dimensions[i]` is the output dimension that operand dimension i becomes."""

    dimensions: tuple[int, ...]


@dataclass(frozen=True)
class Transpose:
    """Output dimension i is operand dimension `permutation[i]`."""

    permutation: tuple[int, ...]


@dataclass(frozen=True)
class Slice:
    """Per dimension: first index, limit (exclusive) and stride."""

    starts: tuple[Dim, ...]
    limits: tuple[Dim, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class DynamicSlice:
    """Sizes of the slice; operands are the array, then one scalar start index per dimension."""

    sizes: tuple[Dim, ...]


@dataclass(frozen=True)
class Concatenate:
    """Dimension along which operands are joined."""

    dimension: int


@dataclass(frozen=True)
class Pad:
    """Per dimension: padding before, after (either may be negative) and between elements."""

    low: tuple[Dim, ...]
    high: tuple[Dim, ...]
    interior: tuple[int, ...]


@dataclass(frozen=True)
class Iota:
    """Dimension along which the output counts up from 0."""

    dimension: int


@dataclass(frozen=True)
class Reverse:
    """Dimensions whose order is reversed."""

    dimensions: tuple[int, ...]


@dataclass(frozen=True)
class Compare:
    """Direction (EQ NE GE GT LE LT) and order (FLOAT TOTALORDER SIGNED UNSIGNED)."""

    direction: str
    order: str


@dataclass(frozen=True)
class Reduce:
    """Reduced dimensions; k arrays then k initial values, `to_apply` takes 2k scalars."""

    dimensions: tuple[int, ...]
    to_apply: Computation


@dataclass(frozen=True)
class Dot:
    """Contracting and batch dimensions of both sides; output: batch, lhs free, rhs free."""

    lhs_contracting: tuple[int, ...]
    rhs_contracting: tuple[int, ...]
    lhs_batch: tuple[int, ...] = ()
    rhs_batch: tuple[int, ...] = ()


@dataclass(frozen=True)
class Gather:
    """Dimension numbers of a `gather` (operand, start_indices), as in the HLO specification."""

    offset_dims: tuple[int, ...]
    collapsed_slice_dims: tuple[int, ...]
    start_index_map: tuple[int, ...]
    index_vector_dim: int
    slice_sizes: tuple[Dim, ...]
    operand_batching_dims: tuple[int, ...] = ()
    start_indices_batching_dims: tuple[int, ...] = ()
    indices_are_sorted: bool = False


@dataclass(frozen=True)
class Scatter:
    """Dimension numbers of a `scatter`: k operands, indices, k updates; combined by `to_apply`."""

    update_window_dims: tuple[int, ...]
    inserted_window_dims: tuple[int, ...]
    scatter_dims_to_operand_dims: tuple[int, ...]
    index_vector_dim: int
    to_apply: Computation
    input_batching_dims: tuple[int, ...] = ()
    scatter_indices_batching_dims: tuple[int, ...] = ()
    unique_indices: bool = False
    indices_are_sorted: bool = False


@dataclass(frozen=True)
class WindowDimension:
    """One dimension of a window: size, stride, padding, dilations, reversal.

    Size and padding may depend on the batch size in a `reduce-window` alone (prefix sums over it).
    """

    size: Dim
    stride: int = 1
    padding_low: Dim = 0
    padding_high: Dim = 0
    window_dilation: int = 1
    base_dilation: int = 1
    reversal: bool = False

    def map_sizes(self, change: Callable[[Dim], Dim]) -> WindowDimension:
        """This dimension with `change` applied to its size and padding."""
        return replace(
            self,
            size=change(self.size),
            padding_low=change(self.padding_low),
            padding_high=change(self.padding_high),
        )

    @property
    def is_static(self) -> bool:
        """Whether neither size nor padding depends on the batch size."""
        sizes = (self.size, self.padding_low, self.padding_high)
        return all(isinstance(d, int) for d in sizes)


@dataclass(frozen=True)
class ReduceWindow:
    """Window over all dimensions; operands are k arrays then k initial values."""

    window: tuple[WindowDimension, ...]
    to_apply: Computation


@dataclass(frozen=True)
class SelectAndScatter:
    """Window over all dimensions, selecting and scattering computations."""

    window: tuple[WindowDimension, ...]
    select: Computation
    scatter: Computation


@dataclass(frozen=True)
class Convolution:
    """Window over the spatial dimensions and the dimension numbers of input, kernel and output."""

    window: tuple[WindowDimension, ...]
    input_batch: int
    input_feature: int
    input_spatial: tuple[int, ...]
    kernel_input_feature: int
    kernel_output_feature: int
    kernel_spatial: tuple[int, ...]
    output_batch: int
    output_feature: int
    output_spatial: tuple[int, ...]
    feature_group_count: int = 1
    batch_group_count: int = 1


@dataclass(frozen=True)
class Call:
    """Computation of a `call`, `map` or `fusion` (importers inline fusions and calls)."""

    to_apply: Computation


@dataclass(frozen=True)
class While:
    """Loop condition and body; each takes the carried value."""

    condition: Computation
    body: Computation


@dataclass(frozen=True)
class Conditional:
    """Branches; operands are the predicate or index, then one argument per branch."""

    branches: tuple[Computation, ...]


@dataclass(frozen=True)
class Sort:
    """Sorted dimension, comparator over 2k scalars, and stability."""

    dimension: int
    to_apply: Computation
    is_stable: bool


@dataclass(frozen=True)
class Fft:
    """Kind (FFT IFFT RFFT IRFFT) and lengths of the trailing dimensions."""

    kind: str
    length: tuple[int, ...]


@dataclass(frozen=True)
class ReducePrecision:
    """Bits of exponent and mantissa to round to."""

    exponent_bits: int
    mantissa_bits: int


@dataclass(frozen=True)
class CustomCall:
    """Target of a `custom-call` and its opaque backend configuration."""

    target: str
    opaque: bytes = b""
    called: tuple[Computation, ...] = ()


@dataclass(frozen=True)
class Cholesky:
    """Whether the lower triangle is computed."""

    lower: bool


@dataclass(frozen=True)
class TriangularSolve:
    """Options of a `triangular-solve`."""

    left_side: bool
    lower: bool
    unit_diagonal: bool
    transpose: str


@dataclass(frozen=True)
class RngBitGenerator:
    """Algorithm: RNG_DEFAULT, RNG_THREE_FRY or RNG_PHILOX."""

    algorithm: str


@dataclass(frozen=True)
class GetDimensionSize:
    """Dimension whose size is taken (s32 scalar)."""

    dimension: int


Attributes = Union[
    Constant,
    Parameter,
    GetTupleElement,
    Broadcast,
    Transpose,
    Slice,
    DynamicSlice,
    Concatenate,
    Pad,
    Iota,
    Reverse,
    Compare,
    Reduce,
    Dot,
    Gather,
    Scatter,
    ReduceWindow,
    SelectAndScatter,
    Convolution,
    Call,
    While,
    Conditional,
    Sort,
    Fft,
    ReducePrecision,
    CustomCall,
    Cholesky,
    TriangularSolve,
    RngBitGenerator,
    GetDimensionSize,
    None,
]

ATTRIBUTES: dict[str, type] = {
    "constant": Constant,
    "parameter": Parameter,
    "get-tuple-element": GetTupleElement,
    "broadcast": Broadcast,
    "transpose": Transpose,
    "slice": Slice,
    "dynamic-slice": DynamicSlice,
    "concatenate": Concatenate,
    "pad": Pad,
    "iota": Iota,
    "reverse": Reverse,
    "compare": Compare,
    "reduce": Reduce,
    "dot": Dot,
    "gather": Gather,
    "scatter": Scatter,
    "reduce-window": ReduceWindow,
    "select-and-scatter": SelectAndScatter,
    "convolution": Convolution,
    "call": Call,
    "map": Call,
    "fusion": Call,
    "while": While,
    "conditional": Conditional,
    "sort": Sort,
    "fft": Fft,
    "reduce-precision": ReducePrecision,
    "custom-call": CustomCall,
    "cholesky": Cholesky,
    "triangular-solve": TriangularSolve,
    "rng-bit-generator": RngBitGenerator,
    "get-dimension-size": GetDimensionSize,
}


@dataclass(frozen=True)
class Metadata:
    """Where an instruction came from: TensorFlow op type and name (its layer path)."""

    op_type: str = ""
    op_name: str = ""


NO_METADATA = Metadata()
