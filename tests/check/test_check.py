"""What a check says of models that compile, and of models that don't: every op, and why."""

import json
import shutil

import numpy as np
import pytest

import tfaot
from tfaot.checker.report import Answer
from tfaot.errors import ModelError, UsageError

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def check(session):
    return lambda model, **options: tfaot.check(model, session=session, **options)


def saved(tf, path, function, *specs, keep=()):
    module = tf.Module()
    module.keep = list(keep)
    module.f = tf.function(function, input_signature=list(specs))
    tf.saved_model.save(module, str(path), signatures=module.f)
    return path


def rows(report, op):
    return [row for row in report.ops if row.op == op]


def row(report, op):
    (found,) = rows(report, op)
    return found


def test_a_model_that_compiles(check, keras):
    x = keras.Input((8,), name="features")
    y = keras.layers.Dense(16, activation="relu", name="hidden", bias_initializer="ones")(x)
    y = keras.layers.LSTM(5, name="memory")(keras.layers.Reshape((4, 4))(y))
    y = keras.layers.Dense(3, activation="softmax", name="out")(y)
    report = check(keras.Model(x, y))

    assert report.compiles
    assert not report.problems
    assert not report.refusal
    assert report.inputs == (("features", "float32[n,8]"),)
    assert report.outputs == (("out", "float32[n,3]"),)
    assert (report.batch.kind, report.batch.rows_independent) == ("symbolic", True)
    relu = row(report, "Relu")
    assert relu.layer == "hidden (Dense)"
    assert (relu.inputs, relu.outputs) == (("float32[n,16]",), ("float32[n,16]",))
    assert "maximum f32[n,16]" in relu.xla_ops
    assert (relu.xla, relu.generated) == (Answer.YES, Answer.YES)
    # Ops of the functions of the graph are there too, here of the loop's body.
    sigmoids = rows(report, "Sigmoid")
    assert {s.layer for s in sigmoids} == {"memory/lstm_cell (LSTMCell)"}
    assert len(sigmoids) == 3
    assert all(s.function for s in sigmoids)
    # What XLA computes when the model is compiled leaves nothing to generate.
    assert row(report, "Range").generated is Answer.NOTHING_LEFT
    assert json.loads(json.dumps(report.to_json()))["compiles"] is True


def test_which_op_mixes_rows(check, tf):
    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def model(x):
        with tf.name_scope("centre"):
            return x - tf.reduce_mean(tf.nn.relu(x), axis=0)

    report = check(model)
    assert report.compiles
    assert report.batch.rows_independent is False
    assert (report.batch.op, report.batch.layer) == ("Mean", "centre")
    assert "reduces over the batch" in report.batch.reason


def test_no_form_for_all_batch_sizes(check, tf):
    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def model(x):
        return tf.nn.relu(x)[::2]

    report = check(model)
    assert not report.compiles
    assert "--batch-sizes" in report.refusal
    assert not report.problems
    assert "maximum" in " ".join(row(report, "Relu").xla_ops)
    static = check(model, batch_sizes=(1, 4))
    assert static.compiles
    assert (static.batch.kind, static.batch.sizes) == ("static", (1, 4))


def test_all_missing_ops_are_found_at_once(check, tf, tmp_path):
    def model(x):
        bicubic = tf.image.resize(x, (16, 16), "bicubic")
        levels = tf.quantization.quantize(x, -1.0, 1.0, tf.quint8)[0]
        count = tf.range(tf.reduce_max(tf.cast(x, tf.int32)))
        return {
            "soft": tf.nn.softmax(bicubic),
            "levels": tf.cast(levels, tf.float32) * 2,
            "count": tf.reduce_sum(count),
            "mean": tf.reduce_mean(tf.nn.relu(x), [1, 2]),
        }

    path = saved(tf, tmp_path / "m", model, tf.TensorSpec([None, 8, 8, 3], name="x"))
    report = check(path)
    problems = {p.op: p for p in report.problems}
    assert set(problems) == {"ResizeBicubic", "QuantizeV2", "Range"}
    assert problems["ResizeBicubic"].problem == "XLA has no kernel for it"
    assert "einsum" in problems["ResizeBicubic"].advice
    assert problems["ResizeBicubic"].inputs == ("float32[n,8,8,3]", "int32[2]")
    assert "compile-time constant" in problems["Range"].problem
    assert "--set" in problems["Range"].advice
    assert all(p.xla is Answer.NO for p in problems.values())
    # The rest was lowered without them, behind them too where types are known.
    assert row(report, "Relu").generated is Answer.YES
    assert row(report, "Softmax").generated is Answer.YES
    quantized = next(r for r in rows(report, "Cast") if r.inputs == ("quint8[n,8,8,3]",))
    assert quantized.xla is Answer.UNKNOWN
    assert "ResizeBicubic" in report.refusal
    assert report.batch.kind == "unknown"


def test_missing_types_of_an_op(check, tf):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int16)])
    def model(x):
        return tf.cumsum(x, axis=1), tf.cast(tf.cumsum(tf.cast(x, tf.int32), axis=1), tf.int16)

    (problem,) = check(model).problems
    assert problem.inputs[0] == "int16[n,4]"
    assert "these types" in problem.problem
    assert "int32" in problem.problem
    assert "tf.cast" in problem.advice


