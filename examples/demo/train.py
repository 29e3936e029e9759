"""Train the demo's model and save it: 5 layers of dense, ELU and batch normalisation; softmax.

Usage: train.py SAVED_MODEL. The data are synthetic: points around class centres, moved by a random
nonlinear map, so that the batch normalisations see values of all sizes.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

FEATURES, CLASSES, LAYERS, WIDTH = 32, 5, 5, 128
ROWS, EPOCHS, BATCH = 20_000, 3, 250


def make_data(seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Rows of features, and the class of each."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, ROWS)
    centres = random.normal(size=(CLASSES, FEATURES))
    points = centres[labels] + random.normal(scale=1.5, size=(ROWS, FEATURES))
    mix = random.normal(size=(FEATURES, FEATURES)) / np.sqrt(FEATURES)
    values = np.sin(points @ mix) + 0.5 * points * random.uniform(0.1, 4.0, FEATURES)
    return values.astype(np.float32), labels


def make_model() -> keras.Model:
    """The model, not yet trained."""
    inputs = keras.Input((FEATURES,), name="features")
    x = inputs
    for _ in range(LAYERS):
        x = keras.layers.Dense(WIDTH, activation="elu")(x)
        x = keras.layers.BatchNormalization()(x)
    outputs = keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name="poster")


def main() -> None:
    """Train, report the accuracy, save."""
    destination = Path(sys.argv[1])
    keras.utils.set_random_seed(1)
    model = make_model()
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    features, labels = make_data(seed=1)
    kept = ROWS * 9 // 10
    for epoch in range(EPOCHS):
        model.fit(features[:kept], labels[:kept], batch_size=BATCH, epochs=1, verbose=0)
        _, accuracy = model.evaluate(features[kept:], labels[kept:], batch_size=BATCH, verbose=0)
        print(
            f"  epoch {epoch + 1} of {EPOCHS}: accuracy {accuracy:.3f} on rows not trained on",
            flush=True,
        )
    model.export(destination, verbose=False)
    np.save(destination.with_suffix(".npy"), features[kept : kept + 1000])


if __name__ == "__main__":
    main()
