"""The only module that imports TensorFlow: loads, freezes, lowers and evaluates models.

Runs in the worker process, apart from the export of Python objects, which are frozen where they
live. TensorFlow is imported by the first function that needs it. Everything from it has the
type Any, as it ships no types.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.frontend.graph import (
    ASSIGNMENTS,
    PLACEHOLDERS,
    FrozenGraph,
    all_nodes,
    check_determinism,
    dependencies,
    has_control_flow_v1,
    list_nodes,
    node_of,
    pruned,
    tensor_name,
)
from tfaot.frontend.interface import GraphInput, GraphOutput
from tfaot.frontend.messages import translated
from tfaot.frontend.refusals import lowering_error

_XLA_DEVICE = "XLA_CPU_JIT"


def tf_module(name: str = "") -> Any:
    """The package `tensorflow`, or one of its modules; UsageError where it is not installed."""
    try:
        return importlib.import_module(f"tensorflow.{name}" if name else "tensorflow")
    except ModuleNotFoundError as error:
        if error.name != "tensorflow":
            raise
        raise UsageError(
            "TensorFlow is needed to read models and is not installed: "
            "pip install 'tfaot[tensorflow]'"
        ) from None


def keras_package(name: str) -> Any:
    """The package `keras` or `tf_keras`, which run TensorFlow; None where it is not installed."""
    tf_module()
    return importlib.import_module(name) if importlib.util.find_spec(name) is not None else None


def select_old_keras() -> None:
    """Let modules imported from now on find tf_keras under the name `tensorflow.keras`."""
    tf = tf_module()
    old = importlib.import_module("tf_keras.api._v2.keras")
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    for name in [n for n in sys.modules if n.split(".")[:2] == ["tensorflow", "keras"]]:
        del sys.modules[name]
    sys.modules["tensorflow.keras"] = tf.keras = old


def prepare() -> None:
    """Import TensorFlow and limit it to one thread; once, before anything runs."""
    tf = tf_module()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def versions() -> dict[str, str]:
    """Versions of TensorFlow and, where installed, of Keras."""
    found = {"tensorflow": str(tf_module().__version__)}
    if (keras := keras_package("keras")) is not None:
        found["keras"] = str(keras.__version__)
    return found


# Loading


def load_graph_def(path: Path) -> Any:
    """The GraphDef in a binary or text file; ModelError where it holds none."""
    graph_def = tf_module().compat.v1.GraphDef()
    what = f"'{path}' is no frozen graph (GraphDef)"
    data = path.read_bytes()
    with translated(ModelError, what):
        if path.suffix.lower() == ".pb":
            graph_def.ParseFromString(data)
        else:
            text_format = importlib.import_module("google.protobuf.text_format")
            text_format.Parse(data.decode("utf-8"), graph_def)
    if not graph_def.node or not all(node.name and node.op for node in graph_def.node):
        raise ModelError(f"{what}: export it again")
    return graph_def


def graph_interface(
    graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[tuple[GraphInput, ...], tuple[GraphOutput, ...]]:
    """Types and shapes of the tensors of a graph; a sink with several results gives them all."""
    tf = tf_module()
    graph = tf.Graph()
    with translated(ModelError, "the graph can't be read"), graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")

    def tensor(name: str, role: str) -> Any:
        with translated(ModelError, f"there is no {role} '{name}' in the graph"):
            return graph.get_tensor_by_name(tensor_name(name))

    found_inputs = [tensor(name, "input") for name in inputs]
    found_outputs: list[Any] = []
    for name in outputs:
        first = tensor(name, "output")
        several = ":" not in name and first.op.type in {"Split", "SplitV", "Unpack", "TopKV2"}
        found_outputs += first.op.outputs if several else [first]
    return (
        tuple(
            GraphInput(short_name(t.name), t.name, t.dtype.as_datatype_enum, known_dims(t.shape))
            for t in found_inputs
        ),
        tuple(
            GraphOutput(short_name(t.name), t.name, t.dtype.as_datatype_enum) for t in found_outputs
        ),
    )


# Freezing


def freeze(function: Any, inputs: Sequence[str], outputs: Sequence[str]) -> FrozenGraph:
    """A concrete function with its variables turned into constants.

    Args:
        function: a ConcreteFunction.
        inputs: the user's names of its arguments in order.
        outputs: the user's names of its results, as TensorFlow flattens them.

    Raises:
        UnsupportedError: it keeps a state, or takes what is no tensor (lookup tables).
    """
    with translated(UnsupportedError, "the model can't be frozen"):
        if any(node.op in ASSIGNMENTS for node in all_nodes(function.graph.as_graph_def())):
            function = _without_assignments(function)
        graph_def, left = _with_constants(function)
    resources = [t.name for t in left if t.dtype.name == "resource"]
    if resources:
        check_determinism(FrozenGraph(graph_def, (), ()))
        raise UnsupportedError(
            f"the model uses a resource that is no variable ('{short_name(resources[0])}'), "
            "which can't be compiled"
        )
    return FrozenGraph(
        graph_def,
        tuple(
            GraphInput(name, t.name, t.dtype.as_datatype_enum, known_dims(t.shape))
            for name, t in zip(inputs, left, strict=True)
        ),
        tuple(
            GraphOutput(name, t.name, t.dtype.as_datatype_enum)
            for name, t in zip(outputs, function.outputs, strict=True)
        ),
    )


def _with_constants(function: Any) -> tuple[Any, list[Any]]:
    """A function's graph with constants for its variables, and the inputs that are left.

    The public `convert_variables_to_constants_v2` ends with a new function of the graph, which
    holds several more copies of all weights.
    """
    convert = tf_module("python.framework.convert_to_constants")
    data = convert._FunctionConverterDataInEager(
        func=function, lower_control_flow=False, aggressive_inlining=False
    )
    graph_def, converted = convert._replace_variables_by_constants(converter_data=data)
    constants = {id(function.graph.internal_captures[n]) for n in converted}
    return graph_def, [t for t in function.inputs if id(t) not in constants]


def fix_inputs(graph: FrozenGraph, values: Mapping[str, object]) -> FrozenGraph:
    """The graph with some placeholders or inputs turned into constants.

    Raises:
        UsageError: no such node, or a value that doesn't have its type or shape.
    """
    if not values:
        return graph
    tf = tf_module()
    by_name = {i.name.removesuffix(":0"): i for i in graph.inputs}
    placeholders = {n.name: n for n in graph.graph_def.node if n.op in PLACEHOLDERS}
    known = [*dict.fromkeys([*by_name, *placeholders])]
    fixed: dict[str, Any] = {}
    for name, value in values.items():
        bare = name.removesuffix(":0")
        if bare not in known:
            raise UsageError(
                f"--set: there is no placeholder '{name}' (there are: {', '.join(known) or 'none'})"
            )
        node = node_of(by_name[bare].tensor) if bare in by_name else bare
        number = by_name[bare].dtype if bare in by_name else placeholders[bare].attr["dtype"].type
        dtype = tf.dtypes.as_dtype(number)
        with translated(UsageError, f"--set {name}: no value of type {dtype.name}"):
            fixed[node] = tf.make_tensor_proto(_plain_value(value, dtype), dtype=dtype)
    new = type(graph.graph_def)()
    new.CopyFrom(graph.graph_def)
    kept = [n for n in new.node if n.name not in fixed]
    del new.node[:]
    for name, tensor in fixed.items():
        node = new.node.add(name=name, op="Const")
        node.attr["dtype"].type = tensor.dtype
        node.attr["value"].tensor.CopyFrom(tensor)
    new.node.extend(kept)
    left = tuple(i for i in graph.inputs if node_of(i.tensor) not in fixed)
    return replace(graph, graph_def=new, inputs=left)


def fold_control_flow(graph: FrozenGraph) -> FrozenGraph:
    """Remove Switch and Merge whose predicates are constant, with TensorFlow's Grappler."""
    if not has_control_flow_v1(graph.graph_def):
        return graph
    tf = tf_module()
    optimizer = tf_module("python.grappler.tf_optimizer")
    config = tf_module("core.protobuf.config_pb2").ConfigProto()
    rewrite = config.graph_options.rewrite_options
    rewrite.optimizers[:] = ["pruning", "constfold", "loop", "pruning"]
    rewrite.meta_optimizer_iterations = type(rewrite).TWO
    rewrite.min_graph_nodes = -1
    outputs = [o.tensor for o in graph.outputs]
    full = tf.Graph()
    with translated(UnsupportedError, "TensorFlow 1 control flow can't be removed"):
        with full.as_default():
            tensors = import_graph(graph, [i.shape for i in graph.inputs])
            # A node of its own for each output, which no optimiser may rename or merge.
            kept = [tf.identity(t, name=f"tfaot_output_{i}").name for i, t in enumerate(tensors)]
        meta = tf.compat.v1.train.export_meta_graph(
            graph_def=full.as_graph_def(add_shapes=True), graph=full
        )
        fetch = tf_module("core.protobuf.meta_graph_pb2").CollectionDef()
        fetch.node_list.value.extend(kept)
        meta.collection_def["train_op"].CopyFrom(fetch)
        folded = optimizer.OptimizeGraph(config, meta)
    assert len(outputs) == len(kept)
    return FrozenGraph(
        folded,
        tuple(replace(i, tensor=f"{_ARGUMENT}{n}:0") for n, i in enumerate(graph.inputs)),
        tuple(replace(o, tensor=name) for o, name in zip(graph.outputs, kept, strict=True)),
    )


