"""Where a value that depends on weights comes from, when the weights are outside of the code.

Input: an instruction on constants, and perhaps broadcasts of them. Output: a text that names the
variables behind its value and all that was done to them. It stands for the value where code must
not depend on it: equal origins mean equal values, whatever the weights are.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields

import numpy as np

from tfaot.ir.attributes import Attributes, Constant
from tfaot.ir.module import Computation, Instruction


def origin_of(node: Instruction) -> str:
    """The origin of a value made from constants alone; empty where no weight is among them."""
    if isinstance(node.attrs, Constant):
        return node.attrs.origin
    if not any(origin_of(o) for o in node.operands):
        return ""
    return f"{node.opcode}:{_digest(_text(node))}"


def _text(node: Instruction) -> str:
    if isinstance(node.attrs, Constant):
        return node.attrs.origin or f"{node.shape} {_digest(node.attrs.value.tobytes())}"
    operands = ", ".join(map(_text, node.operands))
    return f"{node.opcode} {node.shape} {_attributes(node.attrs)} ({operands})"


def _attributes(attrs: Attributes) -> str:
    if attrs is None:
        return ""
    if isinstance(attrs, Constant):
        return attrs.origin or _digest(np.ascontiguousarray(attrs.value).tobytes())
    return repr([(f.name, _field(getattr(attrs, f.name))) for f in fields(attrs)])


def _field(value: object) -> object:
    if isinstance(value, Computation):
        return _computation(value)
    return tuple(map(_field, value)) if isinstance(value, tuple) else value


def _computation(computation: Computation) -> str:
    numbers = {id(i): n for n, i in enumerate(computation.instructions)}
    return ";".join(
        f"{i.opcode} {i.shape} {_attributes(i.attrs)} {[numbers[id(o)] for o in i.operands]}"
        for i in computation.instructions
    )


def _digest(data: bytes | str) -> str:
    raw = data.encode() if isinstance(data, str) else data
    return hashlib.sha256(raw).hexdigest()[:32]
