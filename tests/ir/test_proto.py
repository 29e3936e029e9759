import contextlib

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfaot.errors import InvalidModuleError, TfaotError, UnsupportedError
from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Conditional, Constant, While
from tfaot.ir.dtypes import DType
from tfaot.ir.proto import read_module
from tfaot.ir.proto_schema import _MESSAGES, PRIMITIVE_TYPES, message_class
from tfaot.ir.verifier import verify

NUMBERS = {name: number for number, name in PRIMITIVE_TYPES.items()}
RNG = np.random.default_rng(5)


def fill_shape(proto, dtype, dims, layout=None):
    proto.element_type = NUMBERS[dtype]
    proto.dimensions.extend(dims)
    proto.layout.minor_to_major.extend(layout or reversed(range(len(dims))))


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


class Builder:
    """Writes an HloModuleProto instruction by instruction; the last one is the root."""

    def __init__(self):
        self.module = message_class("HloModuleProto")(name="built")
        self.computation = None
        self.count = 0

    def start(self, number, name="c"):
        self.computation = self.module.computations.add(id=number, name=f"{name}{number}")
        self.module.entry_computation_id = number
        return self

    def add(self, opcode, dtype, dims, *operands, layout=None, called=(), **fields):
        self.count += 1
        proto = self.computation.instructions.add(
            id=self.count, name=f"{opcode}.{self.count}", opcode=opcode, **fields
        )
        fill_shape(proto.shape, dtype, dims, layout)
        proto.operand_ids.extend(operands)
        proto.called_computation_ids.extend(called)
        proto.metadata.op_name = f"layer/{opcode}"
        self.computation.root_id = self.count
        self.last = proto
        return self.count

    def constant(self, value, layout=None):
        """A constant whose literal lies in the order of `layout`."""
        dtype = DType.from_numpy(value.dtype)
        number = self.add("constant", dtype.value, value.shape, layout=layout)
        literal = self.last.literal
        fill_shape(literal.shape, dtype.value, value.shape, layout)
        order = (layout or tuple(reversed(range(value.ndim))))[::-1]
        flat = value.transpose(order).reshape(-1)
        if dtype.value in ("s32", "s64", "u32", "u64"):
            stored = b"".join(varint(int(v)) for v in flat)
        elif dtype.bits == 4:
            nibbles = [int(v) & 15 for v in flat] + [0] * (flat.size % 2)
            stored = bytes(a | b << 4 for a, b in zip(nibbles[::2], nibbles[1::2], strict=True))
        else:
            stored = flat.tobytes()
        getattr(literal, f"{dtype.value}s").append(stored)
        return number

    @property
    def data(self):
        return self.module.SerializeToString()


def values_of(dtype):
    if dtype.is_float or dtype.is_complex:
        return RNG.normal(size=(2, 3, 4)).astype(dtype.numpy)
    wide = RNG.integers(-(1 << 40), 1 << 40, size=(2, 3, 4))
    if dtype.bits == 4:
        wide = wide % 8
    return (wide % 2 == 0) if dtype is DType.PRED else wide.astype(dtype.numpy)


