"""HLO text for the tests of passes: modules from a few lines, and the poster model's layers."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.interpreter import evaluate
from tfaot.ir.module import Computation, Module
from tfaot.ir.text import parse_module
from tfaot.passes.pipeline import default_passes, run_passes

REDUCERS = """
add_f32 { a = f32[] parameter(0)
  b = f32[] parameter(1)
  ROOT r = f32[] add(a, b) }
max_f32 { a = f32[] parameter(0)
  b = f32[] parameter(1)
  ROOT r = f32[] maximum(a, b) }
"""


def module(body: str, computations: str = "") -> Module:
    """The module whose entry has the given lines."""
    return parse_module(f"HloModule test\n{REDUCERS}{computations}\nENTRY e {{\n{body}\n}}\n")


def optimised(source: Module) -> Module:
    """The module after the default passes."""
    return run_passes(source, default_passes())


def counts(computation: Computation) -> Counter[str]:
    """How often each opcode occurs, constants and parameters aside."""
    skipped = ("constant", "parameter")
    return Counter(i.opcode for i in computation.instructions if i.opcode not in skipped)


def literal(values: NDArray[Any]) -> str:
    """An array as an HLO literal, exact for float32."""
    if values.ndim == 0:
        return repr(float(values))
    return "{" + ",".join(literal(v) for v in values) + "}"


def inputs(source: Module, batch: int, seed: int = 0) -> list[NDArray[Any]]:
    """Random inputs for a batch size."""
    rng = np.random.default_rng(seed)
    found = []
    for parameter in source.entry.parameters:
        shape = parameter.array.at(batch)
        dtype = shape.dtype.numpy
        if shape.dtype.is_float:
            found.append(rng.normal(size=shape.static_dims).astype(dtype))
        else:
            found.append(rng.integers(0, 3, size=shape.static_dims).astype(dtype))
    return found


def assert_same_bits(before: Module, after: Module, batch: int = 5) -> None:
    """Both modules give bitwise equal outputs."""
    values = inputs(before, batch)
    for a, b in zip(
        evaluate(before, values, batch=batch), evaluate(after, values, batch=batch), strict=True
    ):
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes(), (a, b)


def errors(before: Module, after: Module, batch: int = 64) -> tuple[float, float]:
    """Root mean square errors of both modules, against the first in float64."""
    values = inputs(before, batch)
    exact = evaluate(before, values, batch=batch, float64=True)
    found = []
    for source in (before, after):
        outputs = evaluate(source, values, batch=batch)
        squares = [
            np.mean((o.astype(np.float64) - e) ** 2) for o, e in zip(outputs, exact, strict=True)
        ]
        found.append(float(np.sqrt(np.mean(squares))))
    return found[0], found[1]


def poster(layers: int, width: int, classes: int = 4, seed: int = 1) -> str:
    """Entry lines of the poster model as XLA leaves it: dense, ELU, batch-norm; then softmax."""
    rng = np.random.default_rng(seed)
    lines = [f"x0 = f32[B,{width}] parameter(0)", "zero = f32[] constant(0)"]

    def vector(name: str, size: int, low: float, high: float) -> None:
        values = rng.uniform(low, high, size).astype(np.float32)
        lines.append(f"{name}v = f32[{size}] constant({literal(values)})")
        lines.append(f"{name} = f32[B,{size}] broadcast({name}v), dimensions={{1}}")

    def dense(name: str, source: str, size: int) -> None:
        weights = (rng.normal(size=(width, size)) / np.sqrt(width)).astype(np.float32)
        lines.append(f"{name}w = f32[{width},{size}] constant({literal(weights)})")
        lines.append(
            f"{name}d = f32[B,{size}] dot({source}, {name}w), "
            "lhs_contracting_dims={1}, rhs_contracting_dims={0}"
        )
        vector(f"{name}b", size, -0.5, 0.5)
        lines.append(f"{name} = f32[B,{size}] add({name}d, {name}b)")

    for i in range(layers):
        shape = f"f32[B,{width}]"
        dense(f"h{i}", f"x{i}", width)
        lines.append(f"z{i} = {shape} broadcast(zero), dimensions={{}}")
        lines.append(f"g{i} = pred[B,{width}] compare(h{i}, z{i}), direction=GT")
        lines.append(f"e{i} = {shape} exponential-minus-one(h{i})")
        lines.append(f"s{i} = {shape} select(g{i}, h{i}, e{i})")
        vector(f"m{i}", width, 0.5, 1.5)
        lines.append(f"p{i} = {shape} multiply(s{i}, m{i})")
        vector(f"t{i}", width, -1.0, 1.0)
        lines.append(f"x{i + 1} = {shape} add(p{i}, t{i})")
    dense("o", f"x{layers}", classes)
    lines.append(softmax("o", f"B,{classes}"))
    return "\n".join(lines)


def softmax(source: str, dims: str) -> str:
    """Lines of a softmax over the last dimension."""
    *lead, _ = dims.split(",")
    axis = len(lead)
    kept = ",".join(str(d) for d in range(axis))
    row = f"f32[{','.join(lead)}]"
    return f"""
  low = f32[] constant(-inf)
  none = f32[] constant(-0)
  top = {row} reduce({source}, low), dimensions={{{axis}}}, to_apply=max_f32
  topb = f32[{dims}] broadcast(top), dimensions={{{kept}}}
  shifted = f32[{dims}] subtract({source}, topb)
  ex = f32[{dims}] exponential(shifted)
  total = {row} reduce(ex, none), dimensions={{{axis}}}, to_apply=add_f32
  totalb = f32[{dims}] broadcast(total), dimensions={{{kept}}}
  ROOT out = f32[{dims}] divide(ex, totalb)"""
