"""Time per kernel of an artifact and its model, which is compiled again with timers."""

import os

import pytest
from html_reader import read_page

import tfaot
from tfaot.errors import UsageError

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two SavedModels that differ in their weights, and the artifact of the first."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tf = pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("saved")

    class Dense(tf.Module):
        def __init__(self, factor):
            super().__init__()
            self.w = tf.Variable(tf.reshape(tf.range(12.0), (4, 3)) * factor)

        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
        def __call__(self, x):
            return tf.tanh(x @ self.w)

    for name, factor in (("one", 0.25), ("two", 0.5)):
        tf.saved_model.save(Dense(factor), str(folder / name))
    tfaot.compile(folder / "one", folder / "out", name="dense")
    return folder


def test_the_model_is_timed_and_leaves_nothing_behind(saved):
    before = sorted(p.name for p in (saved / "out").iterdir())
    page = tfaot.report(saved / "out/dense.json", saved / "page.html", saved / "one", batch=16)
    kernels = read_page(page).section("kernels")
    assert "per call of 16 rows" in kernels.words
    assert len(kernels.all("a")) >= 1
    accuracy = read_page(page).section("accuracy")
    assert any(t.startswith("Worst rows of") for t in accuracy.texts["caption"])
    assert sorted(p.name for p in (saved / "out").iterdir()) == before


def test_another_model_is_refused(saved):
    output = saved / "other.html"
    with pytest.raises(UsageError, match="is not the one that 'dense' was compiled from"):
        tfaot.report(saved / "out/dense.json", output, saved / "two")
    assert not output.exists()
