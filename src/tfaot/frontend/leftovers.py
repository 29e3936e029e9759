"""What frozen graphs carry along from training and from variables that are constants now.

Works on TensorFlow's GraphDef messages without TensorFlow itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tfaot.frontend.graph import all_nodes, dependencies, restricted

_REFERENCE = 100
"""What TensorFlow's DataType numbers add for a reference to a variable."""

_REFERRING = {
    "RefSwitch": "Switch",
    "RefMerge": "Merge",
    "RefEnter": "Enter",
    "RefExit": "Exit",
    "RefNextIteration": "NextIteration",
    "RefIdentity": "Identity",
}
_UPDATES = {"AssignSub": "Sub", "AssignAdd": "AddV2"}


def without_leftovers(graph_def: Any) -> Any:
    """The graph with references as values, updates as their results, and nothing printed."""
    new = type(graph_def)()
    new.CopyFrom(graph_def)
    for node in all_nodes(new):
        for attribute in node.attr.values():
            if attribute.type > _REFERENCE:
                attribute.type -= _REFERENCE
        node.op = _REFERRING.get(node.op, node.op)
        if node.op in _UPDATES or node.op == "Assign":
            _replace(node, _UPDATES.get(node.op, "Identity"), drop=node.op == "Assign")
        elif node.op == "Print":
            del node.input[1:]
            _replace(node, "Identity")
    return new


def depended_on(graph_def: Any, tensors: Collection[str], *, control: bool) -> Any:
    """The graph with only what some tensors depend on: the rest may be of any making."""
    new = restricted(graph_def, dependencies(graph_def, tensors, control=control), control=control)
    new.library.CopyFrom(graph_def.library)
    return new


def _replace(node: Any, op: str, *, drop: bool = False) -> None:
    """Make a node another op of the same type `T`; `drop` takes away its first operand."""
    dtype = node.attr["T"].type
    edges = list(node.input)[1 if drop else 0 :]
    node.op = op
    del node.input[:]
    node.input.extend(edges)
    node.attr.clear()
    node.attr["T"].type = dtype
