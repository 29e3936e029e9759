"""The benchmark's models: the poster's grid, other shapes, and real models where they are at hand.

Run as a program, `bench_models.py FOLDER NAME...` makes the models that FOLDER lacks; weights are
random, batch normalisations as after training.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfaot.engines.files import Origin

HERE = Path(__file__).resolve().parent

LAYERS = (1, 5, 10, 15, 20, 25)
NODES = (32, 64, 128, 256)
BATCHES = tuple(sorted([*(2**n for n in range(11)), 3, 7, 13, 15, 50, 100, 333]))
CLASSES = 8
QUICK_MODELS = ("1x32", "5x128", "10x64", "25x256")
QUICK_BATCHES = (1, 2, 7, 16, 64, 100, 256, 333, 1024)
REAL_BATCHES = (1, 10, 100)


@dataclass(frozen=True)
class BenchModel:
    """A model of the benchmark.

    Attributes:
        name: identifier, also of its file.
        family: `grid`, `dense`, `embedding`, `recurrent`, `graph`, `attention`, `convolution`,
            `application` or `real`.
        batches: the batch sizes that are measured.
        flops: multiplications and additions of its dense layers per row; 0 where not counted.
        origin: where it is, None where it is made by this module.
    """

    name: str
    family: str
    batches: tuple[int, ...]
    flops: int = 0
    origin: Origin | None = field(default=None, compare=False)


def grid_name(layers: int, nodes: int) -> str:
    """`25x256` for 25 layers of 256 nodes."""
    return f"{layers}x{nodes}"


def grid_flops(layers: int, nodes: int) -> int:
    """Multiplications and additions of the dense layers per row; activations are not counted."""
    return 2 * (layers * nodes * nodes + nodes * CLASSES)


def grid_models() -> list[BenchModel]:
    """The poster's models, at all batch sizes."""
    return [
        BenchModel(grid_name(layers, nodes), "grid", BATCHES, grid_flops(layers, nodes))
        for layers in LAYERS
        for nodes in NODES
    ]


def quick_models() -> list[BenchModel]:
    """A tenth of the grid's cells."""
    return [
        BenchModel(m.name, m.family, QUICK_BATCHES, m.flops)
        for m in grid_models()
        if m.name in QUICK_MODELS
    ]


def shape_models() -> list[BenchModel]:
    """Other shapes that users run."""
    return [
        BenchModel("wide-tagger", "dense", (1, 16, 128)),
        BenchModel("policy", "dense", (1,)),
        BenchModel("recommender", "embedding", (1, 16, 128)),
        BenchModel("conv1d-lstm-tagger", "recurrent", (1, 16, 128)),
        BenchModel("gru", "recurrent", (1, 16, 128)),
        BenchModel("edgeconv", "graph", (1, 16)),
        BenchModel("transformer", "attention", (1, 8)),
        BenchModel("cnn-3x3", "convolution", (1, 16)),
        BenchModel("cnn-depthwise", "convolution", (1, 16)),
        BenchModel("cnn-1x1", "convolution", (1, 16)),
        BenchModel("mobilenet-v2", "application", (1, 4)),
        BenchModel("resnet50", "application", (1,)),
    ]


def real_models(folder: Path) -> list[BenchModel]:
    """Trained models in a folder of them: SavedModels, and folders with a `case.json`."""
    found: list[BenchModel] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (path / "saved_model.pb").exists():
            origin = Origin(str(path.resolve()))
        elif (path / "case.json").exists():
            origin = _case_origin(path)
        else:
            continue
        found.append(BenchModel(f"real-{path.name}", "real", REAL_BATCHES, origin=origin))
    return found


def shared_models_folder() -> Path:
    """Where real models are looked for: $TFAOT_SHARED_MODELS, or beside the repository."""
    default = HERE.parent.parent / "shared" / "models"
    return Path(os.environ.get("TFAOT_SHARED_MODELS", default))


def _case_origin(folder: Path) -> Origin:
    case = json.loads((folder / "case.json").read_text())
    suffixes = {".pb", ".h5", ".keras"}
    (path,) = (p for p in sorted(folder.iterdir()) if p.suffix in suffixes)
    if path.suffix != ".pb":
        return Origin(str(path.resolve()))
    constants = case.get("graph_constants") or {}
    values = {name: value in (True, "True", "true", "1") for name, value in constants.items()}
    return Origin(
        str(path.resolve()),
        tuple(i["name"] for i in case["inputs"]),
        tuple(case.get("graph_outputs") or ()),
        values,
    )


