"""Models of TensorFlow with their weights in a file: trained again, the file alone is replaced.

The first model is fresh: biases of zero, scales of one, layers alike. The second one has weights
that are none of these, and names that Keras numbered anew.
"""

import numpy as np
import pytest

from tfaot.cli.main import run
from tfaot.compiler import compile_model
from tfaot.errors import ModelError, UnsupportedError
from tfaot.options import make_options
from tfaot.retrained import write_weights
from tfaot.runtime.model import load
from tfaot.weights_file import read_weights_header

pytestmark = pytest.mark.tensorflow

BUILDERS = {
    "dense": lambda k: [k.Input((9,)), k.Dense(20, "elu"), k.Dense(20, "elu"), k.Dense(3)],
    "normalised": lambda k: [
        k.Input((9,)),
        k.BatchNormalization(),
        k.Dense(20),
        k.BatchNormalization(),
        k.ReLU(),
        k.Dense(7),
        k.BatchNormalization(),
    ],
    "learned slopes": lambda k: [
        k.Input((9,)),
        k.Dense(20),
        k.PReLU(shared_axes=[1]),
        k.Dense(20),
        k.PReLU(),
    ],
    "images": lambda k: [
        k.Input((12, 12, 3)),
        k.Conv2D(8, 3),
        k.BatchNormalization(),
        k.ReLU(),
        k.DepthwiseConv2D(3, padding="same"),
        k.MaxPool2D(),
        k.Conv2DTranspose(4, 3, strides=2),
        k.Flatten(),
        k.Dense(4),
    ],
    "sequences": lambda k: [
        k.Input((7, 5)),
        k.GRU(12, return_sequences=True),
        k.LSTM(8),
        k.Dense(2),
    ],
    "embedding": lambda k: [
        k.Input((6,), dtype="int32"),
        k.Embedding(11, 8),
        k.LayerNormalization(),
        k.GlobalAveragePooling1D(),
        k.Dense(3),
    ],
    "input statistics": lambda k: [
        k.Input((4,)),
        k.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[1.0, 1.0, 2.0, 4.0]),
        k.Dense(3),
    ],
}
CASES = [
    name if name == "dense" else pytest.param(name, marks=pytest.mark.slow) for name in BUILDERS
]


def quiet(stage, detail):
    pass


def fresh(keras, name):
    return keras.Sequential(BUILDERS[name](keras.layers))


def trained(keras, name):
    model = fresh(keras, name)
    random = np.random.default_rng(1)
    model.set_weights(
        [
            random.uniform(0.2, 1.2, w.shape) if np.ndim(w) < 2 else random.normal(size=w.shape) / 3
            for w in model.get_weights()
        ]
    )
    return model


def sample(model, rows=5):
    x = np.random.default_rng(0).normal(size=(rows, *model.input_shape[1:])).astype(np.float32)
    return (abs(x) * 3).astype(np.int32) if model.inputs[0].dtype == "int32" else x


@pytest.mark.parametrize("name", CASES)
def test_a_trained_model_takes_the_place_of_a_fresh_one(name, keras, session, tmp_path):
    first, second = fresh(keras, name), trained(keras, name)
    second.save(tmp_path / "second.keras")
    options = make_options(tmp_path, name="model", weights="external")
    artifact = compile_model(options, first, quiet, session=session)
    model, x = artifact.load(), sample(first)
    before = model(x)
    np.testing.assert_allclose(before, first(x), rtol=1e-4, atol=1e-5)
    files = {p: p.read_bytes() for p in (artifact.object, artifact.header, artifact.manifest)}

    path = write_weights(artifact.manifest, tmp_path / "second.keras", session=session)

    assert path == artifact.weights
    assert {p: p.read_bytes() for p in files} == files
    # Who has mapped the old file keeps it.
    assert model(x).tobytes() == before.tobytes()
    model.load_weights(path)
    np.testing.assert_allclose(model(x), second(x), rtol=1e-4, atol=1e-5)
    again = load(artifact.manifest)(x)
    assert again.tobytes() == model(x).tobytes() != before.tobytes()
    assert len(read_weights_header(path).source) == 64


