import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfaot.errors import InvalidModuleError
from tfaot.ir.dtypes import DType
from tfaot.ir.literals import format_literal, parse_literal

SHAPES = st.sampled_from([(), (1,), (5,), (2, 3), (0,), (2, 0), (0, 2), (2, 1, 3)])


@given(st.data(), st.sampled_from(list(DType)), SHAPES)
def test_every_bit_pattern_survives(data, dtype, dims):
    count = int(np.prod(dims)) * dtype.itemsize
    raw = data.draw(hnp.arrays(np.uint8, count))
    if dtype is DType.PRED:
        value = (raw & 1).astype(np.bool_).reshape(dims)
    elif dtype.bits == 4:
        value = (raw & 15).astype(np.int8).astype(dtype.numpy).reshape(dims)
    else:
        value = raw.view(dtype.numpy).reshape(dims)
    again = parse_literal(format_literal(value), dtype, dims)
    assert again.dtype == value.dtype
    assert again.shape == value.shape
    assert again.tobytes() == value.tobytes()


def test_special_floats_read_and_print():
    value = parse_literal("{inf, -inf, -0, nan, 0x1.8p3, 1e-45}", DType.F32, (6,))
    assert np.signbit(value[2])
    assert value[4] == 12
    assert value[5] == np.float32(1e-45)
    assert format_literal(value) == "{inf, -inf, -0.0, nan, 12, 1e-45}"


def test_comments_and_nesting_of_xla_are_read():
    text = "{ /*i0=0*/ { 1, 2 }, /*i0=1*/ { 3, 4 } }"
    assert parse_literal(text, DType.S32, (2, 2)).tolist() == [[1, 2], [3, 4]]
    complex_text = "{(0, 0), (1, -2.5)}"
    assert parse_literal(complex_text, DType.C64, (2,)).tolist() == [0, 1 - 2.5j]
    assert parse_literal("true", DType.PRED, ()) == np.True_


def test_narrow_floats_print_few_digits():
    assert format_literal(np.array(0.1, ml_dtypes.bfloat16)) == "0.100097656"
    assert format_literal(np.array(0.1, np.float32)) == "0.1"


@pytest.mark.parametrize(
    ("text", "dtype", "dims", "message"),
    [
        ("{...}", DType.F32, (4,), "proto"),
        ("{1, 2}", DType.F32, (3,), "braces"),
        ("{{1, 2}}", DType.F32, (2,), "braces"),
        ("{1, x}", DType.F32, (2,), "'x'"),
        ("300", DType.U8, (), "out of range"),
        ("-1", DType.U32, (), "out of range"),
        ("8", DType.S4, (), "out of range"),
        ("1.5", DType.S32, (), "'1.5'"),
        ("2", DType.PRED, (), "'2'"),
        ("nan(0x0)", DType.F32, (), "nan"),
    ],
)
def test_bad_literals_are_named(text, dtype, dims, message):
    with pytest.raises(InvalidModuleError, match=message):
        parse_literal(text, dtype, dims)


def test_parts_of_complex_numbers_keep_the_payload_of_a_nan():
    value = np.full(2, 0xFF, np.uint8).repeat(4).view(np.complex64)

    again = parse_literal(format_literal(value), DType.C64, value.shape)

    assert again.tobytes() == value.tobytes()
