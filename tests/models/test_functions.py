"""Functions of TensorFlow: types, shapes and outputs of every kind, and what is refused."""

import numpy as np
import pytest

from tfaot.errors import TfaotError, UnsupportedError

pytestmark = pytest.mark.tensorflow

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic_is_exact(compiled, function, tf, dtype):
    def body(x, y):
        bits = tf.bitwise
        return {
            "add": x + y,
            "and": bits.bitwise_and(x, y),
            "div": x // y,
            "inv": bits.invert(x),
            "left": bits.left_shift(x, tf.ones_like(x) * 3),
            "less": x < y,
            "max": tf.maximum(x, y),
            "mod": x % y,
            "mul": x * y,
            "right": bits.right_shift(x, tf.ones_like(x) * 2),
            "sub": x - y,
            "sum": tf.reduce_sum(x, 1),
            "xor": bits.bitwise_xor(x, y),
        }

    model = function(body, ([None, 5], dtype), ([None, 5], dtype))
    artifact = compiled(model)
    limits = np.iinfo(dtype)
    random = np.random.default_rng(2)
    x, y = random.integers(limits.min, limits.max, (2, 19, 5), dtype=dtype, endpoint=True)
    y[y == 0] = 1
    y[y == -1 if limits.min else y == 0] = 1
    found = artifact(x, y)
    for name, value in model(tf.constant(x), tf.constant(y)).items():
        np.testing.assert_array_equal(found[name], value.numpy(), err_msg=name)


@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS, "bool"])
def test_conversions_among_all_types(compiled, function, tf, source):
    targets = [*INTEGERS, *FLOATS, "bool"]
    model = function(
        lambda x: {t: tf.cast(x, tf.as_dtype(t)) for t in targets}, ([None, 4], source)
    )
    artifact = compiled(model)
    x = np.arange(76).reshape(19, 4).astype(tf.as_dtype(source).as_numpy_dtype)
    found = artifact(x)
    for name, value in model(tf.constant(x)).items():
        assert found[name].tobytes() == value.numpy().tobytes(), name


def test_outputs_that_are_inputs_constants_or_the_same(compiled, function, tf):
    def body(x, s):
        return {
            "a": x,
            "again": x,
            "constant": tf.constant([1.0, 2.0]),
            "rows": tf.shape(x)[0],
            "s": s,
            "zeros": tf.zeros([tf.shape(x)[0], 2]),
        }

    artifact = compiled(function(body, ([None, 3], "float32"), ([None], "int64")))
    for n in (0, 1, 5):
        x, s = np.ones((n, 3), np.float32), np.arange(n)
        found = artifact(x, s)
        np.testing.assert_array_equal(found["a"], x)
        np.testing.assert_array_equal(found["again"], x)
        np.testing.assert_array_equal(found["constant"], [1, 2])
        np.testing.assert_array_equal(found["s"], s)
        np.testing.assert_array_equal(found["zeros"], np.zeros((n, 2)))
        assert found["rows"] == n


def test_inputs_without_rows_and_inputs_that_nothing_uses(compiled, function, tf):
    model = function(
        lambda x, scale, offset, flag, unused: tf.where(flag, x * scale + offset, -x),
        ([None, 3], "float32"),
        ([], "float32"),
        ([3], "float32"),
        ([], "bool"),
        ([None, 2], "int32"),
    )
    artifact = compiled(model)
    x, offset = np.ones((5, 3), np.float32), np.array([1, 2, 3], np.float32)
    unused = np.zeros((5, 2), np.int32)
    np.testing.assert_array_equal(artifact(x, 2.0, offset, True, unused), x * 2 + offset)
    np.testing.assert_array_equal(artifact(x, 2.0, offset, False, unused), -x)


def test_the_batch_need_not_be_the_first_axis(compiled, function, tf):
    w = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    model = function(lambda x: tf.nn.relu(w @ x), ([8, None], "float32"))
    x = np.random.default_rng(2).normal(size=(8, 19)).astype(np.float32)
    np.testing.assert_allclose(compiled(model)(x), np.maximum(w @ x, 0), rtol=1e-4, atol=1e-5)


