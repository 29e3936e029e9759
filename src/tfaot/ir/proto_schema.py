"""A minimal schema of serialized HLO, enough to read modules without TensorFlow or XLA.

Only the fields that are used are declared (protobuf skips the others); numbers are those of XLA's
`hlo.proto` and `xla_data.proto`. Packed repeated numbers of literals are declared as `bytes`: both
have the same wire type, and NumPy then reads them without a Python list.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Per message: `number type name`, the type starred where the field is repeated.
_MESSAGES: dict[str, str] = {
    "HloProto": "1 HloModuleProto hlo_module",
    "HloModuleProto": """
        1 string name; 2 string entry_computation_name; 6 int64 entry_computation_id
        3 HloComputationProto* computations; 4 ProgramShapeProto host_program_shape""",
    "HloComputationProto": """
        1 string name; 2 HloInstructionProto* instructions; 5 int64 id; 6 int64 root_id""",
    "HloInstructionProto": """
        1 string name; 2 string opcode; 3 ShapeProto shape; 7 OpMetadata metadata
        8 LiteralProto literal; 9 int64 parameter_number; 13 int64 tuple_index
        14 int64* dimensions; 15 Window window
        16 ConvolutionDimensionNumbers convolution_dimension_numbers
        50 int64 feature_group_count; 58 int64 batch_group_count
        17 SliceDimensions* slice_dimensions; 18 int32 exponent_bits; 19 int32 mantissa_bits
        20 int64* dynamic_slice_sizes; 21 PaddingConfig padding_config
        28 string custom_call_target; 30 DotDimensionNumbers dot_dimension_numbers
        31 int32 fft_type; 32 int64* fft_length; 63 string comparison_direction
        33 GatherDimensionNumbers gather_dimension_numbers; 34 int64* gather_slice_sizes
        35 int64 id; 36 int64* operand_ids; 38 int64* called_computation_ids
        43 bytes backend_config; 60 bool is_stable
        48 ScatterDimensionNumbers scatter_dimension_numbers
        59 TriangularSolveOptions triangular_solve_options; 62 CholeskyOptions cholesky_options
        65 bool custom_call_has_side_effect; 67 bool indices_are_sorted; 69 bool unique_indices
        70 int32 rng_algorithm; 72 string comparison_type; 85 bool largest""",
    "SliceDimensions": "1 int64 start; 2 int64 limit; 3 int64 stride",
    "OpMetadata": "1 string op_type; 2 string op_name",
    "LayoutProto": "1 int64* minor_to_major",
    "ShapeProto": """
        2 int32 element_type; 3 int64* dimensions; 6 bool* is_dynamic_dimension
        4 ShapeProto* tuple_shapes; 5 LayoutProto layout""",
    "ProgramShapeProto": "1 ShapeProto* parameters; 2 ShapeProto result",
    "LiteralProto": """
        1 ShapeProto shape; 2 bytes* preds; 21 bytes* s4s; 15 bytes* s8s; 22 bytes* u4s
        3 bytes* u8s; 4 bytes* s32s; 5 bytes* s64s; 6 bytes* u32s; 7 bytes* u64s
        8 bytes* f32s; 9 bytes* f64s; 12 bytes* c64s; 18 bytes* c128s; 11 bytes* f16s
        13 bytes* bf16s; 16 bytes* u16s; 17 bytes* s16s; 20 bytes* f8e4m3fns
        19 bytes* f8e5m2s; 10 LiteralProto* tuple_literals""",
    "WindowDimension": """
        1 int64 size; 2 int64 stride; 3 int64 padding_low; 4 int64 padding_high
        5 int64 window_dilation; 6 int64 base_dilation; 7 bool window_reversal""",
    "Window": "1 WindowDimension* dimensions",
    "PaddingConfig": "1 PaddingConfigDimension* dimensions",
    "PaddingConfigDimension": """
        1 int64 edge_padding_low; 2 int64 edge_padding_high; 3 int64 interior_padding""",
    "GatherDimensionNumbers": """
        1 int64* offset_dims; 2 int64* collapsed_slice_dims; 3 int64* start_index_map
        4 int64 index_vector_dim; 5 int64* operand_batching_dims
        6 int64* start_indices_batching_dims""",
    "ScatterDimensionNumbers": """
        1 int64* update_window_dims; 2 int64* inserted_window_dims
        3 int64* scatter_dims_to_operand_dims; 4 int64 index_vector_dim
        5 int64* input_batching_dims; 6 int64* scatter_indices_batching_dims""",
    "ConvolutionDimensionNumbers": """
        7 int64 input_batch_dimension; 8 int64 input_feature_dimension
        11 int64* input_spatial_dimensions; 3 int64 kernel_input_feature_dimension
        4 int64 kernel_output_feature_dimension; 6 int64* kernel_spatial_dimensions
        9 int64 output_batch_dimension; 10 int64 output_feature_dimension
        12 int64* output_spatial_dimensions""",
    "DotDimensionNumbers": """
        1 int64* lhs_contracting_dimensions; 2 int64* rhs_contracting_dimensions
        3 int64* lhs_batch_dimensions; 4 int64* rhs_batch_dimensions""",
    "TriangularSolveOptions": """
        1 bool left_side; 2 bool lower; 3 bool unit_diagonal; 4 int32 transpose_a""",
    "CholeskyOptions": "1 bool lower",
}

# XLA's PrimitiveType numbers and the names that HLO text gives them.
PRIMITIVE_TYPES: dict[int, str] = {
    1: "pred",
    21: "s4",
    2: "s8",
    3: "s16",
    4: "s32",
    5: "s64",
    22: "u4",
    6: "u8",
    7: "u16",
    8: "u32",
    9: "u64",
    10: "f16",
    11: "f32",
    16: "bf16",
    12: "f64",
    19: "f8e5m2",
    20: "f8e4m3fn",
    15: "c64",
    18: "c128",
    13: "tuple",
    17: "token",
    14: "opaque",
    23: "f8e4m3b11fnuz",
    24: "f8e5m2fnuz",
    25: "f8e4m3fnuz",
    26: "s2",
    27: "u2",
    28: "f8e4m3",
    29: "f8e3m4",
    30: "s1",
    31: "u1",
    32: "f4e2m1fn",
    33: "f8e8m0fnu",
}
FFT_TYPES = ("FFT", "IFFT", "RFFT", "IRFFT")
RNG_ALGORITHMS = ("RNG_DEFAULT", "RNG_THREE_FRY", "RNG_PHILOX")
TRANSPOSES = ("", "NO_TRANSPOSE", "TRANSPOSE", "ADJOINT")

_PACKAGE = "tfaot.hlo"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int64": _Field.TYPE_INT64,
    "int32": _Field.TYPE_INT32,
    "bool": _Field.TYPE_BOOL,
}


def _build() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="tfaot/hlo.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, text in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for declaration in text.replace("\n", ";").split(";"):
            if not declaration.strip():
                continue
            number, kind, field_name = declaration.split()
            field = message.field.add(name=field_name, number=int(number))
            repeated = kind.endswith("*")
            field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            kind = kind.rstrip("*")
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type = _Field.TYPE_MESSAGE
                field.type_name = f".{_PACKAGE}.{kind}"
    # A pool of its own: TensorFlow, where it is loaded, registers the full schema in the default.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _build()


def message_class(name: str) -> Any:
    """The generated class of message `name` of the schema."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
