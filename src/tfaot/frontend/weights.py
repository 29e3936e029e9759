"""Large weights taken out of a frozen graph, and put back into the HLO that XLA made of it.

TensorFlow and XLA copy the constants of a graph many times on the way to HLO: as protos, functions,
literals, and as data of an executable that nobody runs. A large model's weights are therefore made
arguments of the graph, which XLA sees the shapes of alone; the parameters that they become turn
into constants again when the HLO is read.

The same holds on the way to the frozen graph: of a large model, the constants that were large
variables have their types and shapes in the GraphDef, and their values beside it (`held`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfaot.frontend.graph import FrozenGraph, node_of
from tfaot.frontend.interface import GraphInput
from tfaot.frontend.tensorflow import is_weight, tf_module
from tfaot.ir.attributes import Constant, Parameter
from tfaot.ir.module import Instruction, Module, Rewriter, make_computation

_Key = TypeVar("_Key")

LARGE_MODEL = 32 << 20
"""Bytes of weights from which they are taken out: a smaller model's copies are no burden."""

MANY_WEIGHTS = 500
"""Weights from which all of them are taken out: XLA looks at each constant for each kernel."""

SCALAR = 16
"""Bytes of the largest scalar."""

LARGE_WEIGHT = 64 << 10
"""Bytes of a weight that is taken out. XLA simplifies with smaller ones (scales, shifts)."""


@dataclass(frozen=True)
class Hollow:
    """A graph whose large weights are inputs, after those of the model.

    Attributes:
        graph: the graph; its last `len(weights)` inputs are the weights.
        weights: their names in the graph, in that order.
        variables: for each, the variable that it was; else the same name.
    """

    graph: FrozenGraph
    weights: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def behind(self, names: Iterable[str]) -> tuple[str, ...]:
        """The variables, sorted, that nodes depend on; none for nodes of functions."""
        nodes = {node.name: node for node in self.graph.graph_def.node}
        known = dict(zip(self.weights, self.variables, strict=True))
        waiting, seen = list(names), set[str]()
        while waiting:
            name = waiting.pop()
            if name not in seen and name in nodes:
                waiting.extend(node_of(i) for i in nodes[name].input)
            seen.add(name)
        return tuple(sorted({known[name] for name in seen if name in known}))


VARIABLE = "_tfaot_variable"
"""Attribute of the constants of a graph that were variables: the variable's name."""

HELD = "_tfaot_held"
"""Attribute of constants whose values are beside the graph: the key in `FrozenGraph.held`.

What the GraphDef has as their values is nothing, or zeros.
"""


def large_ones(sizes: Mapping[_Key, int]) -> frozenset[_Key]:
    """Which weights, by their bytes, are kept apart; none of few that add up to little."""
    arrays = {name for name, size in sizes.items() if size > SCALAR}
    if len(arrays) >= MANY_WEIGHTS:
        return frozenset(arrays)
    large = {name for name, size in sizes.items() if size >= LARGE_WEIGHT}
    return frozenset(large) if sum(sizes[n] for n in large) >= LARGE_MODEL else frozenset()


def hold(graph_def: Any) -> tuple[Any, dict[str, Any]]:
    """A GraphDef without the values of its large weights, and these by what HELD says."""
    tf = tf_module()
    large = large_ones({n.name: constant_bytes(n) for n in graph_def.node if _is_plain(n)})
    if not large:
        return graph_def, {}
    light, held = type(graph_def)(), {}
    light.versions.CopyFrom(graph_def.versions)
    light.library.CopyFrom(graph_def.library)
    for node in graph_def.node:
        copy = light.node.add()
        if node.name not in large:
            copy.CopyFrom(node)
            continue
        value = node.attr["value"].tensor
        held[node.name] = tf.constant(tf.make_ndarray(value))
        copy.name, copy.op, copy.device = node.name, node.op, node.device
        copy.input.extend(node.input)
        for key, attribute in node.attr.items():
            if key != "value":
                copy.attr[key].CopyFrom(attribute)
        copy.attr["value"].tensor.dtype = value.dtype
        copy.attr["value"].tensor.tensor_shape.CopyFrom(value.tensor_shape)
        copy.attr[HELD].s = node.name.encode()
    return light, held


def completed(graph: FrozenGraph, left: Collection[str] = ()) -> FrozenGraph:
    """The graph with the values of all constants in it, but for the nodes called `left`."""
    if not graph.held:
        return graph
    tf = tf_module()
    new = type(graph.graph_def)()
    new.CopyFrom(graph.graph_def)
    for node in new.node:
        if HELD in node.attr and node.name not in left:
            value = np.asarray(graph.held[node.attr[HELD].s.decode()])
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
            del node.attr[HELD]
    return replace(graph, graph_def=new, held=graph.held if left else {})


