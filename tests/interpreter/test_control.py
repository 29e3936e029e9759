"""Loops, branches, tuples and the errors of the interpreter."""

import numpy as np
import pytest

from tfaot.errors import InputError, UnsupportedError
from tfaot.interpreter import evaluate, evaluate_computation, fold
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.ir.shapes import BatchDim
from tfaot.testing.build import ModuleBuilder, binary_computation
from tfaot.testing.cases import op_cases

B = BatchDim(1)


def case(name):
    return next(c for c in op_cases(["control"]) if c.name == f"control/{name}")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_while_runs_as_often_as_its_condition_holds(count):
    x = np.ones((2, 7), np.float32)
    value = evaluate(case("while/f32/counted").module(), [np.int32(count), x])[0]
    np.testing.assert_array_equal(value, x * 0.5**count)


@pytest.mark.parametrize(("index", "expected"), [(0, 1.5), (1, 1.5), (2, -2), (3, -2), (-1, -2)])
def test_conditional_out_of_range_takes_the_last_branch(index, expected):
    x = np.full((1, 3), -1.5, np.float32)
    value = evaluate(case("conditional/f32/index").module(), [np.int32(index), x])[0]
    assert value.ravel().tolist() == [expected] * 3


def test_predicate_true_takes_the_first_branch():
    x = np.full((1, 3), 1.5, np.float32)
    module = case("conditional/f32/predicate").module()
    assert evaluate(module, [np.array(True), x])[0][0, 0] == -1.5
    assert evaluate(module, [np.array(False), x])[0][0, 0] == 1.5


def dense_module() -> Module:
    b = ModuleBuilder("dense")
    x = b.parameter(DType.F32, (B, 4))
    w = b.constant(np.arange(8, dtype=np.float32).reshape(4, 2))
    return b.module(b.unary("tanh", b.matmul(x, w)))


def test_batch_is_inferred():
    for n in (0, 1, 5):
        assert evaluate(dense_module(), [np.zeros((n, 4), np.float32)])[0].shape == (n, 2)


def test_outputs_do_not_alias_inputs():
    b = ModuleBuilder("identity")
    x = b.parameter(DType.F32, (3,))
    values = np.zeros(3, np.float32)
    output = evaluate(b.module(x), [values])[0]
    output[:] = 1
    assert not values.any()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "takes 1 inputs, 0 were given"),
        ([np.zeros((3, 5), np.float32)], "shape"),
        ([np.zeros((3, 4), np.float64)], "type float64"),
        ([np.zeros(4, np.float32)], "batch size"),
    ],
)
def test_wrong_inputs_are_named(inputs, message):
    with pytest.raises(InputError, match=message):
        evaluate(dense_module(), inputs)


def test_inputs_that_disagree_on_the_batch():
    b = ModuleBuilder("two")
    x, y = b.parameter(DType.F32, (B,)), b.parameter(DType.F32, (B * 2 + 1,))
    module = b.module(x, y)
    with pytest.raises(InputError, match="batch size 3"):
        evaluate(module, [np.zeros(2, np.float32), np.zeros(7, np.float32)])
    with pytest.raises(InputError, match="not 2B"):
        evaluate(module, [np.zeros(2, np.float32), np.zeros(6, np.float32)])


def test_unsupported_ops_name_op_shape_and_layer():
    module = case("rng/f32/refused").module()
    with pytest.raises(UnsupportedError, match=r"'rng'.*f32\[4\].*model/noise/random_uniform"):
        evaluate(module, [np.float32(0), np.float32(1)])


def test_evaluate_computation_and_fold():
    add = binary_computation("add", DType.S32)
    assert evaluate_computation(add, [np.int32(2), np.int32(3)]) == 5
    b = ModuleBuilder("fold")
    root = b.binary("multiply", b.constant(np.float32(3)), b.constant(np.float32(0.5)))
    value = fold(root, [np.float32(3), np.float32(0.5)])
    assert (value, value.dtype) == (1.5, np.float32)
