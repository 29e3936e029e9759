"""XLA:CPU itself, by jaxlib: modules as HLO text, run at one batch size.

Input: a module and its inputs. Output: what XLA makes of them, or why it won't.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from module_oracle import Engine
from numpy.typing import NDArray

from tfaot.ir.attributes import CustomCall, Parameter, RngBitGenerator
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction, Module, make_computation
from tfaot.ir.printer import print_module
from tfaot.ir.shapes import Shape, TupleShape
from tfaot.symbolic.specialise import specialise

Array = NDArray[Any]

_FLAGS = (
    "--xla_cpu_enable_fast_math=false --xla_cpu_enable_fast_min_max=false "
    "--xla_allow_excess_precision=false --xla_cpu_multi_thread_eigen=false"
)
_CARRIED_AS = {DType.BF16: DType.U16}
"""Types that arrays of Python don't bring to XLA, and those that bring their bits."""


class RefusedError(Exception):
    """XLA:CPU has no code for this module."""


def available() -> str | None:
    """Why XLA can't be asked here; None where it can."""
    try:
        _client()
    except ImportError as error:
        return f"needs jaxlib: pip install --no-deps -r requirements-fuzz.lock ({error})"
    return None


def _max_ulp(opcode: str, dtype: DType) -> float:
    if opcode == "cbrt" and dtype is DType.F64:
        # A power of one third, as rounded.
        return 1024.0
    if opcode == "log-plus-one" and dtype is DType.F64:
        # Its rational approximation is used down to 1 - sqrt(2), where it is off by 128 ULP
        # (measured with mpmath; below it and above -0.35 the error is less than 3).
        return 160.0
    return 64.0 if dtype in (DType.F32, DType.F64) else 2.0


ENGINE = Engine(
    _max_ulp,
    flushes=True,
    contracts=True,
    slack=4.0,
)
"""What XLA:CPU's numbers may differ by: it flushes denormals and contracts products with sums."""


@functools.cache
def _client() -> Any:
    os.environ["XLA_FLAGS"] = _FLAGS
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from jaxlib import xla_client

    return xla_client.make_cpu_client(asynchronous=False)


def run_xla(module: Module, inputs: Sequence[Array], batch: int) -> list[Array]:
    """The outputs for inputs of `batch` rows.

    Raises:
        RefusedError: XLA can't compile it.
    """
    from jaxlib import _jax

    if any(isinstance(i.attrs, (CustomCall, RngBitGenerator)) for i in module.entry.instructions):
        raise RefusedError("calls that jaxlib doesn't register")
    if any(i.opcode == "fusion" and _has_bfloat16(i) for i in module.entry.instructions):
        # Passes that widen it leave scalars without layout in fusions, which ends the process.
        raise RefusedError("fusions of bfloat16")
    client = _client()
    text = print_module(_carried(specialise(module, batch)))
    try:
        proto = _jax.hlo_module_from_text(text).as_serialized_hlo_module_proto()
        program = _jax.mlir.xla_computation_to_mlir_module(_jax.XlaComputation(proto))
        devices = _jax.DeviceList(tuple(client.devices()[:1]))
        run = client.compile_and_load(program, devices, _jax.CompileOptions())
    except (RuntimeError, ValueError) as error:
        raise RefusedError(" ".join(str(error).split())[:300]) from None
    buffers = []
    for x in inputs:
        carrier = _CARRIED_AS.get(DType.from_numpy(x.dtype))
        x = np.ascontiguousarray(x)
        buffers.append(client.buffer_from_pyval(x.view(carrier.numpy) if carrier else x))
    results = run.execute(buffers)
    found = []
    for output, result in zip(module.outputs, results, strict=True):
        shape = output.array.at(batch)
        value = np.asarray(result)
        if shape.dtype in _CARRIED_AS:
            value = value.view(shape.dtype.numpy)
        assert value.dtype == shape.dtype.numpy, (value.dtype, shape)
        found.append(value.reshape(shape.static_dims))
    return found


def _has_bfloat16(fusion: Instruction) -> bool:
    shapes = [i.shape for c in fusion.called for i in c.instructions]
    return any(isinstance(s, Shape) and s.dtype is DType.BF16 for s in shapes)


def _carried(module: Module) -> Module:
    """The module with its bfloat16 inputs and outputs as integers of the same bits."""
    new: dict[int, Instruction] = {}
    parameters: list[Instruction] = []
    for node in module.entry.instructions:
        operands = tuple(new[id(o)] for o in node.operands)
        made = replace(node, operands=operands)
        if isinstance(node.attrs, Parameter):
            carrier = _CARRIED_AS.get(node.array.dtype)
            if carrier is not None:
                raw = replace(node, shape=node.array.with_dtype(carrier))
                made = _bits(raw, node.array, f"{node.name}.bits")
            parameters.append(made.operands[0] if carrier else made)
        new[id(node)] = made
    outputs = []
    for number, output in enumerate(module.outputs):
        value = new[id(output)]
        carrier = _CARRIED_AS.get(output.array.dtype)
        if carrier is not None:
            value = _bits(value, output.array.with_dtype(carrier), f"bits.of.{number}")
        outputs.append(value)
    shape = TupleShape(tuple(o.shape for o in outputs))
    root = Instruction("root.of.all", "tuple", shape, tuple(outputs))
    entry = make_computation(module.entry.name, root, tuple(parameters))
    return replace(module, entry=entry)


def _bits(value: Instruction, shape: Shape, name: str) -> Instruction:
    return Instruction(name, "bitcast-convert", shape, (value,))
