"""Keras files: formats, Keras 2, custom objects, errors."""

import sys

import numpy as np
import pytest

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.session import ModelSource, TensorFlowSession, open_model

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_files_of_both_keras(session, request, tmp_path, sample, package, name):
    library = request.getfixturevalue(package)
    layers = library.layers
    left, right = layers.Input((3,), name="zz"), layers.Input((7, 4), name="aa")
    x = layers.SpatialDropout1D(0.1)(right)
    x = layers.GRU(5)(x)
    joined = layers.Concatenate()([left, x])
    model = library.Model(
        [left, right],
        [layers.Dense(2, name="second")(joined), layers.Dense(1, name="first")(joined)],
    )
    model.compile("adam", "mse")
    model.save(tmp_path / name)
    with open_model(tmp_path / name, session=session) as loaded:
        assert [i.name for i in loaded.signature.inputs] == ["zz", "aa"]
        assert [o.name for o in loaded.signature.outputs] == ["second", "first"]
        inputs = sample(loaded, 3)
        expected = model(inputs, training=False)
        for found, wanted in zip(loaded.evaluate(inputs), expected, strict=True):
            np.testing.assert_allclose(found, np.asarray(wanted), rtol=1e-5, atol=1e-6)


def test_an_unknown_sequence_length_must_be_given(session, keras, tmp_path, interface):
    sequence = keras.Input((None, 4), name="seq")
    keras.Model(sequence, keras.layers.LSTM(3)(sequence)).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"'seq' is unknown.*--input-shape seq=\?,50,4"):
        session.load(ModelSource(tmp_path / "m.keras"))
    model = session.load(ModelSource(tmp_path / "m.keras", input_shapes={"seq": (None, 7, 4)}))
    assert interface(model)[0] == [("seq", "f32[B,7,4]")]


@pytest.fixture(scope="module")
def custom(keras, tmp_path_factory):
    """A file with a custom layer, and the module that holds its class."""
    folder = tmp_path_factory.mktemp("custom")
    (folder / "doubling_layers.py").write_text(
        "import keras\n\n\nclass Twice(keras.layers.Layer):\n"
        "    def call(self, x):\n        return x * 2\n"
    )
    sys.path.insert(0, str(folder))
    import doubling_layers

    keras.Sequential([keras.Input((4,)), doubling_layers.Twice()]).save(folder / "m.keras")
    yield folder, doubling_layers.Twice
    sys.path.remove(str(folder))


def test_custom_objects_by_name(custom):
    folder, _ = custom
    # A worker of its own: only one started now knows the new folder.
    with TensorFlowSession() as session:
        source = ModelSource(folder / "m.keras", custom_objects=("doubling_layers:Twice",))
        (result,) = session.load(source).evaluate([np.ones((2, 4), np.float32)])
        np.testing.assert_array_equal(result, np.full((2, 4), 2, np.float32))
        wrong = ModelSource(folder / "m.keras", custom_objects=("doubling_layers:Thrice",))
        with pytest.raises(UsageError, match="'doubling_layers' has no 'Thrice'"):
            session.load(wrong)
        with pytest.raises(UsageError, match="must have the form module:name"):
            session.load(ModelSource(folder / "m.keras", custom_objects=("doubling_layers:",)))
        with pytest.raises(UsageError, match="'Twice' can't be imported"):
            session.load(ModelSource(folder / "m.keras", custom_objects=("Twice",)))
        whole = ModelSource(folder / "m.keras", custom_objects=("doubling_layers",))
        (result,) = session.load(whole).evaluate([np.ones((2, 4), np.float32)])
        np.testing.assert_array_equal(result, np.full((2, 4), 2, np.float32))


def test_custom_objects_of_python(session, custom):
    folder, cls = custom
    with open_model(folder / "m.keras", custom_objects={"Twice": cls}, session=session) as model:
        assert model.signature.outputs[0].shape == model.signature.inputs[0].shape


def test_a_missing_custom_object_is_named(session, custom):
    with pytest.raises(ModelError, match="needs the object 'Twice': pass it with --custom-objects"):
        session.load(ModelSource(custom[0] / "m.keras"))


def test_what_can_not_be_read_gives_one_line(session, keras, tmp_path):
    (tmp_path / "a.keras").write_bytes(b"garbage")
    (tmp_path / "a.h5").write_bytes(b"garbage")
    lambdas = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x * 2)])
    lambdas.save(tmp_path / "lambda.keras")
    for name, reason in [
        ("a.keras", "can't be loaded"),
        ("a.h5", "can't be loaded"),
        ("lambda.keras", "holds a Lambda layer.*pass the model object"),
    ]:
        with pytest.raises(ModelError, match=reason) as caught:
            session.load(ModelSource(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_signature_is_for_saved_models(session, custom):
    with pytest.raises(UsageError, match="--signature is for SavedModels"):
        session.load(ModelSource(custom[0] / "m.keras", signature="serving_default"))
