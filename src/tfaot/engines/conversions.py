"""The process behind `converter.Converter`: TensorFlow and the converters that need it.

Input: one JSON object per line on standard input, `verb` and `arguments`. Output: one per line on
what was standard output, `value` or `error`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tfaot.engines.files import (
    GRAPH,
    Input,
    ModelFiles,
    Origin,
    new_file,
    read_files,
    read_origin,
)
from tfaot.engines.protocol import describe_error
from tfaot.errors import TfaotError

ONNX_OPSET = 18


def freeze(folder: str, origin: Mapping[str, Any]) -> None:
    """Write `graph.pb` and `graph.json` of a model."""
    from tfaot.frontend.model import frozen_graph
    from tfaot.frontend.source import ModelSource

    source = read_origin(origin)
    graph, inputs = frozen_graph(
        ModelSource(
            Path(source.path),
            source.signature,
            source.inputs,
            source.outputs,
            dict(source.input_shapes),
            source.set_values,
            source.custom_objects,
        )
    )
    dims = [tuple(d if isinstance(d, int) else None for d in i.dims) for i in inputs]
    plain = _with_plain_names(graph, dims)
    described = tuple(
        Input(i.name, i.dtype.numpy.name, shape) for i, shape in zip(inputs, dims, strict=True)
    )
    operations = {node.op for node in plain.node}
    files = ModelFiles(
        Path(folder),
        Origin(**{**origin, "inputs": source.inputs, "outputs": source.outputs}),
        described,
        tuple(o.name for o in graph.outputs),
        bool(operations & {"Shape", "ShapeN", "Size", "While", "StatelessWhile"}),
    )
    with new_file(files.graph) as path:
        path.write_bytes(plain.SerializeToString())
    files.write()


def _with_plain_names(graph: Any, dims: Sequence[tuple[int | None, ...]]) -> Any:
    """The GraphDef with placeholders and results under the names of `ModelFiles`."""
    tf = importlib.import_module("tensorflow")
    with tf.Graph().as_default() as full:
        placeholders = {
            i.tensor: tf.compat.v1.placeholder(tf.dtypes.as_dtype(i.dtype), shape, f"input_{n}")
            for n, (i, shape) in enumerate(zip(graph.inputs, dims, strict=True))
        }
        results = tf.graph_util.import_graph_def(
            graph.graph_def,
            input_map=placeholders,
            return_elements=[o.tensor for o in graph.outputs],
            name="",
        )
        for number, result in enumerate(results):
            tf.identity(result, name=f"output_{number}")
        names = [f"output_{n}" for n in range(len(results))]
        kept = tf.compat.v1.graph_util.extract_sub_graph(full.as_graph_def(), names)
        missing = {i.op.name for i in placeholders.values()} - {n.name for n in kept.node}
        for node in full.as_graph_def().node:
            if node.name in missing:
                kept.node.add().CopyFrom(node)
        return kept


def _graph_def(files: ModelFiles) -> Any:
    from tfaot.frontend.tensorflow import load_graph_def

    return load_graph_def(files.graph)


def onnx(folder: str, path: str) -> None:
    """Convert a frozen model to ONNX with tf2onnx."""
    convert = importlib.import_module("tf2onnx.convert")
    files = read_files(Path(folder))
    model, _ = convert.from_graph_def(
        _graph_def(files),
        input_names=[f"{n}:0" for n in files.input_nodes],
        output_names=[f"{n}:0" for n in files.output_nodes],
        opset=ONNX_OPSET,
    )
    with new_file(Path(path)) as new:
        new.write_bytes(model.SerializeToString())


def tflite(folder: str, path: str, batch: int | None) -> None:
    """Convert a frozen model for LiteRT; `batch` fixes its batch size."""
    tf = importlib.import_module("tensorflow")
    files = read_files(Path(folder))
    graph_def = _graph_def(files)
    specs = [
        tf.TensorSpec(
            tuple(batch if d is None else d for d in i.dims), tf.dtypes.as_dtype(i.dtype), name=node
        )
        for node, i in zip(files.input_nodes, files.inputs, strict=True)
    ]

    def call(*arguments: Any) -> Any:
        return tf.graph_util.import_graph_def(
            graph_def,
            input_map=dict(zip((f"{n}:0" for n in files.input_nodes), arguments, strict=True)),
            return_elements=[f"{n}:0" for n in files.output_nodes],
            name="",
        )

    context = importlib.import_module("tensorflow.python.eager.context").context()
    for function in graph_def.library.function:
        if not context.has_function(function.signature.name):
            context.add_function_def(function)
    if batch is not None and files.origin.path.endswith((".keras", ".h5")):
        concrete = _keras_function(files, specs)
    else:
        concrete = tf.function(call, autograph=False).get_concrete_function(*specs)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    with new_file(Path(path)) as new:
        new.write_bytes(converter.convert())


def _keras_function(files: ModelFiles, specs: Sequence[Any]) -> Any:
    """A Keras model traced for these shapes: loops then hold lists whose shapes are known."""
    # HDF5 files are of Keras 2, which lives on as tf_keras.
    old = files.origin.path.endswith(".h5")
    keras = importlib.import_module("tf_keras" if old else "keras")
    tf = importlib.import_module("tensorflow")
    model = keras.models.load_model(files.origin.path, compile=False)

    def call(*arguments: Any) -> Any:
        return tf.nest.flatten(model(arguments[0] if len(arguments) == 1 else list(arguments)))

    return tf.function(call, autograph=False).get_concrete_function(*specs)


def tfcompile(folder: str, directory: str, batch: int, cpp_class: str, target: str) -> None:
    """Compile a frozen model at one batch size: CLASS.h and CLASS_{function,helper,constants}.o."""
    compiler = importlib.import_module("tensorflow.python._pywrap_tfcompile")
    config_pb2 = importlib.import_module("tensorflow.compiler.tf2xla.tf2xla_pb2")
    files, place = read_files(Path(folder)), Path(directory)
    config = config_pb2.Config()
    for number, (node, i) in enumerate(zip(files.input_nodes, files.inputs, strict=True)):
        feed = config.feed.add(name=f"x{number}")
        feed.id.node_name = node
        for size in i.shape(batch):
            feed.shape.dim.add(size=size)
    for number, node in enumerate(files.output_nodes):
        config.fetch.add(name=f"y{number}").id.node_name = node
    text = place / f"{cpp_class}.pbtxt"
    text.write_text(str(config))
    compiler.Compile(
        graph=str(files.graph),
        config=str(text),
        target_triple="x86_64-pc-linux",
        target_cpu=target,
        target_features="",
        entry_point=f"{cpp_class}_entry",
        cpp_class=cpp_class,
        out_function_object=str(place / f"{cpp_class}_function.o"),
        out_metadata_object=str(place / f"{cpp_class}_helper.o"),
        out_header=str(place / f"{cpp_class}.h"),
        out_constant_buffers_object=str(place / f"{cpp_class}_constants.o"),
        gen_name_to_index=False,
        gen_program_shape=False,
    )


def tiny(folder: str) -> None:
    """Write `graph.pb` and `graph.json` of a product of four values with a constant matrix."""
    tf = importlib.import_module("tensorflow")
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 4), "input_0")
        tf.identity(x @ tf.eye(4), name="output_0")
    place = Path(folder)
    files = ModelFiles(
        place,
        Origin(str(place / GRAPH), ("input_0",), ("output_0",)),
        (Input("input_0", "float32", (None, 4)),),
        ("output_0",),
        False,
    )
    with new_file(files.graph) as path:
        path.write_bytes(graph.as_graph_def().SerializeToString())
    files.write()


VERBS: dict[str, Callable[..., Any]] = {
    "freeze": freeze,
    "tiny": tiny,
    "onnx": onnx,
    "tflite": tflite,
    "tfcompile": tfcompile,
}


def main() -> None:
    """Answer requests until standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"value": VERBS[request["verb"]](**request["arguments"])}
        except TfaotError as error:
            reply = {"error": str(error)}
        except Exception as error:
            # Converters fail in all kinds of ways, and one model must not end the others' work.
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {describe_error(error)}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