@pytest.mark.parametrize("layout", [None, (0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("dtype", list(DType))
def test_literals_of_all_types_and_layouts(dtype, layout):
    value = values_of(dtype)
    builder = Builder().start(1)
    stored = builder.constant(value, layout)
    builder.add("copy", dtype.value, value.shape, stored)
    module = read_module(builder.data)
    verify(module)
    read = module.entry.root.attr(Constant).value
    assert read.dtype == value.dtype
    assert read.flags.c_contiguous
    assert read.tobytes() == value.tobytes()


def test_both_proto_kinds_are_read():
    builder = Builder().start(1)
    builder.add("parameter", "f32", (3,), parameter_number=0)
    wrapped = message_class("HloProto")(hlo_module=builder.module).SerializeToString()
    for data in (builder.data, wrapped):
        assert [str(p.shape) for p in read_module(data).entry.parameters] == ["f32[3]"]


def test_roles_of_called_computations():
    builder = Builder().start(1)
    builder.add("parameter", "s32", (), parameter_number=0)
    builder.start(2)
    p = builder.add("parameter", "s32", (), parameter_number=0)
    limit = builder.constant(np.array(5, np.int32))
    builder.add("compare", "pred", (), p, limit, comparison_direction="LT")
    builder.start(3)
    p = builder.add("parameter", "s32", (), parameter_number=0)
    one = builder.constant(np.array(1, np.int32))
    builder.add("add", "s32", (), p, one)
    builder.start(4)
    p = builder.add("parameter", "s32", (), parameter_number=0)
    loop = builder.add("while", "s32", (), p, called=(3, 2))
    builder.add("conditional", "s32", (), loop, loop, loop, called=(1, 3))
    module = read_module(builder.data)
    verify(module)
    root = module.entry.root
    assert [c.name for c in root.attr(Conditional).branches] == ["c1", "c3"]
    assert root.operands[0].attr(While).body.name == "c3"
    # The loop leaves 5, which is no branch: the last one adds 1.
    assert evaluate(module, [np.array(2, np.int32)])[0] == 6


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff" * 20, b"HloModule m", b"\x0a\x03abc"])
def test_what_is_no_proto_is_refused(data):
    with pytest.raises(InvalidModuleError, match=r"^model.pb: not a serialized HLO module"):
        read_module(data, "model.pb")


def test_broken_modules_are_named():
    def fails(change, message, kind=InvalidModuleError):
        builder = Builder().start(1)
        p = builder.add("parameter", "f32", (2,), parameter_number=0)
        builder.constant(np.ones((2, 2), np.float32))
        builder.add("negate", "f32", (2,), p)
        change(builder)
        with pytest.raises(kind, match=message) as caught:
            verify(read_module(builder.data))
        assert "\n" not in str(caught.value)

    def of(builder, position):
        return builder.computation.instructions[position]

    fails(lambda b: of(b, 2).operand_ids.append(77), "negate.*'77' is not defined before")
    fails(lambda b: of(b, 2).operand_ids.append(1), "negate.*takes 1 operands, not 2.*layer/negate")
    fails(lambda b: of(b, 0).shape.dimensions.append(3), "parameter|negate")
    fails(lambda b: of(b, 1).literal.shape.dimensions.append(3), "constant.*layout|elements")
    fails(lambda b: of(b, 1).literal.ClearField("f32s"), "has 0 elements, not 4")
    fails(lambda b: of(b, 1).ClearField("literal"), "has no value")
    fails(lambda b: setattr(b.computation, "root_id", 99), "no root")
    fails(lambda b: setattr(b.module, "entry_computation_id", 9), "no entry computation")
    fails(lambda b: setattr(of(b, 0), "parameter_number", 1), "numbered")
    fails(lambda b: setattr(of(b, 2).shape, "element_type", 99), "number 99 is unknown")
    fails(lambda b: setattr(of(b, 2).shape, "element_type", 28), "f8e4m3", UnsupportedError)
    fails(lambda b: of(b, 2).shape.is_dynamic_dimension.append(True), "data", UnsupportedError)
    fails(lambda b: setattr(of(b, 2), "opcode", "outfeed"), "outfeed.*host", UnsupportedError)
    fails(lambda b: setattr(of(b, 2), "opcode", "frobnicate"), "frobnicate", UnsupportedError)
    fails(lambda b: setattr(of(b, 2), "opcode", "while"), "calls no computation")


def _sample():
    builder = Builder().start(1)
    builder.add("parameter", "f32", (4,), parameter_number=0)
    builder.start(2)
    p = builder.add("parameter", "f32", (2, 4), parameter_number=0)
    w = builder.constant(np.ones((4, 4), np.float32))
    i = builder.constant(np.arange(300, dtype=np.int32))
    builder.add("slice", "s32", (4,), i)
    d = builder.add("dot", "f32", (2, 4), p, w)
    builder.last.dot_dimension_numbers.lhs_contracting_dimensions.append(1)
    builder.last.dot_dimension_numbers.rhs_contracting_dimensions.append(0)
    builder.add("transpose", "f32", (4, 2), d)
    builder.last.dimensions.extend((1, 0))
    return builder.data


SAMPLE = _sample()


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), max_size=6))
def test_damaged_bytes_never_crash(changes):
    data = bytearray(SAMPLE)
    for position, value in changes:
        data[position] = value
    with contextlib.suppress(TfaotError):
        verify(read_module(bytes(data)))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1))
def test_truncated_bytes_never_crash(length):
    with contextlib.suppress(TfaotError):
        verify(read_module(SAMPLE[:length]))


@pytest.mark.tensorflow
def test_field_numbers_are_those_of_xla():
    hlo_pb2 = pytest.importorskip("tensorflow.compiler.xla.service.hlo_pb2")
    files = (hlo_pb2.DESCRIPTOR, *hlo_pb2.DESCRIPTOR.dependencies)
    theirs = {name: d for file in files for name, d in file.message_types_by_name.items()}
    theirs |= {
        name: d for top in list(theirs.values()) for name, d in top.nested_types_by_name.items()
    }
    for name in _MESSAGES:
        for field in message_class(name).DESCRIPTOR.fields:
            other = theirs[name].fields_by_name[field.name]
            assert other.number == field.number, (name, field.name)
            packed = other.is_repeated and field.type == field.TYPE_BYTES
            assert (
                other.is_repeated == field.is_repeated or packed or field.type == field.TYPE_BYTES
            )
    enums = {name: e for file in files for name, e in file.enum_types_by_name.items()}
    numbers = {v.name.lower(): v.number for v in enums["PrimitiveType"].values}
    assert all(
        numbers.get(name, numbers.get(f"{name}_type")) == n
        for name, n in NUMBERS.items()
        if name != "opaque"
    )


def test_bfloat16_is_not_widened():
    builder = Builder().start(1)
    builder.constant(np.array([1.5, -2], ml_dtypes.bfloat16))
    assert str(read_module(builder.data).entry.root.shape) == "bf16[2]"
