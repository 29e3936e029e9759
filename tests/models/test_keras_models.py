"""Dense and embedding models of Keras, compiled and compared with Keras itself."""

import numpy as np
import pytest

from tfaot.ir.dtypes import DType

pytestmark = pytest.mark.tensorflow

ACTIVATIONS = """
    relu relu6 leaky_relu elu selu gelu silu mish softplus softsign hard_sigmoid hard_silu
    exponential log_softmax softmax sigmoid tanh log_sigmoid tanh_shrink soft_shrink hard_shrink
    hard_tanh celu squareplus sparse_plus sparse_sigmoid
    """.split()  # noqa: SIM905 (one word a line would take a screen)


def close(actual, expected, tolerance=2e-5):
    """Compare a model's outputs, at a batch size that no probe and no tile has."""
    actual = list(actual.values()) if isinstance(actual, dict) else [actual]
    expected = list(expected.values()) if isinstance(expected, dict) else [expected]
    for ours, theirs in zip(actual, expected, strict=True):
        theirs = np.asarray(theirs)
        scale = np.abs(theirs).max(initial=1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)


def normal(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def test_all_activations(compiled, keras, shake):
    layers, source = keras.layers, keras.Input((5,))
    hidden = layers.Dense(9)(source)
    heads = {name: layers.Activation(name)(hidden) for name in ACTIVATIONS}
    heads["gated"] = keras.activations.glu(layers.Dense(8)(source))
    heads["learnt"] = layers.PReLU()(hidden)
    heads["bent"] = layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.3)(hidden)
    model = shake(keras.Model(source, heads))
    x = normal(19, 5)
    found = compiled(model)(x)
    close({name: found[name] for name in heads}, model(x))


@pytest.mark.parametrize(
    ("layer", "options"),
    [
        ("LayerNormalization", {}),
        ("GroupNormalization", {"groups": 4}),
        ("RMSNormalization", {}),
        ("UnitNormalization", {}),
        ("BatchNormalization", {}),
        ("BatchNormalization", {"scale": False}),
        ("BatchNormalization", {"center": False, "scale": False}),
    ],
    ids=str,
)
def test_normalisation_in_every_place(compiled, keras, shake, layer, options):
    def norm():
        return getattr(keras.layers, layer)(**options)

    dense = keras.layers.Dense
    stack = [keras.Input((8,)), norm(), dense(16), norm(), keras.layers.Activation("relu")]
    model = shake(keras.Sequential([*stack, dense(12, "elu"), norm(), dense(4), norm()]))
    x = normal(19, 8)
    # One element a group: what is left after its mean is subtracted is rounding alone.
    close(compiled(model)(x), model(x), 2e-4 if layer == "GroupNormalization" else 2e-5)


def test_a_recommender(compiled, keras, shake):
    layers = keras.layers
    user = keras.Input((), dtype="int32", name="user")
    item = keras.Input((), dtype="int64", name="item")
    history = keras.Input((12,), dtype="int32", name="history")
    features = keras.Input((4,), name="features")
    first, second = layers.Embedding(500, 8)(user), layers.Embedding(30, 8)(item)
    past = layers.GlobalAveragePooling1D()(layers.Embedding(30, 8, mask_zero=True)(history))
    joined = layers.Dense(32, "relu")(layers.Concatenate()([first, second, past, features]))
    model = shake(
        keras.Model(
            [user, item, history, features],
            {
                "cosine": layers.Dot(1, normalize=True)([first, second]),
                "rate": layers.Dense(1, "sigmoid")(joined),
            },
        )
    )
    artifact = compiled(model)
    random = np.random.default_rng(1)
    rows = {
        "user": random.integers(0, 500, 19).astype(np.int32),
        "item": random.integers(0, 30, 19),
        "history": random.integers(0, 30, (19, 12)).astype(np.int32),
        "features": normal(19, 4),
    }
    close(artifact(**rows), model(rows))


