"""SavedModels of several makers: signatures, names, orders, values, errors."""

import shutil

import numpy as np
import pytest

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.frontend.session import ModelSource, open_model

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def two(tf, tmp_path_factory):
    """A SavedModel with two signatures, several inputs, and one input that is not used."""

    class Two(tf.Module):
        def __init__(self):
            self.w = tf.Variable(np.arange(6, dtype=np.float32).reshape(3, 2))

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], name="zeta"),
                tf.TensorSpec([None, 2], tf.int32, name="alpha"),
                tf.TensorSpec([], name="beta"),
            ]
        )
        def f(self, zeta, alpha, beta):
            return {"z": zeta @ self.w, "a": zeta * beta}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], name="y")])
        def g(self, y):
            return y @ tf.transpose(self.w)

    module = Two()
    path = tmp_path_factory.mktemp("saved") / "two"
    tf.saved_model.save(module, str(path), signatures={"f": module.f, "g": module.g})
    return path


def test_signature_names_and_orders(session, two, interface):
    model = session.load(ModelSource(two, "f"))
    assert interface(model) == (
        [("alpha", "s32[B,2]"), ("beta", "f32[]"), ("zeta", "f32[B,3]")],
        [("a", "f32[B,3]"), ("z", "f32[B,2]")],
    )
    zeta = np.ones((4, 3), np.float32)
    a, z = model.evaluate([np.zeros((4, 2), np.int32), np.float32(2), zeta])
    np.testing.assert_array_equal(a, zeta * 2)
    np.testing.assert_array_equal(z, np.tile(np.float32([6, 9]), (4, 1)))
    assert (model.parameter_count, model.parameter_bytes) == (6, 24)


def test_unused_inputs_stay_parameters_of_the_hlo(session, two, tf):
    from tensorflow.compiler.xla.service import hlo_pb2

    model = session.load(ModelSource(two, "f"))
    module = hlo_pb2.HloModuleProto.FromString(model.lower(31))
    parameters = [tuple(p.dimensions) for p in module.host_program_shape.parameters]
    assert parameters == [(31, 2), (), (31, 3)]


def test_a_wrong_or_missing_key_lists_those_there_are(session, two):
    with pytest.raises(ModelError, match=r"no signature 'h'.*\(there are: f, g\)"):
        session.load(ModelSource(two, "h"))
    with pytest.raises(ModelError, match="choose with --signature one of f, g"):
        session.load(ModelSource(two))


def test_without_signatures_it_says_how_to_save(session, tf, tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    with pytest.raises(ModelError, match=r"no signatures: save it with tf\.saved_model\.save"):
        session.load(ModelSource(tmp_path / "bare"))


def test_corrupt_directories_give_one_line(session, two, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "saved_model.pb").write_bytes(b"garbage" * 9)
    shutil.copytree(two, tmp_path / "bare")
    shutil.rmtree(tmp_path / "bare" / "variables")
    for name in ("bad", "bare"):
        with pytest.raises(ModelError, match="can't be loaded") as caught:
            session.load(ModelSource(tmp_path / name, "f"))
        assert "\n" not in str(caught.value)


def test_the_digest_does_not_depend_on_the_directory(session, two, tmp_path):
    shutil.copytree(two, tmp_path / "moved")
    first, second = (session.load(ModelSource(p, "g")) for p in (two, tmp_path / "moved"))
    assert first.digest == second.digest
    assert first.lower(31) == second.lower(31)


def test_options_of_frozen_graphs_are_refused(session, two):
    with pytest.raises(UsageError, match="--inputs and --outputs are for frozen graphs"):
        session.load(ModelSource(two, "g", inputs=("y",)))


def test_an_input_can_be_fixed(session, two, interface):
    model = session.load(ModelSource(two, "f", set_values={"beta": "3"}))
    assert [name for name, _ in interface(model)[0]] == ["alpha", "zeta"]
    a, _ = model.evaluate([np.zeros((1, 2), np.int32), np.ones((1, 3), np.float32)])
    np.testing.assert_array_equal(a, [[3, 3, 3]])
    with pytest.raises(UsageError, match=r"no placeholder 'gamma' \(there are: alpha, beta, zeta"):
        session.load(ModelSource(two, "f", set_values={"gamma": 1}))


def test_lookup_tables_are_named(session, tf, tmp_path):
    class Table(tf.Module):
        def __init__(self):
            items = tf.lookup.KeyValueTensorInitializer(tf.constant([1, 2]), tf.constant([3, 4]))
            self.table = tf.lookup.StaticHashTable(items, 0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
        def f(self, x):
            return self.table.lookup(x)

    module = Table()
    tf.saved_model.save(module, str(tmp_path / "table"), signatures=module.f)
    with pytest.raises(UnsupportedError, match="lookup tables can't be compiled: LookupTableFind"):
        session.load(ModelSource(tmp_path / "table"))


@pytest.mark.parametrize("maker", ["keras3 export", "keras2 save", "keras2 export"])
def test_saved_models_of_keras(session, request, tmp_path, sample, interface, maker):
    package = request.getfixturevalue("keras" if "3" in maker else "tf_keras")
    layers = package.layers
    model = package.Sequential(
        [
            layers.InputLayer((4,)),
            layers.Dense(6, activation="elu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(2, activation="softmax"),
        ]
    )
    path = tmp_path / "model"
    if maker == "keras2 save":
        model.save(str(path), save_format="tf")
    else:
        model.export(str(path))
    with open_model(path, session=session) as loaded:
        assert [shape for side in interface(loaded) for _, shape in side] == [
            "f32[B,4]",
            "f32[B,2]",
        ]
        inputs = sample(loaded, 5)
        (found,) = loaded.evaluate(inputs)
        expected = np.asarray(model(inputs[0], training=False))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
        assert loaded.parameter_count == 4 * 6 + 6 + 4 * 6 + 6 * 2 + 2 + 1


def test_functions_of_the_saved_object(session, tf, tmp_path, interface):
    class Model(tf.Module):
        def __init__(self):
            self.shift = tf.Variable([1.0, 2.0])

        @tf.function
        def __call__(self, x, training=False):
            return x * 0.0 if training else x + self.shift

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])
        def scaled(self, x):
            return {"twice": x * 2.0, "once": x}

    model = Model()
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    model.__call__.get_concrete_function(spec, training=True)
    model.__call__.get_concrete_function(spec, training=False)
    tf.saved_model.save(model, str(tmp_path / "m"), signatures={})
    loaded = session.load(ModelSource(tmp_path / "m", "__call__"))
    assert interface(loaded) == ([("x", "f32[B,2]")], [("output_0", "f32[B,2]")])
    np.testing.assert_array_equal(loaded.evaluate([np.ones((1, 2), np.float32)])[0], [[2, 3]])
    loaded = session.load(ModelSource(tmp_path / "m", "scaled"))
    assert [name for name, _ in interface(loaded)[1]] == ["once", "twice"]
    with pytest.raises(ModelError, match=r"--signature one of its functions __call__, scaled"):
        session.load(ModelSource(tmp_path / "m"))
    with pytest.raises(ModelError, match=r"no signature 'no'.*\(there are: none; functions: __ca"):
        session.load(ModelSource(tmp_path / "m", "no"))
