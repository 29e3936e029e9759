from __future__ import annotations

import numpy as np
import pytest
from hlo_text import inputs, module, poster

from tfaot.interpreter import evaluate
from tfaot.passes.batch_parallel import RowLayout, analyse_batch

INDEPENDENT = {
    "elementwise": (
        "x = f32[B,3] parameter(0)\nz = f32[B,3] parameter(1)\nROOT y = f32[B,3] add(x, z)",
        RowLayout(0),
    ),
    "merged rows": (
        "x = f32[B,5,3] parameter(0)\nROOT y = f32[5B,3] reshape(x)",
        RowLayout(0, 5),
    ),
    "split rows": (
        "x = f32[5B,3] parameter(0)\na = f32[B,15] reshape(x)\nROOT y = f32[B,3,5] reshape(a)",
        RowLayout(0),
    ),
    "merged after units": (
        "x = f32[B,5,3] parameter(0)\nROOT y = f32[1,15B] reshape(x)",
        RowLayout(1, 15),
    ),
    "batch last": (
        "x = f32[B,3] parameter(0)\nROOT y = f32[3,B] transpose(x), dimensions={1,0}",
        RowLayout(1),
    ),
    "batch second": (
        "x = f32[3,B] parameter(0)\nz = f32[] constant(0)\n"
        "ROOT y = f32[B] reduce(x, z), dimensions={0}, to_apply=add_f32",
        RowLayout(0),
    ),
    "slice, pad, concatenate, reverse along features": (
        "x = f32[B,6] parameter(0)\nz = f32[] constant(0)\n"
        "a = f32[B,2] slice(x), slice={[0:B],[1:5:2]}\n"
        "p = f32[B,4] pad(a, z), padding=0_0x1_1\n"
        "r = f32[B,4] reverse(p), dimensions={1}\n"
        "ROOT y = f32[B,10] concatenate(r, x), dimensions={1}",
        RowLayout(0),
    ),
    "dot, rows free on the left": (
        "x = f32[B,3] parameter(0)\nw = f32[3,2] constant({{1,2},{3,4},{5,6}})\n"
        "ROOT y = f32[B,2] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={0}",
        RowLayout(0),
    ),
    "dot, rows free on the right": (
        "x = f32[B,3] parameter(0)\nw = f32[3,2] constant({{1,2},{3,4},{5,6}})\n"
        "ROOT y = f32[2,B] dot(w, x), lhs_contracting_dims={0}, rhs_contracting_dims={1}",
        RowLayout(1),
    ),
    "dot, rows a batch dimension": (
        "x = f32[B,2,3] parameter(0)\nz = f32[B,3,4] parameter(1)\n"
        "ROOT y = f32[B,2,4] dot(x, z), lhs_batch_dims={0}, rhs_batch_dims={0}, "
        "lhs_contracting_dims={2}, rhs_contracting_dims={1}",
        RowLayout(0),
    ),
    "embedding": (
        "x = s32[B,3] parameter(0)\nt = f32[4,2] constant({{1,2},{3,4},{5,6},{7,8}})\n"
        "ROOT y = f32[B,3,2] gather(t, x), offset_dims={2}, collapsed_slice_dims={0}, "
        "start_index_map={0}, index_vector_dim=2, slice_sizes={1,2}",
        RowLayout(0),
    ),
    "columns by constant index": (
        "x = f32[B,5] parameter(0)\ni = s32[2] constant({3,1})\n"
        "ROOT y = f32[B,2] gather(x, i), offset_dims={0}, collapsed_slice_dims={1}, "
        "start_index_map={1}, index_vector_dim=1, slice_sizes={B,1}",
        RowLayout(0),
    ),
    "row-local gather": (
        "x = f32[B,5] parameter(0)\ni = s32[B,3] parameter(1)\n"
        "r = s32[B,3,1] iota(), iota_dimension=0\nj = s32[B,3,1] reshape(i)\n"
        "c = s32[B,3,2] concatenate(r, j), dimensions={2}\nf = s32[3B,2] reshape(c)\n"
        "ROOT y = f32[3B] gather(x, f), offset_dims={}, collapsed_slice_dims={0,1}, "
        "start_index_map={0,1}, index_vector_dim=1, slice_sizes={1,1}",
        RowLayout(0, 3),
    ),
    "window along features": (
        "x = f32[B,5] parameter(0)\nz = f32[] constant(0)\n"
        "ROOT y = f32[B,5] reduce-window(x, z), window={size=1x5 pad=0_0x4_0}, to_apply=add_f32",
        RowLayout(0),
    ),
    "dynamic slice of features": (
        "x = f32[B,5] parameter(0)\ni = s32[] parameter(1)\nz = s32[] constant(0)\n"
        "ROOT y = f32[B,2] dynamic-slice(x, z, i), dynamic_slice_sizes={B,2}",
        RowLayout(0),
    ),
}