def test_rows_that_mix(compiled, function, tf):
    def body(x):
        centred = (x - tf.reduce_mean(x, 0)) / (tf.math.reduce_std(x, 0) + 1e-3)
        return {
            "centred": centred,
            "differences": x[1:] - x[:-1],
            "gram": tf.matmul(x, x, transpose_a=True),
            "reversed": tf.reverse(x, [0]),
            "soft": tf.nn.softmax(x, 0),
            "twice": tf.concat([x, x], 0),
        }

    model = function(body, ([None, 4], "float32"))
    artifact = compiled(model)
    assert not artifact.manifest.batch.rows_independent
    for n in (1, 2, 19, 300):
        x = np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32)
        found = artifact(x)
        for name, value in model(tf.constant(x)).items():
            np.testing.assert_allclose(
                found[name], value.numpy(), rtol=1e-4, atol=1e-4, err_msg=name
            )


def test_what_has_no_meaning_without_rows_is_refused_for_none(compiled, function, tf):
    model = function(lambda x: tf.reduce_max(tf.sort(x, 0)[:1], 0), ([None, 3], "float32"))
    artifact = compiled(model)
    x = np.random.default_rng(1).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_array_equal(artifact(x), x.min(0))
    with pytest.raises(TfaotError, match="refuses batch size 0"):
        artifact(x[:0])


def test_special_values_pass_as_in_tensorflow(compiled, function, tf):
    def body(x):
        return {
            "clip": tf.clip_by_value(x, -1.0, 1.0),
            "dense": tf.nn.elu(x @ np.ones((3, 2), np.float32)),
            "exp": tf.exp(x),
            "finite": tf.math.is_finite(x),
            "log1p": tf.where(x > 0, tf.math.log1p(tf.abs(x)), 0.0),
            "max": tf.reduce_max(x, 1),
            "relu": tf.nn.relu(x),
            "tanh": tf.tanh(x),
        }

    model = function(body, ([None, 3], "float32"))
    values = [0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-30, 89.0, -104.0]
    x = np.array([[a, b, 1.0] for a in values for b in values], np.float32)
    found = compiled(model)(x)
    for name, value in model(tf.constant(x)).items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("low", [0, 1, -6])
def test_indices_from_anywhere(compiled, function, tf, low):
    table = np.random.default_rng(1).normal(size=(37, 3)).astype(np.float32)
    model = function(lambda i: tf.gather(table, i - low), ([None], "int32"))
    i = np.arange(low, low + 37, dtype=np.int32)
    np.testing.assert_array_equal(compiled(model)(i), table)


def _rows(tf, x):
    return tf.shape(x)[0]


