"""What XLA refuses, in one line: ops, shapes, types, the nodes that they are, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfaot.errors import UnsupportedError
from tfaot.frontend.messages import essential_line, nodes_named

_SHOWN = 8


def lowering_error(function: Any, missing: Sequence[Any], error: BaseException) -> UnsupportedError:
    """The error for a function that XLA does not compile.

    Args:
        function: the ConcreteFunction.
        missing: its nodes (NodeDef messages) that XLA has no kernel for.
        error: XLA's complaint.
    """
    if missing:
        return UnsupportedError(
            f"XLA can't compile the ops {_list(function, missing)}: "
            "compute them before or after the model, or with other ops"
        )
    line = essential_line(error).removeprefix("Failed getting HLO text: ").strip("'\" .")
    nodes = nodes_named(error)
    where = ""
    if nodes and nodes[0] not in line:
        where = f" (node {described(function, nodes[0])})"
    elif nodes and (types := _types(function, nodes[0])):
        where = f" ({types})"
    return UnsupportedError(f"XLA can't compile the model: {line}{where}{_remedy(line, nodes)}")


def described(function: Any, name: str) -> str:
    """A node's name with the types and shapes that it takes and gives, where they are known."""
    types = _types(function, name)
    return f"'{name}': {types}" if types else f"'{name}'"


def _types(function: Any, name: str) -> str:
    try:
        operation = function.graph.get_operation_by_name(name)
    except (KeyError, ValueError):
        # A node of a function that the graph calls: its shapes depend on the call.
        return ""
    sides = (operation.inputs, operation.outputs)
    taken, given = (", ".join(_tensor(t) for t in side) for side in sides)
    return f"{taken} -> {given}" if taken else given


def _list(function: Any, nodes: Sequence[Any]) -> str:
    """`Op (node: types and shapes)`, each op once, with the number of its further nodes."""
    by_op: dict[str, list[Any]] = {}
    for node in nodes:
        by_op.setdefault(node.op, []).append(node)
    texts = []
    for op, same in list(by_op.items())[:_SHOWN]:
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        texts.append(f"{op} ({described(function, same[0].name)}{more})")
    if len(by_op) > _SHOWN:
        texts.append(f"{len(by_op) - _SHOWN} others")
    return ", ".join(texts)


def _tensor(tensor: Any) -> str:
    rank = tensor.shape.rank
    sizes = "..." if rank is None else ",".join("?" if d is None else str(d) for d in tensor.shape)
    return f"{tensor.dtype.name}[{sizes}]"


def _remedy(line: str, nodes: Sequence[str]) -> str:
    if any("ragged" in text.lower() for text in (line, *nodes)):
        return ": ragged tensors have no fixed shape: pad them before the model, and mask the rest"
    if "compile-time constant" in line:
        return "; where an input decides it, fix that input with --set NAME=VALUE"
    return ""
