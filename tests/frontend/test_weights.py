"""Large weights as arguments of the graph: the HLO with them put back is the model's."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tfaot import mapped
from tfaot.frontend import model as model_module
from tfaot.frontend import weights
from tfaot.frontend.exported import export
from tfaot.frontend.model import Model, frozen_graph
from tfaot.frontend.source import ModelSource, model_kind
from tfaot.frontend.trail import Trail
from tfaot.frontend.weights import attach
from tfaot.interpreter import evaluate
from tfaot.ir.proto import read_module
from tfaot.mapped import let_go

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def low_limits(monkeypatch):
    """Weights of 256 bytes and more are taken out of every model."""
    monkeypatch.setattr(weights, "LARGE_MODEL", 0)
    monkeypatch.setattr(weights, "LARGE_WEIGHT", 256)


def lowered(model, batch):
    count = len(model.description.weights)
    return attach(read_module(model.lower(batch)), [model.weight(n) for n in range(count)])


def recurrent(keras):
    """Matrices outside and inside a loop, and biases that stay."""
    inputs = keras.layers.Input((5, 6))
    x = keras.layers.Dense(16, activation="elu")(inputs)
    return keras.Model(inputs, keras.layers.SimpleRNN(16)(x))


def test_the_weights_come_back_as_constants(keras, tmp_path, low_limits):
    path = tmp_path / "model.keras"
    recurrent(keras).save(path)
    model = Model(ModelSource(path))
    assert len(model.description.weights) == 3
    assert model.description.parameter_count >= 6 * 16 + 16 + 2 * 16 * 16 + 16

    hlo = lowered(model, 31)
    assert [str(p.shape) for p in hlo.entry.parameters] == ["f32[31,5,6]"]
    x = np.random.default_rng(0).normal(size=(31, 5, 6)).astype(np.float32)
    (expected,) = model.evaluate([x])
    (actual,) = evaluate(hlo, [x])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_the_parameters_have_no_values_in_what_xla_is_given(keras, tmp_path, low_limits):
    path = tmp_path / "model.keras"
    recurrent(keras).save(path)
    model = Model(ModelSource(path))
    stored = [i for i in read_module(model.lower(31)).entry.instructions if i.opcode == "constant"]
    assert max((i.array.size for i in stored), default=0) < 64


def test_a_small_model_is_given_whole(keras, tmp_path):
    path = tmp_path / "model.keras"
    recurrent(keras).save(path)
    assert Model(ModelSource(path)).description.weights == ()


def test_all_weights_are_taken_out_where_they_have_a_file(keras, tmp_path):
    """Small ones too: of none does XLA see the value, and each has an origin of its own."""
    path = tmp_path / "model.keras"
    recurrent(keras).save(path)
    model = Model(ModelSource(path, external_weights=True))
    names = model.description.weights
    assert len(names) == len(set(names)) == 5

    hlo = read_module(model.lower(31))
    stored = [i for i in hlo.entry.instructions if i.opcode == "constant"]
    assert all(i.array.size == 1 or not i.array.dtype.is_float for i in stored)
    weights = [model.weight(n) for n in range(len(names))]
    module = attach(hlo, weights, names)
    origins = [i.attrs.origin for i in module.entry.instructions if i.opcode == "constant"]
    assert sorted(o for o in origins if o) == sorted(names)
    x = np.random.default_rng(0).normal(size=(31, 5, 6)).astype(np.float32)
    (expected,), (actual,) = model.evaluate([x]), evaluate(module, [x])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_scalar_variables_are_weights_and_other_scalars_are_not(tf, tmp_path):
    class Scaled(tf.Module):
        def __init__(self):
            super().__init__()
            self.scale = tf.Variable(1.0)

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32)])
        def __call__(self, x):
            return tf.maximum(x * self.scale, 0.5)

    tf.saved_model.save(Scaled(), str(tmp_path))
    model = Model(ModelSource(tmp_path, external_weights=True))

    assert len(model.description.weights) == 1
    assert model.weight(0) == np.float32(1)


def test_returned_weights_and_weights_that_order_others_stay(tf, tmp_path, low_limits):
    class Returns(tf.Module):
        def __init__(self):
            self.w = tf.Variable(np.arange(256, dtype=np.float32).reshape(16, 16))
            self.v = tf.Variable(np.ones((16, 16), np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 16])])
        def f(self, x):
            return {"w": tf.identity(self.w), "y": x @ self.v}

    module = Returns()
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.f)
    model = Model(ModelSource(tmp_path / "m"))
    w, y = model.evaluate([np.ones((3, 16), np.float32)])
    np.testing.assert_array_equal(w, np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(y, np.full((3, 16), 16))
    hlo = lowered(model, 31)
    w, y = evaluate(hlo, [np.ones((31, 16), np.float32)])
    np.testing.assert_array_equal(w, np.arange(256).reshape(16, 16))


def graphs_on_the_way(model_path, **options):
    """The frozen graph with large values beside it, and the same one whole."""
    source = ModelSource(model_path, **options)
    light = model_module._load(source, model_kind(model_path), Trail())
    return light.graph, frozen_graph(source)[0]


def values(graph):
    """The constants of a graph, by the size that they have in it, and by value."""
    constants = [n for n in graph.graph_def.node if n.op == "Const"]
    return {n.name: n.attr["value"].tensor.ByteSize() for n in constants}


def kept_apart(model_path, large, **options):
    light, whole = graphs_on_the_way(model_path, **options)
    assert len(light.held) == large
    assert max(values(light).values()) < 200
    assert sum(size >= 256 for size in values(whole).values()) == large
    assert not whole.held
    names = [n.name for n in light.graph_def.node if weights.HELD in n.attr]
    for ours, theirs in zip(
        weights.constant_values(light, names), weights.constant_values(whole, names), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    return Model(ModelSource(model_path, **options))


def check_against_tensorflow(model, shape):
    hlo = lowered(model, 31)
    x = np.random.default_rng(0).normal(size=(31, *shape)).astype(np.float32)
    (expected,), (actual,) = model.evaluate([x]), evaluate(hlo, [x])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_large_variables_of_saved_models_stay_beside_the_graph(tf, tmp_path, low_limits):
    """Some in a loop, some looked up, two of one name."""

    class Several(tf.Module):
        def __init__(self):
            rng = np.random.default_rng(3)
            self.w = [
                tf.Variable(rng.normal(size=(16, 16)).astype(np.float32) / 4, name="same")
                for _ in range(2)
            ]
            self.table = tf.Variable(rng.normal(size=(32, 16)).astype(np.float32), name="table")
            self.small = tf.Variable(tf.ones([16]))

        @tf.function(input_signature=[tf.TensorSpec([None, 16])])
        def __call__(self, x):
            rows = tf.gather(self.table, tf.cast(tf.abs(x[:, 0]) * 5, tf.int32) % 32)
            body = lambda i, y: (i + 1, tf.tanh(y @ self.w[1] + self.small))  # noqa: E731
            _, y = tf.while_loop(lambda i, y: i < 3, body, (0, x @ self.w[0]))
            return y + rows

    tf.saved_model.save(Several(), str(tmp_path))
    check_against_tensorflow(kept_apart(tmp_path, 3), (16,))


def test_large_constants_of_graphs_and_exported_objects_stay_beside_them(
    tf, keras, tmp_path, low_limits
):
    model = recurrent(keras)
    export(model, tmp_path, {})
    check_against_tensorflow(kept_apart(tmp_path, 3), (5, 6))

    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None, 16), "x")
        w = np.random.default_rng(2).normal(size=(2, 16, 16)).astype(np.float32) / 4
        tf.matmul(tf.matmul(x, tf.constant(w[0])), tf.constant(w[1]), name="y")
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    check_against_tensorflow(kept_apart(path, 2), (16,))


@pytest.fixture
def two_models(keras, tmp_path, session):
    """Of one session, with weights that reach this process in files."""
    loaded = []
    for n in range(2):
        recurrent(keras).save(tmp_path / f"model{n}.keras")
        source = ModelSource(tmp_path / f"model{n}.keras", external_weights=True)
        loaded.append(session.load(source))
    return loaded


def test_threads_that_share_a_session_get_their_own_weights(two_models):
    expected = [[array.copy() for array in weights_of(model)] for model in two_models]
    for _ in range(5):
        for model in two_models:
            model._weights = None
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(weights_of, two_models))
        for ours, theirs in zip(found, expected, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(a, b)


def weights_of(model):
    model.module(31)
    return model._weights


def test_small_weights_keep_no_files_open(two_models):
    """Of a thousand layers there are thousands, and many systems allow 1024 files."""
    two_models[0].lower(31)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert len(weights_of(two_models[0])) == 5
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_weights_reach_this_process_in_files_that_take_no_memory(
    keras, tmp_path, session, monkeypatch
):
    monkeypatch.setattr(mapped, "MAPPED", 1)
    path = tmp_path / "model.keras"
    recurrent(keras).save(path)
    loaded = session.load(ModelSource(path, external_weights=True))
    loaded.module(31)
    arrays = loaded._weights
    assert len(arrays) == 5
    assert not any(array.flags.writeable for array in arrays)
    assert not any(Path(session._scratch.name).glob("weight*"))
    before = [array.copy() for array in arrays]
    for array in arrays:
        let_go(array.T[1:])
    for array, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_many_small_weights_are_taken_out_too(tf, tmp_path, monkeypatch):
    """XLA's time for them is the square of their number. Scalars, which it works with, stay."""
    monkeypatch.setattr(weights, "MANY_WEIGHTS", 4)

    class Layers(tf.Module):
        def __init__(self):
            rng = np.random.default_rng(4)
            self.w = [tf.Variable(rng.normal(size=(5, 5)).astype(np.float32)) for _ in range(2)]
            self.b = [tf.Variable(rng.normal(size=5).astype(np.float32)) for _ in range(2)]
            self.scale = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None, 5])])
        def __call__(self, x):
            for w, b in zip(self.w, self.b, strict=True):
                x = tf.tanh(x @ w + b) * self.scale
            return x

    tf.saved_model.save(Layers(), str(tmp_path))
    light, _ = graphs_on_the_way(tmp_path)
    assert len(light.held) == 4
    model = Model(ModelSource(tmp_path))
    assert len(model.description.weights) == 4
    check_against_tensorflow(model, (5,))
