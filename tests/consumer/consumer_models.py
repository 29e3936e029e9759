"""Small models of every kind that a user's program meets, made without TensorFlow.

Each is HLO text with the batch size B, compiled through the driver's own `build`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.artifact import Artifact, write_artifact
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Lowered, Origin, build
from tfaot.ir.module import Module
from tfaot.ir.text import parse_module
from tfaot.options import CompileOptions
from tfaot.packaging.manifest import Source
from tfaot.signature import Signature, TensorSpec
from tfaot.symbolic.specialise import specialise

TARGET = "x86-64-v3"
"""What valgrind understands, and the default."""

COMPUTATIONS = """
add_f32 { a = f32[] parameter(0)
  b = f32[] parameter(1)
  ROOT r = f32[] add(a, b) }
max_f32 { a = f32[] parameter(0)
  b = f32[] parameter(1)
  ROOT r = f32[] maximum(a, b) }
"""


@dataclass(frozen=True)
class Model:
    """A model: HLO with the batch size B, its interface, the bytes of its parameters.

    `static` lists the sizes that it is compiled for instead of any.
    """

    name: str
    module: Module
    signature: Signature
    parameter_bytes: int = 0
    static: tuple[int, ...] = ()


def lower_to_static(model: Model) -> Lowered:
    """The model as `build` takes it: for any batch size, or for its static ones."""
    if not model.static:
        return Lowered((model.module,), (None,))
    modules = tuple(specialise(model.module, size) for size in model.static)
    return Lowered(modules, model.static, "compiled for static sizes", composable=True)


def compile_to(
    folder: Path, model: Model, target: str = TARGET, name: str = "", **options: Any
) -> Artifact:
    """The model's artifact in `folder`, under its own name or another; `options` of the compile."""
    lowered = lower_to_static(model)
    name = name or model.name
    compiled = build(
        name,
        model.signature,
        lowered,
        resolve_targets(target),
        CompileOptions(folder, **options),
        Origin(Source("hlo"), model.parameter_bytes),
    )
    return write_artifact(
        folder,
        name,
        compiled.header,
        compiled.object,
        compiled.manifest,
        {},
        compiled.headers,
        compiled.weights,
    )


def make_model(
    name: str,
    body: str,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    parameter_bytes: int = 0,
    static: tuple[int, ...] = (),
) -> Model:
    """A model whose entry computation has the lines `body`."""
    module = parse_module(f"HloModule {name}\n{COMPUTATIONS}\nENTRY e {{\n{body}\n}}\n")
    root = module.entry.root
    roots = root.operands if root.opcode == "tuple" else (root,)
    signature = Signature(
        tuple(
            TensorSpec(n, p.array.dtype, p.array.dims)
            for n, p in zip(inputs, module.entry.parameters, strict=True)
        ),
        tuple(
            TensorSpec(n, r.array.dtype, r.array.dims) for n, r in zip(outputs, roots, strict=True)
        ),
    )
    return Model(name, module, signature, parameter_bytes, static)


