"""Save the poster model: dense, ELU and batch normalisation a number of times, then softmax.

Usage: make_model.py SAVED_MODEL LAYERS WIDTH. The weights are random, the batch normalisations as
after training: their speed does not depend on the values, but folding them must not be trivial.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras


def main() -> None:
    path, layers, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    keras.utils.set_random_seed(1)
    uniform = keras.initializers.RandomUniform
    x = start = keras.Input((width,), name="features")
    for _ in range(layers):
        x = keras.layers.Dense(width, activation="elu", bias_initializer="normal")(x)
        x = keras.layers.BatchNormalization(
            beta_initializer="normal",
            gamma_initializer=uniform(0.5, 1.5),
            moving_mean_initializer="normal",
            moving_variance_initializer=uniform(0.5, 2.0),
        )(x)
    x = keras.layers.Dense(10, activation="softmax")(x)
    keras.Model(start, x).export(path, verbose=False)


if __name__ == "__main__":
    main()
