"""Typed attributes from the integers and words of an instruction as read."""

from __future__ import annotations

from collections.abc import Callable

from tfaot.ir import attributes as ir
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation
from tfaot.ir.raw import Key, RawArray, RawInstruction, RawShape

Resolve = Callable[[Key], Computation]
Builder = Callable[["Source"], ir.Attributes]
BUILDERS: dict[str, Builder] = {}


class Source:
    """An instruction as read, its operands' shapes, and access to called computations."""

    def __init__(
        self, raw: RawInstruction, operands: tuple[RawShape, ...], resolve: Resolve
    ) -> None:
        self.raw = raw
        self.operands = operands
        self._resolve = resolve

    def called(self, role: str) -> tuple[Computation, ...]:
        """The computations called in the role `role`."""
        return tuple(self._resolve(key) for key in self.raw.called.get(role, ()))

    def callee(self, role: str = "to_apply") -> Computation:
        """The one computation called in the role `role`."""
        found = self.called(role)
        if len(found) != 1:
            raise self.raw.error(f"calls no computation as {role}")
        return found[0]

    @property
    def first_dtype(self) -> DType:
        """The element type of the first operand."""
        if not self.operands or not isinstance(self.operands[0], RawArray):
            raise self.raw.error("takes an array")
        return self.operands[0].dtype


def attributes_of(
    raw: RawInstruction, operands: tuple[RawShape, ...], resolve: Resolve
) -> ir.Attributes:
    """The attributes of `raw`, None for opcodes that have none."""
    builder = BUILDERS.get(raw.opcode)
    return None if builder is None else builder(Source(raw, operands, resolve))


def _builds(*opcodes: str) -> Callable[[Builder], Builder]:
    def register(builder: Builder) -> Builder:
        for opcode in opcodes:
            BUILDERS[opcode] = builder
        return builder

    return register


@_builds("constant")
def _constant(source: Source) -> ir.Attributes:
    value = source.raw.literal
    if value is None:
        raise source.raw.error("has no value")
    return ir.Constant(value)


@_builds("parameter")
def _parameter(source: Source) -> ir.Attributes:
    return ir.Parameter(source.raw.integer("parameter_number"))


@_builds("get-tuple-element")
def _get_tuple_element(source: Source) -> ir.Attributes:
    return ir.GetTupleElement(source.raw.integer("index"))


@_builds("broadcast")
def _broadcast(source: Source) -> ir.Attributes:
    return ir.Broadcast(source.raw.static("dimensions"))


@_builds("transpose")
def _transpose(source: Source) -> ir.Attributes:
    return ir.Transpose(source.raw.static("dimensions"))


@_builds("reverse")
def _reverse(source: Source) -> ir.Attributes:
    return ir.Reverse(source.raw.static("dimensions"))


@_builds("concatenate")
def _concatenate(source: Source) -> ir.Attributes:
    return ir.Concatenate(source.raw.integer("dimensions"))


@_builds("iota")
def _iota(source: Source) -> ir.Attributes:
    return ir.Iota(source.raw.integer("dimensions"))


@_builds("get-dimension-size")
def _get_dimension_size(source: Source) -> ir.Attributes:
    return ir.GetDimensionSize(source.raw.integer("dimensions"))


@_builds("slice")
def _slice(source: Source) -> ir.Attributes:
    raw = source.raw
    starts, limits = raw.ints.get("slice_starts", ()), raw.ints.get("slice_limits", ())
    return ir.Slice(starts, limits, raw.static("slice_strides"))


@_builds("dynamic-slice")
def _dynamic_slice(source: Source) -> ir.Attributes:
    return ir.DynamicSlice(source.raw.ints.get("dynamic_slice_sizes", ()))


@_builds("pad")
def _pad(source: Source) -> ir.Attributes:
    raw = source.raw
    low, high = raw.ints.get("padding_low", ()), raw.ints.get("padding_high", ())
    return ir.Pad(low, high, raw.static("padding_interior"))


@_builds("compare")
def _compare(source: Source) -> ir.Attributes:
    dtype = source.first_dtype
    default = "FLOAT" if dtype.is_float or dtype.is_complex else "UNSIGNED"
    if dtype.is_signed:
        default = "SIGNED"
    words = source.raw.words
    return ir.Compare(words.get("direction", ""), words.get("type") or default)


@_builds("reduce")
def _reduce(source: Source) -> ir.Attributes:
    return ir.Reduce(source.raw.static("dimensions"), source.callee())


