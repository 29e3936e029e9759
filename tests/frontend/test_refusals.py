"""What XLA refuses: op, node, types and shapes, and what to do, in one line."""

import pytest

from tfaot.errors import UnsupportedError
from tfaot.frontend.session import ModelSource, open_model

pytestmark = pytest.mark.tensorflow


def refusal(session, model):
    with pytest.raises(UnsupportedError) as caught, open_model(model, session=session) as loaded:
        loaded.lower(31)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_ops_without_a_kernel(session, write_graph, tmp_path):
    def build(tf1):
        x = tf1.placeholder(tf1.float32, [None, 10], "x")
        with tf1.name_scope("trigger"):
            levels = tf1.quantize_v2(x, -4.0, 4.0, tf1.quint8, name="levels")
            tf1.quantize_v2(-x, -4.0, 4.0, tf1.quint8, name="others")
        tf1.identity(tf1.cast(levels.output, tf1.float32), name="y")

    path = write_graph(tmp_path / "m.pb", build, ["y"])
    with pytest.raises(UnsupportedError) as caught:
        session.load(ModelSource(path)).lower(31)
    assert str(caught.value) == (
        "XLA can't compile the ops QuantizeV2 ('trigger/levels': float32[31,10], float32[], "
        "float32[] -> quint8[31,10], float32[], float32[]): compute them before or after the "
        "model, or with other ops"
    )


def test_values_that_only_the_inputs_decide(session, tf):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int32)])
    def counts(x):
        return tf.reduce_sum(tf.range(tf.reduce_max(x)))

    text = refusal(session, counts)
    assert "must be a compile-time constant" in text
    assert "int32[], int32[], int32[] -> int32[?]" in text
    assert "fix that input with --set NAME=VALUE" in text


def test_ragged_tensors(session, tf):
    spec = tf.RaggedTensorSpec([None, None, 3], tf.float32, ragged_rank=1)

    @tf.function(input_signature=[spec])
    def pooled(rows):
        return tf.reduce_sum(rows, axis=1)

    assert "pad them before the model" in refusal(session, pooled)
