"""Dropout that is off: masks that keep everything, whatever the random numbers.

Input: a graph of the TensorFlow 1 era whose keep probability is a constant by now. Output: the
same graph with such masks as constants, so that the random numbers are no longer needed. Bounds
follow from the operands' bounds, in the graph's own type: rounding keeps order, so they hold.
Functions of the graph (bodies of loops, branches) are looked into where one node alone calls them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfaot.frontend.graph import FrozenGraph, node_of
from tfaot.frontend.tensorflow import tf_module
from tfaot.frontend.weights import HELD

_UNIFORM = frozenset({"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"})
_SAME_VALUE = frozenset(
    {"Identity", "Enter", "RefEnter", "StopGradient", "Snapshot", "CheckNumerics"}
    | {"PlaceholderWithDefault", "PreventGradient", "Switch"}
)
_DECIDING = frozenset({"Floor", "GreaterEqual", "Greater", "Less", "LessEqual"})
_LOOPS = frozenset({"While", "StatelessWhile"})
_FIRST_OPERAND = {"If": 1, "StatelessIf": 1, "While": 0, "StatelessWhile": 0}
_FIRST_OPERAND |= {"PartitionedCall": 0, "StatefulPartitionedCall": 0}
"""The operand of a calling node that is its functions' first argument."""
_LARGEST_CONSTANT = 4096
"""Bytes of the constants that are looked into: probabilities, not weights."""

_Place = tuple[str, str]
"""A function's name (empty: the graph) and a node's."""


@dataclass(frozen=True)
class _Bounds:
    """The least and the greatest value of a tensor, and the random node that decides its shape."""

    low: Any
    high: Any
    random: str | None = None
    scalar: bool = False

    @property
    def decided(self) -> bool:
        return bool(self.low == self.high)


def fold_masks(graph: FrozenGraph) -> FrozenGraph:
    """The graph with masks that keep everything, or nothing, as constants."""
    decided = _Masks(graph.graph_def, {}).decided()
    if not decided:
        return graph
    new = type(graph.graph_def)()
    new.CopyFrom(graph.graph_def)
    for scope, nodes in [("", new.node)] + [
        (f.signature.name, f.node_def) for f in new.library.function
    ]:
        by_name = {node.name: node for node in nodes}
        filled = set()
        for (where, name), bounds in decided.items():
            if where == scope:
                _fill(nodes, by_name[name], by_name[str(bounds.random)], bounds.low, bool(scope))
                filled.add(name)
        for node in nodes if scope and filled else ():
            edges = [_renamed(edge, filled) for edge in node.input]
            del node.input[:]
            node.input.extend(edges)
    for function in new.library.function:
        filled = {name for where, name in decided if where == function.signature.name}
        for key, edge in list(function.ret.items()):
            function.ret[key] = _renamed(edge, filled)
    return replace(graph, graph_def=new)


def keeping_everything(graph_def: Any, placeholder: str) -> float | None:
    """The value of a scalar placeholder with which masks keep everything that else drop some.

    1 for a probability to keep, 0 for one to drop, None where masks don't depend on it.
    """
    undecided = _Masks(graph_def, {}).undecided()
    if not undecided:
        return None
    for value in (1.0, 0.0):
        found = _Masks(graph_def, {placeholder: value}).decided()
        if any(place in undecided and bounds.low == 1 for place, bounds in found.items()):
            return value
    return None


def _fill(nodes: Any, mask: Any, random: Any, value: Any, in_function: bool) -> None:
    """Turn a mask into a constant of the random numbers' shape."""
    tf = tf_module()
    dtype = tf.dtypes.as_dtype(value.dtype)
    shape = random.input[0]
    constant = nodes.add(name=f"{mask.name}/kept", op="Const")
    constant.attr["dtype"].type = dtype.as_datatype_enum
    constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
    if not in_function:
        # In a loop of TensorFlow 1 a constant belongs to the loop by what it waits for.
        constant.input.append(f"^{node_of(shape)}")
    index_type = random.attr["T"].type
    mask.op = "Fill"
    del mask.input[:]
    mask.input.extend([shape, f"{constant.name}:output:0" if in_function else constant.name])
    mask.attr.clear()
    mask.attr["T"].type = dtype.as_datatype_enum
    mask.attr["index_type"].type = index_type


