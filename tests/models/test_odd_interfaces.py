"""TensorFlow functions at the edges: tiny, empty, passed on, given twice, under names that trip."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def test_inputs_and_constants_passed_on_and_an_output_twice(compiled, function):
    table = np.arange(6, dtype=np.float32).reshape(2, 3)

    def body(x, n):
        y = x * 2.0
        return {"same": x, "table": table + 0.0, "y": y, "again": y, "number": n}

    model = compiled(function(body, ([None, 3], "float32"), ([], "int64")))
    x = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    result = model(x, np.int64(7))

    np.testing.assert_array_equal(result["same"], x)
    np.testing.assert_array_equal(result["table"], table)
    np.testing.assert_array_equal(result["y"], x * 2)
    np.testing.assert_array_equal(result["again"], x * 2)
    assert result["number"] == 7


def test_unused_inputs_stay_in_the_interface(compiled, function):
    shapes = ([None, 3], "float32"), ([5], "float64"), ([None, 2], "int32")
    model = compiled(function(lambda a, b, c: {"y": -a}, *shapes))
    a = np.ones((2, 3), np.float32)

    assert [len(t.dims) for t in model.inputs] == [2, 1, 2]
    np.testing.assert_array_equal(model(a, np.zeros(5), np.zeros((2, 2), np.int32)), -a)


def test_one_by_one(compiled, function):
    w = np.array([[1.5]], np.float32)
    model = compiled(function(lambda x: {"y": x @ w + 0.25}, ([None, 1], "float32")))

    assert model(np.array([[2.0]], np.float32)) == 3.25


def test_dimensions_of_no_size(compiled, function, tf):
    w = np.zeros((0, 3), np.float32)

    def body(x):
        return {"y": x @ w + 1.0, "sum": tf.reduce_sum(x, 1), "nothing": tf.exp(x)}

    model = compiled(function(body, ([None, 0], "float32")))
    result = model(np.empty((4, 0), np.float32))

    np.testing.assert_array_equal(result["y"], np.ones((4, 3), np.float32))
    np.testing.assert_array_equal(result["sum"], np.zeros(4, np.float32))
    assert result["nothing"].shape == (4, 0)


NAMES = ("with space", "a/b:0", "größe 日本", "int", "class", "batch", 'quo"te', "%s ${x} {{ y }}")


def test_names_of_outputs_reach_the_user(compiled, function):
    model = compiled(
        function(lambda x: {name: x + float(n) for n, name in enumerate(NAMES)}, ([2], "float32"))
    )
    result = model(np.zeros(2, np.float32))

    assert set(result) == set(NAMES)
    for number, name in enumerate(NAMES):
        assert result[name][0] == number
    assert len({t.c_name for t in model.outputs}) == len(NAMES)
