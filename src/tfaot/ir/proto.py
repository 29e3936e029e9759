"""Reader of serialized HLO (`xla.HloProto` or `xla.HloModuleProto`), without TensorFlow.

Input: bytes. Output: a normalised `Module`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from tfaot.errors import InvalidModuleError, UnsupportedError
from tfaot.ir.attributes import Metadata, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.ir.normalise import normalise
from tfaot.ir.proto_schema import (
    FFT_TYPES,
    PRIMITIVE_TYPES,
    RNG_ALGORITHMS,
    TRANSPOSES,
    message_class,
)
from tfaot.ir.raw import (
    TOKEN,
    Key,
    RawArray,
    RawComputation,
    RawInstruction,
    RawModule,
    RawShape,
    RawTuple,
    to_logical,
    where,
)

_HloProto = message_class("HloProto")
_HloModuleProto = message_class("HloModuleProto")

# Roles of an instruction's called computations, in the order in which XLA stores them.
_ROLES: dict[str, tuple[str, ...]] = {
    "while": ("body", "condition"),
    "select-and-scatter": ("select", "scatter"),
}
_GROUPS = {"conditional": "branches", "custom-call": "called"}
_VARINTS = frozenset({DType.S32, DType.S64, DType.U32, DType.U64})
_PACKED_BY_BITS = frozenset({DType.S4, DType.U4})


def read_module(data: bytes, source: str = "") -> Module:
    """Read a serialized `xla.HloProto` or `xla.HloModuleProto`.

    Args:
        data: the serialized message.
        source: where it came from (a path), for messages.

    Returns:
        The module with fusions and calls inlined and all arrays row-major.

    Raises:
        InvalidModuleError: the bytes are no HLO, or HLO that contradicts itself.
        UnsupportedError: HLO that can't be compiled (host callbacks, stateful random numbers, ...).
    """
    try:
        return normalise(_module(_parse(data)))
    except (InvalidModuleError, UnsupportedError) as error:
        if not source:
            raise
        raise type(error)(f"{source}: {error}") from None


def _parse(data: bytes) -> Any:
    for kind in (_HloProto, _HloModuleProto):
        message = kind()
        try:
            message.ParseFromString(data)
        except DecodeError:
            continue
        module = message.hlo_module if kind is _HloProto else message
        if len(module.computations):
            return module
    raise InvalidModuleError("not a serialized HLO module; pass an xla.HloProto")


def _module(proto: Any) -> RawModule:
    computations: dict[Key, RawComputation] = {}
    for computation in proto.computations:
        if computation.id in computations:
            raise InvalidModuleError(f"computation id {computation.id} occurs twice")
        instructions = [_instruction(i) for i in computation.instructions]
        computations[computation.id] = RawComputation(
            computation.id, computation.name, instructions, computation.root_id
        )
    layouts = None
    if proto.HasField("host_program_shape"):
        program = proto.host_program_shape
        layouts = (tuple(map(_shape, program.parameters)), _shape(program.result))
    return RawModule(proto.name, computations, proto.entry_computation_id, layouts)


def _shape(proto: Any) -> RawShape:
    name = PRIMITIVE_TYPES.get(proto.element_type)
    if name is None:
        raise InvalidModuleError(f"element type number {proto.element_type} is unknown")
    if name == "tuple":
        return RawTuple(tuple(map(_shape, proto.tuple_shapes)))
    if name == "token":
        return TOKEN
    dims = tuple(proto.dimensions)
    order: tuple[int, ...] | None = None
    if proto.HasField("layout"):
        order = tuple(proto.layout.minor_to_major)
        if sorted(order) != list(range(len(dims))):
            raise InvalidModuleError(f"layout {order} does not fit dimensions {dims}")
        if order == tuple(reversed(range(len(dims)))):
            order = None
    # Shapes without varying dimensions may leave the flags out; unbounded ones are negative.
    varying = tuple(n for n, flag in enumerate(proto.is_dynamic_dimension) if flag)
    if any(d < 0 for d in dims):
        raise UnsupportedError(f"a size of shape {dims} depends on the data and has no bound")
    return RawArray(DType.from_name(name), dims, order, varying)


def _instruction(proto: Any) -> RawInstruction:
    metadata = Metadata(proto.metadata.op_type, proto.metadata.op_name)
    try:
        shape = _shape(proto.shape)
    except (InvalidModuleError, UnsupportedError) as error:
        raise type(error)(f"{proto.opcode}: {error}{where(metadata)}") from None
    raw = RawInstruction(
        proto.id, proto.name, proto.opcode, shape, tuple(proto.operand_ids), metadata
    )
    read = _READERS.get(proto.opcode)
    if read is not None:
        read(raw, proto)
    _called(raw, tuple(proto.called_computation_ids))
    return raw


def _called(raw: RawInstruction, keys: tuple[int, ...]) -> None:
    if not keys:
        return
    group = _GROUPS.get(raw.opcode)
    if group is not None:
        raw.called[group] = keys
        return
    roles = _ROLES.get(raw.opcode, ("to_apply",))
    if len(keys) != len(roles):
        raise raw.error(f"calls {len(keys)} computations, not {len(roles)}")
    raw.called = {role: (key,) for role, key in zip(roles, keys, strict=True)}


_Reader = Callable[[RawInstruction, Any], None]
_READERS: dict[str, _Reader] = {}


def _reads(*opcodes: str) -> Callable[[_Reader], _Reader]:
    def register(reader: _Reader) -> _Reader:
        for opcode in opcodes:
            _READERS[opcode] = reader
        return reader

    return register


@_reads("parameter")
def _parameter(raw: RawInstruction, proto: Any) -> None:
    raw.ints["parameter_number"] = (proto.parameter_number,)


@_reads("get-tuple-element")
def _get_tuple_element(raw: RawInstruction, proto: Any) -> None:
    raw.ints["index"] = (proto.tuple_index,)


@_reads(
    "broadcast",
    "transpose",
    "reverse",
    "concatenate",
    "iota",
    "get-dimension-size",
    "set-dimension-size",
    "reduce",
)
def _dimensions(raw: RawInstruction, proto: Any) -> None:
    raw.ints["dimensions"] = tuple(proto.dimensions)


@_reads("sort")
def _sort(raw: RawInstruction, proto: Any) -> None:
    raw.ints["dimensions"] = tuple(proto.dimensions)
    raw.ints["is_stable"] = (int(proto.is_stable),)


@_reads("constant")
def _constant(raw: RawInstruction, proto: Any) -> None:
    if not proto.HasField("literal"):
        raise raw.error("has no value")
    if not isinstance(raw.shape, RawArray):
        raise UnsupportedError(f"constant of shape {raw.shape} is not supported")
    literal = _literal(raw, proto.literal)
    if literal.shape != raw.shape.dims:
        raise raw.error(f"its value has dimensions {literal.shape}")
    raw.literal = literal


@_reads("slice")
def _slice(raw: RawInstruction, proto: Any) -> None:
    raw.ints["slice_starts"] = tuple(d.start for d in proto.slice_dimensions)
    raw.ints["slice_limits"] = tuple(d.limit for d in proto.slice_dimensions)
    raw.ints["slice_strides"] = tuple(d.stride for d in proto.slice_dimensions)


@_reads("dynamic-slice")
def _dynamic_slice(raw: RawInstruction, proto: Any) -> None:
    raw.ints["dynamic_slice_sizes"] = tuple(proto.dynamic_slice_sizes)


@_reads("pad")
def _pad(raw: RawInstruction, proto: Any) -> None:
    dimensions = proto.padding_config.dimensions
    raw.ints["padding_low"] = tuple(d.edge_padding_low for d in dimensions)
    raw.ints["padding_high"] = tuple(d.edge_padding_high for d in dimensions)
    raw.ints["padding_interior"] = tuple(d.interior_padding for d in dimensions)


@_reads("compare")
def _compare(raw: RawInstruction, proto: Any) -> None:
    raw.words["direction"] = proto.comparison_direction
    raw.words["type"] = proto.comparison_type


@_reads("dot")
def _dot(raw: RawInstruction, proto: Any) -> None:
    numbers = proto.dot_dimension_numbers
    raw.ints["lhs_contracting_dims"] = tuple(numbers.lhs_contracting_dimensions)
    raw.ints["rhs_contracting_dims"] = tuple(numbers.rhs_contracting_dimensions)
    raw.ints["lhs_batch_dims"] = tuple(numbers.lhs_batch_dimensions)
    raw.ints["rhs_batch_dims"] = tuple(numbers.rhs_batch_dimensions)


@_reads("gather")
def _gather(raw: RawInstruction, proto: Any) -> None:
    numbers = proto.gather_dimension_numbers
    for name in (
        "offset_dims",
        "collapsed_slice_dims",
        "start_index_map",
        "operand_batching_dims",
        "start_indices_batching_dims",
    ):
        raw.ints[name] = tuple(getattr(numbers, name))
    raw.ints["index_vector_dim"] = (numbers.index_vector_dim,)
    raw.ints["slice_sizes"] = tuple(proto.gather_slice_sizes)
    raw.ints["indices_are_sorted"] = (int(proto.indices_are_sorted),)


@_reads("scatter")
def _scatter(raw: RawInstruction, proto: Any) -> None:
    numbers = proto.scatter_dimension_numbers
    for name in (
        "update_window_dims",
        "inserted_window_dims",
        "scatter_dims_to_operand_dims",
        "input_batching_dims",
        "scatter_indices_batching_dims",
    ):
        raw.ints[name] = tuple(getattr(numbers, name))
    raw.ints["index_vector_dim"] = (numbers.index_vector_dim,)
    raw.ints["unique_indices"] = (int(proto.unique_indices),)
    raw.ints["indices_are_sorted"] = (int(proto.indices_are_sorted),)


@_reads("reduce-window", "select-and-scatter")
def _window(raw: RawInstruction, proto: Any) -> None:
    raw.window = tuple(
        WindowDimension(
            d.size,
            d.stride,
            d.padding_low,
            d.padding_high,
            d.window_dilation,
            d.base_dilation,
            d.window_reversal,
        )
        for d in proto.window.dimensions
    )


@_reads("convolution")
def _convolution(raw: RawInstruction, proto: Any) -> None:
    _window(raw, proto)
    n = proto.convolution_dimension_numbers
    raw.ints["input_dims"] = (
        n.input_batch_dimension,
        n.input_feature_dimension,
        *n.input_spatial_dimensions,
    )
    raw.ints["kernel_dims"] = (
        n.kernel_input_feature_dimension,
        n.kernel_output_feature_dimension,
        *n.kernel_spatial_dimensions,
    )
    raw.ints["output_dims"] = (
        n.output_batch_dimension,
        n.output_feature_dimension,
        *n.output_spatial_dimensions,
    )
    # 0 is what protos written before these fields existed read as.
    raw.ints["feature_group_count"] = (proto.feature_group_count or 1,)
    raw.ints["batch_group_count"] = (proto.batch_group_count or 1,)


@_reads("fft")
def _fft(raw: RawInstruction, proto: Any) -> None:
    raw.words["fft_type"] = _choose(raw, FFT_TYPES, proto.fft_type)
    raw.ints["fft_length"] = tuple(proto.fft_length)


@_reads("reduce-precision")
def _reduce_precision(raw: RawInstruction, proto: Any) -> None:
    raw.ints["exponent_bits"] = (proto.exponent_bits,)
    raw.ints["mantissa_bits"] = (proto.mantissa_bits,)


@_reads("custom-call")
def _custom_call(raw: RawInstruction, proto: Any) -> None:
    raw.words["custom_call_target"] = proto.custom_call_target
    raw.ints["custom_call_has_side_effect"] = (int(proto.custom_call_has_side_effect),)
    raw.opaque = proto.backend_config


@_reads("topk")
def _top_k(raw: RawInstruction, proto: Any) -> None:
    raw.ints["largest"] = (int(proto.largest),)


@_reads("cholesky")
def _cholesky(raw: RawInstruction, proto: Any) -> None:
    raw.ints["lower"] = (int(proto.cholesky_options.lower),)


@_reads("triangular-solve")
def _triangular_solve(raw: RawInstruction, proto: Any) -> None:
    options = proto.triangular_solve_options
    raw.ints["left_side"] = (int(options.left_side),)
    raw.ints["lower"] = (int(options.lower),)
    raw.ints["unit_diagonal"] = (int(options.unit_diagonal),)
    raw.words["transpose_a"] = _choose(raw, TRANSPOSES, options.transpose_a)


@_reads("rng-bit-generator")
def _rng_bit_generator(raw: RawInstruction, proto: Any) -> None:
    raw.words["algorithm"] = _choose(raw, RNG_ALGORITHMS, proto.rng_algorithm)


def _choose(raw: RawInstruction, names: tuple[str, ...], number: int) -> str:
    if not 0 <= number < len(names):
        raise raw.error(f"has an attribute of unknown value {number}")
    return names[number]


def _literal(raw: RawInstruction, proto: Any) -> NDArray[Any]:
    """The value in logical order; protos keep it in the order of the literal's own layout."""
    try:
        shape = _shape(proto.shape)
    except InvalidModuleError as error:
        raise raw.error(f"its value: {error}") from None
    assert isinstance(raw.shape, RawArray)
    if not isinstance(shape, RawArray) or shape.dtype is not raw.shape.dtype:
        raise raw.error(f"its value has shape {shape}")
    count = 1
    for dim in shape.dims:
        assert isinstance(dim, int)
        count *= dim
    stored = b"".join(getattr(proto, f"{shape.dtype}s"))
    values = _decode(raw, shape.dtype, stored, count)
    if values.size != count:
        raise raw.error(f"its value has {values.size} elements, not {count}")
    return to_logical(values, shape)