@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_rows(name: str) -> None:
    body, layout = INDEPENDENT[name]
    source = module(body)
    found = analyse_batch(source)
    assert found.independent, found.reason
    assert found.outputs == (layout,)
    # The interpreter agrees: a row's result is that of the row alone.
    values = inputs(source, 4)
    (whole,) = evaluate(source, values, batch=4)
    for row in range(4):
        one = []
        for value, place in zip(values, found.inputs, strict=True):
            if place is None:
                one.append(value)
                continue
            m = place.rows_per_row
            one.append(np.take(value, range(row * m, row * m + m), axis=place.dimension))
        (alone,) = evaluate(source, one, batch=1)
        m = layout.rows_per_row
        part = np.take(whole, range(row * m, row * m + m), axis=layout.dimension)
        np.testing.assert_array_equal(part, alone)


DEPENDENT = {
    "mean over the batch": (
        "x = f32[B,3] parameter(0)\nz = f32[] constant(0)\n"
        "ROOT y = f32[3] reduce(x, z), dimensions={0}, to_apply=add_f32",
        "reduces over the batch",
    ),
    "interleaved rows": (
        "x = f32[3,B] parameter(0)\nROOT y = f32[3B] reshape(x)",
        "interleaves",
    ),
    "product of rows with rows": (
        "x = f32[B,3] parameter(0)\n"
        "ROOT y = f32[B,B] dot(x, x), lhs_contracting_dims={1}, rhs_contracting_dims={1}",
        "multiplies every batch row with every other",
    ),
    "sum over rows in a dot": (
        "x = f32[B,3] parameter(0)\n"
        "ROOT y = f32[3,3] dot(x, x), lhs_contracting_dims={0}, rhs_contracting_dims={0}",
        "sums over the batch",
    ),
    "reversed batch": (
        "x = f32[B,3] parameter(0)\nROOT y = f32[B,3] reverse(x), dimensions={0}",
        "reverses",
    ),
    "first rows": (
        "x = f32[B,3] parameter(0)\nROOT y = f32[B-1,3] slice(x), slice={[0:B-1],[0:3]}",
        "takes part of the batch",
    ),
    "joined batches": (
        "x = f32[B,3] parameter(0)\nROOT y = f32[2B,3] concatenate(x, x), dimensions={0}",
        "joins arrays along the batch",
    ),
    "position in the batch": (
        "x = f32[B] parameter(0)\ni = f32[B] iota(), iota_dimension=0\nROOT y = f32[B] add(x, i)",
        "depend on its position",
    ),
    "size of the batch": (
        "x = f32[B] parameter(0)\nn = s32[] get-dimension-size(x), dimensions={0}\n"
        "f = f32[] convert(n)\nb = f32[B] broadcast(f), dimensions={}\n"
        "ROOT y = f32[B] divide(x, b)",
        "depend on the batch size",
    ),
    "rows chosen by rows": (
        "x = f32[B,2] parameter(0)\ni = s32[B,1] parameter(1)\n"
        "ROOT y = f32[B,2] gather(x, i), offset_dims={1}, collapsed_slice_dims={0}, "
        "start_index_map={0}, index_vector_dim=1, slice_sizes={1,2}",
        "takes chosen rows",
    ),
    "running sum over the batch": (
        "x = f32[B] parameter(0)\nz = f32[] constant(0)\n"
        "ROOT y = f32[B] reduce-window(x, z), window={size=2 pad=1_0}, to_apply=add_f32",
        "window that spans the batch",
    ),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_dependent_rows_name_the_op(name: str) -> None:
    body, reason = DEPENDENT[name]
    body = body + ', metadata={op_name="model/layer"}'
    found = analyse_batch(module(body))
    assert not found.independent
    assert reason in found.reason
    assert found.reason.startswith("op '")


def test_reason_names_shape_and_layer() -> None:
    body, _ = DEPENDENT["mean over the batch"]
    found = analyse_batch(module(body + ', metadata={op_name="model/pool"}'))
    assert "f32[3]" in found.reason
    assert "model/pool" in found.reason


def test_batch_size_and_position_matter_only_where_used() -> None:
    found = analyse_batch(
        module(
            "x = f32[B,3] parameter(0)\nn = s32[] get-dimension-size(x), dimensions={0}\n"
            "z = s32[] constant(0)\n"
            "ROOT y = f32[B,2] dynamic-slice(x, n, z), dynamic_slice_sizes={B,2}"
        )
    )
    assert found.independent, found.reason


def loop(update: str) -> str:
    return f"""
    body {{ s = (s32[], f32[B,2]) parameter(0)
      i = s32[] get-tuple-element(s), index=0
      x = f32[B,2] get-tuple-element(s), index=1
      one = s32[] constant(1)
      j = s32[] add(i, one)
      {update}
      ROOT r = (s32[], f32[B,2]) tuple(j, y) }}
    condition {{ s = (s32[], f32[B,2]) parameter(0)
      i = s32[] get-tuple-element(s), index=0
      five = s32[] constant(5)
      ROOT r = pred[] compare(i, five), direction=LT }}
    """


CALLER = (
    "x = f32[B,2] parameter(0)\nzero = s32[] constant(0)\n"
    "s = (s32[], f32[B,2]) tuple(zero, x)\n"
    "w = (s32[], f32[B,2]) while(s), condition=condition, body=body\n"
    "ROOT y = f32[B,2] get-tuple-element(w), index=1"
)


def test_loops_keep_rows_apart_where_their_bodies_do() -> None:
    source = module(CALLER, loop("y = f32[B,2] tanh(x)"))
    found = analyse_batch(source)
    assert found.independent, found.reason
    bodies = [c for c in source.computations() if c.name == "body"]
    tanh = next(i for i in bodies[0].instructions if i.opcode == "tanh")
    assert found.layout(tanh) == RowLayout(0)


def test_position_carried_round_a_loop_is_found() -> None:
    update = "k = f32[B,2] iota(), iota_dimension=0\ny = f32[B,2] add(x, k)"
    found = analyse_batch(module(CALLER, loop(update)))
    assert not found.independent
    assert "position" in found.reason


def test_unknown_custom_call_is_dependent() -> None:
    found = analyse_batch(
        module(
            "x = f32[B,2] parameter(0)\n"
            'ROOT y = f32[B,2] custom-call(x), custom_call_target="Mystery"'
        )
    )
    assert not found.independent
    assert "Mystery" in found.reason


def test_outputs_may_be_independent_of_the_batch() -> None:
    found = analyse_batch(
        module(
            "x = f32[B,2] parameter(0)\nu = f32[3] parameter(1)\nn = f32[3] negate(u)\n"
            "t = f32[2,B] transpose(x), dimensions={1,0}\n"
            "ROOT y = (f32[3], f32[2,B]) tuple(n, t)"
        )
    )
    assert found.independent
    assert found.inputs == (RowLayout(0), None)
    assert found.outputs == (None, RowLayout(1))


def test_model_without_a_batch_is_dependent() -> None:
    found = analyse_batch(module("x = f32[2] parameter(0)\nROOT y = f32[2] negate(x)"))
    assert (found.independent, found.reason) == (False, "no input has a batch axis")


def test_poster_model_is_independent() -> None:
    found = analyse_batch(module(poster(layers=2, width=8)))
    assert found.independent
    assert found.outputs == (RowLayout(0),)
