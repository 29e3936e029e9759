"""Sizes that depend on the data: inside a model, and of its outputs."""

import re

import numpy as np
import pytest

from tfaot.errors import InputError, UnsupportedError, VerificationError

pytestmark = pytest.mark.tensorflow


def rows(n, seed=3):
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def check(artifact, model, tf, x):
    """Every output is TensorFlow's, zeros follow, and the sizes are TensorFlow's."""
    expected = model(tf.constant(x))
    found = artifact(x)
    if not isinstance(expected, dict):
        expected = {artifact.outputs[0].name: expected}
    if not isinstance(found, dict):
        found = {artifact.outputs[0].name: found}
    for tensor in artifact.outputs:
        if tensor.name not in expected:
            continue
        value, ours = expected[tensor.name].numpy(), found[tensor.name]
        if tensor.varying is not None:
            sizes = np.atleast_1d(found[tensor.varying.size])
            assert [value.shape[axis] for axis in tensor.varying.axes] == list(sizes)
            kept = tuple(map(slice, value.shape))
            assert np.count_nonzero(ours) == np.count_nonzero(ours[kept])
            ours = ours[kept]
        assert ours.shape == value.shape
        np.testing.assert_allclose(ours, value, rtol=1e-5, atol=1e-6, err_msg=tensor.name)


INSIDE = {
    "mean": lambda tf, x: tf.reduce_mean(tf.boolean_mask(x, x > 0.0)),
    "rows": lambda tf, x: tf.reduce_sum(
        tf.nn.relu(tf.boolean_mask(x, x[:, 0] > 0.0)) @ tf.ones([4, 3]), 0
    ),
    "count": lambda tf, x: tf.size(tf.boolean_mask(x, x > 0.0)),
    "segments": lambda tf, x: tf.math.unsorted_segment_sum(
        tf.gather(x, tf.reshape(tf.where(x[:, 0] > 0), [-1])),
        tf.cast(tf.reshape(tf.where(x[:, 0] > 0), [-1]) % 3, tf.int32),
        3,
    ),
    "largest": lambda tf, x: tf.reduce_max(tf.boolean_mask(x, x < 0.5)),
}


@pytest.mark.parametrize("name", INSIDE)
def test_sizes_inside(compiled, function, tf, name):
    model = function(lambda x: INSIDE[name](tf, x), ([9, 4], "float32"))
    artifact = compiled(model)
    for seed in range(5):
        check(artifact, model, tf, rows(9, seed))


def outputs(tf, x):
    return {
        "mask": tf.boolean_mask(x, x > 0.0),
        "mask_rows": tf.boolean_mask(x, x[:, 1] > 0.0),
        "dense": tf.nn.elu(tf.boolean_mask(x, x[:, 0] > 0.0) @ tf.ones([4, 3])),
        "where": tf.where(x > 0.0),
        "sorted": tf.sort(tf.boolean_mask(x, x > 0.0)),
        "both": tf.concat([tf.boolean_mask(x, x > 1.0), tf.boolean_mask(x, x < -1.0)], 0),
        "columns": tf.boolean_mask(x, x[0] > 0.0, axis=1),
        "plain": x * 2.0,
    }


def test_sizes_of_outputs(compiled, function, tf):
    model = function(lambda x: outputs(tf, x), ([9, 4], "float32"))
    artifact = compiled(model)
    assert [t.name for t in artifact.outputs][:2] == ["both", "both_size"]
    by_name = {t.name: t for t in artifact.outputs}
    assert by_name["both"].dims == (72,)
    assert (by_name["both_size"].dtype, by_name["both_size"].dims) == ("s32", ())
    assert by_name["columns"].varying.axes == (1,)
    assert by_name["plain"].varying is None
    assert "plain_size" not in by_name
    for seed in range(5):
        check(artifact, model, tf, rows(9, seed))
    for x in (np.zeros((9, 4)), np.ones((9, 4)), -np.ones((9, 4))):
        check(artifact, model, tf, x.astype(np.float32))


def test_the_header_tells_how_much_is_there(compiled, function, tf, tmp_path):
    compiled(function(lambda x: {"kept": tf.boolean_mask(x, x > 0)}, ([6], "float32")))
    header = (tmp_path / "out" / "model.h").read_text()
    assert re.search(r"kept: output 'kept', f32\[6\]; .*\*kept_size along axis 0", header)
    assert re.search(r"float \*kept /\* \[6\] \*/,\s*int32_t \*kept_size /\* \[1\] \*/,", header)