_ARGUMENT = "tfaot_input_"


def import_graph(graph: FrozenGraph, shapes: Sequence[tuple[int | None, ...] | None]) -> list[Any]:
    """Import a graph into the default graph, with new placeholders of the given shapes."""
    tf = tf_module()
    placeholders = [
        tf.compat.v1.placeholder(tf.dtypes.as_dtype(i.dtype), shape, name=f"{_ARGUMENT}{number}")
        for number, (i, shape) in enumerate(zip(graph.inputs, shapes, strict=True))
    ]
    return _import(graph, placeholders)


# Lowering and evaluating


def make_function(graph: FrozenGraph, shapes: Sequence[tuple[int | None, ...]]) -> Any:
    """The graph as a ConcreteFunction over inputs of the given shapes, for XLA or TensorFlow."""
    tf = tf_module()
    specs = [
        tf.TensorSpec(shape, tf.dtypes.as_dtype(i.dtype))
        for i, shape in zip(graph.inputs, shapes, strict=True)
    ]
    # Importing a graph does not make its functions known to the runtime.
    context = tf_module("python.eager.context").context()
    for function in graph.graph_def.library.function:
        if not context.has_function(function.signature.name):
            context.add_function_def(function)

    def call(*arguments: Any) -> list[Any]:
        return _import(graph, arguments)

    with translated(ModelError, "the model can't be rebuilt for these shapes"):
        return tf.function(call, autograph=False).get_concrete_function(*specs)


