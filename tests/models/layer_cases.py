"""One or two small models of every layer of `keras.layers`, and the layers that have none and why.

Nothing here imports Keras: a case is given the module when its model is made, so that tests can be
listed without TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Keras = Any
Layer = Any
Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class LayerCase:
    """A layer between inputs and outputs.

    Attributes:
        layer: its name in `keras.layers`.
        make: the layer, given the module `keras`.
        shapes: of its inputs, without the batch axis.
        dtype: of its inputs.
        arguments: what it is called with besides, by name.
        as_list: whether several inputs are passed as one list.
        quick: whether the case is part of every test run.
    """

    layer: str
    make: Callable[[Keras], Layer]
    shapes: tuple[Shape, ...]
    dtype: str = "float32"
    arguments: tuple[tuple[str, Any], ...] = ()
    as_list: bool = True
    quick: bool = False

    def model(self, keras: Keras) -> Any:
        """The Keras model."""
        inputs = [keras.Input(shape, dtype=self.dtype) for shape in self.shapes]
        layer = self.make(keras)
        arguments = dict(self.arguments)
        if len(inputs) == 1 or self.as_list:
            result = layer(inputs[0] if len(inputs) == 1 else inputs, **arguments)
        else:
            result = layer(*inputs, **arguments)
        return keras.Model(inputs, result)


CASES: dict[str, LayerCase] = {}


def _case(
    layer: str,
    *shapes: Shape,
    as_list: bool = True,
    quick: bool = False,
    dtype: str = "float32",
    call: dict[str, Any] | None = None,
    made: Callable[[Keras], Layer] | None = None,
    **options: Any,
) -> None:
    """Register a case; `made` makes layers that take others, else `options` are the layer's."""

    def make(keras: Keras) -> Layer:
        return made(keras) if made else getattr(keras.layers, layer)(**options)

    known = sum(case.layer == layer for case in CASES.values())
    name = layer if not known else f"{layer}-{known + 1}"
    arguments = tuple((call or {}).items())
    CASES[name] = LayerCase(layer, make, tuple(shapes), dtype, arguments, as_list, quick)


LINE, IMAGE, VOLUME = (13, 4), (9, 8, 3), (5, 6, 4, 2)

# Core and merging.
_case("Activation", (7,), activation="gelu")
_case("ActivityRegularization", (7,), l2=0.1)
for _name in ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract"):
    _case(_name, (5, 3), (5, 3), quick=_name == "Average")
_case("Concatenate", (5, 3), (5, 2), quick=True)
_case("Concatenate", (5, 3), (2, 3), axis=1)
_case("Dot", (5, 3), (4, 3), axes=2)
_case("Dot", (6,), (6,), axes=1, normalize=True)
_case("Dense", (5, 6), units=7, activation="relu")
_case("Dense", (6,), units=17, activation="softmax", quick=True)
_case("EinsumDense", (5, 6), equation="abc,cd->abd", output_shape=(None, 4), bias_axes="d")
_case("EinsumDense", (5, 6), equation="abc,bcd->ad", output_shape=(4,), quick=True)
_case("Embedding", (6,), dtype="int32", input_dim=11, output_dim=5, mask_zero=True)
_case("ReversibleEmbedding", (6,), dtype="int32", input_dim=11, output_dim=5)
_case("Identity", (5,))
_case("Lambda", (5,), function=lambda x: x * 2 + 1)
_case("Masking", LINE, mask_value=0.0)
_case("Flatten", IMAGE)
_case("Permute", (3, 4, 5), dims=(3, 1, 2), quick=True)
_case("RepeatVector", (5,), n=3)
_case("Reshape", (6, 4), target_shape=(3, -1))
for _name in ("ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax"):
    _case(_name, (5, 6))
_case("PReLU", IMAGE, shared_axes=[1, 2])
_case("Softmax", (5, 6), axis=1, quick=True)

# Normalisation and regularisation.
_case("BatchNormalization", IMAGE)
_case("BatchNormalization", (6, 4), axis=1, quick=True)
_case("LayerNormalization", (5, 6))
_case("LayerNormalization", IMAGE, axis=[1, 2, 3])
_case("GroupNormalization", (6, 6, 8), groups=4, quick=True)
_case("RMSNormalization", (5, 6))
_case("UnitNormalization", (5, 6))
_case(
    "SpectralNormalization",
    (6,),
    made=lambda k: k.layers.SpectralNormalization(k.layers.Dense(4)),
)
for _name in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"):
    _case(_name, (5,), **({"stddev": 0.5} if _name == "GaussianNoise" else {"rate": 0.5}))
for _name, _shape in (("1D", LINE), ("2D", IMAGE), ("3D", VOLUME)):
    _case(f"SpatialDropout{_name}", _shape, rate=0.5)

