"""The only module that imports TensorFlow: reads graphs, makes functions of them, runs those.

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
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.graph import FrozenGraph, all_nodes, tensor_name
from tfaot.frontend.interface import GraphInput, GraphOutput
from tfaot.frontend.messages import translated


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
    """Versions of TensorFlow, of the XLA in it and, where installed, of Keras.

    XLA has no versions: it is part of TensorFlow's sources, and the commit of these tells it.
    """
    tf = tf_module()
    found = {
        "tensorflow": str(tf.__version__),
        "xla": f"in tensorflow {tf.version.GIT_VERSION}",
    }
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


ARGUMENT = "tfaot_input_"
"""Names of the placeholders that `import_graph` makes, before their numbers."""


def import_graph(graph: FrozenGraph, shapes: Sequence[tuple[int | None, ...] | None]) -> list[Any]:
    """Import a graph into the default graph, with new placeholders of the given shapes."""
    tf = tf_module()
    placeholders = [
        tf.compat.v1.placeholder(tf.dtypes.as_dtype(i.dtype), shape, name=f"{ARGUMENT}{number}")
        for number, (i, shape) in enumerate(zip(graph.inputs, shapes, strict=True))
    ]
    return _import(graph, placeholders)


# Functions and their values


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
        feeds = [full.get_tensor_by_name(f"{ARGUMENT}{n}:0") for n in range(len(shapes))]
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


def type_name(number: int) -> str:
    """TensorFlow's name of the element type with a DataType number."""
    return str(tf_module().dtypes.as_dtype(number).name) if number else "unknown"


def short_name(tensor: str) -> str:
    """A tensor's name without the `:0` of a first result."""
    return tensor.removesuffix(":0")
