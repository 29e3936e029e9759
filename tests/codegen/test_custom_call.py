"""SliceToDynamic: the interpreter's bits for every type, zeros beyond the sizes."""

import numpy as np
import pytest
from compiled import compile_module

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.text import parse_module
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import op_cases

CASES = [c for c in op_cases(["custom"]) if c.error is None]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values(case):
    module = case.module()
    run = compile_module(module)
    for batch in (0, 1, 5, 17) if module.batch else (1,):
        inputs = case.inputs(1, batch)
        for found, wanted in zip(
            run(inputs, batch), evaluate(module, inputs, batch=batch), strict=True
        ):
            assert found.dtype == wanted.dtype
            assert found.tobytes() == wanted.tobytes()


def test_zeros_beyond_the_size_whatever_lies_there():
    b = ModuleBuilder("slice")
    x, count = b.parameter(DType.F32, (6, 3)), b.parameter(DType.S32)
    call = b.custom_call("SliceToDynamic", x.shape, [x, count, b.constant(3, DType.S32)])
    run = compile_module(b.module(call))
    values = np.full((6, 3), np.nan, np.float32)
    values[:2] = [[1, 2, 3], [4, 5, 6]]
    for size, kept in ((2, 2), (0, 0), (-5, 0), (1, 1)):
        (found,) = run([values, np.int32(size)])
        np.testing.assert_array_equal(found[:kept], values[:kept])
        assert found[kept:].tobytes() == bytes(4 * 3 * (6 - kept))


def test_both_ways_of_xla():
    """What PadToStatic takes apart again is the array and its sizes."""
    module = parse_module(
        """\
HloModule there_and_back

ENTRY e {
  x = f32[8]{0} parameter(0)
  n = s32[] parameter(1)
  bounded = f32[<=8]{0} custom-call(x, n), custom_call_target="SliceToDynamic"
  static = (f32[8]{0}, s32[]) custom-call(bounded), custom_call_target="PadToStatic"
  y = f32[8]{0} get-tuple-element(static), index=0
  size = s32[] get-tuple-element(static), index=1
  doubled = f32[8]{0} add(y, y)
  ROOT out = f32[<=8]{0} custom-call(doubled, size), custom_call_target="SliceToDynamic"
}
"""
    )
    x = np.arange(1, 9, dtype=np.float32)
    values, size = compile_module(module)([x, np.int32(3)])
    assert size == 3
    np.testing.assert_array_equal(values, [2, 4, 6, 0, 0, 0, 0, 0])
