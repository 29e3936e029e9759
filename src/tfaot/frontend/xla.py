"""What XLA makes of a function, and which of TensorFlow's ops it has kernels for.

Input: a function with static shapes, made by `frontend.tensorflow`. Output: serialized HLO.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tfaot.frontend.graph import FrozenGraph, all_nodes
from tfaot.frontend.refusals import lowering_error
from tfaot.frontend.tensorflow import tf_module


def lower(function: Any, graph: FrozenGraph, specs: Sequence[tuple[int, ...]]) -> bytes:
    """The optimised HLO of a function with static shapes, as a serialized HloModuleProto.

    Raises:
        UnsupportedError: names the ops that XLA can't compile, and their nodes.
    """
    return _anonymous(_compiler_ir(function, graph, specs, "optimized_hlo_serialized"))


def holds_scatter(function: Any, graph: FrozenGraph, specs: Sequence[tuple[int, ...]]) -> bool:
    """Whether the HLO of a function with static shapes holds a scatter, before XLA's passes."""
    return _SCATTER in _compiler_ir(function, graph, specs, "hlo_serialized")


_SCATTER = b"\x12\x07scatter"
"""The opcode `scatter` in a serialized HloInstructionProto: field 2, seven bytes."""


def _compiler_ir(
    function: Any, graph: FrozenGraph, specs: Sequence[tuple[int, ...]], stage: str
) -> bytes:
    tf = tf_module()
    flat = [
        tf.TensorSpec(shape, tf.dtypes.as_dtype(i.dtype))
        for i, shape in zip(graph.inputs, specs, strict=True)
    ]
    try:
        return compiled(function, flat, stage)
    except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
        raise lowering_error(function, missing_kernels(graph.graph_def), error) from error


def compiled(function: Any, specs: Sequence[Any], stage: str) -> bytes:
    """The HLO of a function at a stage of XLA's, with TensorFlow's own errors."""
    compiler_ir = tf_module("python.eager.polymorphic_function.compiler_ir")
    generate = compiler_ir.from_concrete_function(function, list(specs))
    return bytes(generate(stage=stage, platform_name="CPU"))


def hlo_result_shapes(serialized: bytes) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Per result of a serialized HLO module: its dimensions, and those that vary at run time."""
    module = tf_module("compiler.xla.service.hlo_pb2").HloModuleProto.FromString(serialized)
    result = module.host_program_shape.result
    shapes = result.tuple_shapes if result.element_type == _TUPLE else [result]
    return [
        (tuple(s.dimensions), tuple(n for n, flag in enumerate(s.is_dynamic_dimension) if flag))
        for s in shapes
    ]


_TUPLE = 13  # PrimitiveType.TUPLE of xla_data.proto


def missing_kernels(graph_def: Any) -> list[Any]:
    """The nodes whose op, or whose op with its types, XLA has no kernel for."""
    functions = {f.signature.name for f in graph_def.library.function}
    known: dict[str, list[Any]] = {}
    return [n for n in all_nodes(graph_def) if n.op not in functions and not has_kernel(n, known)]


def has_kernel(node: Any, known: dict[str, list[Any]]) -> bool:
    """Whether XLA has a kernel for a node's op and types; `known` keeps what was asked before."""
    if node.op in _XLA_BUILT_IN:
        return True
    if node.op not in known:
        kernels = tf_module("python.framework.kernels").get_registered_kernels_for_op(node.op)
        known[node.op] = [k for k in kernels.kernel if k.device_type == _XLA_DEVICE]
    return any(_accepts(kernel, node) for kernel in known[node.op])


def kernel_types(kernels: Sequence[Any]) -> tuple[str, ...]:
    """The types that some kernels take, by any of their type attributes."""
    dtypes = tf_module().dtypes
    numbers = {t for k in kernels for c in k.constraint for t in c.allowed_values.list.type}
    return tuple(sorted(str(dtypes.as_dtype(number).name) for number in numbers))


def register_kernels() -> None:
    """Let TensorFlow register XLA's kernels, which it does when it first compiles with XLA."""
    tf = tf_module()
    tf.function(lambda: tf.constant(0.0) + 1, jit_compile=True)()


def kernels() -> dict[str, dict[str, tuple[str, ...]]]:
    """The ops that XLA has a kernel for, and per type attribute the types that it takes.

    An attribute without types takes all that the op itself does.
    """
    register_kernels()
    dtypes = tf_module().dtypes
    found: dict[str, dict[str, set[str]]] = {}
    for kernel in tf_module("python.framework.kernels").get_all_registered_kernels().kernel:
        if kernel.device_type != _XLA_DEVICE:
            continue
        types = found.setdefault(kernel.op, {})
        for constraint in kernel.constraint:
            allowed = constraint.allowed_values.list.type
            types.setdefault(constraint.name, set()).update(
                dtypes.as_dtype(number).name for number in allowed
            )
    return {
        op: {name: tuple(sorted(names)) for name, names in sorted(types.items())}
        for op, types in sorted(found.items())
    }


_XLA_BUILT_IN = frozenset({"NoOp", "Placeholder", "PartitionedCall", "StatefulPartitionedCall"})


_XLA_DEVICE = "XLA_CPU_JIT"


def _accepts(kernel: Any, node: Any) -> bool:
    for constraint in kernel.constraint:
        allowed = constraint.allowed_values.list.type
        value = node.attr[constraint.name]
        given = list(value.list.type) or [value.type]
        if allowed and any(t not in allowed for t in given):
            return False
    return True


def _anonymous(serialized: bytes) -> bytes:
    """The module without what differs from run to run: numbered names and places in sources."""
    module = tf_module("compiler.xla.service.hlo_pb2").HloModuleProto.FromString(serialized)
    module.name = "model"
    module.id = 0
    module.entry_computation_name = _NUMBERED.sub("entry", module.entry_computation_name)
    for computation in module.computations:
        computation.name = _NUMBERED.sub("entry", computation.name)
        for instruction in computation.instructions:
            instruction.metadata.ClearField("source_file")
            instruction.metadata.ClearField("source_line")
    module.ClearField("stack_frame_index")
    return bytes(module.SerializeToString(deterministic=True))


_NUMBERED = re.compile(r"^a_inference_call_\d+__")
