"""Types and shapes of all tensors of a graph and of its functions, as TensorFlow infers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfaot.frontend import tensorflow as backend
from tfaot.frontend.graph import FrozenGraph, function_references, node_of, tensor_name

TensorType = tuple[int, "tuple[int | None, ...] | None"]
"""TensorFlow's DataType number, and the dimensions: None where unknown."""

_FIRST_ARGUMENT = {"If": 1, "StatelessIf": 1, "Case": 1, "StatelessCase": 1}
"""The operand that is the first argument of the functions that a node calls; 0 for others."""
_UNKNOWN: TensorType = (0, None)


class TensorTypes:
    """The types of a graph's tensors for inputs of given shapes."""

    def __init__(self, graph: FrozenGraph, shapes: Sequence[tuple[int | None, ...]]) -> None:
        """Infer.

        Args:
            graph: the graph.
            shapes: of its inputs.

        Raises:
            ModelError: the graph can't be rebuilt.
        """
        self._arguments: dict[str, TensorType] = {
            i.tensor: (i.dtype, tuple(shape)) for i, shape in zip(graph.inputs, shapes, strict=True)
        }
        function = backend.make_function(graph, shapes)
        self._operations: dict[str, dict[str, Any]] = {"": _by_name(function.graph)}
        self._functions(graph.graph_def, "", graph.graph_def.node)

    def of(self, function: str, node: Any) -> tuple[list[TensorType], list[TensorType]]:
        """The types that a node takes and gives; empty where unknown."""
        operation = self._operations.get(function, {}).get(node.name)
        if operation is None:
            return [], []
        taken = [_type(t) for t in operation.inputs]
        return taken, [_type(t) for t in operation.outputs]

    def tensor(self, name: str) -> TensorType:
        """The type of a tensor of the graph itself."""
        name = tensor_name(name)
        if name in self._arguments:
            return self._arguments[name]
        operation = self._operations[""].get(node_of(name))
        number = int(name.rpartition(":")[2])
        if operation is None or number >= len(operation.outputs):
            return _UNKNOWN
        return _type(operation.outputs[number])

    def tensors(self, names: Sequence[str]) -> list[TensorType]:
        """The types of some of the graph's tensors."""
        return [self.tensor(name) for name in names]

    def results(self, node: str) -> list[tuple[str, int]]:
        """The tensors that a node of the graph gives, with their DataType numbers."""
        operation = self._operations[""].get(node)
        outputs = operation.outputs if operation is not None else ()
        return [(str(t.name), int(t.dtype.as_datatype_enum)) for t in outputs]

    def _functions(self, graph_def: Any, scope: str, nodes: Sequence[Any]) -> None:
        """Infer in the functions that nodes call, for the first call of each."""
        module = backend.tf_module("python.framework.function_def_to_graph")
        known = {f.signature.name: f for f in graph_def.library.function}
        for node in nodes:
            operation = self._operations[scope].get(node.name)
            for name in function_references(node):
                if name not in known or name in self._operations or operation is None:
                    continue
                first = _FIRST_ARGUMENT.get(node.op, 0)
                shapes = [t.shape for t in operation.inputs[first:]]
                definition = known[name]
                fits = len(shapes) == len(definition.signature.input_arg)
                try:
                    graph = module.function_def_to_graph(
                        definition, input_shapes=shapes if fits else None
                    )
                except Exception:
                    # Shapes are for the reader alone: a function of unknown ones is no error.
                    self._operations[name] = {}
                    continue
                self._operations[name] = _by_name(graph)
                self._functions(graph_def, name, definition.node_def)


def type_texts(
    probes: Sequence[tuple[Sequence[TensorType], Sequence[TensorType]]], batches: Sequence[int]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Operands' and results' types as text, `float32[n,8]`.

    Args:
        probes: both at one or two batch sizes.
        batches: these sizes.
    """
    sides: list[tuple[str, ...]] = []
    for side in range(2):
        columns = [probe[side] for probe in probes]
        if not columns or len({len(c) for c in columns}) != 1:
            sides.append(())
            continue
        sides.append(tuple(_text(same, batches) for same in zip(*columns, strict=True)))
    return sides[0], sides[1]


def _text(types: Sequence[TensorType], batches: Sequence[int]) -> str:
    name = backend.type_name(types[0][0])
    shapes = [dims for _, dims in types]
    if any(dims is None for dims in shapes) or len({len(d or ()) for d in shapes}) != 1:
        return f"{name}[...]"
    known = [dims for dims in shapes if dims is not None]
    return f"{name}[{','.join(_dim(axis, batches) for axis in zip(*known, strict=True))}]"


def _dim(sizes: Sequence[int | None], batches: Sequence[int]) -> str:
    """A size as a number, as `a*n+c`, or as ? where it is unknown or no line."""
    first, last = sizes[0], sizes[-1]
    if first is None or last is None:
        return "?"
    if first == last:
        return str(first)
    scale, rest = divmod(last - first, batches[len(sizes) - 1] - batches[0])
    offset = first - scale * batches[0]
    if rest:
        return "?"
    head = "n" if scale == 1 else f"{scale}*n"
    return head if offset == 0 else f"{head}{offset:+d}"


def _by_name(graph: Any) -> dict[str, Any]:
    return {operation.name: operation for operation in graph.get_operations()}


def _type(tensor: Any) -> TensorType:
    return int(tensor.dtype.as_datatype_enum), backend.known_dims(tensor.shape)