def test_strings_and_tables(check, tf, tmp_path):
    keys = tf.constant(["a", "b"])
    initializer = tf.lookup.KeyValueTensorInitializer(keys, tf.constant([5.0, 6.0]))
    table = tf.lookup.StaticHashTable(initializer, 0.0)
    weights = tf.Variable(np.ones((4, 3), np.float32))

    def model(words, x):
        found = table.lookup(tf.strings.lower(words))
        return tf.matmul(x, weights) * found[:, :3]

    specs = [tf.TensorSpec([None, 4], tf.string, name="words"), tf.TensorSpec([None, 4], name="x")]
    report = check(saved(tf, tmp_path / "m", model, *specs, keep=[table, weights]))
    assert {p.op for p in report.problems} == {"StringLower", "LookupTableFindV2"}
    assert report.inputs == (("words", "string[n,4]"), ("x", "float32[n,4]"))
    assert row(report, "LookupTableFindV2").problem == "looks up a table outside the graph"
    assert row(report, "MatMul").generated is Answer.YES
    assert row(report, "Mul").inputs == ("float32[n,3]", "float32[n,3]")
    assert row(report, "Mul").generated is Answer.YES


def test_state(check, tf, tmp_path):
    variable = tf.Variable(np.zeros(4, np.float32))

    def model(x):
        variable.assign_add(tf.reduce_sum(x, 0))
        return tf.nn.relu(x) + variable

    report = check(saved(tf, tmp_path / "m", model, tf.TensorSpec([None, 4]), keep=[variable]))
    assert [p.op for p in report.problems] == ["AssignAddVariableOp"]
    assert "keeps a state" in report.refusal
    assert "make the state an input" in report.problems[0].advice
    assert row(report, "AddV2").generated is Answer.YES


def test_random_numbers_and_python(check, tf):
    @tf.function(input_signature=[tf.TensorSpec([None, 4])])
    def model(x):
        x = tf.nn.dropout(tf.nn.relu(x), 0.5)
        return tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), [None, 4]) + 1

    report = check(model)
    assert {p.op for p in report.problems} == {"RandomUniform", "EagerPyFunc"}
    # XLA has a kernel for it: it is tfaot that refuses what a seed doesn't decide.
    drawn = row(report, "RandomUniform")
    assert (drawn.xla, drawn.generated) == (Answer.YES, Answer.NO)


def test_ops_in_loops(check, tf):
    @tf.function(input_signature=[tf.TensorSpec([5, 4])])
    def model(x):
        def body(i, x):
            return i + 1, tf.linalg.matrix_transpose(tf.raw_ops.EuclideanNorm(input=x, axis=0) * x)

        loop = tf.while_loop(lambda i, x: i < 4, body, (0, x[:4]))
        return tf.nn.relu(loop[1])

    report = check(model)
    (problem,) = report.problems
    assert problem.op == "EuclideanNorm"
    assert problem.function
    assert "while" in problem.node
    assert problem.inputs[0] == "float32[4,4]"
    assert row(report, "Relu").generated is Answer.YES


def test_ops_that_tensorflow_lacks(check, tf, tmp_path):
    from tensorflow.core.protobuf import saved_model_pb2

    path = saved(tf, tmp_path / "m", lambda x: tf.tanh(tf.nn.relu(x)), tf.TensorSpec([None, 4]))
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = node.op.replace("Tanh", "OwnTanh")
    file.write_bytes(model.SerializeToString())

    report = check(path)
    assert [p.op for p in report.problems] == ["OwnTanh"]
    assert report.refusal == "the model has ops that this TensorFlow doesn't: OwnTanh"
    assert row(report, "Relu").xla is Answer.UNKNOWN

    graph = tf.compat.v1.GraphDef()
    for name, op, source in (("x", "Placeholder", ""), ("y", "OwnTanh", "x")):
        node = graph.node.add(name=name, op=op, input=[source] if source else [])
        node.attr["dtype" if not source else "T"].type = 1
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    assert [p.op for p in check(tmp_path / "g.pb").problems] == ["OwnTanh"]


def test_files_of_keras(check, keras, tmp_path):
    x = keras.Input((4,), dtype="int32")
    y = keras.layers.CategoryEncoding(5, output_mode="multi_hot", name="codes")(x)
    keras.Model(x, y).save(tmp_path / "m.keras")
    (problem,) = check(tmp_path / "m.keras").problems
    assert (problem.op, problem.layer) == ("DenseBincount", "codes (CategoryEncoding)")
    assert "one_hot" in problem.advice


def test_what_only_the_user_can_decide_is_an_error(check, tf, tmp_path):
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, None, None], "x")
        tf.nn.relu(x, name="y")
    tf.io.write_graph(graph.as_graph_def(), str(tmp_path), "m.pb", as_text=False)

    with pytest.raises(ModelError, match="--input-shape x="):
        check(tmp_path / "m.pb")
    assert check(tmp_path / "m.pb", input_shapes={"x": (None, 5, 5)}).compiles
    with pytest.raises(UsageError, match="no output node"):
        check(tmp_path / "m.pb", outputs=["z"])
    with pytest.raises(ModelError, match="no model"):
        check(tmp_path / "other.pb")
    shutil.copy(tmp_path / "m.pb", tmp_path / "m.txt")
    with pytest.raises(ModelError, match="no model format"):
        check(tmp_path / "m.txt")
    with pytest.raises(UsageError, match="--static"):
        check(tmp_path / "m.pb", static=True)
