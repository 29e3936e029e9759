"""Loops and conditions of TensorFlow 1: rewritten for XLA, compared with the original graph."""

import numpy as np
import pytest

from tfaot.errors import UnsupportedError
from tfaot.frontend.session import ModelSource
from tfaot.interpreter import evaluate
from tfaot.ir.proto import read_module
from tfaot.symbolic import merge, specialise

pytestmark = pytest.mark.tensorflow

PROBES = (31, 37, 41)


def loop_state(tf1):
    x = tf1.placeholder(tf1.float32, [None, 4], "x")
    scale = tf1.get_variable("scale", initializer=np.float32([2, 3, 4, 5]))
    _, total = tf1.while_loop(
        lambda i, _: i < 3, lambda i, a: (i + 1, a * scale + x), [0, x], name="w"
    )
    tf1.identity(total, name="out")


def recurrent(tf1):
    """A recurrent layer over time steps up to each row's length, as `dynamic_rnn` writes it."""
    x = tf1.placeholder(tf1.float32, [None, 6, 3], "x")
    length = tf1.placeholder(tf1.int32, [None], "length")
    w = tf1.get_variable("w", initializer=np.linspace(-1, 1, 28, dtype=np.float32).reshape(7, 4))
    steps = tf1.TensorArray(tf1.float32, 6).unstack(tf1.transpose(x, [1, 0, 2]))
    states = tf1.TensorArray(tf1.float32, 6)

    def step(time, state, states):
        new = tf1.tanh(tf1.matmul(tf1.concat([steps.read(time), state], 1), w))
        alive = tf1.expand_dims(time < length, 1)
        # The first half of the steps is doubled: a condition inside a loop.
        new = tf1.cond(time < 3, lambda: new * 2.0, lambda: tf1.cond(time < 5, *sides(new)))
        state = tf1.where_v2(alive, new, state)
        return time + 1, state, states.write(time, state)

    def sides(value):
        return (lambda: -value), (lambda: tf1.zeros_like(value) + 0.25)

    start = (0, tf1.zeros([tf1.shape(x)[0], 4]), states)
    _, last, states = tf1.while_loop(lambda t, *_: t < 6, step, start)
    tf1.transpose(states.stack(), [1, 0, 2], name="sequence")
    tf1.identity(last, name="last")


def nested(tf1):
    x = tf1.placeholder(tf1.float32, [None, 4], "x")
    n = tf1.placeholder(tf1.int32, [], "n")

    def outer(i, a):
        _, a = tf1.while_loop(
            lambda j, _: j < i,
            lambda j, b: (j + 1, b + x * tf1.cast(j + n, tf1.float32)),
            [0, a],
        )
        return i + 1, tf1.cond(tf1.equal(i % 2, 0), lambda: a + 1.0, lambda: a / 2.0)

    _, looped = tf1.while_loop(lambda i, _: i < n, outer, [0, x])
    result, count = tf1.cond(
        n > 3,
        lambda: (looped, n),
        lambda: tf1.while_loop(lambda _, i: i < 2, lambda b, i: (b * 3.0, i + 1), [-looped, 0]),
    )
    tf1.identity(result, name="result")
    tf1.identity(count, name="count")


def lower(model):
    """The model's HLO for every batch size."""
    if not model.signature.has_batch:
        return read_module(model.lower(None))
    return merge([read_module(model.lower(batch)) for batch in PROBES], PROBES)


def check(model, arrays, batch):
    """HLO, interpreted, against TensorFlow's evaluation of the graph as it was."""
    module = specialise(lower(model), batch)
    found = evaluate(module, arrays)
    for value, wanted in zip(found, model.evaluate(arrays), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=2e-6, atol=2e-6)


def test_a_loop_with_state(session, write_graph, tmp_path, sample):
    model = session.load(ModelSource(write_graph(tmp_path / "m.pb", loop_state, ["out"])))
    x = np.float32([[1, 2, 3, 4]])
    scale = np.float32([2, 3, 4, 5])
    np.testing.assert_allclose(model.evaluate([x])[0], x * (scale**3 + scale**2 + scale + 1))
    check(model, sample(model, 3), 3)


def test_tensor_arrays_and_conditions_in_a_loop(session, write_graph, tmp_path, interface):
    path = write_graph(tmp_path / "rnn.pb", recurrent, ["sequence", "last"])
    model = session.load(ModelSource(path))
    assert interface(model) == (
        [("x", "f32[B,6,3]"), ("length", "s32[B]")],
        [("sequence", "f32[B,6,4]"), ("last", "f32[B,4]")],
    )
    x = np.random.default_rng(3).normal(size=(5, 6, 3)).astype(np.float32)
    check(model, [x, np.int32([0, 6, 1, 4, 9])], 5)


@pytest.mark.parametrize("n", [0, 3, 5])
def test_loops_in_loops_and_in_conditions(session, write_graph, tmp_path, sample, n):
    path = write_graph(tmp_path / "nested.pb", nested, ["result", "count"])
    model = session.load(ModelSource(path, outputs=("result", "count")))
    check(model, [sample(model, 2)[0], np.int32(n)], 2)


def test_loops_frozen_by_tensorflow_2(session, tf, keras, tmp_path, interface, sample):
    convert = pytest.importorskip("tensorflow.python.framework.convert_to_constants")
    inputs = keras.Input((5, 3))
    hidden = keras.layers.Masking()(inputs)
    hidden = keras.layers.LSTM(4, return_sequences=True)(hidden)
    hidden = keras.layers.Bidirectional(keras.layers.GRU(3))(hidden)
    layers = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    function = tf.function(lambda x: layers(x, training=False)).get_concrete_function(
        tf.TensorSpec((None, 5, 3), tf.float32)
    )
    frozen = convert.convert_variables_to_constants_v2(function)
    assert any(n.op == "Enter" for n in frozen.graph.as_graph_def().node)
    tf.io.write_graph(frozen.graph.as_graph_def(), str(tmp_path), "m.pb", as_text=False)
    model = session.load(ModelSource(tmp_path / "m.pb"))
    # Loops leave counters and lists behind, which are no outputs.
    assert [shape for _, shape in interface(model)[1]] == ["f32[B,2]"]
    (x,) = sample(model, 4)
    x[1, 2:] = 0
    np.testing.assert_allclose(model.evaluate([x])[0], layers(x), rtol=1e-5, atol=1e-6)
    check(model, [x], 4)


def test_a_condition_on_an_input_stays_a_condition(session, write_graph, tmp_path, interface):
    def build(tf1):
        x = tf1.placeholder(tf1.float32, [None, 2], "x")
        flip = tf1.placeholder(tf1.bool, [], "flip")
        tf1.identity(tf1.cond(flip, lambda: -x, lambda: x), name="y")

    model = session.load(ModelSource(write_graph(tmp_path / "flip.pb", build, ["y"])))
    assert interface(model)[0] == [("x", "f32[B,2]"), ("flip", "pred[]")]
    for flip in (True, False):
        check(model, [np.float32([[1, -2]]), np.bool_(flip)], 1)


def test_a_condition_of_other_making_is_refused(session, tf, tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
        first = tf.raw_ops.Switch(data=x, pred=tf.reduce_all(x > 0))
        second = tf.raw_ops.Switch(data=x, pred=tf.reduce_all(x > 1))
        merged = tf.raw_ops.Merge(inputs=[first[0], second[1]], name="odd")
        tf.identity(merged[0], name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "odd.pb", as_text=False)
    with pytest.raises(UnsupportedError, match="form that is not recognised: Merge 'odd'"):
        session.load(ModelSource(tmp_path / "odd.pb"))
