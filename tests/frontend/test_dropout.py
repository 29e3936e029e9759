"""Dropout and other parts of training in TensorFlow 1 graphs: off, and gone."""

import numpy as np
import pytest

from tfaot.errors import UnsupportedError
from tfaot.frontend.session import ModelSource

pytestmark = pytest.mark.tensorflow

WEIGHTS = np.arange(8, dtype=np.float32).reshape(4, 2) / 10
X = np.float32([[0, 1, 2, 3], [1, 0, -1, 2]])


def dense(tf1, x):
    return tf1.matmul(x, tf1.get_variable("w", initializer=WEIGHTS))


def old_mask(tf1, x, keep):
    """Dropout as releases up to 1.12 wrote it."""
    noise = tf1.random_uniform(tf1.shape(x), dtype=x.dtype)
    return tf1.div(x, keep) * tf1.floor(keep + noise)


def kept(tf1):
    x = tf1.placeholder(tf1.float32, [None, 4], "x")
    keep = tf1.placeholder(tf1.float32, name="keep_prob")
    tf1.identity(tf1.nn.dropout(dense(tf1, old_mask(tf1, x, keep)), keep_prob=keep), name="y")


def dropped(tf1):
    x = tf1.placeholder(tf1.float32, [None, 4], "x")
    rate = tf1.placeholder(tf1.float32, [], "hidden/rate")
    tf1.identity(dense(tf1, tf1.nn.dropout(x, rate=rate)), name="y")


def with_default(tf1):
    x = tf1.placeholder(tf1.float32, [None, 4], "x")
    keep = tf1.placeholder_with_default(1.0, [], "keep")
    training = tf1.placeholder_with_default(False, [], "training")
    h = tf1.cond(training, lambda: tf1.nn.dropout(x, rate=0.5), lambda: x)
    tf1.identity(dense(tf1, old_mask(tf1, h, keep)), name="y")


def halves(tf1):
    x = tf1.placeholder(tf1.float16, [None, 4], "x")
    keep = tf1.placeholder(tf1.float16, [], "keep")
    h = tf1.cast(old_mask(tf1, x, keep), tf1.float32)
    tf1.identity(dense(tf1, h), name="y")


@pytest.mark.parametrize(
    ("build", "note"),
    [
        (kept, "'keep_prob' is set to 1 for inference (dropout is off); --set keep_prob=VALUE"),
        (dropped, "'hidden/rate' is set to 0"),
        (with_default, None),
        (halves, "'keep' is set to 1"),
    ],
)
def test_dropout_is_off(session, write_graph, tmp_path, interface, build, note):
    model = session.load(ModelSource(write_graph(tmp_path / "m.pb", build, ["y"])))
    assert [name for name, _ in interface(model)[0]] == ["x"]
    assert [n.startswith(str(note)) for n in model.notes] == ([True] if note else [])
    x = X.astype(model.signature.inputs[0].dtype.numpy)
    np.testing.assert_allclose(model.evaluate([x])[0], X @ WEIGHTS, rtol=1e-6, atol=1e-6)
    assert model.lower(31)


def test_a_probability_that_was_set_is_kept(session, write_graph, tmp_path):
    path = write_graph(tmp_path / "m.pb", kept, ["y"])
    assert session.load(ModelSource(path, set_values={"keep_prob": 1})).lower(31)
    with pytest.raises(UnsupportedError, match=r"RandomUniform \(random_uniform/RandomUniform\)"):
        session.load(ModelSource(path, set_values={"keep_prob": 0.5}))


def test_dropout_in_a_recurrent_loop(session, write_graph, tmp_path):
    def build(tf1):
        x = tf1.placeholder(tf1.float32, [None, 4], "x")
        keep = tf1.placeholder(tf1.float32, [], "keep")
        _, y = tf1.while_loop(
            lambda i, _: i < 3, lambda i, h: (i + 1, old_mask(tf1, h + x, keep)), [0, x]
        )
        tf1.identity(y, name="y")

    model = session.load(ModelSource(write_graph(tmp_path / "m.pb", build, ["y"])))
    np.testing.assert_array_equal(model.evaluate([X])[0], 4 * X)
    assert model.lower(31)


def test_other_random_numbers_name_the_scalar_inputs(session, write_graph, tmp_path):
    def build(tf1):
        x = tf1.placeholder(tf1.float32, [None, 4], "x")
        width = tf1.placeholder(tf1.float32, [], "width")
        tf1.identity(x + width * tf1.random_normal(tf1.shape(x)), name="y")

    with pytest.raises(UnsupportedError, match=r"RandomStandardNormal.*--set width=VALUE"):
        session.load(ModelSource(write_graph(tmp_path / "m.pb", build, ["y"])))


def test_a_condition_of_tensorflow_2_that_is_off(session, tf, tmp_path, interface):
    graph = tf.Graph()
    with graph.as_default():
        tf1 = tf.compat.v1
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        training = tf1.placeholder(tf.bool, [], "is_training")
        y = tf1.cond(training, lambda: tf1.nn.dropout(x, rate=0.5), lambda: x * 2.0)
        tf.identity(y, name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "m.pb", as_text=False)
    model = session.load(ModelSource(tmp_path / "m.pb"))
    assert interface(model)[0] == [("x", "f32[B,4]")]
    np.testing.assert_array_equal(model.evaluate([X])[0], 2 * X)
    assert model.lower(31)


def test_dropout_in_the_body_of_a_functional_loop(session, tf, tmp_path, interface):
    graph = tf.Graph()
    with graph.as_default():
        tf1 = tf.compat.v1
        x = tf1.placeholder(tf.float32, [None, 4], "x")
        keep = tf1.placeholder(tf.float32, name="keep")
        _, y = tf.while_loop(
            lambda i, _: i < 3,
            lambda i, h: (i + 1, tf1.nn.dropout(h + x, keep_prob=keep)),
            [0, x],
        )
        tf.identity(y, name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "m.pb", as_text=False)
    model = session.load(ModelSource(tmp_path / "m.pb"))
    assert interface(model)[0] == [("x", "f32[B,4]")]
    np.testing.assert_array_equal(model.evaluate([X])[0], 4 * X)
    assert model.lower(31)
