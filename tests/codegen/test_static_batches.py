"""Static batch sizes: composed to any other, the last padded with zeros; or refused."""

import numpy as np
import pytest
from compiled import signature_of
from models import MODELS, inputs_of

from tfaot.artifact import write_artifact
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Origin, build
from tfaot.interpreter import evaluate
from tfaot.ir.text import parse_module
from tfaot.lowering import Lowered
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.runtime.model import load
from tfaot.symbolic import specialise

SIZES = (2, 4, 8)


MIXED = """
HloModule mixed
add { a = f32[] parameter(0)
 b = f32[] parameter(1)
 ROOT r = f32[] add(a,b) }
ENTRY e {
 x = f32[B,5] parameter(0)
 z = f32[] constant(0)
 s = f32[5] reduce(x,z), dimensions={0}, to_apply=add
 t = f32[B,5] broadcast(s), dimensions={1}
 ROOT y = f32[B,5] add(x,t)
}
"""


def _build(tmp_path, module, sizes, composable):
    lowered = Lowered(
        tuple(specialise(module, s) for s in sizes), sizes, "for the test", composable
    )
    compiled = build(
        "model",
        signature_of(module),
        lowered,
        resolve_targets("x86-64-v3"),
        CompileOptions(output_dir=tmp_path),
        Origin(Source("test")),
    )
    artifact = write_artifact(
        tmp_path, "model", compiled.header, compiled.object_bytes, compiled.manifest
    )
    return load(artifact.manifest)


@pytest.mark.parametrize("batch", [0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 33])
def test_sizes_are_stitched_together(tmp_path, batch):
    module = MODELS["dense"].build()
    model = _build(tmp_path, module, SIZES, composable=True)
    inputs = inputs_of("dense", batch)
    expected = evaluate(module, inputs, batch=batch)
    actual = model(*inputs)
    np.testing.assert_allclose(actual, expected[0], rtol=1e-5, atol=1e-6)


def test_rows_of_padding_are_zero_whatever_was_there_before(tmp_path):
    # A model whose rows mix tells what the padding held; it would not be composed otherwise.
    model = _build(tmp_path, parse_module(MIXED), (4,), composable=True)
    model(np.full((3, 5), 7, np.float32))
    one = np.arange(5, dtype=np.float32)[None]
    np.testing.assert_array_equal(model(one), one + one)


def test_other_sizes_are_refused_where_rows_mix(tmp_path):
    model = _build(tmp_path, MODELS["dense"].build(), SIZES, composable=False)
    model(*inputs_of("dense", 4))
    with pytest.raises(Exception, match="2, 4, 8"):
        model(*inputs_of("dense", 3))