def test_preprocessing_layers(compiled, keras):
    layers = keras.layers
    scale = layers.Normalization()
    scale.adapt(normal(100, 6) * 5 + 3)
    source, kind = keras.Input((6,)), keras.Input((1,), dtype="int32")
    bins = layers.Discretization([-1.0, 0.0, 0.5, 2.0])(source)
    model = keras.Model(
        [source, kind],
        {
            "bins": bins,
            "embedded": layers.Flatten()(layers.Embedding(5, 4)(bins)),
            "one_hot": layers.CategoryEncoding(7, output_mode="one_hot")(kind),
            "scaled": layers.Dense(3, "selu")(scale(source)),
        },
    )
    x, k = normal(19, 6), np.arange(19, dtype=np.int32).reshape(19, 1) % 7
    close(compiled(model)(x, k), model([x, k]))


@pytest.mark.parametrize("width", [1, 3, 7, 33, 300])
def test_widths(compiled, keras, shake, width):
    dense = keras.layers.Dense
    stack = [dense(width, "relu"), dense(width, "tanh"), dense(width, "softmax")]
    model = shake(keras.Sequential([keras.Input((width,)), *stack]))
    x = normal(19, width)
    close(compiled(model)(x), model(x))


@pytest.mark.slow
def test_a_hundred_layers(compiled, keras, shake):
    kinds = ["elu", "tanh", "relu", "selu"]
    stack = [keras.layers.Dense(16, kinds[k % 4]) for k in range(100)]
    model = shake(keras.Sequential([keras.Input((16,)), *stack]))
    x = normal(19, 16)
    close(compiled(model)(x), model(x), 1e-3)


def test_residual_dense_and_gated_branches(compiled, keras, shake):
    layers, source = keras.layers, keras.Input((12,))
    x = source
    for _ in range(3):
        inner = layers.Activation("elu")(layers.BatchNormalization()(x))
        x = layers.Add()([x, layers.Dense(12)(inner)])
    for _ in range(3):
        x = layers.Concatenate()([x, layers.Dense(5, "relu")(x)])
    gate = layers.Dense(4, "softmax")(source)
    experts = keras.ops.stack([layers.Dense(6, "gelu")(x) for _ in range(4)], axis=1)
    model = shake(keras.Model(source, keras.ops.einsum("be,bed->bd", gate, experts)))
    rows = normal(19, 12)
    close(compiled(model)(rows), model(rows))


def test_attention_over_a_short_sequence(compiled, keras, shake):
    layers, source = keras.layers, keras.Input((6, 16))
    mixed = layers.LayerNormalization()(
        layers.Add()([layers.MultiHeadAttention(2, 8)(source, source), source])
    )
    model = shake(keras.Model(source, layers.Dense(3)(layers.GlobalAveragePooling1D()(mixed))))
    x = normal(19, 6, 16)
    close(compiled(model)(x), model(x))


@pytest.mark.parametrize(
    ("policy", "tolerance"),
    [
        ("float16", 2e-2),
        ("bfloat16", 1e-1),
        ("float64", 1e-12),
        ("mixed_float16", 2e-2),
        ("mixed_bfloat16", 1e-1),
    ],
)
def test_dtype_policies(compiled, keras, policy, tolerance):
    layers = keras.layers
    keras.config.set_dtype_policy(policy)
    try:
        stack = [layers.Dense(33, "elu"), layers.BatchNormalization(), layers.Dense(17, "relu")]
        last = [layers.LayerNormalization(), layers.Dense(5, "softmax")]
        model = keras.Sequential([keras.Input((12,)), *stack, *last])
    finally:
        keras.config.set_dtype_policy("float32")
    artifact = compiled(model)
    x = normal(19, 12).astype(DType.from_name(artifact.inputs[0].dtype).numpy)
    actual, expected = artifact(x), np.asarray(model(x))
    assert actual.dtype == expected.dtype
    close(actual.astype(np.float64), expected.astype(np.float64), tolerance)
