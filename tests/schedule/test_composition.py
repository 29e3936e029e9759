"""Static sizes make up any number of rows at least cost."""

from __future__ import annotations

import itertools

import pytest

from tfaot.ir.text import parse_module
from tfaot.schedule.composition import PADDED_NS, cheapest, estimated_cost
from tfaot.schedule.work import computation_flops


def cost_of(parts, rows, cost) -> float:
    padding = PADDED_NS * (rows - sum(parts[:-1])) if sum(parts) > rows else 0
    return sum(map(cost, parts)) + padding


@pytest.mark.parametrize("call", [0.0, 100.0, 1000.0, 10_000.0])
@pytest.mark.parametrize("sizes", [(1,), (4,), (1, 2, 4), (2, 5), (3, 7, 16)])
def test_no_other_composition_costs_less(sizes, call):
    def cost(size):
        return call + 90.0 * size

    composition = cheapest(sizes, cost)

    for rows in range(1, 2 * sizes[-1] + 1):
        parts = composition.parts(rows)
        assert sum(parts) >= rows > sum(parts[:-1])
        others = (
            other
            for count in range(1, 5)
            for other in itertools.product(sizes, repeat=count)
            if sum(other) >= rows > sum(other[:-1])
        )
        least = min(cost_of(other, rows, cost) for other in others)
        assert cost_of(parts, rows, cost) <= least + 1e-6 or len(parts) > 4


def test_calls_that_cost_much_are_padded_not_repeated():
    assert cheapest((4, 32), lambda size: 1000 + size).parts(31) == (32,)
    assert cheapest((4, 32), lambda size: 100.0 * size).parts(9) == (4, 4, 4)


def test_many_rows_begin_with_the_largest_size():
    composition = cheapest((1, 2, 4), lambda size: 100 + 10 * size)

    parts = composition.parts(1_000_003)

    assert parts[0] == 4
    assert 1_000_003 <= sum(parts) < 1_000_003 + 4
    assert len(composition.table) == 9


def test_no_rows_have_no_parts():
    assert cheapest((2, 4), float).parts(0) == ()


def test_operations_count_products():
    module = parse_module("""
HloModule m
ENTRY e {
 x = f32[3,5] parameter(0)
 w = f32[5,7] parameter(1)
 d = f32[3,7] dot(x,w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
 ROOT t = f32[3,7] tanh(d)
}
""")
    assert computation_flops(module.entry).at(0) == 2 * 3 * 5 * 7 + 3 * 7


def test_reading_weights_counts_once_a_call():
    cost = estimated_cost([(1, 100.0), (8, 800.0)], 1_000_000)

    assert cost(8) - cost(1) < 0.01 * cost(1)
