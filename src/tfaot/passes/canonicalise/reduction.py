"""Reductions that reduce nothing, and arithmetic next to them."""

from __future__ import annotations

import numpy as np

from tfaot.ir.attributes import Reduce
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.passes import build
from tfaot.passes.canonicalise.rules import is_zero, rule, scalar_of
from tfaot.passes.opcodes import reducer


@rule("reduce")
def reduce_of_units(node: Instruction) -> Instruction | None:
    """Reduction along units, from the reducer's neutral element, is a reshape."""
    if len(node.operands) != 2:
        return None
    x, init = node.operands
    attrs = node.attr(Reduce)
    if any(x.array.dims[d] != 1 for d in attrs.dimensions):
        return None
    kind = reducer(attrs.to_apply)
    if kind is None or not is_neutral(kind, init):
        return None
    return build.reshape(node, x, node.array.dims)


def is_neutral(opcode: str, init: Instruction) -> bool:
    """Whether `opcode` with `init` on either side keeps every value, to the bit."""
    value = scalar_of(init)
    dtype = init.array.dtype
    if value is None or dtype.is_complex or dtype.bits == 4:
        return False
    if opcode == "add":
        return dtype is not DType.PRED and is_zero(init, negative=True)
    if opcode == "multiply":
        return dtype is not DType.PRED and bool(value == value.dtype.type(1))
    if opcode in ("and", "or", "xor"):
        if dtype is DType.PRED:
            return bool(value) == (opcode == "and")
        return bool(~value == 0) if opcode == "and" else bool(value == 0)
    if opcode not in ("maximum", "minimum"):
        return False
    low = opcode == "maximum"
    if dtype is DType.PRED:
        return bool(value) != low
    if dtype.is_integer:
        limits = np.iinfo(dtype.numpy)
        return int(value) == (limits.min if low else limits.max)
    return float(value) == (-np.inf if low else np.inf)