def _renamed(edge: str, filled: set[str]) -> str:
    """An edge of a function, which names the op's result, where the op is another now."""
    parts = edge.split(":")
    return f"{parts[0]}:output:0" if len(parts) == 3 and parts[0] in filled else edge


class _Masks:
    """Bounds in a graph and its functions; computed when asked for."""

    def __init__(self, graph_def: Any, assumed: Mapping[str, float]) -> None:
        self._assumed = assumed
        self._known: dict[_Place, _Bounds | None] = {}
        self._scopes: dict[str, dict[str, Any]] = {"": {n.name: n for n in graph_def.node}}
        self._functions = {f.signature.name: f for f in graph_def.library.function}
        for name, function in self._functions.items():
            self._scopes[name] = {n.name: n for n in function.node_def}
        self._random = any(
            node.op in _UNIFORM for nodes in self._scopes.values() for node in nodes.values()
        )
        self._calls: dict[str, list[tuple[str, Any]]] = {}
        for scope, nodes in self._scopes.items() if self._random else ():
            for node in nodes.values():
                for value in node.attr.values() if node.op in _FIRST_OPERAND else ():
                    if value.HasField("func"):
                        self._calls.setdefault(value.func.name, []).append((scope, node))

    def decided(self) -> dict[_Place, _Bounds]:
        """The masks that have one value, by place."""
        found = {}
        for place in self._masks():
            bounds = self._bounds(place)
            if bounds is not None and bounds.decided and bounds.random is not None:
                found[place] = bounds
        return found

    def undecided(self) -> set[_Place]:
        """The nodes that would be masks if they had one value."""
        return set(self._masks()) - self.decided().keys()

    def _masks(self) -> list[_Place]:
        if not self._random:
            return []
        return [
            (scope, name)
            for scope, nodes in self._scopes.items()
            for name, node in nodes.items()
            if node.op in _DECIDING
        ]

    def _bounds(self, wanted: _Place) -> _Bounds | None:
        """The bounds of a node's first result; an explicit stack, as graphs are deep."""
        todo = [wanted]
        while todo:
            place = todo[-1]
            if place in self._known:
                todo.pop()
                continue
            operands = self._operands(place)
            left = [o for o in operands if o not in self._known]
            if left:
                todo.extend(left)
                continue
            self._known[place] = self._of(place, [self._known[o] for o in operands])
        return self._known[wanted]

    def _operands(self, place: _Place) -> list[_Place]:
        """What the bounds of a node, or of a function's argument, follow from."""
        scope, name = place
        node = self._scopes[scope].get(name)
        if node is None:
            return self._argument(scope, name)
        if name in self._assumed and not scope:
            return []
        if node.op not in _RULES:
            return []
        edges = [i for i in node.input if not i.startswith("^")]
        return [(scope, node_of(i)) for i in (edges[:1] if node.op in _SAME_VALUE else edges)]

    def _argument(self, scope: str, name: str) -> list[_Place]:
        """The operand that a function's argument always stands for, if there is one."""
        function, calls = self._functions.get(scope), self._calls.get(scope, ())
        if function is None or len(calls) != 1:
            return []
        arguments = [a.name for a in function.signature.input_arg]
        caller, node = calls[0]
        operands = [i for i in node.input if not i.startswith("^")][_FIRST_OPERAND[node.op] :]
        if name not in arguments or len(operands) != len(arguments):
            return []
        number = arguments.index(name)
        if node.op in _LOOPS and not self._invariant(node.attr["body"].func.name, number):
            return []
        return [(caller, node_of(operands[number]))]

    def _invariant(self, body: str, number: int) -> bool:
        """Whether a loop's body hands on an element of its state as it is."""
        function = self._functions[body]
        edge = function.ret[function.signature.output_arg[number].name]
        nodes = self._scopes[body]
        while node_of(edge) in nodes and nodes[node_of(edge)].op == "Identity":
            edge = nodes[node_of(edge)].input[0]
        return bool(edge == function.signature.input_arg[number].name)

    def _of(self, place: _Place, operands: Sequence[_Bounds | None]) -> _Bounds | None:
        scope, name = place
        node = self._scopes[scope].get(name)
        if node is None:
            # Random numbers from outside have a shape that is not known by name inside.
            outer = operands[0] if operands else None
            return outer if outer is None or outer.random is None else None
        if name in self._assumed and not scope:
            dtype = tf_module().dtypes.as_dtype(node.attr["dtype"].type)
            value = dtype.as_numpy_dtype(self._assumed[name])
            return _Bounds(value, value, scalar=True)
        if node.op == "Const":
            return _constant(node)
        if node.op in _UNIFORM:
            dtype = tf_module().dtypes.as_dtype(node.attr["dtype"].type).as_numpy_dtype
            # Drawn as the bits of a mantissa behind a one, less that one.
            before_two = np.nextafter(dtype(2), dtype(0))
            return _Bounds(dtype(0), before_two - dtype(1), name)
        rule = _RULES.get(node.op)
        known = [o for o in operands if o is not None]
        if rule is None or len(known) != len(operands) or not known:
            return None
        random = [o.random for o in known if o.random is not None]
        # The mask has the shape of the random numbers where nothing widens it.
        plain = len(random) == 1 and all(o.scalar or o.random is not None for o in known)
        with np.errstate(all="ignore"):
            low, high = rule(known)
        return _Bounds(low, high, random[0] if plain else None, all(o.scalar for o in known))


