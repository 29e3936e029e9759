"""gather and scatter against element-by-element transcriptions of the HLO specification."""

from itertools import product

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Gather, Scatter
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import dim_at
from tfaot.testing.cases import op_cases
from tfaot.testing.ulp import assert_within_ulp


def index_vector(indices, position, index_vector_dim):
    if index_vector_dim == indices.ndim:
        return [int(indices[tuple(position)])]
    where = list(position)
    where.insert(index_vector_dim, slice(None))
    return [int(v) for v in indices[tuple(where)]]


def gather_by_element(x, indices, a, dims, sizes):
    out = np.empty(dims, x.dtype)
    kept = [
        d for d in range(x.ndim) if d not in (*a.collapsed_slice_dims, *a.operand_batching_dims)
    ]
    for position in product(*(range(n) for n in dims)):
        batch = [p for d, p in enumerate(position) if d not in a.offset_dims]
        start = [0] * x.ndim
        vector = index_vector(indices, batch, a.index_vector_dim)
        for value, d in zip(vector, a.start_index_map, strict=True):
            start[d] = min(max(value, 0), x.shape[d] - sizes[d])
        for d, s in zip(a.operand_batching_dims, a.start_indices_batching_dims, strict=True):
            start[d] = batch[s if s < a.index_vector_dim else s - 1]
        for d, o in zip(kept, a.offset_dims, strict=True):
            start[d] += position[o]
        out[position] = x[tuple(start)]
    return out


def scatter_by_element(x, indices, updates, a, combine):
    out = x.copy()
    window = [
        d for d in range(x.ndim) if d not in (*a.inserted_window_dims, *a.input_batching_dims)
    ]
    scatter_dims = [d for d in range(updates.ndim) if d not in a.update_window_dims]
    sizes = dict(zip(window, (updates.shape[d] for d in a.update_window_dims), strict=True))
    for position in product(*(range(n) for n in updates.shape)):
        batch = [position[d] for d in scatter_dims]
        start = [0] * x.ndim
        vector = index_vector(indices, batch, a.index_vector_dim)
        for value, d in zip(vector, a.scatter_dims_to_operand_dims, strict=True):
            start[d] = value
        for d, s in zip(a.input_batching_dims, a.scatter_indices_batching_dims, strict=True):
            start[d] = batch[s if s < a.index_vector_dim else s - 1]
        if any(not 0 <= s <= x.shape[d] - sizes.get(d, 1) for d, s in enumerate(start)):
            continue
        for d, u in zip(window, a.update_window_dims, strict=True):
            start[d] += position[u]
        out[tuple(start)] = combine(out[tuple(start)], updates[position])
    return out


GATHERS = [c for c in op_cases(["gather"]) if c.opcode == "gather"]
SCATTERS = [c for c in op_cases(["gather"]) if c.opcode == "scatter"]
COMBINE = {
    "add": np.add,
    "multiply": np.multiply,
    "maximum": np.maximum,
    "replace": lambda old, new: new,
    "mean": lambda old, new: (old + new) * np.float32(0.5),
}


@pytest.mark.parametrize("case", GATHERS, ids=str)
def test_gather(case):
    module = case.module()
    x, indices = case.inputs(2, 6)
    attrs = module.entry.root.attr(Gather)
    sizes = [dim_at(s, 6) for s in attrs.slice_sizes]
    dims = module.entry.root.array.at(6).dims
    expected = gather_by_element(x, indices, attrs, dims, sizes)
    assert_within_ulp(evaluate(module, [x, indices])[0], expected, 0, strict=True)


@pytest.mark.parametrize("case", SCATTERS, ids=str)
def test_scatter(case):
    module = case.module()
    x, indices, updates = case.inputs(2, 6)
    combine = COMBINE[case.name.split("/")[-1].split("-")[0]]
    attrs = module.entry.root.attr(Scatter)
    with np.errstate(all="ignore"):
        expected = scatter_by_element(x, indices, updates, attrs, combine)
    actual = evaluate(module, [x, indices, updates])[0]
    assert_within_ulp(actual, expected, 0, strict=True)
    assert actual.dtype == x.dtype


def test_scatter_cases_reach_out_of_bounds_and_twice_the_same_row():
    case = next(c for c in SCATTERS if c.name == "gather/scatter/f32/add-rows")
    indices = case.inputs(2, 30)[1].ravel()
    inside = indices[(indices >= 0) & (indices < 9)]
    assert (indices < 0).any()
    assert (indices > 8).any()
    assert len(set(inside.tolist())) < inside.size
    assert DType.from_numpy(indices.dtype) is DType.S32
