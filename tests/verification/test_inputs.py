"""Inputs for verification: seeded, and of values that the model takes."""

import numpy as np
import pytest

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.signature import Signature, TensorSpec
from tfaot.verification.inputs import InputRules, IntegerRange, find_rules, make_inputs

ROWS = (BatchDim(1), 3)


def signature(*dtypes, dims=ROWS):
    return Signature(tuple(TensorSpec(f"x{n}", d, dims) for n, d in enumerate(dtypes)), ())


def within(*limits):
    """A trial that takes integers from low to high for each input."""

    def takes(inputs):
        return all(
            low <= int(x.min()) and int(x.max()) <= high
            for x, (low, high) in zip(inputs, limits, strict=True)
        )

    return takes


def test_each_table_has_its_own_range():
    rules = find_rules(signature(DType.S32, DType.S64), within((0, 4999), (0, 2)))
    assert rules.integers == {"x0": IntegerRange(0, 4999), "x1": IntegerRange(0, 2)}


def test_indices_that_begin_at_one_or_below_zero():
    rules = find_rules(signature(DType.S32), within((1, 6)))
    assert (rules.base, rules.integers["x0"]) == (1, IntegerRange(1, 6))
    assert find_rules(signature(DType.S32), within((-6, 5))).integers["x0"] == IntegerRange(-6, 5)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(DType.S32, -100, 255), (DType.S8, -100, 127), (DType.U8, 0, 255), (DType.U64, 0, 255)],
    ids=str,
)
def test_plain_numbers_have_both_signs(dtype, low, high):
    rules = find_rules(signature(dtype), lambda inputs: True)
    assert rules.integers["x0"] == IntegerRange(low, high, plain=True)


def test_a_table_is_read_at_both_ends():
    rules = InputRules(integers={"x0": IntegerRange(0, 4999)})
    (values,) = make_inputs(signature(DType.S32), 1, rules=rules)
    assert values.min() == 0
    assert values.max() == 4999


def test_floats_that_index_a_table_become_small():
    def takes(inputs):
        return bool(np.all((inputs[0] >= 0) & (inputs[0] < 1)))

    assert find_rules(signature(DType.F32), takes).floats == "unit"
    assert find_rules(signature(DType.F32), lambda inputs: False) is None


def test_stricter_rules_end_at_the_base():
    rules = InputRules(base=1, integers={"x0": IntegerRange(-8, 9), "x1": IntegerRange(1, 4)})
    last = [r for r in rules.narrower() if r.floats == "normal"][-1]
    assert set(last.integers.values()) == {IntegerRange(1, 1)}
    assert rules.narrower()[0] is rules


def test_the_same_call_gives_the_same_arrays():
    both = signature(DType.F32, DType.S32), 33
    rules = InputRules(integers={"x1": IntegerRange(0, 9)})
    for one, two in zip(*(make_inputs(*both, rules=rules) for _ in range(2)), strict=True):
        assert one.tobytes() == two.tobytes()


def test_an_input_more_changes_no_other():
    one = make_inputs(signature(DType.F32), 5)[0]
    assert make_inputs(signature(DType.F32, DType.PRED), 5)[0].tobytes() == one.tobytes()


@pytest.mark.parametrize("dtype", [d for d in DType if d.bits > 4 and "8" not in d.value[1:2]])
def test_every_type_has_values(dtype):
    for batch in (0, 1, 33):
        (array,) = make_inputs(signature(dtype), batch)
        assert array.dtype == dtype.numpy
        assert array.shape == (batch, 3)
    (scalar,) = make_inputs(signature(dtype, dims=()), 1)
    assert scalar.shape == ()


def test_padding_is_no_negative_zero():
    (rows,) = make_inputs(signature(DType.F32), 33)
    padding = rows[rows == 0]
    assert 20 < padding.size < 80
    assert not np.signbit(padding).any()