def make_session_function(graph: FrozenGraph, shapes: Sequence[tuple[int | None, ...]]) -> Any:
    """The graph as a callable that runs in a TensorFlow 1 session.

    Loops of TensorFlow 1 don't run in a ConcreteFunction. TensorFlow's results are then arrays.
    """
    tf = tf_module()
    settings = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=1, inter_op_parallelism_threads=1
    )
    full = tf.Graph()
    with translated(ModelError, "the model can't be rebuilt for these shapes"), full.as_default():
        results = import_graph(graph, shapes)
        feeds = [full.get_tensor_by_name(f"{_ARGUMENT}{n}:0") for n in range(len(shapes))]
        session = tf.compat.v1.Session(graph=full, config=settings)
        call = session.make_callable(results, feed_list=feeds)

    def run_session(*tensors: Any) -> list[Any]:
        return list(call(*(np.asarray(t) for t in tensors)))

    return run_session


def skeleton(graph: FrozenGraph) -> FrozenGraph:
    """The graph with placeholders of the same shapes for its larger weights.

    Enough to infer shapes, at a fraction of the memory.
    """
    new = type(graph.graph_def)()
    new.versions.CopyFrom(graph.graph_def.versions)
    new.library.CopyFrom(graph.graph_def.library)
    for node in graph.graph_def.node:
        # Asking a node for an attribute that it lacks would add it.
        tensor = node.attr["value"].tensor if node.op == "Const" else None
        if tensor is not None and is_weight(tensor) and tensor.ByteSize() > _WEIGHT_BYTES:
            copy = new.node.add(name=node.name, op="Placeholder")
            copy.attr["dtype"].type = node.attr["dtype"].type
            copy.attr["shape"].shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
        else:
            new.node.add().CopyFrom(node)
    return replace(graph, graph_def=new)


def is_weight(tensor: Any) -> bool:
    """Whether a TensorProto is of no type to be a shape or an axis."""
    dtype = tf_module().dtypes.as_dtype(tensor.dtype)
    return bool(dtype.is_floating or dtype.is_complex)


def constant_values(graph_def: Any, names: Sequence[str]) -> list[Any]:
    """The values of a graph's `Const` nodes, as tensors."""
    tf = tf_module()
    nodes = {node.name: node for node in graph_def.node}
    return [tf.constant(tf.make_ndarray(nodes[name].attr["value"].tensor)) for name in names]


