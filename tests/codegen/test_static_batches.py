"""Static batch sizes: composed to any other, the last padded with zeros; or refused."""

import ctypes

import numpy as np
import pytest
from compiled import signature_of
from models import MODELS, inputs_of

from tfaot.artifact import write_artifact
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Origin, build
from tfaot.errors import InputError, UsageError
from tfaot.interpreter import evaluate
from tfaot.ir.text import parse_module
from tfaot.lowering import Lowered
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.runtime.model import load
from tfaot.runtime.plan import plan
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
        tmp_path, "model", compiled.header, compiled.object, compiled.manifest
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


@pytest.mark.parametrize("rule", ["5:2,4", "5:4,2", "5:8", "3:2,2", "7:2,2,2,2", "16:8,8"])
def test_rules_choose_the_parts_and_keep_the_rows(tmp_path, rule):
    module = MODELS["dense"].build()
    model = _build(tmp_path, module, SIZES, composable=True)
    inputs = inputs_of("dense", int(rule.split(":")[0]))
    expected = model(*inputs)

    model.set_batch_rules(rule)

    assert model(*inputs).tobytes() == expected.tobytes()
    bound = model.bind(*inputs)
    bound()
    assert bound.outputs[0].tobytes() == expected.tobytes()


def test_a_rule_decides_which_body_runs(tmp_path):
    # A sum over the rows of a part tells the parts apart; it would not be composed otherwise.
    model = _build(tmp_path, parse_module(MIXED), (2, 4), composable=True)
    ones = np.ones((5, 5), np.float32)
    seen = {}
    for rule in ("5:4,4", "5:2,4", "5:2,2,2"):
        model.set_batch_rules(rule)
        seen[rule] = model(ones)[:, 0].tolist()

    assert seen == {
        "5:4,4": [5, 5, 5, 5, 2],
        "5:2,4": [3, 3, 4, 4, 4],
        "5:2,2,2": [3, 3, 3, 3, 2],
    }


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("5:3,4", "not compiled for 3 rows, but for 2, 4, 8"),
        ("5:2,2", "the parts are 4 rows, too few"),
        ("4:2,2,2", "its last part has nothing to do"),
        ("5=2,4", "write it as 5:2,4"),
        ("5:", "write it as"),
        ("5:2,4 5:8", "there is another for 5 rows"),
        ("0:2", "nothing to do|from 1"),
    ],
)
def test_wrong_rules(tmp_path, rule, message):
    model = _build(tmp_path, MODELS["dense"].build(), SIZES, composable=True)
    with pytest.raises(UsageError, match=message) as caught:
        model.set_batch_rules(rule)
    assert "\n" not in str(caught.value)


def test_wrong_parts_are_a_status(tmp_path):
    model = _build(tmp_path, MODELS["dense"].build(), SIZES, composable=True)
    inputs = inputs_of("dense", 5)
    model.set_batch_rules("5:2,4")
    for parts in [(), (2, 2), (2, 4, 2), (3, 4), (2, -4), (0, 8), (2**62, 2**62)]:
        array = (ctypes.c_int64 * len(parts))(*parts)
        model._rules = {5: (len(parts), array)}
        with pytest.raises(InputError, match="the parts do not make up"):
            model(*inputs)


def test_plan_finds_rules_that_the_model_takes(tmp_path):
    model = _build(tmp_path, MODELS["dense"].build(), SIZES, composable=True)

    found = plan(model, 9)

    assert set(found.seconds) == set(SIZES)
    assert [b.batch for b in found.batches] == [1, 3, 5, 6, 7, 9]
    model.set_batch_rules([b.rule for b in found.batches])
    for batch in found.batches:
        assert set(batch.parts) <= set(SIZES)
        inputs = inputs_of("dense", batch.batch)
        assert model(*inputs).shape[0] == batch.batch


def test_other_sizes_are_refused_where_rows_mix(tmp_path):
    model = _build(tmp_path, MODELS["dense"].build(), SIZES, composable=False)
    model(*inputs_of("dense", 4))
    with pytest.raises(Exception, match="2, 4, 8"):
        model(*inputs_of("dense", 3))