def _constant(node: Any) -> _Bounds | None:
    tensor = node.attr["value"].tensor
    dtype = tf_module().dtypes.as_dtype(tensor.dtype)
    if not dtype.is_floating or tensor.ByteSize() > _LARGEST_CONSTANT or HELD in node.attr:
        return None
    value = tf_module().make_ndarray(tensor)
    if not value.size or not np.isfinite(value).all():
        return None
    return _Bounds(value.min(), value.max(), scalar=value.ndim == 0)


_Rule = Callable[[Sequence[_Bounds]], tuple[Any, Any]]


def _rising(function: Callable[[Any], Any]) -> _Rule:
    return lambda operands: (function(operands[0].low), function(operands[0].high))


def _corners(function: Callable[[Any, Any], Any]) -> _Rule:
    """Bounds of a function that rises or falls in each operand where the other is held."""

    def rule(operands: Sequence[_Bounds]) -> tuple[Any, Any]:
        a, b = operands
        values = [function(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
        return min(values), max(values)

    return rule


def _comparison(function: Callable[[Any, Any], Any]) -> _Rule:
    """False before true: bounds of a comparison that is decided are equal."""

    def rule(operands: Sequence[_Bounds]) -> tuple[Any, Any]:
        low, high = _corners(function)(operands)
        return np.bool_(low), np.bool_(high)

    return rule


_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_SAME_VALUE, _rising(lambda x: x)),
    "Floor": _rising(np.floor),
    "Neg": lambda operands: (-operands[0].high, -operands[0].low),
    "Add": _corners(operator.add),
    "AddV2": _corners(operator.add),
    "Sub": _corners(operator.sub),
    "Mul": _corners(operator.mul),
    "GreaterEqual": _comparison(operator.ge),
    "Greater": _comparison(operator.gt),
    "LessEqual": _comparison(operator.le),
    "Less": _comparison(operator.lt),
}
