"""The arena: values that live at the same time never share bytes, and space is reused."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_modules import graphs

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.schedule.arena import ALIGNMENT, Buffer, byte_size, lifetimes, plan_arena, stored_results
from tfaot.schedule.control import schedule
from tfaot.schedule.fusion import is_given, storage_of
from tfaot.testing.build import ModuleBuilder

_SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=(HealthCheck.too_slow,),
)


def _plan(module):
    return schedule(run_passes(module, default_passes()).entry)


@_SETTINGS
@given(graphs(), st.sampled_from([None, 1, 16]))
def test_live_values_never_overlap(graph, rows):
    plan = _plan(graph.build())
    arena = plan_arena(plan, rows)
    buffers = lifetimes(plan, rows)
    for batch in (0, 1, 7, 1000) if rows is None else (rows,):
        places = [(b, arena.offsets[b.owner].at(batch), b.size.at(batch)) for b in buffers]
        for n, (a, start, size) in enumerate(places):
            assert start % ALIGNMENT == 0
            assert start + size <= arena.size.at(batch)
            for b, other, length in places[n + 1 :]:
                if a.first <= b.last and b.first <= a.last and size and length:
                    assert start + size <= other or other + length <= start, (a, b, batch)


@_SETTINGS
@given(graphs())
def test_kernels_read_only_what_was_written_before(graph):
    """Every leaf is given or the result of an earlier kernel, every output is written once."""
    plan = _plan(graph.build())
    written = set()
    for kernel in plan.kernels:
        for leaf in kernel.leaves:
            stored = storage_of(leaf)
            assert is_given(stored) or id(stored) in written, stored
        for result in stored_results(kernel):
            assert id(result) not in written
            written.add(id(result))
    outputs = [id(o) for o in plan.outputs]
    assert len(set(outputs)) == len(outputs)
    assert set(outputs) <= written


@_SETTINGS
@given(graphs())
def test_lifetimes_reach_from_the_writer_to_the_last_reader(graph):
    plan = _plan(graph.build())
    found = {b.owner: b for b in lifetimes(plan, None)}
    for position, kernel in enumerate(plan.kernels):
        for result in stored_results(kernel):
            if id(result) in found:
                assert found[id(result)].first == position
                assert found[id(result)].size == byte_size(result)
        for leaf in kernel.leaves:
            buffer = found.get(id(storage_of(leaf)))
            if isinstance(buffer, Buffer):
                assert buffer.first < position <= buffer.last


def test_a_chain_of_layers_takes_two_buffers():
    b = ModuleBuilder("chain")
    x = b.parameter(DType.F32, (BatchDim(1), 32))
    weights = b.parameter(DType.F32, (32, 32))
    for _ in range(10):
        x = b.unary("negate", b.matmul(x, weights))
    plan = _plan(b.module(x))
    assert plan_arena(plan, 16).size.at(16) <= 2 * 16 * 32 * 4 + 1024
    assert plan_arena(plan, None).size.at(1000) <= 2 * (1000 * 32 * 4 + 64) + 1024