@pytest.mark.slow
def test_the_command_writes_the_file_of_a_retrained_model(keras, tmp_path, capsys):
    fresh(keras, "dense").save(tmp_path / "first.keras")
    second = trained(keras, "dense")
    second.export(tmp_path / "second")
    models = [str(tmp_path / "first.keras"), str(tmp_path / "second")]
    arguments = ["-o", str(tmp_path), "--name", "m", "--weights", "external", "-q"]
    assert run(["compile", models[0], *arguments]) == 0
    old = (tmp_path / "m.weights").read_bytes()
    capsys.readouterr()

    new = str(tmp_path / "new.weights")
    assert run(["weights", str(tmp_path / "m.json"), "--model", models[1], "-o", new]) == 0

    assert capsys.readouterr().out.splitlines()[-1] == new
    assert (tmp_path / "m.weights").read_bytes() == old
    x = sample(second)
    found = load(tmp_path / "m.json", new)(x)
    np.testing.assert_allclose(found, second(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_another_structure_is_refused_and_nothing_written(keras, session, tmp_path):
    options = make_options(tmp_path, name="model", weights="external", verify=False)
    artifact = compile_model(options, fresh(keras, "dense"), quiet, session=session)
    before = artifact.weights.read_bytes()
    layers = keras.layers
    for last, message in (
        (layers.Dense(3, "tanh"), "another structure than 'model'"),
        (layers.Dense(4), "other outputs than 'model'"),
    ):
        other = keras.Sequential(
            [layers.Input((9,)), layers.Dense(20, "elu"), layers.Dense(20, "elu"), last]
        )
        with pytest.raises(ModelError, match=message):
            write_weights(artifact.manifest, other, session=session)
    wider = keras.Sequential(
        [layers.Input((9,)), layers.Dense(21, "elu"), layers.Dense(20, "elu"), layers.Dense(3)]
    )
    with pytest.raises(ModelError, match=r"\d+ bytes of weights instead of \d+"):
        write_weights(artifact.manifest, wider, session=session)
    assert artifact.weights.read_bytes() == before
    assert {p.suffix for p in tmp_path.iterdir()} == {".h", ".o", ".json", ".weights"}


@pytest.mark.slow
def test_static_sizes_share_one_file(keras, session, tmp_path):
    options = make_options(
        tmp_path, name="model", weights="external", batch_sizes=(2, 4), static=True
    )
    first, second = fresh(keras, "dense"), trained(keras, "dense")
    artifact = compile_model(options, first, quiet, session=session)
    new = tmp_path / "new.weights"
    path = write_weights(artifact.manifest, second, new, verify=False, session=session)

    model, x = load(artifact.manifest, path), sample(first, rows=7)

    np.testing.assert_allclose(model(x), second(x), rtol=1e-4, atol=1e-5)
    assert model.manifest.weights_bytes < 1.5 * model.manifest.parameter_bytes + 2048


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["range", "reshape"])
def test_a_variable_that_sets_a_size_is_refused_by_name(kind, tf, session, tmp_path):
    class Sized(tf.Module):
        def __init__(self):
            super().__init__()
            self.size = tf.Variable(2.0, name="my_size")

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, x):
            if kind == "range":
                return x + tf.reduce_sum(tf.range(0.0, self.size))
            return tf.reshape(x, [-1, tf.cast(self.size, tf.int32)])

    options = make_options(tmp_path, name="sized", weights="external")
    with pytest.raises(UnsupportedError, match="depends on the value of 'my_size'"):
        compile_model(options, Sized(), quiet, session=session)


@pytest.mark.slow
def test_variables_decide_what_runs_not_what_is_compiled(tf, session, tmp_path):
    class Deciding(tf.Module):
        def __init__(self, value):
            super().__init__()
            self.value = tf.Variable(value)

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, x):
            y = tf.cond(self.value > 1.5, lambda: x * 2.0, lambda: tf.tanh(x))
            y = tf.while_loop(
                lambda i, _: i < self.value, lambda i, y: (i + 1.0, y * 1.5), (0.0, y)
            )[1]
            return {"y": y, "value": self.value}

    first, second = Deciding(2.0), Deciding(1.0)
    options = make_options(tmp_path, name="deciding", weights="external")
    artifact = compile_model(options, first, quiet, session=session)
    path = write_weights(artifact.manifest, second, tmp_path / "new.weights", session=session)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)

    for weights, source in ((artifact.weights, first), (path, second)):
        found, wanted = load(artifact.manifest, weights)(x), source(x)
        np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-6)
        assert found["value"] == wanted["value"]
