"""Models in other types than float32, and quantised ones."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def network(keras, dtype):
    layers = keras.layers
    source = keras.Input((8, 8, 3), dtype="float32" if "mixed" in str(dtype) else None)
    x = layers.Conv2D(6, 3, activation="relu", dtype=dtype)(source)
    x = layers.BatchNormalization(dtype=dtype)(x)
    x = layers.MaxPooling2D(dtype=dtype)(x)
    x = layers.Reshape((9, 6), dtype=dtype)(x)
    x = x + layers.MultiHeadAttention(2, 3, dtype=dtype)(x, x)
    x = layers.LSTM(5, dtype=dtype)(x)
    last = "float32" if "mixed" in str(dtype) else dtype
    return keras.Model(source, layers.Dense(3, "softmax", dtype=last)(x))


@pytest.mark.parametrize(
    "policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_mixed_precision(compiled, keras, shake, policy):
    model = shake(network(keras, policy))
    artifact = compiled(model)
    x = np.random.default_rng(1).normal(size=(19, 8, 8, 3)).astype(np.float32)
    found = artifact(x)
    np.testing.assert_allclose(found, np.asarray(model(x)), atol=0.06)
    assert artifact(x[5:6]).tobytes() == found[5:6].tobytes()


def test_float64(compiled, keras, shake):
    keras.backend.set_floatx("float64")
    try:
        model = shake(network(keras, "float64"))
    finally:
        keras.backend.set_floatx("float32")
    artifact = compiled(model)
    x = np.random.default_rng(1).normal(size=(19, 8, 8, 3))
    np.testing.assert_allclose(artifact(x), np.asarray(model(x)), rtol=1e-12)


def test_quantised_dense(compiled, keras, shake):
    layers = keras.layers
    stack = [layers.Dense(24, "relu"), layers.EinsumDense("ab,bc->ac", (16,)), layers.Dense(4)]
    model = shake(keras.Sequential([keras.Input((12,)), *stack]))
    model.quantize("int8")
    x = np.random.default_rng(1).normal(size=(19, 12)).astype(np.float32)
    expected = np.asarray(model(x))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(compiled(model)(x), expected, atol=0.03 * scale)


def test_fake_quantised_layers(compiled, tf):
    """Fixed-point weights and activations as training with quantisation leaves them."""
    random = np.random.default_rng(4)

    def fixed(x, bits, integer):
        step = 2.0 ** (integer - bits + 1)
        limit = 2.0**integer
        return tf.clip_by_value(tf.round(x / step) * step, -limit, limit - step)

    def power_of_two(x):
        exponent = tf.round(tf.math.log(tf.abs(x) + 1e-7) / np.log(2.0).astype(np.float32))
        return tf.sign(x) * tf.pow(2.0, tf.clip_by_value(exponent, -6.0, 1.0))

    class Network(tf.Module):
        def __init__(self):
            super().__init__()
            self.a = tf.Variable(random.normal(size=(10, 16)).astype(np.float32))
            self.b = tf.Variable(random.normal(size=(16, 5)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None, 10], tf.float32)])
        def __call__(self, x):
            hidden = tf.nn.relu(fixed(x, 8, 3) @ fixed(self.a, 6, 1))
            levels = tf.quantization.fake_quant_with_min_max_args(hidden, 0.0, 6.0, 4)
            return {"scores": levels @ power_of_two(self.b), "signs": tf.sign(levels - 1.0)}

    model = Network()
    x = random.normal(size=(19, 10)).astype(np.float32)
    found = compiled(model)(x)
    for name, expected in model(x).items():
        np.testing.assert_allclose(found[name], expected.numpy(), rtol=1e-5, atol=1e-5)


def test_weights_of_four_bits_stay_packed(compiled, keras, shake):
    stack = [keras.layers.Dense(96, "relu"), keras.layers.Dense(128)]
    model = shake(keras.Sequential([keras.Input((64,)), *stack]))
    model.quantize("int4")
    packed = (64 * 96 + 96 * 128) // 2
    artifact = compiled(model)
    assert artifact.manifest.weights_bytes < 1.3 * packed  # scales and biases are float32
    x = np.random.default_rng(1).normal(size=(19, 64)).astype(np.float32)
    expected = np.asarray(model(x))
    np.testing.assert_allclose(artifact(x), expected, atol=1e-4 * np.abs(expected).max())


def test_converted_and_transposed_weights_are_stored_once_and_small(compiled, function, tf):
    w = np.random.default_rng(0).normal(size=(64, 80)).astype(np.float32)

    def body(x):
        wide = tf.cast(tf.constant(w), tf.float64)
        code = tf.tanh(x @ wide)
        return {"back": tf.matmul(code, wide, transpose_b=True), "code": code}

    model = function(body, ([None, 64], "float64"))
    artifact = compiled(model)
    assert artifact.manifest.weights_bytes == w.nbytes
    x = np.random.default_rng(1).normal(size=(19, 64))
    for name, value in model(tf.constant(x)).items():
        np.testing.assert_allclose(artifact(x)[name], value.numpy(), rtol=1e-12, atol=1e-12)


def test_causal_masks_are_computed(compiled, keras, shake):
    source = keras.Input((128, 16))
    attention = keras.layers.MultiHeadAttention(2, 8)
    model = shake(keras.Model(source, attention(source, source, use_causal_mask=True)))
    artifact = compiled(model)
    parameters = sum(np.asarray(w).nbytes for w in model.weights)
    assert artifact.manifest.weights_bytes < parameters + 1024  # a mask of bits would take 2048
    x = np.random.default_rng(1).normal(size=(3, 128, 16)).astype(np.float32)
    np.testing.assert_allclose(artifact(x), np.asarray(model(x)), rtol=1e-4, atol=1e-5)