@_builds("dot")
def _dot(source: Source) -> ir.Attributes:
    raw = source.raw
    return ir.Dot(
        raw.static("lhs_contracting_dims"),
        raw.static("rhs_contracting_dims"),
        raw.static("lhs_batch_dims"),
        raw.static("rhs_batch_dims"),
    )


@_builds("gather")
def _gather(source: Source) -> ir.Attributes:
    raw = source.raw
    return ir.Gather(
        offset_dims=raw.static("offset_dims"),
        collapsed_slice_dims=raw.static("collapsed_slice_dims"),
        start_index_map=raw.static("start_index_map"),
        index_vector_dim=raw.integer("index_vector_dim", 0),
        slice_sizes=raw.ints.get("slice_sizes", ()),
        operand_batching_dims=raw.static("operand_batching_dims"),
        start_indices_batching_dims=raw.static("start_indices_batching_dims"),
        indices_are_sorted=raw.flag("indices_are_sorted"),
    )


@_builds("scatter")
def _scatter(source: Source) -> ir.Attributes:
    raw = source.raw
    return ir.Scatter(
        update_window_dims=raw.static("update_window_dims"),
        inserted_window_dims=raw.static("inserted_window_dims"),
        scatter_dims_to_operand_dims=raw.static("scatter_dims_to_operand_dims"),
        index_vector_dim=raw.integer("index_vector_dim", 0),
        to_apply=source.callee(),
        input_batching_dims=raw.static("input_batching_dims"),
        scatter_indices_batching_dims=raw.static("scatter_indices_batching_dims"),
        unique_indices=raw.flag("unique_indices"),
        indices_are_sorted=raw.flag("indices_are_sorted"),
    )


@_builds("reduce-window")
def _reduce_window(source: Source) -> ir.Attributes:
    return ir.ReduceWindow(source.raw.window, source.callee())


@_builds("select-and-scatter")
def _select_and_scatter(source: Source) -> ir.Attributes:
    return ir.SelectAndScatter(source.raw.window, source.callee("select"), source.callee("scatter"))


@_builds("convolution")
def _convolution(source: Source) -> ir.Attributes:
    raw = source.raw
    layouts = [raw.static(name) for name in ("input_dims", "kernel_dims", "output_dims")]
    if any(len(dims) < 2 for dims in layouts):
        raise raw.error("dim_labels must name two dimensions at least")
    data, kernel, output = layouts
    return ir.Convolution(
        window=raw.window,
        input_batch=data[0],
        input_feature=data[1],
        input_spatial=data[2:],
        kernel_input_feature=kernel[0],
        kernel_output_feature=kernel[1],
        kernel_spatial=kernel[2:],
        output_batch=output[0],
        output_feature=output[1],
        output_spatial=output[2:],
        feature_group_count=raw.integer("feature_group_count", 1),
        batch_group_count=raw.integer("batch_group_count", 1),
    )


@_builds("map")
def _map(source: Source) -> ir.Attributes:
    return ir.Call(source.callee())


@_builds("while")
def _while(source: Source) -> ir.Attributes:
    return ir.While(source.callee("condition"), source.callee("body"))


@_builds("conditional")
def _conditional(source: Source) -> ir.Attributes:
    return ir.Conditional(source.called("branches"))


@_builds("sort")
def _sort(source: Source) -> ir.Attributes:
    raw = source.raw
    return ir.Sort(raw.integer("dimensions"), source.callee(), raw.flag("is_stable"))


@_builds("fft")
def _fft(source: Source) -> ir.Attributes:
    return ir.Fft(source.raw.words.get("fft_type", ""), source.raw.static("fft_length"))


@_builds("reduce-precision")
def _reduce_precision(source: Source) -> ir.Attributes:
    raw = source.raw
    return ir.ReducePrecision(raw.integer("exponent_bits"), raw.integer("mantissa_bits"))


@_builds("custom-call")
def _custom_call(source: Source) -> ir.Attributes:
    raw = source.raw
    target = raw.words.get("custom_call_target", "")
    return ir.CustomCall(target, raw.opaque, source.called("called"))


@_builds("cholesky")
def _cholesky(source: Source) -> ir.Attributes:
    return ir.Cholesky(source.raw.flag("lower"))


@_builds("triangular-solve")
def _triangular_solve(source: Source) -> ir.Attributes:
    raw = source.raw
    return ir.TriangularSolve(
        raw.flag("left_side"),
        raw.flag("lower"),
        raw.flag("unit_diagonal"),
        raw.words.get("transpose_a", "NO_TRANSPOSE"),
    )


@_builds("rng-bit-generator")
def _rng_bit_generator(source: Source) -> ir.Attributes:
    return ir.RngBitGenerator(source.raw.words.get("algorithm", "RNG_DEFAULT").upper())
