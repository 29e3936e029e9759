"""A module for one batch size, from the symbolic one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from tfaot.ir.attributes import Constant, GetDimensionSize
from tfaot.ir.module import Computation, Instruction, Module, map_called
from tfaot.ir.shapes import dim_at
from tfaot.symbolic.dims import map_sizes

_Visit = Callable[[Computation], Computation]


def specialise(module: Module, batch: int) -> Module:
    """`module` with the batch size B = `batch` (at least 0): all shapes are static.

    `get-dimension-size` becomes a constant.
    """
    done: dict[int, Computation] = {}

    def visit(computation: Computation) -> Computation:
        if id(computation) not in done:
            done[id(computation)] = _specialise(computation, batch, visit)
        return done[id(computation)]

    return replace(module, entry=visit(module.entry), batch=False)


def _specialise(computation: Computation, batch: int, visit: _Visit) -> Computation:
    new: dict[int, Instruction] = {}
    for old in computation.instructions:
        if isinstance(old.attrs, GetDimensionSize):
            size = dim_at(old.operands[0].array.dims[old.attrs.dimension], batch)
            value = Constant(np.array(size, np.int32))
            node = replace(old, opcode="constant", operands=(), attrs=value)
        else:
            attrs = map_sizes(map_called(old.attrs, visit), lambda d: dim_at(d, batch))
            operands = tuple(new[id(o)] for o in old.operands)
            node = replace(old, shape=old.shape.at(batch), operands=operands, attrs=attrs)
        new[id(old)] = node
    return Computation(computation.name, tuple(new.values()), new[id(computation.root)])