_WEIGHT_BYTES = 4096


def release_memory() -> None:
    """Give freed memory back to the system: what loading a model needed is not needed again."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def output_shapes(function: Any) -> list[tuple[int | None, ...] | None]:
    """The result shapes that TensorFlow infers, None where it can't tell."""
    return [known_dims(t.shape) for t in function.outputs]


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
    compiler_ir = tf_module("python.eager.polymorphic_function.compiler_ir")
    tf = tf_module()
    flat = [
        tf.TensorSpec(shape, tf.dtypes.as_dtype(i.dtype))
        for i, shape in zip(graph.inputs, specs, strict=True)
    ]
    try:
        generate = compiler_ir.from_concrete_function(function, flat)
        return bytes(generate(stage=stage, platform_name="CPU"))
    except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
        raise lowering_error(function, missing_kernels(graph.graph_def), error) from error


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
    registry = tf_module("python.framework.kernels")
    known: dict[str, Any] = {}
    functions = {f.signature.name for f in graph_def.library.function}
    found = []
    for node in all_nodes(graph_def):
        if node.op not in known:
            kernels = registry.get_registered_kernels_for_op(node.op).kernel
            known[node.op] = [k for k in kernels if k.device_type == _XLA_DEVICE]
        if node.op in functions or node.op in _XLA_BUILT_IN:
            continue
        if not any(_accepts(kernel, node) for kernel in known[node.op]):
            found.append(node)
    return found


_XLA_BUILT_IN = frozenset({"NoOp", "Placeholder", "PartitionedCall", "StatefulPartitionedCall"})


def to_arrays(tensors: Sequence[Any]) -> list[NDArray[Any]]:
    """TensorFlow's tensors, or arrays, as arrays."""
    return [np.asarray(t) for t in tensors]


def to_tensors(inputs: Sequence[NDArray[Any]]) -> list[Any]:
    """Arrays as TensorFlow tensors."""
    return [tf_module().constant(array) for array in inputs]


def run(function: Any, tensors: Sequence[Any]) -> list[Any]:
    """One call of a function made by `make_function` or `make_session_function`."""
    with translated(ModelError, "TensorFlow can't evaluate the model"):
        return list(function(*tensors))


def lacks_kernel(error: ModelError) -> bool:
    """Whether an evaluation failed as TensorFlow can't run an op on the CPU, though XLA may."""
    cause = error.__cause__
    missing = isinstance(cause, tf_module().errors.UnimplementedError)
    # Images with the channels first: some kernels refuse them as invalid arguments.
    return missing or "NHWC" in str(cause) or "NDHWC" in str(cause)


def compiled_by_xla(function: Any) -> Any:
    """A function made by `make_function`, run by XLA."""
    return tf_module().function(lambda *tensors: function(*tensors), jit_compile=True)


def constants(graph_def: Any) -> list[tuple[int, int, bool]]:
    """Elements, bytes and whether floating or complex, of each constant of a graph."""
    tf = tf_module()
    found = []
    for node in all_nodes(graph_def):
        if node.op == "Const":
            tensor = node.attr["value"].tensor
            dtype = tf.dtypes.as_dtype(tensor.dtype)
            count = int(np.prod([d.size for d in tensor.tensor_shape.dim], dtype=np.int64))
            real = dtype.is_floating or dtype.is_complex
            found.append((count, count * dtype.size, bool(real)))
    return found


def serialize(graph_def: Any) -> bytes:
    """The bytes of a GraphDef, the same for equal graphs; ModelError beyond 2 GB."""
    with translated(ModelError, "the model is too large for one graph"):
        return bytes(graph_def.SerializeToString(deterministic=True))


def parse_graph_def(data: bytes) -> Any:
    """The GraphDef that `serialize` wrote."""
    return tf_module().compat.v1.GraphDef.FromString(data)


# Internals


def _import(graph: FrozenGraph, arguments: Sequence[Any]) -> list[Any]:
    tf = tf_module()
    mapping = {i.tensor: t for i, t in zip(graph.inputs, arguments, strict=True)}
    # What the graph no longer mentions can't be mapped, and what it maps it can't return.
    present = {tensor_name(i) for n in graph.graph_def.node for i in n.input}
    wanted = [o.tensor for o in graph.outputs if o.tensor not in mapping]
    made = tf.graph_util.import_graph_def(
        graph.graph_def,
        input_map={name: t for name, t in mapping.items() if name in present},
        return_elements=wanted,
        name="",
    )
    by_name = {**mapping, **dict(zip(wanted, made, strict=True))}
    return [by_name[o.tensor] for o in graph.outputs]


