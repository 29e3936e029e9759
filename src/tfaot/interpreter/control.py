"""Control flow and tuples: tuple, get-tuple-element, call, fusion, while, conditional."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Context, Value, rule, unsupported
from tfaot.ir.attributes import Call, Conditional, GetTupleElement, While
from tfaot.ir.module import Instruction


@rule("tuple")
def _tuple(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    return tuple(operands)


@rule("get-tuple-element")
def _get_tuple_element(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    return operands[0][node.attr(GetTupleElement).index]


@rule("call", "fusion")
def _call(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    return ctx.run(node.attr(Call).to_apply, operands)


@rule("while")
def _while(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    attrs = node.attr(While)
    carried = operands[0]
    while np.asarray(ctx.run(attrs.condition, [carried])).item():
        carried = ctx.run(attrs.body, [carried])
    return carried


@rule("conditional")
def _conditional(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    branches = node.attr(Conditional).branches
    chosen = np.asarray(operands[0])
    if chosen.dtype == np.bool_:
        index = 0 if chosen.item() else 1
    else:
        index = int(chosen.item())
        # An index out of range takes the last branch.
        index = index if 0 <= index < len(branches) else len(branches) - 1
    return ctx.run(branches[index], [operands[1 + index]])


@rule("after-all")
def _after_all(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    return ()


@rule("rng", "rng-get-and-update-state")
def _stateful_random(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    raise unsupported(node, "keeps random state: use the stateless random ops of TensorFlow")


@rule("infeed", "outfeed", "send", "recv", "send-done", "recv-done")
def _host_transfer(node: Instruction, operands: Sequence[Value], ctx: Context) -> Value:
    raise unsupported(node, "exchanges data with the host while the model runs")