def definitions_digest() -> str:
    """A digest of this file: models are made anew when their definitions change."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


# What follows needs Keras and runs in a process of its own.


def build(name: str) -> Any:
    """The Keras model called `name`."""
    import keras

    keras.utils.set_random_seed(1)
    builder = BUILDERS.get(name)
    if builder is not None:
        return builder(keras)
    layers, _, nodes = name.partition("x")
    return _poster(keras, int(layers), int(nodes))


def _norm(keras: Any) -> Any:
    """A batch normalisation whose folding is not trivial."""
    uniform = keras.initializers.RandomUniform
    return keras.layers.BatchNormalization(
        beta_initializer="normal",
        gamma_initializer=uniform(0.5, 1.5),
        moving_mean_initializer="normal",
        moving_variance_initializer=uniform(0.5, 2.0),
    )


def _poster(keras: Any, layers: int, nodes: int) -> Any:
    x = start = keras.Input((nodes,), name="features")
    for _ in range(layers):
        x = keras.layers.Dense(nodes, activation="elu", bias_initializer="normal")(x)
        x = _norm(keras)(x)
    return keras.Model(start, keras.layers.Dense(CLASSES, activation="softmax")(x))


def _wide_tagger(keras: Any) -> Any:
    x = start = keras.Input((300,), name="features")
    for nodes in (1024, 512, 256):
        x = _norm(keras)(keras.layers.Dense(nodes, activation="relu")(x))
    return keras.Model(start, keras.layers.Dense(CLASSES, activation="softmax")(x))


def _policy(keras: Any) -> Any:
    x = start = keras.Input((64,), name="state")
    for _ in range(4):
        x = keras.layers.Dense(64, activation="tanh")(x)
    return keras.Model(start, keras.layers.Dense(CLASSES)(x))


def _recommender(keras: Any) -> Any:
    ids = keras.Input((20,), dtype="int32", name="items")
    dense = keras.Input((16,), name="context")
    embedded = keras.layers.Embedding(10_000, 32)(ids)
    pooled = keras.layers.GlobalAveragePooling1D()(embedded)
    x = keras.layers.Concatenate()([pooled, dense])
    for nodes in (128, 64):
        x = keras.layers.Dense(nodes, activation="relu")(x)
    return keras.Model([ids, dense], keras.layers.Dense(1, activation="sigmoid")(x))


def _conv1d_lstm(keras: Any) -> Any:
    x = start = keras.Input((25, 16), name="candidates")
    for filters in (64, 32, 32, 8):
        x = keras.layers.Conv1D(filters, 1, activation="relu")(x)
    x = keras.layers.LSTM(150)(x)
    return keras.Model(start, keras.layers.Dense(CLASSES, activation="softmax")(x))


def _gru(keras: Any) -> Any:
    start = keras.Input((50, 16), name="steps")
    x = keras.layers.GRU(64)(start)
    return keras.Model(start, keras.layers.Dense(CLASSES, activation="softmax")(x))


def _edgeconv(keras: Any) -> Any:
    ops = keras.ops
    points, neighbours = 50, 7
    x = start = keras.Input((points, 16), name="points")
    squares = ops.sum(x * x, axis=-1, keepdims=True)
    distances = squares - 2 * (x @ ops.transpose(x, (0, 2, 1))) + ops.transpose(squares, (0, 2, 1))
    _, nearest = ops.top_k(-distances, neighbours + 1)
    nearest = ops.reshape(nearest[:, :, 1:], (-1, points * neighbours, 1))
    others = ops.take_along_axis(x, nearest, axis=1)
    others = ops.reshape(others, (-1, points, neighbours, 16))
    centre = ops.repeat(ops.expand_dims(x, 2), neighbours, axis=2)
    edges = ops.concatenate([centre, others - centre], axis=-1)
    for nodes in (64, 64):
        edges = keras.layers.Dense(nodes, activation="relu")(edges)
    x = ops.mean(ops.mean(edges, axis=2), axis=1)
    return keras.Model(start, keras.layers.Dense(CLASSES, activation="softmax")(x))


def _transformer(keras: Any) -> Any:
    layers = keras.layers
    x = start = keras.Input((128, 128), name="tokens")
    attended = layers.MultiHeadAttention(4, 32)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, attended]))
    inner = layers.Dense(128)(layers.Dense(512, activation="gelu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, inner]))
    return keras.Model(start, x)


def _cnn(keras: Any, kind: str) -> Any:
    layers = keras.layers
    x = start = keras.Input((21, 21, 32), name="image")
    for _ in range(3):
        if kind == "depthwise":
            x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
        x = layers.Conv2D(32, 3 if kind == "3x3" else 1, padding="same", activation="relu")(x)
        x = _norm(keras)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(start, layers.Dense(CLASSES, activation="softmax")(x))


BUILDERS: dict[str, Callable[[Any], Any]] = {
    "wide-tagger": _wide_tagger,
    "policy": _policy,
    "recommender": _recommender,
    "conv1d-lstm-tagger": _conv1d_lstm,
    "gru": _gru,
    "edgeconv": _edgeconv,
    "transformer": _transformer,
    "cnn-3x3": lambda keras: _cnn(keras, "3x3"),
    "cnn-depthwise": lambda keras: _cnn(keras, "depthwise"),
    "cnn-1x1": lambda keras: _cnn(keras, "1x1"),
    "mobilenet-v2": lambda keras: keras.applications.MobileNetV2(weights=None),
    "resnet50": lambda keras: keras.applications.ResNet50(weights=None),
}


def main(arguments: Sequence[str]) -> None:
    """Make models: FOLDER NAME..."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in arguments[1:]:
        path = folder / f"{name}.keras"
        if not path.exists():
            new = folder / f"new-{name}.keras"
            build(name).save(new)
            os.replace(new, path)


if __name__ == "__main__":
    main(sys.argv[1:])
