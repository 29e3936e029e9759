"""Rows per tile: activations of 64, 128 or 512 KB, by the size of the weights."""

import numpy as np
import pytest
from compiled import compile_module

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.schedule.arena import plan_arena
from tfaot.schedule.control import schedule
from tfaot.schedule.tiling import rows_per_tile, weight_bytes
from tfaot.testing.build import ModuleBuilder

KB = 1024


def network(layers, nodes, outputs=8):
    """Dense layers of one width and one of `outputs` on an input of that width."""
    b = ModuleBuilder("m")
    x = b.parameter(DType.F32, (BatchDim(1), nodes))
    random = np.random.default_rng(layers)
    widths = [nodes] * layers + [outputs]
    for width in widths:
        weights = random.standard_normal((x.array.dims[-1], width), np.float32)
        x = b.unary("tanh", b.matmul(x, b.constant(weights * np.float32(0.05))))
    return b.module(x)


@pytest.mark.parametrize(
    ("layers", "nodes", "least", "most", "arena"),
    [
        (3, 128, 0, 256 * KB, 64 * KB),
        (5, 128, 256 * KB, 1024 * KB, 128 * KB),
        (25, 256, 1024 * KB, 16 * 1024 * KB, 128 * KB),
        (5, 1024, 16 * 1024 * KB, 32 * 1024 * KB, 512 * KB),
    ],
)
def test_a_tile_is_as_tall_as_its_activations_allow(layers, nodes, least, most, arena):
    plan = schedule(run_passes(network(layers, nodes), default_passes()).entry)
    assert least < weight_bytes(plan) <= most
    rows = rows_per_tile(plan)
    assert plan_arena(plan, rows).size.at(rows) <= arena
    assert plan_arena(plan, 2 * rows).size.at(2 * rows) > arena


def test_wide_rows_have_the_large_arena_rather_than_fewer_than_32():
    plan = schedule(run_passes(network(2, 900, outputs=1), default_passes()).entry)
    assert weight_bytes(plan) < 16 * 1024 * KB
    assert plan_arena(plan, 32).size.at(32) > 128 * KB
    assert rows_per_tile(plan) == 64


def test_narrow_rows_stop_at_1024():
    plan = schedule(run_passes(network(2, 2, outputs=1), default_passes()).entry)
    assert plan_arena(plan, 2048).size.at(2048) <= 64 * KB
    assert rows_per_tile(plan) == 1024


def test_a_thread_needs_the_workspace_of_a_tile_for_any_number_of_rows():
    compiled = compile_module(network(25, 256))
    small, large = compiled.workspace_bytes(64), compiled.workspace_bytes(100_000)
    assert 100 * KB < large < 140 * KB
    assert small == large