@pytest.mark.parametrize("types", ["int32", "int64", "float32"])
def test_unique(compiled, function, tf, types):
    def body(x):
        values, places = tf.unique(tf.reshape(x, [-1]))
        return {"back": tf.gather(values, places), "places": places, "values": values}

    model = function(body, ([None, 4], types))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    for n in (1, 2, 7, 40):
        x = np.random.default_rng(n).integers(-9, 9, (n, 4)).astype(types)
        check(artifact, model, tf, x)


def test_sums_per_unique_key(compiled, function, tf):
    """As many sums as there are keys, in the order in which they come."""

    def body(x):
        keys, places = tf.unique(tf.cast(x[:, 0] * 2.0, tf.int32))
        return {"sums": tf.math.unsorted_segment_sum(x, places, tf.size(keys))}

    model = function(body, ([None, 4], "float32"))
    artifact = compiled(model)
    for n in (1, 8, 33):
        check(artifact, model, tf, rows(n))


def test_rows_of_different_lengths(compiled, function, tf):
    """A mask from row lengths, as ragged tensors make it: the values laid end to end."""

    def body(x):
        lengths = tf.cast(tf.abs(x[:, 0]) * 2.0, tf.int32) % 5
        ragged = tf.RaggedTensor.from_tensor(x, lengths=lengths)
        return {"splits": ragged.row_splits, "values": ragged.flat_values}

    model = function(body, ([8, 4], "float32"))
    artifact = compiled(model)
    for seed in range(5):
        check(artifact, model, tf, rows(8, seed))


def test_any_batch(compiled, function, tf):
    model = function(lambda x: outputs(tf, x), ([None, 4], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    assert not artifact.manifest.batch.rows_independent
    for n in (1, 3, 16, 77):
        check(artifact, model, tf, rows(n))
    # The first row chooses columns: where there is none, nothing has a meaning.
    with pytest.raises(InputError, match="refuses batch size 0"):
        artifact(rows(0))


def test_bounds_without_a_rule_are_compiled_for_given_batches(compiled, function, tf):
    """Pairs of rows: the bound grows with the square of the batch."""

    def body(x):
        distances = tf.reduce_sum(tf.square(x[:, None] - x), -1)
        return {"near": tf.where(distances < 4.0)}

    model = function(body, ([None, 4], "float32"))
    artifact = compiled(model, batch_sizes=(2, 5, 9))
    assert artifact.manifest.batch.kind == "static"
    assert not artifact.manifest.batch.rows_independent
    assert [artifact.outputs[0].shape(n) for n in (2, 5, 9)] == [(4, 2), (25, 2), (81, 2)]
    for n in (2, 5, 9):
        check(artifact, model, tf, rows(n))


def test_names_of_sizes_give_way(compiled, function, tf):
    def body(x):
        return {"y": tf.boolean_mask(x, x > 0), "y_size": x + 1.0}

    artifact = compiled(function(body, ([6], "float32")))
    assert [t.name for t in artifact.outputs] == ["y", "y_size_", "y_size"]
    found = artifact(np.array([1, -1, 2, -2, 3, -3], np.float32))
    assert found["y_size_"] == 3
    np.testing.assert_array_equal(found["y"], [1, 2, 3, 0, 0, 0])


REFUSED = {
    "counts": (
        lambda tf, x: tf.unique_with_counts(tf.reshape(x, [-1])).count,
        "XLA can't compile the ops UniqueWithCounts",
    ),
    "ragged_sum": (
        lambda tf, x: tf.reduce_sum(
            tf.RaggedTensor.from_tensor(x, lengths=tf.cast(x[:, 0], tf.int32)), 1
        ),
        "must be a compile-time constant",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_xla_refuses_says_its_reason(compiled, function, tf, name):
    body, words = REFUSED[name]
    with pytest.raises(UnsupportedError, match=words) as caught:
        compiled(function(lambda x: body(tf, x), ([8, 4], "float32")))
    assert "\n" not in str(caught.value)


WRONG = {
    "size": (
        lambda tf, x: tf.cumsum(tf.boolean_mask(tf.cast(x * 4.0, tf.int32), x > 0.0)),
        r"_size.*: -\d+ where TensorFlow gives",
    ),
    "sum": (
        lambda tf, x: tf.reduce_sum(tf.cumsum(tf.boolean_mask(x, x > 0.0))),
        "XLA's graph gives .* where TensorFlow gives",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_where_xla_computes_something_else_the_compile_fails(compiled, function, tf, name):
    """XLA takes a prefix sum over an axis that varies to have no elements."""
    body, words = WRONG[name]
    with pytest.raises(VerificationError, match=words):
        compiled(function(lambda x: body(tf, x), ([9, 4], "float32")))
