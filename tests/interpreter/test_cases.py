"""Every op case evaluates to its shapes and types, in the model's types and in float64."""

from itertools import groupby

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.verifier import verify
from tfaot.testing.cases import FAMILIES, op_cases

GROUPS = {
    f"{family}-{opcode}": list(group)
    for family in FAMILIES
    for opcode, group in groupby(
        sorted(op_cases([family]), key=lambda c: c.opcode), key=lambda c: c.opcode
    )
}


def test_names_are_unique_and_inputs_repeat():
    cases = op_cases()
    assert len({case.name for case in cases}) == len(cases)
    case = cases[0]
    for first, again in zip(case.inputs(3, 5), case.inputs(3, 5), strict=True):
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("group", GROUPS)
def test_shapes_and_types(group):
    for case in GROUPS[group]:
        module = case.module()
        if case.error is not None:
            with pytest.raises(case.error):
                evaluate(module, case.inputs())
            continue
        verify(module)
        for batch in (0, 5) if module.batch else (3,):
            inputs = case.inputs(1, batch)
            narrow = evaluate(module, inputs, batch=batch)
            wide = evaluate(module, inputs, batch=batch, float64=True)
            for output, value, value64 in zip(module.outputs, narrow, wide, strict=True):
                shape = output.array.at(batch)
                assert value.shape == value64.shape == shape.dims, case
                assert value.dtype == shape.dtype.numpy, case
                assert value64.dtype == _widened(shape.dtype), case


def _widened(dtype: DType) -> np.dtype:
    if dtype.is_float:
        return np.dtype(np.float64)
    return np.dtype(np.complex128) if dtype.is_complex else dtype.numpy


def test_inputs_hold_extreme_values():
    case = next(c for c in op_cases(["elementwise"]) if c.name == "elementwise/add/f32/127")
    x = np.concatenate(case.inputs(0))
    assert np.isnan(x).any()
    assert np.isinf(x).any()
    tiny = np.finfo(np.float32).tiny
    assert ((x != 0) & (np.abs(x) < tiny)).any(), "no denormals"