def known_dims(shape: Any) -> tuple[int | None, ...] | None:
    """A TensorShape's dimensions, None where unknown; None if the rank is."""
    return None if shape.rank is None else tuple(shape.as_list())


def short_name(tensor: str) -> str:
    """A tensor's name without the `:0` of a first result."""
    return tensor.removesuffix(":0")


def _plain_value(value: object, dtype: Any) -> object:
    """A value from Python or, as text, from the command line, in the form that its type needs."""
    if dtype.name == "bool" and isinstance(value, (str, int)):
        word = str(value).strip().lower()
        if word not in _TRUTH:
            raise ValueError(f"'{value}' is neither true nor false")
        return _TRUTH[word]
    if isinstance(value, str):
        kind = int if dtype.is_integer else float
        numbers = [kind(word) for word in value.split(",")]
        return numbers if len(numbers) > 1 else numbers[0]
    return value


_TRUTH = {"true": True, "1": True, "false": False, "0": False}


def _without_assignments(function: Any) -> Any:
    """The function without updates of variables, where no result depends on them.

    Random layers advance their seeds even in inference; freezing refuses that. A variable that is
    updated and also read for a result is a state.
    """
    tf = tf_module()
    convert = tf_module("python.framework.convert_to_constants")
    graph_def = convert._run_inline_graph_optimization(function, False, False)
    outputs = [t.name for t in function.outputs]
    needed = dependencies(graph_def, outputs)
    nodes = {node.name: node for node in graph_def.node}
    updated = {
        _resource(nodes, node.input[0]): node.name
        for node in graph_def.node
        if node.op in ASSIGNMENTS
    }
    for name in sorted(needed):
        if nodes[name].op == "ReadVariableOp" and _resource(nodes, nodes[name].input[0]) in updated:
            random = [nodes[n] for n in sorted(needed) if nodes[n].op.startswith("StatelessRandom")]
            if random:
                raise UnsupportedError(
                    f"random numbers with a hidden state can't be compiled: {list_nodes(random)}: "
                    "trace the model for inference (training=False); exports of Keras 3 keep the "
                    "layers of augmentation in training, where its .keras file does not"
                )
            raise UnsupportedError(
                f"the model keeps a state: the variable read by '{name}' is also updated "
                f"('{updated[_resource(nodes, nodes[name].input[0])]}')"
            )
    count = len(function.inputs) - len(function.captured_inputs)
    arguments = function.inputs[:count]
    captures = dict(
        zip([t.name for t in function.inputs[count:]], function.captured_inputs, strict=True)
    )
    clean = pruned(
        FrozenGraph(
            graph_def,
            tuple(GraphInput(t.name, t.name, t.dtype.as_datatype_enum, None) for t in arguments),
            tuple(GraphOutput(n, n, 0) for n in outputs),
        )
    ).graph_def
    kept = [n for n in clean.node if tensor_name(n.name) not in captures]
    stripped = type(clean)()
    stripped.versions.CopyFrom(clean.versions)
    stripped.library.CopyFrom(clean.library)
    stripped.node.extend(kept)
    present = {tensor_name(i) for n in kept for i in n.input}

    def call(*tensors: Any) -> list[Any]:
        mapping = {a.name: t for a, t in zip(arguments, tensors, strict=True)}
        graph = tf.compat.v1.get_default_graph()
        mapping.update({name: graph.capture(handle) for name, handle in captures.items()})
        wanted = [name for name in outputs if name not in mapping]
        made = tf.graph_util.import_graph_def(
            stripped,
            input_map={k: v for k, v in mapping.items() if k in present},
            return_elements=wanted,
            name="",
        )
        by_name = {**mapping, **dict(zip(wanted, made, strict=True))}
        return [by_name[name] for name in outputs]

    specs = [tf.TensorSpec(t.shape, t.dtype) for t in arguments]
    clean_function = tf.function(call, autograph=False).get_concrete_function(*specs)
    # The variables must be known to the new graph, else they can't be frozen.
    clean_function.graph.variables = function.graph.variables
    return clean_function


def _resource(nodes: Mapping[str, Any], tensor: str) -> str:
    name = node_of(tensor)
    while name in nodes and nodes[name].op == "Identity":
        name = node_of(nodes[name].input[0])
    return name


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