def constant_values(graph: FrozenGraph, names: Sequence[str]) -> list[Any]:
    """The values of a graph's `Const` nodes, as TensorFlow's tensors."""
    tf = tf_module()
    nodes = {node.name: node for node in graph.graph_def.node}
    return [
        graph.held[nodes[name].attr[HELD].s.decode()]
        if HELD in nodes[name].attr
        else tf.constant(tf.make_ndarray(nodes[name].attr["value"].tensor))
        for name in names
    ]


def constant_bytes(node: Any) -> int:
    """The bytes of a constant's value, wherever it is."""
    tensor = node.attr["value"].tensor
    size: int = tf_module().dtypes.as_dtype(tensor.dtype).size
    return size * math.prod(int(d.size) for d in tensor.tensor_shape.dim)


def _is_plain(node: Any) -> bool:
    """Whether a node is a constant that waits for nothing, and data alone."""
    return node.op == "Const" and not node.input and is_weight(node.attr["value"].tensor)


def hollow(graph: FrozenGraph, *, external: bool = False) -> Hollow:
    """The graph with its large, or many, weights as inputs; unchanged where they are neither.

    Args:
        graph: a frozen graph; it is not changed.
        external: take out all weights, so that nothing is made of their values: what were
            variables, and other constants of more than one element.
    """
    if external:
        return _opened(graph, [n for n in graph.graph_def.node if _is_external(n)])
    controlling = {i[1:] for n in graph.graph_def.node for i in n.input if i.startswith("^")}
    returned = {node_of(output.tensor) for output in graph.outputs}
    sizes = {
        node.name: constant_bytes(node)
        for node in graph.graph_def.node
        if _is_plain(node) and node.name not in controlling and node.name not in returned
    }
    large = large_ones(sizes)
    return _opened(graph, [node for node in graph.graph_def.node if node.name in large])


def _is_external(node: Any) -> bool:
    if node.op != "Const" or not is_weight(node.attr["value"].tensor):
        return False
    tensor = node.attr["value"].tensor
    return VARIABLE in node.attr or math.prod(d.size for d in tensor.tensor_shape.dim) > 1


def _opened(graph: FrozenGraph, chosen: Sequence[Any]) -> Hollow:
    """The graph with some constants as inputs, and the values of all others in it."""
    names = {node.name: _variable(node) for node in chosen}
    graph = completed(graph, names)
    if not names:
        return Hollow(graph, ())
    new = type(graph.graph_def)()
    new.versions.CopyFrom(graph.graph_def.versions)
    new.library.CopyFrom(graph.graph_def.library)
    inputs = []
    for node in graph.graph_def.node:
        if node.name not in names:
            new.node.add().CopyFrom(node)
            continue
        tensor = node.attr["value"].tensor
        dims = tuple(d.size for d in tensor.tensor_shape.dim)
        inputs.append(GraphInput(node.name, f"{node.name}:0", node.attr["dtype"].type, dims))
    opened = replace(graph, graph_def=new, inputs=(*graph.inputs, *inputs), held={})
    order = tuple(i.name for i in inputs)
    return Hollow(opened, order, tuple(names[name] for name in order))


def _variable(node: Any) -> str:
    """The name of the variable that a constant was, else its own."""
    if VARIABLE not in node.attr:
        return str(node.name)
    return bytes(node.attr[VARIABLE].s).decode("utf-8", "replace")


def attach(module: Module, weights: Sequence[NDArray[Any]], origins: Sequence[str] = ()) -> Module:
    """The module with its last parameters, one for each weight, replaced by constants.

    Args:
        module: the module.
        weights: the weights.
        origins: where they come from, one for each, if code must not depend on their values.
    """
    if not weights:
        return module
    first = len(module.entry.parameters) - len(weights)
    assert first >= 0, "the module has fewer parameters than the graph has weights"

    def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        if old.opcode != "parameter" or old.attr(Parameter).number < first:
            return None
        number = old.attr(Parameter).number - first
        value = weights[number]
        assert value.shape == old.array.static_dims, (old, value.shape)
        origin = origins[number] if origins else ""
        return replace(old, opcode="constant", attrs=Constant(np.asarray(value), origin))

    rewritten = Rewriter(change).run(module.entry)
    entry = make_computation(rewritten.name, rewritten.root, rewritten.parameters)
    return replace(module, entry=entry)
