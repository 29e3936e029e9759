"""reduce-window and select-and-scatter against loops over windows."""

from itertools import product

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import ReduceWindow, SelectAndScatter
from tfaot.testing.cases import op_cases
from tfaot.testing.ulp import assert_within_ulp

CASES = op_cases(["window"])
COMBINE = {"add": np.add, "multiply": np.multiply, "maximum": np.maximum}


def elements(position, dims, window):
    """The indices of the elements of `dims` that a window covers, in row-major order."""
    for offset in product(*(range(w.size) for w in window)):
        index = []
        for p, o, n, w in zip(position, offset, dims, window, strict=True):
            at = p * w.stride + o * w.window_dilation - w.padding_low
            if at % w.base_dilation or not 0 <= at // w.base_dilation < n:
                break
            index.append(at // w.base_dilation)
        else:
            yield tuple(index)


def reduce_by_element(x, initial, window, dims, combine):
    out = np.empty(dims, x.dtype)
    for position in product(*map(range, dims)):
        total = initial
        for index in elements(position, x.shape, window):
            total = combine(total, x[index])
        out[position] = total
    return out


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.opcode == "reduce-window" and "argmax" not in c.name],
    ids=str,
)
def test_reduce_window(case):
    module = case.module()
    x, initial = case.inputs(1, 2)
    root = module.entry.root
    combine = COMBINE[case.name.split("/")[-1].split("-")[0]]
    wide = x.astype(np.float64) if case.dtype.is_float else x
    with np.errstate(all="ignore"):
        expected = reduce_by_element(
            wide,
            wide.dtype.type(initial),
            root.attr(ReduceWindow).window,
            root.array.at(2).dims,
            combine,
        )
    actual = evaluate(module, [x, initial])[0]
    if not case.dtype.is_float:
        np.testing.assert_array_equal(actual, expected)
        return
    float64 = evaluate(module, [x, initial], float64=True)[0]
    np.testing.assert_allclose(float64, expected, rtol=1e-12, atol=1e-12)
    tolerance = {"f16": 1e-3, "bf16": 1e-2}.get(str(case.dtype), 1e-5)
    np.testing.assert_allclose(actual.astype(float), expected, rtol=tolerance, atol=tolerance * 8)


@pytest.mark.parametrize("case", [c for c in CASES if "argmax" in c.name], ids=str)
def test_reduce_window_of_several_operands(case):
    module = case.module()
    (x,) = case.inputs(1, 2)
    x[np.isnan(x)] = 0
    value, index = evaluate(module, [x])
    window = next(i for i in module.entry.instructions if i.opcode == "reduce-window")
    for position in product(*map(range, value.shape)):
        inside = list(elements(position, x.shape, window.attr(ReduceWindow).window))
        if not inside or max(x[i] for i in inside) == -np.inf:
            continue
        best = max(x[i] for i in inside)
        assert value[position] == best
        # The smallest index along the counted dimension wins a tie.
        assert index[position] == min(i[1] for i in inside if x[i] == best)


@pytest.mark.parametrize("case", [c for c in CASES if c.opcode == "select-and-scatter"], ids=str)
def test_select_and_scatter(case):
    module = case.module()
    x, source = case.inputs(1, 2)
    window = module.entry.root.attr(SelectAndScatter).window
    expected = np.zeros(x.shape, np.float64)
    for position in product(*map(range, source.shape)):
        # max keeps the first of equals, as the comparator GE does.
        target = max(elements(position, x.shape, window), key=lambda i: x[i])
        expected[target] += source[position]
    if case.dtype.is_float:
        assert_within_ulp(evaluate(module, [x, source], float64=True)[0], expected, 8)
    np.testing.assert_allclose(evaluate(module, [x, source])[0], expected, rtol=1e-4)