def _decode(raw: RawInstruction, dtype: DType, stored: bytes, count: int) -> NDArray[Any]:
    if dtype in _VARINTS:
        values = _varints(stored)
        if values is None:
            raise raw.error("its value is cut off or malformed")
        return np.asarray(values.astype(f"u{dtype.itemsize}").view(dtype.numpy))
    if dtype in _PACKED_BY_BITS:
        octets = np.frombuffer(stored, np.uint8)
        if octets.size != count:
            # Two to a byte, the first in the low half.
            octets = np.stack([octets & 15, octets >> 4], axis=-1).reshape(-1)[:count]
        signed = (octets.astype(np.int8) << 4) >> 4 if dtype.is_signed else octets & 15
        return np.asarray(signed, dtype.numpy)
    if len(stored) % dtype.itemsize:
        raise raw.error("its value is cut off")
    if dtype is DType.PRED:
        return np.frombuffer(stored, np.uint8).astype(np.bool_)
    values = np.frombuffer(stored, dtype.numpy.newbyteorder("<"))
    return values.astype(dtype.numpy, copy=False)


def _varints(stored: bytes) -> NDArray[np.uint64] | None:
    """The base-128 numbers of a packed field, None if malformed."""
    octets = np.frombuffer(stored, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if not octets.size:
        return np.zeros(0, np.uint64)
    if not ends.size or ends[-1] != octets.size - 1:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        return None
    values = np.zeros(ends.size, np.uint64)
    for position in range(longest):
        there = lengths > position
        bits = octets[starts[there] + position].astype(np.uint64) & np.uint64(0x7F)
        values[there] |= bits << np.uint64(7 * position)
    return values
