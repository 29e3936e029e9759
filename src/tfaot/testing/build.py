"""A small builder of HLO modules: one method per kind of op, shapes inferred.

    b = ModuleBuilder("dense")
    x = b.parameter(DType.F32, (BatchDim(1), 4))
    w = b.constant(np.ones((4, 2), np.float32))
    module = b.module(b.unary("tanh", b.matmul(x, w)))

A builder without `module` makes a computation to be called: `b.computation(root)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import (
    NO_METADATA,
    Attributes,
    Broadcast,
    Call,
    Cholesky,
    Compare,
    Concatenate,
    Conditional,
    Constant,
    Convolution,
    CustomCall,
    Dot,
    DynamicSlice,
    Fft,
    Gather,
    GetDimensionSize,
    GetTupleElement,
    Iota,
    Metadata,
    Pad,
    Parameter,
    Reduce,
    ReducePrecision,
    ReduceWindow,
    Reverse,
    RngBitGenerator,
    Scatter,
    SelectAndScatter,
    Slice,
    Sort,
    Transpose,
    TriangularSolve,
    While,
    WindowDimension,
)
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, Module, make_computation
from tfaot.ir.shapes import AnyShape, BatchDim, Dim, Shape, TupleShape

_REAL_RESULT = {"abs", "real", "imag"}


class ModuleBuilder:
    """Builds instructions with inferred shapes and puts them into a module or computation."""

    def __init__(self, name: str, metadata: Metadata = NO_METADATA) -> None:
        self.name = name
        self.metadata = metadata
        self._count = 0
        self._parameters: list[Instruction] = []

    def instruction(
        self,
        opcode: str,
        shape: AnyShape,
        operands: Sequence[Instruction] = (),
        attrs: Attributes = None,
    ) -> Instruction:
        """Any instruction, its shape given; for ops without a method, and for invalid ones."""
        self._count += 1
        name = f"{opcode}.{self._count}"
        return Instruction(name, opcode, shape, tuple(operands), attrs, self.metadata)

    def module(self, *outputs: Instruction) -> Module:
        """The module of one output, or of several as a root tuple."""
        root = outputs[0] if len(outputs) == 1 else self.tuple(*outputs)
        entry = self.computation(root)
        return Module(
            self.name, entry, batch=any(_is_symbolic(i.shape) for i in entry.instructions)
        )

    def computation(self, root: Instruction) -> Computation:
        """The computation of `root` with all parameters made so far."""
        return make_computation(self.name, root, tuple(self._parameters))

    def parameter(self, dtype: DType, dims: Sequence[Dim] = ()) -> Instruction:
        """The next parameter."""
        return self.shaped_parameter(Shape(dtype, tuple(dims)))

    def shaped_parameter(self, shape: AnyShape) -> Instruction:
        """The next parameter, of any shape (a tuple too)."""
        number = len(self._parameters)
        node = self.instruction("parameter", shape, (), Parameter(number))
        self._parameters.append(replace(node, name=f"p{number}"))
        return self._parameters[-1]

    def constant(self, value: Any, dtype: DType | None = None) -> Instruction:
        """A constant; `dtype` is by default that of the array."""
        array: NDArray[Any] = np.asarray(value)
        dtype = dtype or DType.from_numpy(array.dtype)
        array = array.astype(dtype.numpy)
        return self.instruction("constant", Shape(dtype, array.shape), (), Constant(array))

    def unary(self, opcode: str, x: Instruction) -> Instruction:
        """An elementwise op of one operand."""
        dtype = x.array.dtype
        if opcode in _REAL_RESULT:
            dtype = dtype.real
        elif opcode == "is-finite":
            dtype = DType.PRED
        return self.instruction(opcode, x.array.with_dtype(dtype), (x,))

    def binary(self, opcode: str, x: Instruction, y: Instruction) -> Instruction:
        """An elementwise op of two operands of one shape."""
        shape = x.array
        if opcode == "complex":
            shape = shape.with_dtype(DType.C64 if shape.dtype is DType.F32 else DType.C128)
        return self.instruction(opcode, shape, (x, y))

    def compare(
        self, direction: str, x: Instruction, y: Instruction, order: str | None = None
    ) -> Instruction:
        """A comparison; the order is by default the type's own."""
        dtype = x.array.dtype
        if order is None:
            order = "FLOAT" if dtype.is_float or dtype.is_complex else "UNSIGNED"
            order = "SIGNED" if dtype.is_signed else order
        shape = x.array.with_dtype(DType.PRED)
        return self.instruction("compare", shape, (x, y), Compare(direction, order))

    def select(self, chosen: Instruction, x: Instruction, y: Instruction) -> Instruction:
        """`x` where `chosen`, else `y`."""
        return self.instruction("select", x.shape, (chosen, x, y))

    def clamp(self, low: Instruction, x: Instruction, high: Instruction) -> Instruction:
        """`x` moved into [low, high]; the limits are scalars or of x's shape."""
        return self.instruction("clamp", x.shape, (low, x, high))

    def convert(self, x: Instruction, dtype: DType) -> Instruction:
        """`x` converted to `dtype`."""
        return self.instruction("convert", x.array.with_dtype(dtype), (x,))

    def bitcast_convert(self, x: Instruction, dtype: DType) -> Instruction:
        """The bits of `x` as `dtype`, whose width may differ."""
        dims, old, new = x.array.dims, x.array.dtype.itemsize, dtype.itemsize
        if new > old:
            dims = dims[:-1]
        elif new < old:
            dims = (*dims, old // new)
        return self.instruction("bitcast-convert", Shape(dtype, dims), (x,))

    def reduce_precision(self, x: Instruction, exponent: int, mantissa: int) -> Instruction:
        """`x` rounded to that many bits of exponent and mantissa."""
        return self.instruction(
            "reduce-precision", x.shape, (x,), ReducePrecision(exponent, mantissa)
        )

    def broadcast(
        self, x: Instruction, dims: Sequence[Dim], mapping: Sequence[int] = ()
    ) -> Instruction:
        """`x` repeated; `mapping[i]` is the output dimension that x's dimension i becomes."""
        shape = x.array.with_dims(tuple(dims))
        return self.instruction("broadcast", shape, (x,), Broadcast(tuple(mapping)))

    def splat(self, value: Any, like: Instruction) -> Instruction:
        """A scalar constant of `like`'s type, broadcast to its shape."""
        return self.broadcast(self.constant(value, like.array.dtype), like.array.dims)

    def iota(self, dtype: DType, dims: Sequence[Dim], dimension: int) -> Instruction:
        """0, 1, 2, ... along `dimension`."""
        return self.instruction("iota", Shape(dtype, tuple(dims)), (), Iota(dimension))

    def reshape(self, x: Instruction, dims: Sequence[Dim]) -> Instruction:
        """The same elements in another shape."""
        return self.instruction("reshape", x.array.with_dims(tuple(dims)), (x,))

    def transpose(self, x: Instruction, permutation: Sequence[int]) -> Instruction:
        """Output dimension i is x's dimension `permutation[i]`."""
        shape = x.array.with_dims(tuple(x.array.dims[p] for p in permutation))
        return self.instruction("transpose", shape, (x,), Transpose(tuple(permutation)))

    def reverse(self, x: Instruction, dimensions: Sequence[int]) -> Instruction:
        """`x` with the order along `dimensions` reversed."""
        return self.instruction("reverse", x.shape, (x,), Reverse(tuple(dimensions)))

    def slice(
        self,
        x: Instruction,
        starts: Sequence[Dim],
        limits: Sequence[Dim],
        strides: Sequence[int] | None = None,
    ) -> Instruction:
        """The elements from starts to limits (exclusive), every stride-th."""
        steps = tuple(strides) if strides is not None else (1,) * len(starts)
        dims = tuple(
            (limit - start + (step - 1)) // step if step > 1 else limit - start
            for start, limit, step in zip(starts, limits, steps, strict=True)
        )
        attrs = Slice(tuple(starts), tuple(limits), steps)
        return self.instruction("slice", x.array.with_dims(dims), (x,), attrs)

    def concatenate(self, operands: Sequence[Instruction], dimension: int) -> Instruction:
        """The operands joined along `dimension`."""
        dims = list(operands[0].array.dims)
        for operand in operands[1:]:
            dims[dimension] = dims[dimension] + operand.array.dims[dimension]
        shape = operands[0].array.with_dims(tuple(dims))
        return self.instruction("concatenate", shape, operands, Concatenate(dimension))

    def pad(
        self,
        x: Instruction,
        value: Instruction,
        low: Sequence[Dim],
        high: Sequence[Dim],
        interior: Sequence[int] | None = None,
    ) -> Instruction:
        """`x` with padding around (negative: cut) and between its elements."""
        between = tuple(interior) if interior is not None else (0,) * len(low)
        dims = tuple(
            _dilated(n, step + 1) + before + after
            for n, before, after, step in zip(x.array.dims, low, high, between, strict=True)
        )
        attrs = Pad(tuple(low), tuple(high), between)
        return self.instruction("pad", x.array.with_dims(dims), (x, value), attrs)

    def dynamic_slice(
        self, x: Instruction, starts: Sequence[Instruction], sizes: Sequence[Dim]
    ) -> Instruction:
        """The window of `sizes` at scalar start indices."""
        shape = x.array.with_dims(tuple(sizes))
        return self.instruction("dynamic-slice", shape, (x, *starts), DynamicSlice(tuple(sizes)))

    def dynamic_update_slice(
        self, x: Instruction, update: Instruction, starts: Sequence[Instruction]
    ) -> Instruction:
        """`x` with the window at scalar start indices replaced by `update`."""
        return self.instruction("dynamic-update-slice", x.shape, (x, update, *starts))

    def get_dimension_size(self, x: Instruction, dimension: int) -> Instruction:
        """The size of a dimension, an s32 scalar."""
        shape = Shape(DType.S32)
        return self.instruction("get-dimension-size", shape, (x,), GetDimensionSize(dimension))

    def reduce(
        self,
        operands: Sequence[Instruction],
        initial: Sequence[Instruction],
        dimensions: Sequence[int],
        reducer: Computation,
    ) -> Instruction:
        """The operands reduced over `dimensions`; several give a tuple."""
        shapes = [
            o.array.with_dims(tuple(n for d, n in enumerate(o.array.dims) if d not in dimensions))
            for o in operands
        ]
        attrs = Reduce(tuple(dimensions), reducer)
        return self.instruction("reduce", _joined(shapes), (*operands, *initial), attrs)

    def map(self, function: Computation, *operands: Instruction) -> Instruction:
        """A scalar function applied to every element."""
        shape = operands[0].array.with_dtype(function.root.array.dtype)
        return self.instruction("map", shape, operands, Call(function))

    def dot(
        self,
        lhs: Instruction,
        rhs: Instruction,
        lhs_contracting: Sequence[int],
        rhs_contracting: Sequence[int],
        lhs_batch: Sequence[int] = (),
        rhs_batch: Sequence[int] = (),
        dtype: DType | None = None,
    ) -> Instruction:
        """A dot product; output dimensions: batch, lhs free, rhs free."""
        attrs = Dot(
            tuple(lhs_contracting), tuple(rhs_contracting), tuple(lhs_batch), tuple(rhs_batch)
        )
        left, right = lhs.array.dims, rhs.array.dims
        lhs_used, rhs_used = (*lhs_contracting, *lhs_batch), (*rhs_contracting, *rhs_batch)
        dims = (
            *(left[d] for d in lhs_batch),
            *(n for d, n in enumerate(left) if d not in lhs_used),
            *(n for d, n in enumerate(right) if d not in rhs_used),
        )
        shape = Shape(dtype or lhs.array.dtype, dims)
        return self.instruction("dot", shape, (lhs, rhs), attrs)

    def matmul(self, x: Instruction, w: Instruction) -> Instruction:
        """X's last dimension times w's first."""
        return self.dot(x, w, (x.array.rank - 1,), (0,))

    def gather(self, x: Instruction, indices: Instruction, attrs: Gather) -> Instruction:
        """Windows of `x` at index vectors."""
        kept = [
            size
            for d, size in enumerate(attrs.slice_sizes)
            if d not in (*attrs.collapsed_slice_dims, *attrs.operand_batching_dims)
        ]
        batch = [n for d, n in enumerate(indices.array.dims) if d != attrs.index_vector_dim]
        dims = _interleaved(len(kept) + len(batch), attrs.offset_dims, kept, batch)
        return self.instruction("gather", x.array.with_dims(dims), (x, indices), attrs)

    def take_rows(self, table: Instruction, indices: Instruction) -> Instruction:
        """An embedding: the rows of `table` at `indices` of any shape."""
        rank, width = indices.array.rank, table.array.dims[1:]
        attrs = Gather(
            offset_dims=tuple(range(rank, rank + len(width))),
            collapsed_slice_dims=(0,),
            start_index_map=(0,),
            index_vector_dim=rank,
            slice_sizes=(1, *width),
        )
        return self.gather(table, indices, attrs)

    def scatter(
        self,
        operands: Sequence[Instruction],
        indices: Instruction,
        updates: Sequence[Instruction],
        attrs: Scatter,
    ) -> Instruction:
        """The operands with updates combined into windows at index vectors."""
        shape = _joined([o.array for o in operands])
        return self.instruction("scatter", shape, (*operands, indices, *updates), attrs)

    def reduce_window(
        self,
        operands: Sequence[Instruction],
        initial: Sequence[Instruction],
        window: Sequence[WindowDimension],
        reducer: Computation,
    ) -> Instruction:
        """The operands reduced over a moving window."""
        shapes = [
            o.array.with_dims(
                tuple(_window_size(n, w) for n, w in zip(o.array.dims, window, strict=True))
            )
            for o in operands
        ]
        attrs = ReduceWindow(tuple(window), reducer)
        return self.instruction("reduce-window", _joined(shapes), (*operands, *initial), attrs)

    def select_and_scatter(
        self,
        x: Instruction,
        source: Instruction,
        initial: Instruction,
        window: Sequence[WindowDimension],
        select: Computation,
        scatter: Computation,
    ) -> Instruction:
        """Values of `source` scattered to the element selected in each window of `x`."""
        attrs = SelectAndScatter(tuple(window), select, scatter)
        return self.instruction("select-and-scatter", x.shape, (x, source, initial), attrs)

    def convolution(self, x: Instruction, kernel: Instruction, attrs: Convolution) -> Instruction:
        """A convolution with the given window and dimension numbers."""
        dims: list[Dim] = [0] * x.array.rank
        dims[attrs.output_batch] = x.array.dims[attrs.input_batch] // attrs.batch_group_count
        dims[attrs.output_feature] = kernel.array.dims[attrs.kernel_output_feature]
        for out, source, w in zip(
            attrs.output_spatial, attrs.input_spatial, attrs.window, strict=True
        ):
            dims[out] = _window_size(x.array.dims[source], w)
        shape = x.array.with_dims(tuple(dims))
        return self.instruction("convolution", shape, (x, kernel), attrs)

    def tuple(self, *elements: Instruction) -> Instruction:
        """A tuple."""
        return self.instruction("tuple", TupleShape(tuple(e.shape for e in elements)), elements)

    def get(self, x: Instruction, index: int) -> Instruction:
        """An element of a tuple."""
        assert isinstance(x.shape, TupleShape), x
        shape = x.shape.elements[index]
        return self.instruction("get-tuple-element", shape, (x,), GetTupleElement(index))

    def call(self, function: Computation, *operands: Instruction) -> Instruction:
        """A call of a computation."""
        return self.instruction("call", function.root.shape, operands, Call(function))

    def while_loop(
        self, condition: Computation, body: Computation, initial: Instruction
    ) -> Instruction:
        """A loop that carries `initial` through `body` as long as `condition` holds."""
        return self.instruction("while", initial.shape, (initial,), While(condition, body))

    def conditional(
        self, chosen: Instruction, branches: Sequence[Computation], operands: Sequence[Instruction]
    ) -> Instruction:
        """One of the branches, each with its own argument."""
        shape = branches[0].root.shape
        attrs = Conditional(tuple(branches))
        return self.instruction("conditional", shape, (chosen, *operands), attrs)

    def sort(
        self,
        operands: Sequence[Instruction],
        dimension: int,
        comparator: Computation,
        is_stable: bool = True,
    ) -> Instruction:
        """The operands sorted together along `dimension`."""
        attrs = Sort(dimension, comparator, is_stable)
        return self.instruction("sort", _joined([o.array for o in operands]), operands, attrs)

    def fft(self, x: Instruction, kind: str, length: Sequence[int]) -> Instruction:
        """A Fourier transform over the trailing dimensions."""
        dims, dtype = list(x.array.dims), x.array.dtype
        if kind == "RFFT":
            dims[-1] = length[-1] // 2 + 1
            dtype = DType.C64 if dtype is DType.F32 else DType.C128
        elif kind == "IRFFT":
            dims[-1] = length[-1]
            dtype = dtype.real
        return self.instruction("fft", Shape(dtype, tuple(dims)), (x,), Fft(kind, tuple(length)))

    def cholesky(self, x: Instruction, lower: bool = True) -> Instruction:
        """The Cholesky factor of the trailing matrices."""
        return self.instruction("cholesky", x.shape, (x,), Cholesky(lower))

    def triangular_solve(
        self, a: Instruction, b: Instruction, attrs: TriangularSolve
    ) -> Instruction:
        """Solves op(a) x = b, or x op(a) = b, for triangular a."""
        return self.instruction("triangular-solve", b.shape, (a, b), attrs)

    def rng_bit_generator(
        self, state: Instruction, dtype: DType, dims: Sequence[Dim], algorithm: str
    ) -> Instruction:
        """The pair (new state, random bits)."""
        shape = TupleShape((state.shape, Shape(dtype, tuple(dims))))
        return self.instruction("rng-bit-generator", shape, (state,), RngBitGenerator(algorithm))

    def custom_call(
        self, target: str, shape: AnyShape, operands: Sequence[Instruction], opaque: bytes = b""
    ) -> Instruction:
        """A call of XLA's runtime."""
        return self.instruction("custom-call", shape, operands, CustomCall(target, opaque))


def canonical_convolution(window: Sequence[WindowDimension], groups: int = 1) -> Convolution:
    """Dimensions [B, spatial..., C], [window..., C, N] and [B, spatial..., N]."""
    rank = len(window) + 2
    inner = tuple(range(1, rank - 1))
    return Convolution(
        window=tuple(window),
        input_batch=0,
        input_feature=rank - 1,
        input_spatial=inner,
        kernel_input_feature=rank - 2,
        kernel_output_feature=rank - 1,
        kernel_spatial=tuple(range(rank - 2)),
        output_batch=0,
        output_feature=rank - 1,
        output_spatial=inner,
        feature_group_count=groups,
    )


def binary_computation(opcode: str, dtype: DType) -> Computation:
    """The computation of one op on two scalars, as reducers and combiners are."""
    b = ModuleBuilder(f"{opcode}_{dtype}")
    x, y = b.parameter(dtype), b.parameter(dtype)
    return b.computation(b.binary(opcode, x, y))


def comparator(direction: str, *dtypes: DType, order: str | None = None) -> Computation:
    """The comparator of a sort of arrays of `dtypes` by the first of them."""
    b = ModuleBuilder(f"compare_{direction}")
    pairs = [(b.parameter(dtype), b.parameter(dtype)) for dtype in dtypes]
    return b.computation(b.compare(direction, *pairs[0], order=order))


def _is_symbolic(shape: AnyShape) -> bool:
    if isinstance(shape, TupleShape):
        return any(_is_symbolic(e) for e in shape)
    return not shape.is_static


def _joined(shapes: Sequence[Shape]) -> AnyShape:
    return shapes[0] if len(shapes) == 1 else TupleShape(tuple(shapes))


def _dilated(size: Dim, step: int) -> Dim:
    if step == 1 or (isinstance(size, int) and size == 0):
        return size
    return (size - 1) * step + 1


def _window_size(size: Dim, window: WindowDimension) -> Dim:
    reach = _dilated(window.size, window.window_dilation)
    room = _dilated(size, window.base_dilation) + window.padding_low + window.padding_high - reach
    if isinstance(room, BatchDim):
        return room + 1 if window.stride == 1 else room // window.stride + 1
    return max(room // window.stride + 1, 0)


def _interleaved(
    rank: int, chosen: Sequence[int], first: Sequence[Dim], rest: Sequence[Dim]
) -> tuple[Dim, ...]:
    """Sizes of `first` at positions `chosen`, of `rest` at the others."""
    one, other = iter(first), iter(rest)
    return tuple(next(one) if d in chosen else next(other) for d in range(rank))