class _Lines:
    """HLO lines of dense layers with random weights, and a count of the weights' bytes."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.bytes = 0

    def constant(self, name: str, values: NDArray[np.float32]) -> str:
        self.bytes += values.nbytes
        shape = ",".join(map(str, values.shape))
        self.lines.append(f"{name} = f32[{shape}] constant({_literal(values)})")
        return name

    def dense(self, name: str, x: str, size: int, width: int) -> str:
        random = self.random
        weights = (random.normal(size=(size, width)) / np.sqrt(size)).astype(np.float32)
        self.constant(f"{name}_w", weights)
        self.constant(f"{name}_b", random.uniform(-0.5, 0.5, width).astype(np.float32))
        self.lines += [
            f"{name}_d = f32[B,{width}] dot({x}, {name}_w), "
            "lhs_contracting_dims={1}, rhs_contracting_dims={0}",
            f"{name}_v = f32[B,{width}] broadcast({name}_b), dimensions={{1}}",
            f"{name} = f32[B,{width}] add({name}_d, {name}_v)",
        ]
        return name

    def elu(self, x: str, width: int) -> str:
        shape = f"[B,{width}]"
        self.lines += [
            f"{x}_zero = f32[] constant(0)",
            f"{x}_z = f32{shape} broadcast({x}_zero), dimensions={{}}",
            f"{x}_p = pred{shape} compare({x}, {x}_z), direction=GT",
            f"{x}_e = f32{shape} exponential-minus-one({x})",
            f"{x}_s = f32{shape} select({x}_p, {x}, {x}_e)",
        ]
        return f"{x}_s"

    def softmax(self, x: str, width: int) -> str:
        self.lines += [
            f"{x}_low = f32[] constant(-inf)",
            f"{x}_m = f32[B] reduce({x}, {x}_low), dimensions={{1}}, to_apply=max_f32",
            f"{x}_mb = f32[B,{width}] broadcast({x}_m), dimensions={{0}}",
            f"{x}_c = f32[B,{width}] subtract({x}, {x}_mb)",
            f"{x}_x = f32[B,{width}] exponential({x}_c)",
            f"{x}_none = f32[] constant(0)",
            f"{x}_t = f32[B] reduce({x}_x, {x}_none), dimensions={{1}}, to_apply=add_f32",
            f"{x}_tb = f32[B,{width}] broadcast({x}_t), dimensions={{0}}",
            f"{x}_y = f32[B,{width}] divide({x}_x, {x}_tb)",
        ]
        return f"{x}_y"


def _literal(values: NDArray[np.float32]) -> str:
    if values.ndim == 0:
        return repr(float(values))
    return "{" + ",".join(_literal(np.asarray(v)) for v in values) + "}"


def poster(name: str, sizes: tuple[int, ...], static: tuple[int, ...] = (), seed: int = 1) -> Model:
    """Dense layers with ELU between them and a softmax behind the last; `sizes` begins with the
    number of inputs."""
    text = _Lines(seed)
    text.lines.append(f"x = f32[B,{sizes[0]}] parameter(0)")
    x = "x"
    for n, (size, width) in enumerate(pairwise(sizes[:-1])):
        x = text.elu(text.dense(f"h{n}", x, size, width), width)
    text.dense("logits", x, sizes[-2], sizes[-1])
    text.softmax("logits", sizes[-1])
    return make_model(name, "\n".join(text.lines), ("features",), ("scores",), text.bytes, static)


def several() -> Model:
    """Three inputs and three outputs of different types, an embedding, an output of no rows."""
    text = _Lines(2)
    table = text.random.normal(size=(10, 6)).astype(np.float32)
    text.lines += [
        "x = f32[B,5] parameter(0)",
        "id = s32[B,1] parameter(1)",
        "d = f64[B,3] parameter(2)",
    ]
    text.constant("table", table)
    text.lines += [
        "rows = f32[B,6] gather(table, id), offset_dims={1}, collapsed_slice_dims={0}, "
        "start_index_map={0}, index_vector_dim=1, slice_sizes={1,6}",
        "both = f32[B,11] concatenate(x, rows), dimensions={1}",
    ]
    dense = text.dense("h", "both", 11, 7)
    text.lines += [
        f"y = f32[B,7] tanh({dense})",
        "zero = f64[] constant(0)",
        "zeros = f64[B,3] broadcast(zero), dimensions={}",
        "flag = pred[B,3] compare(d, zeros), direction=GT",
        "square = f64[B,3] multiply(d, d)",
        "ROOT all = (f32[B,7], pred[B,3], f64[B,3]) tuple(y, flag, square)",
    ]
    names = ("in/features", "id", "d"), ("y", "positive", "square")
    return make_model("several", "\n".join(text.lines), *names, text.bytes)


def mixing() -> Model:
    """Rows depend on each other: less their sum, times a maximum over rows; and the sum."""
    body = """
x = f32[B,6] parameter(0)
zero = f32[] constant(0)
sum = f32[6] reduce(x, zero), dimensions={0}, to_apply=add_f32
sums = f32[B,6] broadcast(sum), dimensions={1}
less = f32[B,6] subtract(x, sums)
t = f32[B,6] tanh(less)
high = f32[6] reduce(t, zero), dimensions={0}, to_apply=max_f32
highs = f32[B,6] broadcast(high), dimensions={1}
y = f32[B,6] multiply(t, highs)
ROOT both = (f32[B,6], f32[6]) tuple(y, sum)
"""
    return make_model("mixing", body, ("x",), ("y", "total"))


def fixed() -> Model:
    """No batch axis: a matrix and a scalar."""
    body = """
x = f32[4,3] parameter(0)
s = f32[] parameter(1)
sb = f32[4,3] broadcast(s), dimensions={}
m = f32[4,3] multiply(x, sb)
zero = f32[] constant(0)
ROOT y = f32[4] reduce(m, zero), dimensions={1}, to_apply=add_f32
"""
    return make_model("fixed", body, ("x", "scale"), ("y",))


def all_models() -> tuple[Model, ...]:
    """One model of each kind."""
    return (
        poster("dense", (9, 20, 33, 3)),
        poster("stitched", (4, 16, 2), static=(2, 5)),
        several(),
        mixing(),
        fixed(),
    )