BATCH_CONSTANTS = {
    "band": lambda tf, x: tf.linalg.band_part(tf.ones([_rows(tf, x)] * 2), 1, 1) @ x,
    "edges": lambda tf, x: tf.gather(x, tf.repeat(tf.range(_rows(tf, x)), 3)),
    "encoded": lambda tf, x: x + tf.sin(tf.cast(tf.range(_rows(tf, x)), tf.float32) / 9)[:, None],
    "eye": lambda tf, x: x[:, :1] + tf.eye(_rows(tf, x), 5),
    "half": lambda tf, x: x * tf.cast(_rows(tf, x) // 2, tf.float32),
    "logarithm": lambda tf, x: x / tf.math.log(tf.cast(_rows(tf, x) + 1, tf.float32)),
    "mask": lambda tf, x: tf.sequence_mask(tf.range(_rows(tf, x)), _rows(tf, x), tf.float32) @ x,
    "one_hot": lambda tf, x: x[:, :1] + tf.one_hot(tf.range(_rows(tf, x)), 5),
    "pairs": lambda tf, x: tf.reduce_sum(x) / tf.cast(_rows(tf, x) ** 2 + 1, tf.float32),
    "parity": lambda tf, x: x * tf.cast(tf.range(_rows(tf, x)) % 2, tf.float32)[:, None],
    "segments": lambda tf, x: tf.math.unsorted_segment_sum(
        tf.reshape(x, [-1]), tf.repeat(tf.range(_rows(tf, x)), 3), _rows(tf, x)
    ),
    "squares": lambda tf, x: x * tf.cast(tf.range(_rows(tf, x)) ** 2, tf.float32)[:, None],
    "tiled": lambda tf, x: x * tf.tile(tf.constant([[1.0], [2.0]]), [_rows(tf, x), 1])[::2],
}


def test_constants_that_depend_on_the_batch_stay_symbolic(compiled, function, tf):
    def body(x):
        return {name: make(tf, x) for name, make in BATCH_CONSTANTS.items()}

    model = function(body, ([None, 3], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    for n in (1, 2, 6, 19, 64):
        x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
        found = artifact(x)
        for name, value in model(tf.constant(x)).items():
            expected = value.numpy()
            assert found[name].shape == expected.shape, name
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-5, err_msg=name)


def test_sizes_rounded_to_even_numbers_are_not_affine(compiled, function, tf):
    model = function(lambda x: x[: tf.shape(x)[0] // 2 * 2], ([None, 3], "float32"))
    with pytest.raises(UnsupportedError, match=r"slice .*StridedSlice.*--batch-sizes"):
        compiled(model)


IRREGULAR = {
    "clipped": (lambda tf, x: x[:6] + 1.0, r"slice.*\[0:6\].*StridedSlice"),
    "halved": (lambda tf, x: {"half": x[::2] * 2.0, "all": x}, "slice .* not affine.*StridedSlice"),
    "merged": (lambda tf, x: tf.reshape(tf.sin(x), [-1, 4]), "divisible by 4"),
    "pairs": (lambda tf, x: tf.reshape(x[:, None] - x, [-1, 3]), "not affine"),
    "split": (lambda tf, x: dict(zip("abcd", tf.split(x, 4), strict=True)), "divisible by 4"),
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_output_sizes_without_a_rule_are_compiled_for_given_batches(compiled, function, tf, name):
    body, _ = IRREGULAR[name]
    model = function(lambda x: body(tf, x), ([None, 3], "float32"))
    artifact = compiled(model, batch_sizes=(4, 8, 12))
    batch = artifact.manifest.batch
    assert (batch.kind, batch.sizes, batch.rows_independent) == ("static", (4, 8, 12), False)
    for n in (4, 8, 12):
        x = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
        expected, found = model(tf.constant(x)), artifact(x)
        if not isinstance(expected, dict):
            expected, found = {"": expected}, {"": found}
        for key, value in expected.items():
            assert found[key].shape == value.shape
            np.testing.assert_allclose(found[key], value.numpy(), rtol=1e-6, err_msg=key)
    with pytest.raises(TfaotError, match="none of those compiled for"):
        artifact(np.zeros((16, 3), np.float32))


@pytest.mark.parametrize("name", IRREGULAR)
def test_output_sizes_without_a_rule_name_their_op(compiled, function, tf, name):
    body, words = IRREGULAR[name]
    with pytest.raises(UnsupportedError, match=f"{words}.*--batch-sizes") as caught:
        compiled(function(lambda x: body(tf, x), ([None, 3], "float32")))
    assert "\n" not in str(caught.value)


def test_a_model_for_one_batch_size(compiled, function, tf):
    artifact = compiled(function(lambda x: x[::2] + 1.0, ([None, 3], "float32")), batch_sizes=[5])
    assert artifact.outputs[0].dims == (3, 3)
    np.testing.assert_array_equal(artifact(np.zeros((5, 3), np.float32)), np.ones((3, 3)))


@pytest.mark.parametrize(
    ("body", "dtype", "words"),
    [
        (lambda tf, x: tf.math.bessel_i0(x), "float32", "BesselI0"),
        (lambda tf, x: tf.unique_with_counts(x[:, 0]).y, "float32", "UniqueWithCounts"),
        (lambda tf, x: x + tf.random.normal(tf.shape(x)), "float32", "random"),
        (lambda tf, x: tf.strings.length(x), "string", "string"),
        (lambda tf, x: x + x[5], "float32", "--batch-sizes"),
    ],
    ids=["op", "dynamic", "random", "string", "short"],
)
def test_what_can_not_be_compiled_is_refused_in_one_line(
    compiled, function, tf, tmp_path, body, dtype, words
):
    with pytest.raises((UnsupportedError, TfaotError), match=words) as caught:
        compiled(function(lambda x: body(tf, x), ([None, 3], dtype)))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/*"))
