"""What training leaves in frozen graphs: updates of variables, checks, prints, other ops."""

import numpy as np
import pytest

from tfaot.errors import ModelError
from tfaot.frontend.session import ModelSource

pytestmark = pytest.mark.tensorflow

X = np.float32([[1, 2], [3, -4]])


def test_checks_and_prints_are_no_outputs_and_go(session, write_graph, tmp_path, interface):
    def build(tf1):
        x = tf1.placeholder(tf1.float32, [None, 2], "x")
        checks = [
            tf1.Assert(tf1.reduce_all(tf1.is_finite(x)), [x]),
            tf1.check_numerics(x, "bad"),
        ]
        with tf1.control_dependencies(checks):
            h = tf1.Print(x, [tf1.shape(x)], "shape")
        tf1.multiply(h, 2.0, name="y")

    model = session.load(ModelSource(write_graph(tmp_path / "m.pb", build, ["y"])))
    assert interface(model)[1] == [("y", "f32[B,2]")]
    np.testing.assert_array_equal(model.evaluate([X])[0], 2 * X)
    assert model.lower(31)


def test_moving_averages_behind_a_condition(session, tf, tmp_path, interface):
    """References to variables stay in the branch for training when the graph is frozen."""
    tf1 = tf.compat.v1
    graph = tf1.Graph()
    with graph.as_default(), tf1.Session(graph=graph) as running:
        tf1.disable_control_flow_v2()
        try:
            x = tf1.placeholder(tf.float32, [None, 2], "x")
            training = tf1.placeholder(tf.bool, [], "phase_train")
            average = tf1.get_variable(
                "average", initializer=np.float32([1, 2]), use_resource=False
            )
            mean = tf.reduce_mean(x, 0)
            used = tf1.cond(
                training,
                lambda: tf1.assign_sub(average, (average - mean) * 0.1),
                lambda: tf1.identity(average),
            )
            tf1.subtract(x, used, name="y")
        finally:
            tf1.enable_control_flow_v2()
        running.run(tf1.global_variables_initializer())
        frozen = tf1.graph_util.convert_variables_to_constants(running, graph.as_graph_def(), ["y"])
    assert any(n.op in {"AssignSub", "RefSwitch"} for n in frozen.node)
    tf.io.write_graph(frozen, str(tmp_path), "m.pb", as_text=False)
    model = session.load(ModelSource(tmp_path / "m.pb"))
    assert interface(model)[0] == [("x", "f32[B,2]")]
    np.testing.assert_array_equal(model.evaluate([X])[0], X - np.float32([1, 2]))
    assert model.lower(31)


def test_what_the_outputs_do_not_need_may_be_of_any_making(session, tf, tmp_path, interface):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
        tf.multiply(x, 2.0, name="y")
        tf.identity(x, name="odd")
        tf.compat.v1.get_variable("global_step", [], use_resource=False)
    definition = graph.as_graph_def()
    next(n for n in definition.node if n.name == "odd").op = "AnOpOfSomePlugin"
    tf.io.write_graph(definition, str(tmp_path), "m.pb", as_text=False)
    model = session.load(ModelSource(tmp_path / "m.pb", outputs=("y",)))
    assert interface(model) == ([("x", "f32[B,2]")], [("y", "f32[B,2]")])
    with pytest.raises(ModelError, match="AnOpOfSomePlugin"):
        session.load(ModelSource(tmp_path / "m.pb", outputs=("odd",)))
