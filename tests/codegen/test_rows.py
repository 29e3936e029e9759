"""Rows: same bits in any batch and position, on every target; only own buffers touched."""

import ctypes
import mmap
import os

import numpy as np
import pytest
from compiled import compile_module
from models import MODELS, inputs_of

from tfaot.errors import ArtifactError
from tfaot.interpreter import evaluate
from tfaot.packaging.manifest import Target
from tfaot.runtime.cpu import check_cpu

BATCHES = range(1, 301)
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


@pytest.mark.parametrize("name", MODELS)
def test_nothing_outside_of_inputs_is_read(name):
    """Inputs end where memory that can't be read begins; a fault would end the child process."""
    run = compile_module(MODELS[name].build())
    child = os.fork()
    if child == 0:
        for batch in (1, 2, 3, 7, 17, 33):
            sources = [ends_at_a_wall(x) for x in inputs_of(name, batch)]
            results = [bytearray(o.array.at(batch).size * 8 + 64) for o in run.module.outputs]
            scratch = np.zeros(run.workspace_bytes(batch) + 64, np.uint8)
            pointers = [ctypes.addressof(ctypes.c_char.from_buffer(r)) for r in results]
            run.call(batch, [*sources, *pointers, -(-scratch.ctypes.data // 64) * 64])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, name


def ends_at_a_wall(array: np.ndarray) -> int:
    """The address of a copy of `array` whose last byte is the last before an unreadable page."""
    page = mmap.PAGESIZE
    size = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, size + page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    start = address + size - array.nbytes
    ctypes.memmove(start, np.ascontiguousarray(array).ctypes.data, array.nbytes)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(address + size), page, 0) == 0
    _WALLS.append(memory)
    return start


_WALLS: list[mmap.mmap] = []


@pytest.mark.parametrize("name", ["dense", "embedding"])
def test_bad_calls_get_a_status_and_write_nothing(name):
    run = compile_module(MODELS[name].build())
    count = len(run.module.entry.parameters) + len(run.module.outputs) + 1
    assert run.call(-1, [0] * count) == 1
    assert run.call(0, [0] * count) == 0
    assert run.call(3, [0] * count) == 2
