"""Graph networks, point clouds and sets, compiled and verified."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def normal(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def check(artifact, model, *inputs, rows_apart=True):
    """Compare with TensorFlow; where rows are independent, any row alone gives the same bits."""
    found, expected = artifact(*inputs), np.asarray(model(*inputs))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * scale)
    assert artifact.manifest.batch.rows_independent == rows_apart, artifact.manifest.batch.reason
    if rows_apart:
        assert artifact(*(x[4:5] for x in inputs)).tobytes() == found[4:5].tobytes()


def distances(tf, x):
    squares = tf.reduce_sum(x * x, -1, keepdims=True)
    return squares - 2 * tf.matmul(x, x, transpose_b=True) + tf.transpose(squares, [0, 2, 1])


def weights(tf, *shape):
    random = np.random.default_rng(shape)
    return tf.Variable((random.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32))


def test_edge_convolution_over_nearest_neighbours(compiled, tf):
    class EdgeConvolution(tf.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = weights(tf, 8, 12), weights(tf, 12, 6)

        @tf.function(input_signature=[tf.TensorSpec([None, 14, 4], tf.float32)])
        def __call__(self, x):
            _, near = tf.math.top_k(-distances(tf, x), 4)
            others = tf.gather(x, near, batch_dims=1)
            centre = tf.tile(x[:, :, None, :], [1, 1, 4, 1])
            edges = tf.concat([centre, others - centre], -1)
            hidden = tf.nn.relu(tf.einsum("bnkf,fg->bnkg", edges, self.first))
            return tf.reduce_max(tf.einsum("bnkg,gh->bnkh", hidden, self.second), 2)

    model = EdgeConvolution()
    check(compiled(model), model, normal(19, 14, 4))


def test_gravity_network(compiled, tf):
    class Gravity(tf.Module):
        def __init__(self):
            super().__init__()
            self.space, self.features = weights(tf, 5, 3), weights(tf, 5, 7)

        @tf.function(input_signature=[tf.TensorSpec([None, 12, 5], tf.float32)])
        def __call__(self, x):
            nearness, near = tf.math.top_k(-tf.abs(distances(tf, x @ self.space)), 5)
            potential = tf.exp(10.0 * nearness)[..., None]
            sent = tf.gather(x @ self.features, near, batch_dims=1) * potential
            return tf.concat([x, tf.reduce_mean(sent, 2), tf.reduce_max(sent, 2)], -1)

    model = Gravity()
    check(compiled(model), model, normal(19, 12, 5))


@pytest.mark.parametrize("reduction", ["sum", pytest.param("mean", marks=pytest.mark.slow)])
def test_messages_summed_by_segment(compiled, tf, reduction):
    """Nodes and edges of one graph: the edges' number is the batch."""

    class Messages(tf.Module):
        def __init__(self):
            super().__init__()
            self.message = weights(tf, 6, 8)

        @tf.function(
            input_signature=[
                tf.TensorSpec([20, 3], tf.float32),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ]
        )
        def __call__(self, nodes, senders, receivers):
            ends = [tf.gather(nodes, senders), tf.gather(nodes, receivers)]
            sent = tf.nn.relu(tf.concat(ends, -1) @ self.message)
            pool = getattr(tf.math, f"unsorted_segment_{reduction}")
            return pool(sent, receivers, 20)

    model = Messages()
    random = np.random.default_rng(1)
    senders, receivers = random.integers(0, 20, (2, 50)).astype(np.int32)
    check(compiled(model), model, normal(20, 3), senders, receivers, rows_apart=False)


def test_deep_sets_with_masks(compiled, keras, shake):
    layers = keras.layers
    source = keras.Input((15, 5))
    mask = keras.ops.any(keras.ops.not_equal(source, 0), -1, keepdims=True)
    mask = keras.ops.cast(mask, "float32")
    x = source
    for width in (16, 8):
        x = layers.Dense(width, "relu")(x)
    total = keras.ops.sum(x * mask, 1)
    mean = total / keras.ops.maximum(keras.ops.sum(mask, 1), 1.0)
    largest = keras.ops.max(keras.ops.where(mask > 0, x, -1e9), 1)
    joined = layers.Concatenate()([total, mean, largest])
    model = shake(keras.Model(source, layers.Dense(3, "softmax")(joined)))
    x = normal(19, 15, 5)
    for row in range(19):
        x[row, 1 + row % 15 :] = 0
    check(compiled(model), model, x)


@pytest.mark.slow
def test_attention_with_pair_features(compiled, keras, shake):
    """Particles attend to each other, biased by what pairs of them have in common."""
    layers, ops = keras.layers, keras.ops
    source = keras.Input((10, 4))
    x = layers.Dense(8)(source)
    pairs = ops.log(ops.sum((source[:, :, None] - source[:, None]) ** 2, -1, keepdims=True) + 1e-3)
    bias = ops.transpose(layers.Dense(2)(layers.Dense(6, "gelu")(pairs)), (0, 3, 1, 2))
    q, k, v = (
        ops.transpose(ops.reshape(layers.Dense(8)(x), (-1, 10, 2, 4)), (0, 2, 1, 3))
        for _ in range(3)
    )
    scores = ops.softmax(ops.matmul(q, ops.swapaxes(k, 2, 3)) / 2.0 + bias, -1)
    heads = ops.reshape(ops.transpose(ops.matmul(scores, v), (0, 2, 1, 3)), (-1, 10, 8))
    model = shake(keras.Model(source, layers.Dense(2)(ops.mean(heads + x, 1))))
    check(compiled(model), model, normal(19, 10, 4))


@pytest.mark.slow
def test_interaction_network_with_constant_incidence(compiled, tf):
    receive = np.kron(np.eye(6), np.ones((1, 5))).astype(np.float32)
    pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
    send = np.zeros((6, 30), np.float32)
    for number, (_, j) in enumerate(pairs):
        send[j, number] = 1

    class Interaction(tf.Module):
        def __init__(self):
            super().__init__()
            self.relation, self.object = weights(tf, 6, 9), weights(tf, 12, 4)

        @tf.function(input_signature=[tf.TensorSpec([None, 6, 3], tf.float32)])
        def __call__(self, x):
            turned = tf.transpose(x, [0, 2, 1])
            both = tf.concat([turned @ receive, turned @ send], 1)
            effects = tf.nn.relu(tf.einsum("bfe,fg->bge", both, self.relation))
            gathered = tf.concat([turned, effects @ receive.T], 1)
            return tf.reduce_sum(tf.nn.relu(tf.einsum("bfn,fg->bng", gathered, self.object)), 1)

    model = Interaction()
    check(compiled(model), model, normal(19, 6, 3))
