"""Placeholders that only training needs: flags of its mode, probabilities of dropout.

Input: a graph of the TensorFlow 1 era. Output: the values with which it infers, for those that
the user has not decided on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tfaot.frontend.dropout import keeping_everything
from tfaot.frontend.graph import FrozenGraph, is_learning_phase, node_of, tensor_name

_TRAINING = re.compile(r"train|phase|drop_?out|learn", re.IGNORECASE)
_INFERENCE = re.compile(r"infer|test|eval|predict|deploy|no(t|n)?_?train", re.IGNORECASE)
_BOOL = 10  # DataType.DT_BOOL of tensorflow/core/framework/types.proto
_FLOATS = frozenset({1, 2, 14, 19})  # DT_FLOAT, DT_DOUBLE, DT_BFLOAT16, DT_HALF
_LOGIC = frozenset({"Identity", "LogicalNot", "LogicalAnd", "LogicalOr", "Enter", "Squeeze"})
_CONDITIONS = {"Switch": 1, "RefSwitch": 1, "If": 0, "StatelessIf": 0}
"""The number of the operand that decides, by op."""
_CALLS = {"If": ("then_branch", "else_branch"), "StatelessIf": ("then_branch", "else_branch")}


@dataclass(frozen=True)
class InferenceValue:
    """What a placeholder is fixed to, and why, in words for the user."""

    name: str
    value: bool | float
    reason: str

    @property
    def note(self) -> str:
        """One line that tells of it and how to decide otherwise."""
        text = str(self.value).lower() if isinstance(self.value, bool) else f"{self.value:g}"
        other = "true" if text == "false" else "false" if text == "true" else "VALUE"
        return (
            f"'{self.name}' is set to {text} for inference ({self.reason}); "
            f"--set {self.name}={other} decides otherwise"
        )


def inference_values(graph_def: Any, decided: Collection[str] = ()) -> tuple[InferenceValue, ...]:
    """The values for inference of scalar placeholders that serve training alone.

    Keras's learning phases, bools that only decide conditions and are named after training or
    inference, and probabilities of dropout.

    Args:
        graph_def: the graph.
        decided: placeholders that are inputs, or have a value, by the user's word.
    """
    left = [n for n in graph_def.node if n.op in _OPEN and n.name not in decided and _is_scalar(n)]
    found = []
    for node in left:
        dtype = node.attr["dtype"].type
        if is_learning_phase(node.name):
            found.append(InferenceValue(node.name, False, "Keras's learning phase"))
        elif dtype == _BOOL and (value := _meaning(node.name)) is not None:
            if _only_decides(graph_def, node.name):
                found.append(InferenceValue(node.name, value, "it only decides conditions"))
        elif dtype in _FLOATS and (keeping := keeping_everything(graph_def, node.name)) is not None:
            found.append(InferenceValue(node.name, keeping, "dropout is off"))
    return tuple(found)


def with_defaults(graph: FrozenGraph) -> FrozenGraph:
    """The graph with placeholders that have a default as that default, unless they are inputs."""
    inputs = {node_of(i.tensor) for i in graph.inputs}
    new = type(graph.graph_def)()
    new.CopyFrom(graph.graph_def)
    for node in new.node:
        if node.op == "PlaceholderWithDefault" and node.name not in inputs:
            dtype = node.attr["dtype"].type
            node.op = "Identity"
            node.attr.clear()
            node.attr["T"].type = dtype
    return replace(graph, graph_def=new)


def with_branches_taken(graph: FrozenGraph) -> FrozenGraph:
    """The graph with conditions whose predicates are constant as calls of the branch taken."""
    nodes = {node.name: node for node in graph.graph_def.node}
    if not any(node.op in _CALLS for node in nodes.values()):
        return graph
    new = type(graph.graph_def)()
    new.CopyFrom(graph.graph_def)
    for node in new.node:
        value = _truth(nodes, node.input[0]) if node.op in _CALLS else None
        if value is None:
            continue
        branch = node.attr[_CALLS[node.op][0 if value else 1]].func
        types = [list(node.attr[key].list.type) for key in ("Tin", "Tout")]
        operands = [i for number, i in enumerate(node.input) if number]
        node.attr.clear()
        node.attr["f"].func.CopyFrom(branch)
        for key, found in zip(("Tin", "Tout"), types, strict=True):
            node.attr[key].list.type.extend(found)
        node.op = "StatefulPartitionedCall"
        del node.input[:]
        node.input.extend(operands)
    return replace(graph, graph_def=new)


_OPEN = frozenset({"Placeholder", "PlaceholderV2"})


def _is_scalar(node: Any) -> bool:
    """Whether a placeholder is a scalar, or nothing is known of its shape."""
    shape = node.attr["shape"].shape if "shape" in node.attr else None
    return shape is None or not shape.dim


def _meaning(name: str) -> bool | None:
    """What a flag says in inference, from its name."""
    last = name.rsplit("/", 1)[-1]
    for text in (last, name):
        if _INFERENCE.search(text):
            return True
        if _TRAINING.search(text):
            return False
    return None


def _only_decides(graph_def: Any, name: str) -> bool:
    """Whether a placeholder decides conditions and does nothing else."""
    uses: dict[str, list[tuple[Any, int]]] = {}
    for node in graph_def.node:
        for number, operand in enumerate(node.input):
            if not operand.startswith("^"):
                uses.setdefault(tensor_name(operand), []).append((node, number))
    decides = False
    todo, seen = [name], {name}
    while todo:
        for node, number in _consumers(uses, todo.pop()):
            if _CONDITIONS.get(node.op) == number:
                decides = True
            elif node.op in _LOGIC or node.op in _CONDITIONS:
                # A pivot is a Switch of the predicate itself; a branch may take it as operand.
                if node.op in _CALLS:
                    continue
                if node.name not in seen:
                    seen.add(node.name)
                    todo.append(node.name)
            else:
                return False
    return decides


def _consumers(uses: dict[str, list[tuple[Any, int]]], name: str) -> Iterator[tuple[Any, int]]:
    for number in (0, 1):
        yield from uses.get(f"{name}:{number}", ())


def _truth(nodes: dict[str, Any], tensor: str) -> bool | None:
    """The value of a scalar bool that follows from constants."""
    node = nodes.get(node_of(tensor))
    if node is None:
        return None
    operands = [i for i in node.input if not i.startswith("^")]
    match node.op:
        case "Const":
            values = node.attr["value"].tensor
            if values.dtype != _BOOL or values.tensor_shape.dim:
                return None
            return bool(any(values.bool_val) or any(values.tensor_content))
        case "Identity" | "Squeeze":
            return _truth(nodes, operands[0])
        case "LogicalNot":
            value = _truth(nodes, operands[0])
            return None if value is None else not value
        case "LogicalAnd" | "LogicalOr":
            sides = [_truth(nodes, operand) for operand in operands]
            absorbing = bool(node.op == "LogicalOr")
            if absorbing in sides:
                return absorbing
            return None if None in sides else not absorbing
        case _:
            return None
