"""Models for reports, made of HLO: odd names, a folded scale, a loop, several batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfaot.artifact import Artifact, write_artifact
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Lowered, Origin, build
from tfaot.ir.text import parse_module
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.signature import Signature, TensorSpec
from tfaot.symbolic.specialise import specialise

TARGET = "x86-64-v3"

ODD = 'model/<b>dense</b> & "co"\'/MatMul'
"""A layer's name as HTML would misread it; HLO escapes its quotes."""


@dataclass(frozen=True)
class Model:
    """HLO with the batch size B, and the names of its inputs and outputs."""

    name: str
    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    static: tuple[int, ...] = ()


def _numbers(*shape: int) -> str:
    values = np.random.default_rng(len(shape) + sum(shape)).uniform(0.5, 1.5, shape)

    def text(array: Any) -> str:
        return f"{array:.6f}" if array.ndim == 0 else "{" + ",".join(map(text, array)) + "}"

    return text(values)


def _op(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'metadata={{op_type="Op" op_name="{escaped}"}}'


DENSE = f"""
ENTRY e {{
 x = f32[B,20] parameter(0)
 w0 = f32[20,32] constant({_numbers(20, 32)})
 d0 = f32[B,32] dot(x, w0), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}, {_op(ODD)}
 b0 = f32[32] constant({_numbers(32)})
 bb0 = f32[B,32] broadcast(b0), dimensions={{1}}, {_op("model/bn/add")}
 s0 = f32[32] constant({_numbers(32)})
 sb0 = f32[B,32] broadcast(s0), dimensions={{1}}, {_op("model/bn/mul")}
 m0 = f32[B,32] multiply(d0, sb0), {_op("model/bn/mul")}
 a0 = f32[B,32] add(m0, bb0), {_op("model/bn/add")}
 t0 = f32[B,32] tanh(a0), {_op("model/act/Tanh")}
 w1 = f32[32,3] constant({_numbers(32, 3)})
 d1 = f32[B,3] dot(t0, w1), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}},
   {_op("model/out/MatMul")}
 ROOT y = f32[B,3] tanh(d1), {_op("model/out/Tanh")}
}}
"""

LOOP = f"""
body {{
 p = (s32[], f32[B,4]) parameter(0)
 i = s32[] get-tuple-element(p), index=0
 x = f32[B,4] get-tuple-element(p), index=1
 one = s32[] constant(1)
 j = s32[] add(i, one), {_op("rnn/while/add")}
 w = f32[4,4] constant({_numbers(4, 4)})
 d = f32[B,4] dot(x, w), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}},
   {_op("rnn/while/MatMul")}
 t = f32[B,4] tanh(d), {_op("rnn/while/Tanh")}
 ROOT r = (s32[], f32[B,4]) tuple(j, t)
}}
cond {{
 p = (s32[], f32[B,4]) parameter(0)
 i = s32[] get-tuple-element(p), index=0
 n = s32[] constant(5)
 ROOT c = pred[] compare(i, n), direction=LT
}}
ENTRY e {{
 x = f32[B,4] parameter(0)
 s = f32[B,4] sine(x), {_op("rnn/sin")}
 zero = s32[] constant(0)
 st = (s32[], f32[B,4]) tuple(zero, s)
 w = (s32[], f32[B,4]) while(st), condition=cond, body=body, {_op("rnn/while")}
 g = f32[B,4] get-tuple-element(w), index=1
 ROOT y = f32[B,4] cosine(g), {_op("rnn/cos")}
}}
"""

MIXING = f"""
add_f32 {{
 a = f32[] parameter(0)
 b = f32[] parameter(1)
 ROOT r = f32[] add(a, b)
}}
ENTRY e {{
 x = f32[B,6] parameter(0)
 t = f32[B,6] tanh(x), {_op("mix/Tanh")}
 zero = f32[] constant(0)
 sum = f32[6] reduce(t, zero), dimensions={{0}}, to_apply=add_f32, {_op("mix/Sum")}
 sums = f32[B,6] broadcast(sum), dimensions={{1}}, {_op("mix/Sub")}
 ROOT y = f32[B,6] subtract(t, sums), {_op("mix/Sub")}
}}
"""

PLAIN = f"""
ENTRY e {{
 x = f32[4,3] parameter(0)
 t = f32[4,3] tanh(x), {_op("plain")}
 c = f32[4,3] constant({_numbers(4, 3)})
 ROOT y = f32[4,3] multiply(t, c), {_op("plain")}
}}
"""

MODELS = {
    m.name: m
    for m in (
        Model("odd", DENSE, ("<script>alert(1)</script>",), ('scores & "more"',)),
        Model("loop", LOOP, ("x",), ("y",)),
        Model("plain", PLAIN, ("x",), ("y",)),
        Model("mixing", MIXING, ("x",), ("y",)),
        Model("sized", DENSE, ("x",), ("y",), static=(2, 5)),
    )
}


def compile_model(folder: Path, name: str, target: str = TARGET, **options: Any) -> Artifact:
    """The artifact of one of `MODELS` in `folder`, verified by nobody."""
    model = MODELS[name]
    module = parse_module(f"HloModule {name}\n{model.text}")
    signature = Signature(
        tuple(
            TensorSpec(n, p.array.dtype, p.array.dims)
            for n, p in zip(model.inputs, module.entry.parameters, strict=True)
        ),
        tuple(
            TensorSpec(n, o.array.dtype, o.array.dims)
            for n, o in zip(model.outputs, module.outputs, strict=True)
        ),
    )
    lowered = Lowered((module,), (None,))
    if model.static:
        modules = tuple(specialise(module, size) for size in model.static)
        lowered = Lowered(modules, model.static, "static sizes", composable=True)
    source = Source("hlo", description="<img src=x onerror=alert(2)> & co", author="A <b>B</b>")
    compiled = build(
        name,
        signature,
        lowered,
        resolve_targets(target),
        CompileOptions(folder, **options),
        Origin(source, 4000),
    )
    return write_artifact(
        folder,
        name,
        compiled.header,
        compiled.object,
        compiled.manifest,
        weights=compiled.weights,
    )