# Convolutions.
_case("Conv1D", LINE, filters=5, kernel_size=3, activation="elu")
_case("Conv1D", LINE, filters=5, kernel_size=3, padding="causal", dilation_rate=2, quick=True)
_case("Conv2D", IMAGE, filters=5, kernel_size=3, padding="same", activation="relu", quick=True)
_case("Conv2D", IMAGE, filters=6, kernel_size=(3, 2), strides=(2, 1), groups=3)
_case("Conv3D", VOLUME, filters=3, kernel_size=3, padding="same")
_case("Conv3D", VOLUME, filters=3, kernel_size=2, strides=2, quick=True)
_case("Conv1DTranspose", LINE, filters=5, kernel_size=3, strides=2)
_case("Conv2DTranspose", IMAGE, filters=5, kernel_size=3, strides=2, padding="same", quick=True)
_case("Conv3DTranspose", VOLUME, filters=3, kernel_size=2, strides=2)
_case("DepthwiseConv1D", LINE, kernel_size=3, depth_multiplier=2)
_case("DepthwiseConv2D", IMAGE, kernel_size=3, padding="same", quick=True)
_case("DepthwiseConv2D", IMAGE, kernel_size=3, strides=2, depth_multiplier=2)
_case("SeparableConv1D", LINE, filters=5, kernel_size=3)
_case("SeparableConv2D", IMAGE, filters=5, kernel_size=3, dilation_rate=2)

# Pooling and shapes of images.
for _rank, _shape in ((1, LINE), (2, IMAGE), (3, VOLUME)):
    for _name in ("Average", "Max"):
        _case(f"{_name}Pooling{_rank}D", _shape, pool_size=2, quick=_rank == 1)
        _case(f"{_name}Pooling{_rank}D", _shape, pool_size=3, strides=2, padding="same")
        _case(f"Global{_name}Pooling{_rank}D", _shape, keepdims=_name == "Max")
        _case(f"Adaptive{_name}Pooling{_rank}D", _shape, output_size=2)
    _case(f"Cropping{_rank}D", _shape, cropping=1)
    _case(f"UpSampling{_rank}D", _shape, size=2)
    _case(f"ZeroPadding{_rank}D", _shape, padding=2)
_case("UpSampling2D", IMAGE, size=2, interpolation="bilinear", quick=True)
_case("Resizing", IMAGE, height=5, width=11)
_case("Resizing", IMAGE, height=12, width=6, interpolation="nearest")
_case("Resizing", IMAGE, height=12, width=6, interpolation="bicubic")
_case("CenterCrop", IMAGE, height=4, width=5)
_case("Rescaling", IMAGE, scale=1 / 255, offset=-0.5)

# Recurrent layers.
_case("LSTM", LINE, units=6)
_case("LSTM", LINE, units=6, return_sequences=True, go_backwards=True)
_case("LSTM", (6, 4), units=6, unroll=True)
_case("GRU", LINE, units=6, return_sequences=True, quick=True)
_case("GRU", LINE, units=6, reset_after=False, return_state=True)
_case("SimpleRNN", LINE, units=6)
_case(
    "Bidirectional",
    LINE,
    quick=True,
    made=lambda k: k.layers.Bidirectional(k.layers.LSTM(5, return_sequences=True)),
)
_case(
    "Bidirectional",
    LINE,
    made=lambda k: k.layers.Bidirectional(k.layers.GRU(5), merge_mode="sum"),
)
_case("RNN", LINE, made=lambda k: k.layers.RNN(k.layers.LSTMCell(5)))
_case("LSTMCell", LINE, made=lambda k: k.layers.RNN(k.layers.LSTMCell(5), return_sequences=True))
_case("GRUCell", LINE, made=lambda k: k.layers.RNN(k.layers.GRUCell(5)))
_case("SimpleRNNCell", LINE, made=lambda k: k.layers.RNN(k.layers.SimpleRNNCell(5)))
_case(
    "StackedRNNCells",
    LINE,
    made=lambda k: k.layers.RNN(
        k.layers.StackedRNNCells([k.layers.LSTMCell(5), k.layers.GRUCell(4)])
    ),
)
_case("ConvLSTM1D", (4, 7, 3), filters=4, kernel_size=3)
_case("ConvLSTM2D", (3, 6, 5, 2), filters=3, kernel_size=3, padding="same", quick=True)
_case("ConvLSTM3D", (2, 4, 4, 4, 2), filters=2, kernel_size=2, return_sequences=True)
_case("TimeDistributed", (4, 7, 3), made=lambda k: k.layers.TimeDistributed(k.layers.Conv1D(4, 3)))

# Attention.
_case("Attention", (5, 6), (7, 6), use_scale=True)
_case("AdditiveAttention", (5, 6), (7, 6), quick=True)
_case("MultiHeadAttention", (9, 8), (7, 8), as_list=False, num_heads=2, key_dim=4, quick=True)
_case(
    "MultiHeadAttention",
    (9, 8),
    (9, 8),
    as_list=False,
    call={"use_causal_mask": True},
    num_heads=2,
    key_dim=4,
    value_dim=3,
)
_case(
    "GroupQueryAttention",
    (9, 8),
    (7, 8),
    as_list=False,
    head_dim=4,
    num_query_heads=4,
    num_key_value_heads=2,
    quick=True,
)

