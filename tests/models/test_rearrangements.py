"""Functions that move, sort, sum up and choose values, and interfaces of every shape."""

import numpy as np
import pytest

from tfaot.errors import InputError

pytestmark = pytest.mark.tensorflow


def normal(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def agree(found, expected):
    for name, value in expected.items():
        value = value.numpy()
        assert found[name].shape == value.shape, name
        if value.dtype.kind in "fc":
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_sorting_and_choosing(compiled, function, tf):
    def body(x):
        values, places = tf.math.top_k(x, 4)
        return {
            "argmax": tf.argmax(x, 1),
            "argmin": tf.argmin(x, 1, output_type=tf.int32),
            "argsort": tf.argsort(x, axis=1, stable=True),
            "descending": tf.sort(x, axis=1, direction="DESCENDING"),
            "in_top": tf.math.in_top_k(tf.argmax(x, 1), x, 3),
            "places": places,
            "ranks": tf.argsort(tf.argsort(x, axis=1), axis=1),
            "values": values,
        }

    model = function(body, ([None, 21], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.rows_independent, artifact.manifest.batch.reason
    x = np.round(normal(19, 21) * 4) / 4 + 0.0  # with ties, and one zero
    agree(artifact(x), model(tf.constant(x)))


def test_masks_and_indices(compiled, function, tf):
    def body(x, index):
        mask = tf.abs(x) < 0.5
        pairs = tf.stack([tf.zeros_like(index), index], -1)
        return {
            "counts": tf.math.count_nonzero(mask, 1),
            "gathered": tf.gather(x, index, axis=1, batch_dims=1),
            "in_table": tf.gather_nd(tf.reshape(tf.range(24.0), [2, 12]), pairs),
            "mean": tf.reduce_sum(tf.where(mask, x, 0.0), 1)
            / tf.maximum(tf.reduce_sum(tf.cast(mask, tf.float32), 1), 1.0),
            "one_hot": tf.one_hot(index, 12, on_value=2.0),
            "rolled": tf.roll(x, 5, 1),
            "triangle": tf.linalg.band_part(x[:, :, None] * x[:, None, :], -1, 0),
        }

    model = function(body, ([None, 12], "float32"), ([None, 5], "int32"))
    artifact = compiled(model)
    x, index = normal(19, 12), np.random.default_rng(1).integers(0, 12, (19, 5)).astype(np.int32)
    agree(artifact(x, index), model(tf.constant(x), tf.constant(index)))


def test_running_sums(compiled, function, tf):
    def body(x):
        return {
            "back": tf.cumsum(x, 1, reverse=True, exclusive=True),
            "logs": tf.math.cumulative_logsumexp(x, 1),
            "product": tf.math.cumprod(x, 1),
            "sum": tf.cumsum(x, 1),
        }

    model = function(body, ([None, 40], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.rows_independent, artifact.manifest.batch.reason
    x = normal(19, 40)
    agree(artifact(x), model(tf.constant(x)))


def test_scattering(compiled, function, tf):
    places = np.array([[3], [0], [3]], np.int32)

    def body(x):
        turned = tf.transpose(x)
        updates = turned[:3]
        return {
            "add": tf.transpose(tf.tensor_scatter_nd_add(turned, places, updates)),
            "max": tf.transpose(tf.tensor_scatter_nd_max(turned, places, updates)),
            "new": tf.transpose(tf.scatter_nd(places, updates, tf.shape(turned))),
            "segments": tf.math.unsorted_segment_max(turned, [0, 1, 0, 2, 1, 1], 3),
            "set": tf.transpose(tf.tensor_scatter_nd_update(turned, places[:2], updates[:2])),
        }

    model = function(body, ([None, 6], "float32"))
    artifact = compiled(model)
    x = normal(19, 6)
    agree(artifact(x), model(tf.constant(x)))


@pytest.mark.slow
def test_loops_and_branches(compiled, function, tf):
    def body(x):
        newton = tf.while_loop(
            lambda k, r: tf.reduce_any(tf.abs(r * r - tf.abs(x)) > 1e-4) & (k < 30),
            lambda k, r: (k + 1, (r + tf.abs(x) / r) / 2),
            (0, tf.ones_like(x)),
        )
        history = tf.scan(lambda a, row: 0.9 * a + row, tf.transpose(x))
        return {
            "branch": tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: tf.sin(x)),
            "history": tf.transpose(history),
            "mapped": tf.map_fn(lambda row: tf.cumsum(row), x),
            "roots": newton[1],
        }

    model = function(body, ([None, 7], "float32"))
    artifact = compiled(model, batch_sizes=(1, 2, 4, 19))
    for x in (normal(19, 7), -np.abs(normal(4, 7))):
        agree(artifact(x), model(tf.constant(x)))


@pytest.mark.slow
def test_linear_algebra_of_each_row(compiled, function, tf):
    def body(x):
        matrix = tf.reshape(x, [-1, 4, 4])
        positive = tf.matmul(matrix, matrix, transpose_b=True) + 2 * tf.eye(4)
        factor = tf.linalg.cholesky(positive)
        return {
            "factor": factor,
            "solved": tf.linalg.triangular_solve(factor, matrix),
            "trace": tf.linalg.trace(positive),
            "volume": tf.linalg.logdet(positive),
        }

    model = function(body, ([None, 16], "float32"))
    artifact = compiled(model)
    x = normal(19, 16)
    agree(artifact(x), model(tf.constant(x)))


def test_a_model_without_rows(compiled, function, tf):
    model = function(
        lambda x, k: {"y": tf.nn.softmax(tf.linalg.matvec(x, k)), "z": tf.reduce_max(x)},
        ([5, 3], "float32"),
        ([3], "float32"),
    )
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "none"
    x, k = normal(5, 3), normal(3)
    agree(artifact(x, k), model(tf.constant(x), tf.constant(k)))


def test_each_of_several_signatures(compiled, tf, tmp_path):
    class Model(tf.Module):
        def __init__(self):
            super().__init__()
            self.w = tf.Variable(normal(4, 3))

        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
        def encode(self, x):
            return {"code": tf.tanh(x @ self.w)}

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="code")])
        def decode(self, code):
            return {"x": tf.matmul(code, self.w, transpose_b=True)}

    model = Model()
    saved = str(tmp_path / "saved")
    tf.saved_model.save(model, saved, {"encode": model.encode, "decode": model.decode})
    x = normal(19, 4)
    code = compiled(saved, signature="encode")(x)
    np.testing.assert_allclose(code, model.encode(x)["code"], rtol=1e-5, atol=1e-6)
    back = compiled(saved, signature="decode")(code)
    np.testing.assert_allclose(back, model.decode(code)["x"], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_attention_over_the_batch(compiled, function, tf):
    def body(x):
        scores = tf.nn.softmax(tf.matmul(x, x, transpose_b=True) / 2.0)
        return {"mixed": tf.matmul(scores, x), "scores": scores}

    model = function(body, ([None, 4], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    assert not artifact.manifest.batch.rows_independent
    for n in (1, 19, 130):
        agree(artifact(normal(n, 4)), model(tf.constant(normal(n, 4))))


@pytest.mark.parametrize("axis", [0, 1])
def test_running_sums_over_the_batch(compiled, function, tf, axis):
    def body(x):
        return {
            "back": tf.cumsum(x, axis, reverse=True, exclusive=True),
            "counts": tf.cumsum(tf.cast(x > 0, tf.int64), axis),
            "logs": tf.math.cumulative_logsumexp(x, axis),
            "logs_back": tf.math.cumulative_logsumexp(x, axis, reverse=True),
            "product": tf.math.cumprod(tf.tanh(x), axis, exclusive=True),
            "sum": tf.cumsum(x, axis),
            "total": tf.reduce_sum(tf.cumsum(x, axis, exclusive=True, reverse=True)),
        }

    shape = [None, 3] if axis == 0 else [3, None]
    model = function(body, (shape, "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    for n in (0, 1, 19, 300):
        x = normal(n, 3) if axis == 0 else normal(3, n)
        agree(artifact(x), model(tf.constant(x)))


def test_order_and_choice_over_the_batch(compiled, function, tf):
    def body(x):
        return {
            "argmax": tf.argmax(x, 0),
            "argsort": tf.argsort(x, 0, stable=True),
            "largest": tf.math.top_k(tf.transpose(x), 1)[0],
            "maximum": tf.scan(tf.maximum, x),
            "next": tf.roll(x, -1, 0),
            "reversed": tf.reverse(x, [0]),
            "rolled": tf.roll(x, 2, 0),
            "sorted": tf.sort(x, 0, direction="DESCENDING"),
            "soft": tf.nn.softmax(x, 0),
        }

    model = function(body, ([None, 3], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    for n in (1, 2, 19, 130):
        agree(artifact(normal(n, 3)), model(tf.constant(normal(n, 3))))


def test_batch_axes_of_any_place_and_number(compiled, function, tf):
    def body(x, y, adjacency, scale):
        degree = tf.reduce_sum(adjacency, 1, keepdims=True) + 1.0
        return {
            "messages": tf.matmul(adjacency, x) / degree,
            "mixed": tf.einsum("nf,tnf->tn", x, y) * scale,
            "twice": tf.transpose(adjacency) + adjacency,
        }

    model = function(
        body,
        ([None, 4], "float32"),
        ([3, None, 4], "float32"),
        ([None, None], "float32"),
        ([], "float32"),
    )
    shapes = {"y": (3, None, 4), "adjacency": (None, None)}
    artifact = compiled(model, input_shapes=shapes)
    assert artifact.manifest.batch.kind == "symbolic"
    for n in (0, 1, 5, 40):
        arrays = normal(n, 4), normal(3, n, 4), normal(n, n), normal()
        agree(artifact(*arrays), model(*map(tf.constant, arrays)))
    with pytest.raises(InputError, match="batch sizes 5 and 6"):
        artifact(normal(5, 4), normal(3, 6, 4), normal(5, 5), normal())


def test_linear_algebra_over_the_batch(compiled, function, tf):
    """XLA's Cholesky takes n**4 steps: verification stops before the largest batches."""

    def body(x):
        gram = tf.matmul(x, x, transpose_b=True) + tf.eye(tf.shape(x)[0])
        return {"factor": tf.linalg.cholesky(gram)}

    model = function(body, ([None, 3], "float32"))
    artifact = compiled(model)
    assert artifact.manifest.batch.kind == "symbolic"
    for n in (1, 2, 40):
        found = {"factor": artifact(normal(n, 3))}
        agree(found, model(tf.constant(normal(n, 3))))
