"""Objects of Python: Keras models, functions, modules; types, shapes, and what is refused."""

import numpy as np
import pytest

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.frontend.session import open_model
from tfaot.ir.shapes import BatchDim

pytestmark = pytest.mark.tensorflow


def function(tf, body, *specs):
    return tf.function(body, input_signature=[tf.TensorSpec(*spec) for spec in specs])


def test_a_module_keeps_the_order_of_its_arguments(session, tf, interface):
    class Module(tf.Module):
        def __init__(self):
            self.w = tf.Variable(np.ones((3, 2), np.float32))
            self.offset = tf.constant([1.0, 2.0])

        @tf.function(
            input_signature=[tf.TensorSpec([None, 3], name="z"), tf.TensorSpec([2], name="a")]
        )
        def __call__(self, z, a):
            return z @ self.w + a + self.offset, z

    with open_model(Module(), session=session) as model:
        assert interface(model) == (
            [("z", "f32[B,3]"), ("a", "f32[2]")],
            [("output_0", "f32[B,2]"), ("output_1", "f32[B,3]")],
        )
        z = np.ones((0, 3), np.float32)
        assert [r.shape for r in model.evaluate([z, np.zeros(2, np.float32)])] == [(0, 2), (0, 3)]


def test_a_keras_model_with_dictionaries(session, keras, interface):
    first, second = keras.Input((3,), name="zz"), keras.Input((4,), name="aa")
    dense = keras.layers.Dense
    model = keras.Model({"zz": first, "aa": second}, {"q": dense(2)(first), "p": dense(1)(second)})
    with open_model(model, session=session) as loaded:
        assert interface(loaded) == (
            [("aa", "f32[B,4]"), ("zz", "f32[B,3]")],
            [("p", "f32[B,1]"), ("q", "f32[B,2]")],
        )
        x = {"zz": np.ones((2, 3), np.float32), "aa": np.ones((2, 4), np.float32)}
        found = loaded.evaluate([x["aa"], x["zz"]])
        expected = model(x)
        np.testing.assert_allclose(found[0], expected["p"], rtol=1e-6)
        np.testing.assert_allclose(found[1], expected["q"], rtol=1e-6)


def test_random_layers_do_nothing_in_inference(session, keras, sample):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5, 4)),
            layers.GRU(3, dropout=0.1, recurrent_dropout=0.5),
            layers.GaussianNoise(0.1),
        ]
    )
    with open_model(model, session=session) as loaded:
        inputs = sample(loaded, 2)
        np.testing.assert_allclose(
            loaded.evaluate(inputs)[0], model(inputs[0], training=False), rtol=1e-5, atol=1e-6
        )
        assert loaded.lower(31)


