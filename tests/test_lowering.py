"""The driver's lowering: one module for every batch size where there is a way to have it."""

import numpy as np
import pytest

from tfaot.errors import UnsupportedError
from tfaot.frontend.session import TensorFlowSession, open_model
from tfaot.interpreter import evaluate
from tfaot.lowering import lower
from tfaot.symbolic import specialise

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def session():
    with TensorFlowSession() as running:
        yield running


@pytest.fixture(scope="module")
def lowered(session):
    tf = pytest.importorskip("tensorflow")

    def run(call, batch_sizes=(), **options):
        spec = tf.TensorSpec([None, 4], tf.float32, name="x")
        function = tf.function(call, input_signature=[spec])
        with open_model(function, session=session) as loaded:
            return lower(loaded, batch_sizes, lambda stage, detail: None, **options)

    return run


CASES = {
    # XLA merges a transpose into the dot at some sizes, not at others.
    "gram": lambda tf, x: tf.linalg.diag_part(x @ tf.transpose(x)),
    "identity": lambda tf, x: tf.eye(tf.shape(x)[0]) @ x,
    "others": lambda tf, x: (1 - tf.eye(tf.shape(x)[0])) @ x,
}


@pytest.mark.parametrize("name", CASES)
def test_rows_that_mix_stay_symbolic(lowered, name):
    tf = pytest.importorskip("tensorflow")
    found = lowered(lambda x: CASES[name](tf, x))
    assert found.batches == (None,)
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    (value,) = evaluate(specialise(found.modules[0], 5), [x])
    np.testing.assert_allclose(value, CASES[name](tf, tf.constant(x)), rtol=1e-5, atol=1e-5)


def test_without_a_symbolic_form_batch_sizes_are_asked_for(lowered):
    tf = pytest.importorskip("tensorflow")

    def above_median(x):
        return x + tf.sort(x, 0)[tf.shape(x)[0] // 2]

    with pytest.raises(UnsupportedError, match=r"no form .* every batch size.*--batch-sizes 1,2"):
        lowered(above_median)
    found = lowered(above_median, (1, 6))
    assert found.batches == (1, 6)
    assert found.reason is not None
    assert [m.entry.root.array.dims for m in found.modules] == [(1, 4), (6, 4)]


def test_static_sizes_keep_the_form_that_other_sizes_are_verified_with(lowered):
    found = lowered(lambda x: 2 * x + 1, (2, 4), static=True)

    assert found.batches == (2, 4)
    x = np.ones((7, 4), np.float32)
    (value,) = evaluate(specialise(found.symbolic, 7), [x])
    np.testing.assert_array_equal(value, np.full((7, 4), 3, np.float32))
