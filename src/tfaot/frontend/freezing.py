"""From functions with variables, and graphs with placeholders, to graphs of constants.

Input: a ConcreteFunction, or a graph and values for some of its placeholders. Output: a
`FrozenGraph`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import UnsupportedError, UsageError
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
from tfaot.frontend.tensorflow import ARGUMENT, import_graph, known_dims, short_name, tf_module
from tfaot.frontend.trail import Trail
from tfaot.frontend.weights import HELD, VARIABLE, large_ones


def freeze(
    function: Any, inputs: Sequence[str], outputs: Sequence[str], trail: Trail
) -> FrozenGraph:
    """A concrete function with its variables turned into constants.

    Args:
        function: a ConcreteFunction.
        inputs: the user's names of its arguments in order.
        outputs: the user's names of its results, as TensorFlow flattens them.
        trail: told of the graph before and after the variables are constants.

    Raises:
        UnsupportedError: it keeps a state, or takes what is no tensor (lookup tables).
    """
    if trail.keep:
        trail.reached(_with_variables(function, outputs))
    with translated(UnsupportedError, "the model can't be frozen"):
        if any(node.op in ASSIGNMENTS for node in all_nodes(function.graph.as_graph_def())):
            function = _without_assignments(function)
        graph_def, left, held = _with_constants(function)
    results = _results(function, outputs)
    trail.reached(
        FrozenGraph(graph_def, _arguments([short_name(t.name) for t in left], left), results, held)
    )
    resources = [t.name for t in left if t.dtype.name == "resource"]
    if resources:
        check_determinism(FrozenGraph(graph_def, (), ()))
        raise UnsupportedError(
            f"the model uses a resource that is no variable ('{short_name(resources[0])}'), "
            "which can't be compiled"
        )
    return trail.reached(FrozenGraph(graph_def, _arguments(inputs, left), results, held))


def _with_variables(function: Any, outputs: Sequence[str]) -> FrozenGraph:
    """The function's graph with a placeholder for each variable that it reads.

    What else it captures (tables) are inputs, and updates of variables stay.
    """
    inline = tf_module("python.framework.convert_to_constants")._run_inline_graph_optimization
    graph_def = inline(function, False, False)
    count = len(function.inputs) - len(function.captured_inputs)
    variables = {}
    for inner, outer in zip(function.inputs[count:], function.captured_inputs, strict=True):
        data = getattr(outer, "_handle_data", None)
        if data is not None and data.is_set and data.shape_and_type:
            variables[node_of(inner.name)] = data.shape_and_type[0]
    nodes = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        variable = variables.get(_resource(nodes, node.input[0])) if node.input else None
        if node.op == "ReadVariableOp" and variable is not None:
            node.op = "Placeholder"
            del node.input[:]
            node.attr.clear()
            node.attr["dtype"].type = variable.dtype
            node.attr["shape"].shape.CopyFrom(variable.shape)
    names = [short_name(t.name) for t in function.inputs]
    return FrozenGraph(graph_def, _arguments(names, function.inputs), _results(function, outputs))


def _arguments(names: Sequence[str], tensors: Sequence[Any]) -> tuple[GraphInput, ...]:
    return tuple(
        GraphInput(name, t.name, t.dtype.as_datatype_enum, known_dims(t.shape))
        for name, t in zip(names, tensors, strict=True)
    )


def _results(function: Any, names: Sequence[str]) -> tuple[GraphOutput, ...]:
    return tuple(
        GraphOutput(name, t.name, t.dtype.as_datatype_enum)
        for name, t in zip(names, function.outputs, strict=True)
    )


def _with_constants(function: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    """A function's graph with constants for its variables, the inputs left, and held values.

    The public `convert_variables_to_constants_v2` ends with a new function of the graph, which
    holds several more copies of all weights.
    """
    convert = tf_module("python.framework.convert_to_constants")
    variables = {id(v.handle): v for v in function.graph.variables if hasattr(v, "handle")}
    large = large_ones({key: _weight_bytes(v) for key, v in variables.items()})

    class Converter(convert._FunctionConverterDataInEager):  # type: ignore[misc, name-defined]
        def _eval(self, tensor: Any) -> Any:
            if id(getattr(tensor, "handle", None)) in large:
                return _Outline(tuple(tensor.shape), tensor.dtype.as_numpy_dtype)
            return super()._eval(tensor)

    data = Converter(func=function, lower_control_flow=False, aggressive_inlining=False)
    graph_def, converted = convert._replace_variables_by_constants(converter_data=data)
    captures = function.graph.internal_captures
    constants = {id(captures[n]) for n in converted}
    # Nothing else tells constants that were variables from other ones.
    behind = {
        node_of(captures[n].name): variables.get(id(function.graph.external_captures[n]))
        for n in converted
    }
    held = {}
    for node in graph_def.node:
        if node.op != "Const" or node.name not in behind:
            continue
        variable = behind[node.name]
        name = str(getattr(variable, "name", None) or node.name)
        node.attr[VARIABLE].s = short_name(name).encode()
        if variable is not None and id(variable.handle) in large:
            node.attr[HELD].s = node.name.encode()
            held[str(node.name)] = variable.value()
    return graph_def, [t for t in function.inputs if id(t) not in constants], held


def _weight_bytes(variable: Any) -> int:
    """The bytes of a variable that may be held beside the graph, else 0."""
    if not (variable.dtype.is_floating or variable.dtype.is_complex):
        return 0
    return int((variable.shape.num_elements() or 0) * variable.dtype.size)


@dataclass(frozen=True)
class _Outline:
    """What TensorFlow makes a constant of where a variable's value is not asked for: zeros."""

    shape: tuple[int, ...]
    dtype: Any

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """A single zero, which stands for all elements."""
        return np.zeros((), self.dtype)


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
        tuple(replace(i, tensor=f"{ARGUMENT}{n}:0") for n, i in enumerate(graph.inputs)),
        tuple(replace(o, tensor=name) for o, name in zip(graph.outputs, kept, strict=True)),
    )


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