@pytest.mark.parametrize(
    "name",
    [
        "float16",
        "bfloat16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ],
)
def test_types(session, tf, name):
    double = function(tf, lambda x: x + x, ([None, 2], name))
    with open_model(double, session=session) as model:
        dtype = model.signature.inputs[0].dtype.numpy
        assert dtype.name == name
        (y,) = model.evaluate([np.array([[1, 2]]).astype(dtype)])
        assert y.dtype == dtype
        assert y.astype(int).tolist() == [[2, 4]]
        assert model.lower(31)


def test_bool_constant_and_passed_through_outputs(session, tf, interface):
    body = function(tf, lambda x: (~x, tf.constant([1, 2]), x), ([None, 2], tf.bool))
    with open_model(body, session=session) as model:
        assert [shape for _, shape in interface(model)[1]] == ["pred[B,2]", "s32[2]", "pred[B,2]"]
        assert model.lower(31)


def test_a_model_without_a_batch_axis(session, tf, interface):
    with open_model(function(tf, lambda x: x * 2, ([],)), session=session) as model:
        assert interface(model) == ([("x", "f32[]")], [("output_0", "f32[]")])
        assert not model.signature.has_batch
        assert model.lower(None)
        assert model.evaluate([np.float32(3)])[0] == 6


def test_output_sizes_affine_in_the_batch(session, tf):
    body = function(tf, lambda x: tf.concat([x, x, x[:1]], 0), ([None, 2],))
    with open_model(body, session=session) as model:
        assert model.signature.outputs[0].dims == (BatchDim(2, 1), 2)


def test_loops_and_conditions_of_two_models_do_not_mix(session, tf):
    def make(factor):
        def body(x):
            for _ in tf.range(5):
                x = x * factor
                if tf.reduce_sum(x) > 1e6:
                    x = x - 1.0
            return tf.map_fn(lambda row: row + factor, x)

        return function(tf, body, ([None, 2],))

    ones = np.ones((3, 2), np.float32)
    for factor in (2.0, 3.0):
        with open_model(make(factor), session=session) as model:
            np.testing.assert_allclose(model.evaluate([ones])[0], ones * factor**5 + factor)
            assert model.lower(31)


def test_equal_functions_have_equal_digests_and_hlo(session, tf):
    def make(value):
        return function(tf, lambda x: tf.map_fn(lambda r: r * value, x), ([None, 2],))

    results = []
    for value in (2.0, 2.0, 3.0):
        with open_model(make(value), session=session) as model:
            results.append((model.digest, model.lower(31)))
    assert results[0] == results[1]
    assert results[0][0] != results[2][0]


def test_scatter_stays_one_op(session, tf):
    from tensorflow.compiler.xla.service import hlo_pb2

    body = function(
        tf,
        lambda x, i: tf.math.unsorted_segment_sum(x, i, 5),
        ([None, 4], tf.float32, "x"),
        ([None], tf.int32, "i"),
    )
    with open_model(body, session=session) as model:
        for batch in (31, 37):
            module = hlo_pb2.HloModuleProto.FromString(model.lower(batch))
            opcodes = [i.opcode for c in module.computations for i in c.instructions]
            assert opcodes.count("scatter") == 1
            assert "while" not in opcodes


def unsupported(tf):
    def python(x):
        return tf.py_function(lambda a: a + 1, [x], tf.float32)

    def strings(x):
        with tf.name_scope("decoder"):
            return tf.strings.length(tf.strings.as_string(x))

    def state(x):
        counter.assign_add(1.0)
        return x * counter

    counter = tf.Variable(0.0)
    spec = ([None, 2],)
    return {
        "python": (python, "Python functions in the graph can't be compiled: EagerPyFunc", spec),
        "random": (
            lambda x: x + tf.random.normal([2]),
            "RandomStandardNormal (random_normal",
            spec,
        ),
        "strings": (strings, "AsString ('decoder/AsString': float32[31,2] -> string[31,2])", spec),
        "state": (state, "the model keeps a state", spec),
        "shape": (
            lambda n: tf.zeros(tf.concat([n, [2]], 0)),
            "compile-time constant",
            ([1], tf.int32),
        ),
    }


@pytest.mark.parametrize("case", ["python", "random", "strings", "state", "shape"])
def test_what_can_not_be_compiled_is_named(session, tf, case):
    body, reason, spec = unsupported(tf)[case]

    def compile_it():
        with open_model(function(tf, body, spec), session=session) as model:
            model.lower(31 if model.signature.has_batch else None)

    with pytest.raises(UnsupportedError) as caught:
        compile_it()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(slice(16), "16 at batches 31 to 41 and 1 at batch 1"), (slice(None, None, 2), "no multiple")],
)
def test_output_sizes_that_are_not_affine_are_told_with_the_signature(session, tf, rows, reason):
    body = function(tf, lambda x: x[rows], ([None, 2], tf.float32, "x"))
    with open_model(body, session=session) as model:
        assert model.signature.irregular is not None
        assert reason in model.signature.irregular
        assert model.lower(4)


def test_wrong_objects_are_told(session, tf, keras):
    untraced = tf.function(lambda x: x * 2)
    twice = tf.function(lambda x: x * 2)
    for size in (2, 3):
        twice(tf.zeros([size]))
    for wrong, kind, reason in [
        (3, UsageError, "type int can't be compiled"),
        (untraced, UsageError, "never called: give it an input_signature"),
        (twice, UsageError, "called with 2 kinds of input"),
        (tf.Module(), UsageError, "has no tf.function"),
        (keras.Sequential([keras.layers.Dense(2)]), ModelError, "built"),
    ]:
        with (
            pytest.raises(kind, match=reason),
            open_model(wrong, session=session),
        ):
            pass
