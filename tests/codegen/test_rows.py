"""Rows: same bits in any batch and position, on every target; only own buffers touched."""

import numpy as np
import pytest
from compiled import compile_module
from models import MODELS, inputs_of

from tfaot.errors import ArtifactError
from tfaot.interpreter import evaluate
from tfaot.packaging.manifest import Target
from tfaot.runtime.cpu import check_cpu

BATCHES = [*range(1, 41), 63, 64, 65, 127, 128, 129, 200, 255, 256, 257, 299, 300]
LEVELS = ("x86-64-v3", "x86-64-v4", "native")


def _runs_here(level: str) -> bool:
    if level == "native":
        return True
    try:
        check_cpu(Target("x86_64-unknown-linux-gnu", level, ()))
    except ArtifactError:
        return False
    return True


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array)[..., None].view(np.uint8)


def _rows(name, run, inputs, batch, first):
    """Outputs for `batch` rows that begin with row `first` of the inputs, taken round."""
    chosen = (np.arange(batch) + first) % inputs[0].shape[0]
    taken = [x if fixed else x[chosen] for x, fixed in zip(inputs, MODELS[name].fixed, strict=True)]
    return run(taken, batch), chosen


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [n for n in MODELS if MODELS[n].rows_apart])
def test_bits_of_a_row_never_depend_on_the_batch(name, level):
    """Every batch size and position, compared with the rows of one call."""
    if not _runs_here(level):
        pytest.skip(f"this CPU lacks {level}")
    run = compile_module(MODELS[name].build(), level)
    inputs = inputs_of(name, 300)
    reference = [_bits(y) for y in run(inputs, 300)]
    for batch in BATCHES:
        outputs, chosen = _rows(name, run, inputs, batch, 7 * batch)
        for whole, part in zip(reference, outputs, strict=True):
            assert np.array_equal(_bits(part), whole[chosen]), (name, level, batch)


@pytest.mark.parametrize("name", MODELS)
def test_targets_with_fma_agree_bit_for_bit(name):
    inputs = inputs_of(name, 37)
    levels = [level for level in LEVELS if _runs_here(level)]
    first, *others = [compile_module(MODELS[name].build(), level)(inputs, 37) for level in levels]
    for outputs in others:
        for a, b in zip(first, outputs, strict=True):
            assert np.array_equal(_bits(a), _bits(b)), name


@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", MODELS)
def test_values_on_every_level(name, level):
    """Right values, guards intact, for every batch size from 0."""
    run = compile_module(MODELS[name].build(), level)
    if not _runs_here(level):
        pytest.skip(f"this CPU lacks {level}")
    for batch in range(41):
        inputs = inputs_of(name, batch)
        expected = evaluate(run.module, inputs, batch=batch, float64=True)
        for found, wanted in zip(run(inputs, batch), expected, strict=True):
            assert found.shape == wanted.shape
            scale = np.abs(wanted).max(initial=1.0)
            ulps = np.abs(found - wanted).max(initial=0.0) / (scale * np.finfo(np.float32).eps)
            assert ulps <= 8, f"batch {batch}: off by {ulps} ULP of the largest value"


@pytest.mark.parametrize("name", [n for n in MODELS if MODELS[n].rows_apart])
def test_workspace_is_a_constant_where_rows_are_apart(name):
    run = compile_module(MODELS[name].build())
    assert run.workspace_bytes(1) == run.workspace_bytes(100_000)


@pytest.mark.parametrize("name", ["dense", "embedding"])
def test_bad_calls_get_a_status_and_write_nothing(name):
    run = compile_module(MODELS[name].build())
    count = len(run.module.entry.parameters) + len(run.module.outputs) + 1
    assert run.call(-1, [0] * count) == 1
    assert run.call(0, [0] * count) == 0
    assert run.call(3, [0] * count) == 2
