"""Static batch sizes: composed to any other, the last padded with zeros; or refused."""

import numpy as np
import pytest
from compiled import signature_of
from models import MODELS, inputs_of

from tfaot.artifact import write_artifact
from tfaot.codegen.target import resolve_target
from tfaot.compiler import Origin, build
from tfaot.interpreter import evaluate
from tfaot.lowering import Lowered
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.runtime.model import load
from tfaot.symbolic import specialise

SIZES = (2, 4, 8)


def _build(tmp_path, composable):
    module = MODELS["dense"].build()
    lowered = Lowered(
        tuple(specialise(module, s) for s in SIZES), SIZES, "for the test", composable
    )
    compiled = build(
        "model",
        signature_of(module),
        lowered,
        resolve_target("x86-64-v3"),
        CompileOptions(output_dir=tmp_path),
        Origin(Source("test")),
    )
    artifact = write_artifact(
        tmp_path, "model", compiled.header, compiled.object_bytes, compiled.manifest
    )
    return module, load(artifact.manifest)


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 33])
def test_sizes_are_stitched_together(tmp_path, batch):
    module, model = _build(tmp_path, composable=True)
    inputs = inputs_of("dense", batch)
    expected = evaluate(module, inputs, batch=batch)
    actual = model(*inputs)
    np.testing.assert_allclose(actual, expected[0], rtol=1e-5, atol=1e-6)


def test_padding_leaves_nothing_behind(tmp_path):
    _, model = _build(tmp_path, composable=True)
    full, one = inputs_of("dense", 8), inputs_of("dense", 1)
    fresh = model(*one)
    model(*[np.full_like(x, np.nan) for x in full])
    np.testing.assert_array_equal(model(*one), fresh)


def test_other_sizes_are_refused_where_rows_mix(tmp_path):
    _, model = _build(tmp_path, composable=False)
    model(*inputs_of("dense", 4))
    with pytest.raises(Exception, match="2, 4, 8"):
        model(*inputs_of("dense", 3))
