"""Recurrent, attentive and convolutional models of sequences, compiled and verified."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def same_rows(artifact, *inputs):
    """A row's bits are the same in any batch, at any position."""
    whole = artifact(*inputs)
    whole = whole if isinstance(whole, dict) else {"": whole}
    for n in (1, 4):
        part = artifact(*(x[3 : 3 + n] for x in inputs))
        part = part if isinstance(part, dict) else {"": part}
        for name, value in part.items():
            assert value.tobytes() == whole[name][3 : 3 + n].tobytes(), name


def normal(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def close(actual, expected, tolerance=1e-4):
    expected = np.asarray(expected, np.float64)
    scale = np.abs(expected).max(initial=1e-3)
    np.testing.assert_allclose(
        np.asarray(actual, np.float64), expected, rtol=tolerance, atol=tolerance * scale
    )


@pytest.mark.parametrize(
    "options", [{}, {"return_sequences": True}, {"unroll": True}], ids=["last", "all", "unrolled"]
)
@pytest.mark.parametrize("layer", ["LSTM", pytest.param("GRU", marks=pytest.mark.slow)])
def test_masked_recurrent_layers(compiled, keras, shake, layer, options):
    source = keras.Input((9, 5))
    masked = keras.layers.Masking()(source)
    model = shake(keras.Model(source, getattr(keras.layers, layer)(7, **options)(masked)))
    x = normal(19, 9, 5)
    for row in range(19):
        x[row, row % 10 :] = 0
    artifact = compiled(model)
    close(artifact(x), model(x))
    same_rows(artifact, x)


@pytest.mark.slow
def test_masks_in_the_middle_and_rows_without_any(compiled, keras, shake):
    source = keras.Input((12,), dtype="int32")
    embedded = keras.layers.Embedding(20, 6, mask_zero=True)(source)
    layers = keras.layers
    twice = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(embedded)
    model = shake(keras.Model(source, layers.Bidirectional(layers.GRU(4))(twice)))
    x = np.random.default_rng(2).integers(0, 3, (19, 12)).astype(np.int32)
    x[5] = 0
    artifact = compiled(model)
    close(artifact(x), model(x))
    same_rows(artifact, x)


def transformer(keras, x, heads=2, causal=False):
    layers, width = keras.layers, x.shape[-1]
    attention = layers.MultiHeadAttention(heads, width // heads)
    x = layers.LayerNormalization()(x + attention(x, x, use_causal_mask=causal))
    hidden = layers.Dense(2 * width, "gelu")(x)
    return layers.LayerNormalization()(x + layers.Dense(width)(hidden))


def test_transformer_encoder(compiled, keras, shake):
    layers = keras.layers
    source = keras.Input((11,), dtype="int32")
    places = keras.ops.arange(11)
    x = layers.Embedding(30, 16)(source) + layers.Embedding(11, 16)(places)
    for _ in range(2):
        x = transformer(keras, x)
    model = shake(keras.Model(source, layers.Dense(3)(layers.GlobalAveragePooling1D()(x))))
    x = np.random.default_rng(2).integers(0, 30, (19, 11)).astype(np.int32)
    artifact = compiled(model)
    close(artifact(x), model(x))
    same_rows(artifact, x)


@pytest.mark.slow
def test_causal_transformer(compiled, keras, shake):
    source = keras.Input((17, 12))
    model = shake(keras.Model(source, transformer(keras, source, 3, causal=True)))
    x = normal(19, 17, 12)
    artifact = compiled(model)
    found = artifact(x)
    close(found, model(x))
    later = x.copy()
    later[:, 9:] += 1
    assert artifact(later)[:, :9].tobytes() == found[:, :9].tobytes()


@pytest.mark.slow
def test_attention_over_padded_sequences(compiled, keras, shake):
    layers = keras.layers
    source, lengths = keras.Input((8, 6)), keras.Input((), dtype="int32")
    mask = keras.ops.less(keras.ops.arange(8)[None], lengths[:, None])
    attended = layers.MultiHeadAttention(2, 3)(source, source, attention_mask=mask[:, None, :])
    grouped = layers.GroupQueryAttention(3, 4, 2)(source, source, attention_mask=mask[:, None, :])
    pooled = layers.GlobalAveragePooling1D()(attended + grouped, mask=mask)
    model = shake(keras.Model([source, lengths], pooled))
    x, n = normal(19, 8, 6), (np.arange(19) % 8 + 1).astype(np.int32)
    artifact = compiled(model)
    close(artifact(x, n), model([x, n]))
    same_rows(artifact, x, n)


def dilated_resnet(keras, length, channels, blocks):
    layers = keras.layers
    source = keras.Input((length, 4))
    x = layers.Conv1D(channels, 1)(source)
    for block in range(blocks):
        y = x
        for _ in range(2):
            y = layers.Activation("relu")(layers.BatchNormalization()(y))
            y = layers.Conv1D(channels, 11, dilation_rate=4**block, padding="same")(y)
        x = x + y
    return keras.Model(source, layers.Conv1D(3, 1, activation="softmax")(x))


@pytest.mark.parametrize(
    ("length", "channels", "blocks"),
    [(300, 6, 3), pytest.param(10_000, 8, 4, marks=pytest.mark.slow)],
)
def test_dilated_residual_network(compiled, keras, shake, length, channels, blocks):
    model = shake(dilated_resnet(keras, length, channels, blocks))
    x = np.eye(4, dtype=np.float32)[np.random.default_rng(1).integers(0, 4, (3, length))]
    artifact = compiled(model)
    assert artifact.manifest.batch.rows_independent
    close(artifact(x), model(x))


@pytest.mark.slow
def test_gated_causal_convolutions(compiled, keras, shake):
    layers = keras.layers
    source = x = keras.Input((64, 1))
    skips = []
    for power in range(4):
        options = {"dilation_rate": 2**power, "padding": "causal"}
        gate = layers.Conv1D(6, 2, activation="sigmoid", **options)(x)
        z = layers.Conv1D(6, 2, activation="tanh", **options)(x) * gate
        x = layers.Conv1D(6, 1)(z) + x
        skips.append(z)
    model = shake(keras.Model(source, layers.Conv1D(4, 1)(layers.Add()(skips))))
    x = normal(19, 64, 1)
    artifact = compiled(model)
    close(artifact(x), model(x))
    assert artifact.manifest.batch.rows_independent
    same_rows(artifact, x)


@pytest.mark.parametrize("length", [5, pytest.param(23, marks=pytest.mark.slow)])
def test_sequences_of_a_length_given_when_compiling(compiled, keras, shake, length):
    layers = keras.layers
    source = keras.Input((None, 4), name="steps")
    x = layers.Conv1D(6, 3, padding="same", activation="relu")(source)
    x = layers.GRU(5, return_sequences=True)(x)
    model = shake(keras.Model(source, layers.GlobalMaxPooling1D()(x)))
    artifact = compiled(model, input_shapes={"steps": (None, length, 4)})
    x = normal(19, length, 4)
    close(artifact(x), model(x))
    same_rows(artifact, x)


@pytest.mark.slow
def test_speech_front_end(compiled, tf):
    class FrontEnd(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 400], tf.float32)])
        def __call__(self, x):
            power = tf.square(tf.abs(tf.signal.stft(x, 64, 32, fft_length=64)))
            to_mel = tf.signal.linear_to_mel_weight_matrix(10, 33, 8000, 20.0, 4000.0)
            return tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(power @ to_mel + 1e-3))

    model = FrontEnd()
    artifact = compiled(model)
    x = normal(19, 400)
    close(artifact(x), model(x), 1e-3)
    same_rows(artifact, x)
