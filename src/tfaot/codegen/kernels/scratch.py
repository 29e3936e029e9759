"""Places in a kernel's scratch memory."""

from __future__ import annotations

from llvmlite import ir

from tfaot.codegen.index import as_value, polynomial
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.types import I8
from tfaot.schedule.sizes import Bytes


def scratch_at(context: KernelContext, offset: Bytes) -> ir.Value:
    """The place `offset` bytes into the scratch of the kernel (`schedule.scratch`)."""
    assert context.scratch is not None, "no scratch rule registered"
    distance = as_value(polynomial(context.builder, offset.coefficients, context.sizes.batch))
    return context.builder.gep(context.scratch, [distance], source_etype=I8)
