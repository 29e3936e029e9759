"""Large weights as arguments of the graph: the HLO with them put back is the model's."""

import numpy as np
import pytest

from tfaot.frontend import weights
from tfaot.frontend.model import Model
from tfaot.frontend.source import ModelSource
from tfaot.frontend.weights import attach
from tfaot.interpreter import evaluate
from tfaot.ir.proto import read_module

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
