"""Files of the Keras before version 3: what it took for granted, and the user's own objects."""

import json
import sys
import textwrap

import numpy as np
import pytest

from tfaot.errors import ModelError
from tfaot.frontend.session import ModelSource, TensorFlowSession, open_model

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def edit_config(path, edit, version="2.2.4"):
    """Change an HDF5 file's account of its layers."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            edit(layer)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = version


def check(model, layers, sample):
    (x,) = sample(model, 3)
    np.testing.assert_allclose(model.evaluate([x])[0], layers.predict(x, verbose=0), atol=1e-6)


def test_a_recurrent_layer_of_before_the_choice_of_its_reset(session, tf_keras, tmp_path, sample):
    inputs = tf_keras.Input((5, 3))
    layers = tf_keras.Model(inputs, tf_keras.layers.GRU(4, reset_after=False)(inputs))
    layers.save(tmp_path / "m.h5")
    edit_config(tmp_path / "m.h5", lambda layer: layer["config"].pop("reset_after", None), "2.0.8")
    check(session.load(ModelSource(tmp_path / "m.h5")), layers, sample)


def test_layers_for_graphics_cards_become_plain_ones(session, tf_keras, tmp_path, sample):
    fast = pytest.importorskip("tf_keras.api._v1.keras.layers")
    inputs = tf_keras.Input((5, 3))
    hidden = fast.CuDNNLSTM(4, return_sequences=True, name="a")(inputs)
    trained = tf_keras.Model(inputs, fast.CuDNNGRU(2, go_backwards=True, name="b")(hidden))
    random = np.random.default_rng(0)
    trained.set_weights([random.normal(size=w.shape) for w in trained.get_weights()])
    trained.save(tmp_path / "m.h5")
    inputs = tf_keras.Input((5, 3))
    hidden = tf_keras.layers.LSTM(4, return_sequences=True, name="a")(inputs)
    plain = tf_keras.Model(inputs, tf_keras.layers.GRU(2, go_backwards=True, name="b")(hidden))
    plain.load_weights(tmp_path / "m.h5")
    check(session.load(ModelSource(tmp_path / "m.h5")), plain, sample)


def test_functions_that_were_written_as_dictionaries(session, tf, tf_keras, tmp_path, sample):
    def scaled(x):
        return tf.tanh(x) * 1.5

    layers = tf_keras.Sequential([tf_keras.layers.Dense(2, activation=scaled, input_shape=(3,))])
    layers.save(tmp_path / "m.h5")
    with open_model(tmp_path / "m.h5", custom_objects={"scaled": scaled}, session=session) as model:
        check(model, layers, sample)
    with pytest.raises(ModelError, match="needs the object 'scaled'"):
        session.load(ModelSource(tmp_path / "m.h5"))


def test_a_whole_module_of_objects_for_the_old_keras(tf_keras, tmp_path):
    """It imports tensorflow.keras, and decides in Python on the values of tensors."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "old_style_layers.py").write_text(
        textwrap.dedent("""
            import tensorflow as tf
            from tensorflow.keras.layers import Dense, Layer

            class Signed(Dense):
                pass

            class Halved(Layer):
                def call(self, x):
                    assert tf.keras.layers.Layer is Layer
                    if tf.reduce_max(x) > 1.0:
                        x = x / 2.0
                    return x
            """)
    )
    config = {
        "class_name": "Sequential",
        "config": {
            "name": "m",
            "layers": [
                {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 2]}},
                {"class_name": "Halved", "config": {"name": "halved"}},
                {"class_name": "Signed", "config": {"name": "signed", "units": 1}},
            ],
        },
    }
    inputs = tf_keras.Input((2,))
    dense = tf_keras.layers.Dense(1, name="signed", kernel_initializer="ones")
    tf_keras.Model(inputs, dense(tf_keras.layers.Identity(name="halved")(inputs))).save(
        tmp_path / "m.h5"
    )
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file.attrs["model_config"] = json.dumps(config)
        names = [n for n in file["model_weights"].attrs["layer_names"] if "input" not in str(n)]
        file["model_weights"].attrs["layer_names"] = names
    sys.path.insert(0, str(folder))
    try:
        with TensorFlowSession() as session:
            source = ModelSource(tmp_path / "m.h5", custom_objects=("old_style_layers",))
            model = session.load(source)
            for x, expected in (([[1, 0]], 1), ([[4, 2]], 3)):
                (result,) = model.evaluate([np.float32(x)])
                np.testing.assert_array_equal(result, [[expected]])
    finally:
        sys.path.remove(str(folder))


def test_the_code_of_lambda_layers_is_not_run(session, tf_keras, tmp_path):
    inputs = tf_keras.Input((2,))
    layers = tf_keras.Model(inputs, tf_keras.layers.Lambda(lambda x: x * 2)(inputs))
    for name in ("m.h5", "m.keras"):
        layers.save(tmp_path / name)
        with pytest.raises(ModelError, match=r"Lambda layer, whose code is not run.*in Python"):
            session.load(ModelSource(tmp_path / name))


def test_weights_alone_are_no_model(session, tf_keras, tmp_path):
    tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))]).save_weights(
        tmp_path / "w.h5"
    )
    with pytest.raises(ModelError, match=r"holds weights without a model.*in Python"):
        session.load(ModelSource(tmp_path / "w.h5"))
