"""Random graphs of ops, compiled, agree with the interpreter bit for bit."""

import pytest
from compiled import compile_module
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_modules import RandomGraph, graphs, inputs_of

from tfaot.interpreter import evaluate
from tfaot.ir.printer import print_module
from tfaot.ir.verifier import verify
from tfaot.testing.ulp import assert_within_ulp

BATCHES = (0, 1, 2, 5)
LEVELS = st.sampled_from(["x86-64-v3", "x86-64-v2"])
_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
FAST = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=_CHECKS)
SLOW = settings(max_examples=1000, deadline=None, suppress_health_check=_CHECKS)


def _check(graph, level):
    module = graph.build()
    verify(module)
    run = compile_module(module, level)
    for batch in BATCHES:
        inputs = inputs_of(module, batch)
        expected = evaluate(module, inputs, batch=batch)
        for number, (found, wanted) in enumerate(zip(run(inputs, batch), expected, strict=True)):
            try:
                assert_within_ulp(found, wanted, 0)
            except AssertionError as error:
                text = print_module(module)
                raise AssertionError(f"output {number}, batch {batch}: {error}\n{text}") from None


FOUND = (
    RandomGraph(80, 3, 2, 3),
    RandomGraph(83, 3, 11, 3, rows_apart=True),
    RandomGraph(161, 3, 16, 2, rows_apart=True),
    RandomGraph(226, 3, 18, 1),
    RandomGraph(274, 2, 4, 1),
    RandomGraph(1742, 3, 14, 3),
)
"""Graphs that once went wrong."""


@pytest.mark.parametrize("graph", FOUND, ids=lambda g: str(g.seed))
def test_graphs_that_once_went_wrong(graph):
    _check(graph, "x86-64-v3")


@FAST
@given(graphs(), LEVELS)
def test_random_modules(graph, level):
    _check(graph, level)


@FAST
@given(graphs(rows_apart=True), LEVELS)
def test_random_modules_with_independent_rows(graph, level):
    _check(graph, level)


@pytest.mark.slow
@SLOW
@given(graphs(), LEVELS)
def test_many_random_modules(graph, level):
    _check(graph, level)


@pytest.mark.slow
@SLOW
@given(graphs(rows_apart=True), LEVELS)
def test_many_random_modules_with_independent_rows(graph, level):
    _check(graph, level)
