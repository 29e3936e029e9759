"""Models of images and volumes, and the applications that come with Keras."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def normal(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def close(actual, expected, tolerance=1e-4):
    expected = np.asarray(expected)
    scale = np.abs(expected).max(initial=1e-3)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def check(artifact, model, x, tolerance=1e-4):
    found = artifact(x)
    close(found, model(x), tolerance)
    assert artifact.manifest.batch.rows_independent, artifact.manifest.batch.reason
    last = len(x) - 1
    assert artifact(x[last:]).tobytes() == found[last:].tobytes()


def test_residual_convolutions(compiled, keras, shake):
    layers = keras.layers
    source = keras.Input((21, 21, 3))
    x = layers.ZeroPadding2D()(source)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    for width, strides in ((8, 1), (12, 2)):
        y = layers.Activation("relu")(layers.BatchNormalization()(x))
        short = layers.Conv2D(width, 1, strides=strides)(y)
        y = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(y)
        y = layers.Activation("relu")(layers.BatchNormalization()(y))
        x = layers.Conv2D(width, 3, padding="same")(y) + short
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(x))
    model = shake(keras.Model(source, layers.Dense(5, "softmax")(x)))
    check(compiled(model), model, normal(19, 21, 21, 3))


@pytest.mark.slow
def test_separable_convolutions_with_squeezing(compiled, keras, shake):
    layers = keras.layers
    source = keras.Input((16, 16, 4))
    x = layers.Conv2D(12, 1, activation="silu")(source)
    x = layers.DepthwiseConv2D(5, strides=2, padding="same")(x)
    x = layers.BatchNormalization()(x)
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(12, 1, activation="hard_sigmoid")(layers.Conv2D(3, 1)(squeezed))
    x = layers.SeparableConv2D(6, 3, padding="same", activation="gelu")(x * gate)
    model = shake(keras.Model(source, layers.Dense(3)(layers.Flatten()(x))))
    check(compiled(model), model, normal(19, 16, 16, 4))


def encoder_decoder(keras, rank, size, widths):
    layers = keras.layers
    layer = {
        kind: getattr(layers, f"{kind}{rank}D") for kind in ("Conv", "MaxPooling", "UpSampling")
    }
    transposed = getattr(layers, f"Conv{rank}DTranspose")
    source = x = keras.Input((*[size] * rank, 2))
    skipped = []
    for width in widths:
        x = layer["Conv"](width, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        skipped.append(x)
        x = layer["MaxPooling"](2)(x)
    x = layer["Conv"](2 * widths[-1], 3, padding="same", activation="relu")(x)
    for number, (width, skip) in enumerate(zip(widths[::-1], skipped[::-1], strict=True)):
        grow = transposed(width, 2, strides=2) if number else layer["UpSampling"](2)
        x = grow(x)
        x = layers.Concatenate()([x, skip])
        x = layer["Conv"](width, 3, padding="same", activation="elu")(x)
    return keras.Model(source, layer["Conv"](1, 1, activation="sigmoid")(x))


@pytest.mark.parametrize(
    ("rank", "size", "widths"),
    [(2, 16, (4, 6)), pytest.param(3, 8, (4, 6), marks=pytest.mark.slow)],
)
def test_unet(compiled, keras, shake, rank, size, widths):
    model = shake(encoder_decoder(keras, rank, size, widths))
    check(compiled(model), model, normal(3, *[size] * rank, 2))


@pytest.mark.slow
def test_vision_transformer(compiled, keras, shake):
    layers = keras.layers
    source = keras.Input((16, 16, 3))
    x = layers.Reshape((16, 12))(layers.Conv2D(12, 4, strides=4)(source))
    x = x + layers.Embedding(16, 12)(keras.ops.arange(16))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(3, 4)(y, y)
        y = layers.LayerNormalization()(x)
        x = x + layers.Dense(12)(layers.Dense(24, "gelu")(y))
    model = shake(keras.Model(source, layers.Dense(4)(layers.GlobalAveragePooling1D()(x))))
    check(compiled(model), model, normal(19, 16, 16, 3))


APPLICATIONS = {
    "ConvNeXtTiny": 64,
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "InceptionV3": 75,
    "MobileNet": 64,
    "MobileNetV2": 64,
    "MobileNetV3Small": 64,
    "NASNetMobile": 64,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "VGG16": 32,
    "Xception": 71,
}
"""Per family the least size of image that leaves several positions, or that it takes."""


def awake(model, keras, images):
    """Statistics as training leaves them: without, signals die out over a hundred layers."""
    random = np.random.default_rng(7)
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    for variable in model.weights:
        if variable.name in ("gamma", "beta", "bias"):
            centre = 1.0 if variable.name == "gamma" else 0.0
            variable.assign(random.normal(centre, 0.1, variable.shape))
        elif "kernel" in variable.name and not norms:
            variable.assign(variable * np.sqrt(2.0))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_application(compiled, keras, name):
    size = APPLICATIONS[name]
    options = {"include_preprocessing": False} if "NeXt" in name or "V2B" in name else {}
    make = getattr(keras.applications, name)
    shape = (size, size, 3)
    model = make(weights=None, input_shape=shape, classes=10, classifier_activation=None, **options)
    awake(model, keras, normal(8, *shape))
    x = normal(3, *shape)
    expected = np.asarray(model(x))
    assert np.ptp(expected, axis=0).max() > 0.1 * np.abs(expected).max(), "images are all alike"
    check(compiled(model), model, x, 1e-3)
