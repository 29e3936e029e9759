"""Which instructions run together."""

import numpy as np

from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.schedule.control import schedule
from tfaot.testing.build import ModuleBuilder


def test_what_is_stored_for_a_gather_is_one_kernel_with_its_operands():
    """Indices are computed once per row, not once per element; so are what they are made of."""
    b = ModuleBuilder("m")
    chosen = b.parameter(DType.S32, (BatchDim(1), 20))
    zero, size = (b.splat(np.int32(n), chosen) for n in (0, 7))
    wrapped = b.select(b.compare("LT", chosen, zero), b.binary("add", chosen, size), chosen)
    table = b.constant(np.zeros((7, 3), np.float32))
    module = b.module(b.take_rows(table, wrapped))
    plan = schedule(run_passes(module, default_passes()).entry)
    assert [k.root.opcode for k in plan.kernels] == ["select", "gather"]
