"""Random numbers drawn from a seed: the same as XLA's, at any batch size."""

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def seeded(tf, x):
    return tf.cast(x[0, :2], tf.int32) + tf.constant([1, 2])


DRAWS = {
    "fixed seed": lambda tf, x: tf.random.stateless_uniform(tf.shape(x), [1, 2]),
    "seed of the inputs": lambda tf, x: tf.random.stateless_uniform(tf.shape(x), seeded(tf, x)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_are_those_of_xla(compiled, function, tf, name):
    body = function(lambda x: x + DRAWS[name](tf, x), ([None, 4], "float32"))
    artifact = compiled(body)
    assert artifact.manifest.batch.kind == "symbolic"
    compiled_by_xla = tf.function(lambda x: x + DRAWS[name](tf, x), jit_compile=True)
    for n in (1, 2, 5, 32):
        x = np.full((n, 4), 3, np.float32)
        np.testing.assert_allclose(artifact(x), compiled_by_xla(x).numpy(), rtol=1e-6)


def test_normal_draws_whose_order_depends_on_the_batch_are_static(compiled, function, tf):
    body = function(
        lambda x: x + tf.random.stateless_normal(tf.shape(x), [1, 2]), ([None, 3], "float32")
    )
    artifact = compiled(body, batch_sizes=[2, 3])
    assert artifact.manifest.batch.kind == "static"
