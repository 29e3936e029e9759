"""Frozen graphs of the TensorFlow 1 era: what is input, what is output, what goes away."""

import numpy as np
import pytest

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.session import ModelSource

pytestmark = pytest.mark.tensorflow


def classifier(tf1):
    """Switches on a learning phase and on a flag; training leftovers behind the output."""
    x = tf1.placeholder(tf1.float32, [None, 4], "x")
    labels = tf1.placeholder(tf1.float32, [None, 2], "labels")
    phase = tf1.placeholder_with_default(False, [], "bn/keras_learning_phase")
    training = tf1.placeholder(tf1.bool, [], "is_training")
    w = tf1.get_variable("w", initializer=np.arange(8, dtype=np.float32).reshape(4, 2))
    h = tf1.cond(phase, lambda: tf1.nn.dropout(x, 0.5), lambda: x * 1.0)
    h = tf1.cond(training, lambda: h * 0.0, lambda: h + 1.0)
    probabilities = tf1.nn.softmax(tf1.matmul(h, w) / 10, name="probs")
    with tf1.name_scope("loss"):
        tf1.reduce_sum(tf1.square(probabilities - labels), name="value")


def expected(x):
    logits = (x + 1) @ np.arange(8, dtype=np.float32).reshape(4, 2) / 10
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def graph(write_graph, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frozen")
    return write_graph(folder / "classifier.pb", classifier, ["probs", "loss/value"])


def test_inputs_and_outputs_are_found_and_switches_removed(session, graph, interface):
    model = session.load(ModelSource(graph, set_values={"is_training": "false"}))
    assert interface(model) == ([("x", "f32[B,4]")], [("probs", "f32[B,2]")])
    x = np.float32([[0, 1, 2, 3], [1, 0, -1, 2]])
    np.testing.assert_allclose(model.evaluate([x])[0], expected(x), rtol=1e-6)
    assert model.lower(31)


def test_a_flag_of_training_is_off_unless_decided_on(session, graph, interface):
    model = session.load(ModelSource(graph))
    assert interface(model)[0] == [("x", "f32[B,4]")]
    assert len(model.notes) == 1
    assert "'is_training' is set to false" in model.notes[0]
    assert "--set is_training=true" in model.notes[0]
    x = np.float32([[0, 1, 2, 3], [1, 0, -1, 2]])
    np.testing.assert_allclose(model.evaluate([x])[0], expected(x), rtol=1e-6)
    on = session.load(ModelSource(graph, set_values={"is_training": True}))
    assert on.notes == ()
    np.testing.assert_array_equal(on.evaluate([x])[0], np.full((2, 2), 0.5))


def test_a_flag_that_is_named_as_input_is_one(session, graph, interface):
    model = session.load(ModelSource(graph, inputs=("x", "is_training"), outputs=("probs",)))
    assert interface(model)[0] == [("x", "f32[B,4]"), ("is_training", "pred[]")]
    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(model.evaluate([x, np.bool_(False)])[0], expected(x), rtol=1e-6)


def test_told_inputs_and_outputs(session, graph, interface):
    model = session.load(
        ModelSource(
            graph,
            inputs=("labels:0", "x"),
            outputs=("loss/value", "probs:0"),
            set_values={"is_training:0": False},
        )
    )
    assert interface(model) == (
        [("labels", "f32[B,2]"), ("x", "f32[B,4]")],
        [("loss/value", "f32[]"), ("probs", "f32[B,2]")],
    )


def test_the_graph_can_be_cut_at_an_inner_node(session, graph, interface):
    source = ModelSource(graph, inputs=("truediv",), outputs=("probs",))
    model = session.load(source)
    assert interface(model) == ([("truediv", "f32[B,2]")], [("probs", "f32[B,2]")])
    (result,) = model.evaluate([np.zeros((3, 2), np.float32)])
    np.testing.assert_allclose(result, np.full((3, 2), 0.5))


@pytest.mark.parametrize(
    ("options", "kind", "reason"),
    [
        ({"outputs": ("prob",)}, UsageError, r"no output node 'prob'.*did you mean probs"),
        ({"inputs": ("nope",)}, UsageError, "no input node 'nope'"),
        ({"set_values": {"nope": 1}}, UsageError, r"no placeholder 'nope' \(there are: x, labels"),
        ({"set_values": {"is_training": "perhaps"}}, UsageError, "neither true nor false"),
        (
            {"outputs": ("loss/value",), "inputs": ("x",), "set_values": {"is_training": 0}},
            ModelError,
            "also depend on the placeholder 'labels'",
        ),
        ({"input_shapes": {"y": (1,)}}, UsageError, "no input 'y'"),
    ],
)
def test_wrong_names_are_told(session, graph, options, kind, reason):
    with pytest.raises(kind, match=reason):
        session.load(ModelSource(graph, **options))


def test_several_sinks_are_outputs_unless_they_look_like_metrics(
    session, write_graph, tmp_path, interface
):
    def heads(tf1):
        x = tf1.placeholder(tf1.float32, [None, 4], "x")
        scale = tf1.placeholder_with_default(2.0, [], "scale")
        tf1.nn.sigmoid(x, name="a/out")
        tf1.multiply(x, scale, name="b_out")

    path = write_graph(tmp_path / "heads.pbtxt", heads, ["a/out", "b_out"])
    model = session.load(ModelSource(path))
    assert interface(model) == (
        [("x", "f32[B,4]")],
        [("a/out", "f32[B,4]"), ("b_out", "f32[B,4]")],
    )
    np.testing.assert_array_equal(model.evaluate([np.ones((1, 4), np.float32)])[1], [[2] * 4])

    def judged(tf1):
        heads(tf1)
        y = tf1.placeholder(tf1.float32, [None, 4], "y")
        tf1.reduce_mean(
            tf1.square(tf1.get_default_graph().get_tensor_by_name("x:0") - y), name="cost"
        )

    path = write_graph(tmp_path / "judged.pb", judged, ["a/out", "b_out", "cost"])
    with pytest.raises(ModelError, match=r"not clear.*--outputs.*a/out, b_out, cost"):
        session.load(ModelSource(path))


def test_an_unknown_rank_can_be_given(session, write_graph, tmp_path, interface):
    def free(tf1):
        tf1.identity(tf1.placeholder(tf1.float32, None, "x") * 2.0, name="y")

    path = write_graph(tmp_path / "free.pb", free, ["y"])
    with pytest.raises(ModelError, match="rank of the input 'x' is unknown"):
        session.load(ModelSource(path))
    model = session.load(ModelSource(path, input_shapes={"x": ("?", 3)}))
    assert interface(model)[1] == [("y", "f32[B,3]")]


def test_variables_are_refused(session, write_graph, tmp_path):
    path = write_graph(tmp_path / "live.pb", classifier, [])
    with pytest.raises(ModelError, match="not frozen"):
        session.load(ModelSource(path))


def test_corrupt_files_give_one_line(session, tmp_path):
    (tmp_path / "a.pb").write_bytes(b"garbage" * 30)
    (tmp_path / "a.pbtxt").write_text("node { name: 'a'")
    for name in ("a.pb", "a.pbtxt"):
        with pytest.raises(ModelError, match="is no frozen graph") as caught:
            session.load(ModelSource(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_ops_that_tensorflow_has_for_other_devices_only(session, write_graph, tmp_path):
    """TensorFlow pools images with the channels first on graphics cards alone, XLA everywhere."""

    def pool(tf1):
        x = tf1.placeholder(tf1.float32, [None, 3, 4, 4], "x")
        tf1.nn.max_pool2d(x, 2, 2, "VALID", data_format="NCHW", name="y")

    model = session.load(ModelSource(write_graph(tmp_path / "pool.pb", pool, ["y"])))
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    expected = x.reshape(2, 3, 2, 2, 2, 2).max(axis=(3, 5))
    assert len(model.time([x], repetitions=2, warmup=0)) == 2
    np.testing.assert_array_equal(model.evaluate([x])[0], expected)