# Preprocessing.
_case("Normalization", (5,), mean=1.5, variance=2.0)
_case("Discretization", (5,), bin_boundaries=[-1.0, 0.0, 0.7])
_case("CategoryEncoding", (3,), dtype="int32", num_tokens=6, output_mode="multi_hot")
_case("CategoryEncoding", (1,), dtype="int32", num_tokens=6, output_mode="one_hot", quick=True)
_case("HashedCrossing", (1,), (1,), dtype="int32", num_bins=5)
_case("Hashing", (3,), dtype="int32", num_bins=5)
_case("IntegerLookup", (3,), dtype="int64", vocabulary=[3, 5, 8])
_case(
    "STFTSpectrogram",
    (64, 1),
    frame_length=16,
    frame_step=8,
    fft_length=16,
    window=None,
    quick=True,
)
_case(
    "MelSpectrogram",
    (256,),
    sequence_length=32,
    sequence_stride=16,
    fft_length=32,
    sampling_rate=800,
    num_mel_bins=6,
    max_freq=400,
    min_freq=20,
)
_case("ContrastLimitedAdaptiveHistogramEqualization", (16, 16, 3), value_range=(0, 1))
_case("Solarization", IMAGE, value_range=(0, 1), threshold_factor=(0.5, 0.5))
_case("AutoContrast", IMAGE, value_range=(0, 1))
_case("MaxNumBoundingBoxes", (5, 4), max_number=3)
_case("RandomCrop", IMAGE, height=4, width=5)
_RANGED = {"value_range": (0, 1)}
for _name, _options in {
    "AugMix": _RANGED,
    "CutMix": {},
    "MixUp": {},
    "RandAugment": _RANGED,
    "RandomBrightness": {"factor": 0.2},
    "RandomColorDegeneration": {"factor": 0.2, **_RANGED},
    "RandomColorJitter": {**_RANGED, "brightness_factor": 0.2},
    "RandomContrast": {"factor": 0.2},
    "RandomElasticTransform": {"factor": 0.2},
    "RandomErasing": {"factor": 0.2},
    "RandomFlip": {},
    "RandomGaussianBlur": {"factor": 0.2},
    "RandomGrayscale": {"factor": 0.2},
    "RandomHue": {"factor": 0.2, **_RANGED},
    "RandomInvert": {"factor": 0.2, **_RANGED},
    "RandomPerspective": {"factor": 0.2},
    "RandomPosterization": {"factor": 3, **_RANGED},
    "RandomRotation": {"factor": 0.2},
    "RandomSaturation": {"factor": 0.2, **_RANGED},
    "RandomSharpness": {"factor": 0.2, **_RANGED},
    "RandomShear": {"x_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
}.items():
    _case(_name, IMAGE, **_options)
_case("Pipeline", IMAGE, made=lambda k: k.layers.Pipeline([k.layers.Rescaling(0.5, offset=1.0)]))

WITHOUT: dict[str, str] = {
    "Equalization": "XLA has no DenseBincount of a computed size; Keras makes no model of it",
    "FlaxLayer": "runs a Flax model, which Keras's TensorFlow backend does not",
    "InputLayer": "every model has it",
    "JaxLayer": "calls JAX",
    "Layer": "the base class",
    "StringLookup": "takes strings, which XLA has no type for",
    "TFSMLayer": "calls another SavedModel: compile that",
    "TextVectorization": "takes strings, which XLA has no type for",
    "TorchModuleWrapper": "calls PyTorch",
    "Wrapper": "the base class",
}
"""Layers that no model of numbers is made of, and why."""


@dataclass(frozen=True)
class Refusal:
    """Why a case does not compile.

    Attributes:
        pattern: regular expression that the error's message matches.
        reason: for the documents.
    """

    pattern: str
    reason: str


REFUSED: dict[str, Refusal] = {
    "CategoryEncoding": Refusal(
        "DenseBincount .*compile-time constant",
        "`multi_hot` and `count`: XLA's DenseBincount must know the number of bins, which Keras "
        "finds from the values",
    ),
    "HashedCrossing": Refusal("SparseCross", "XLA has no SparseCross"),
    "Hashing": Refusal("StringToHashBucketFast", "hashes strings, which XLA has no type for"),
    "IntegerLookup": Refusal("lookup tables", "XLA has no lookup tables"),
    "Resizing-3": Refusal("ResizeBicubic", "`bicubic`: XLA has no ResizeBicubic"),
}
"""Cases that XLA refuses."""

ROWS_MIX: dict[str, str] = {
    "ContrastLimitedAdaptiveHistogramEqualization": "takes tables by an index over all rows",
    "MelSpectrogram": "decibels are relative to the largest value of the batch",
}
"""Cases in which a row's result depends on others, or takes a form that hides that it doesn't."""
