"""Dropout that is off: masks that keep everything, whatever the random numbers.

Input: a graph of the TensorFlow 1 era whose keep probability is a constant by now. Output: the
same graph with such masks as constants, so that the random numbers are no longer needed. Bounds
follow from the operands' bounds, in the graph's own type: rounding keeps order, so they hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfaot.frontend.graph import FrozenGraph, node_of
from tfaot.frontend.tensorflow import tf_module

_UNIFORM = frozenset({"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"})
_SAME_VALUE = frozenset(
    {"Identity", "Enter", "RefEnter", "StopGradient", "Snapshot", "CheckNumerics"}
    | {"PlaceholderWithDefault", "PreventGradient", "Switch"}
)
_DECIDING = frozenset({"Floor", "GreaterEqual", "Greater", "Less", "LessEqual"})
_LARGEST_CONSTANT = 4096
"""Bytes of the constants that are looked into: probabilities, not weights."""


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
    masks = _Masks(graph.graph_def, {})
    decided = masks.decided()
    if not decided:
        return graph
    new = type(graph.graph_def)()
    new.CopyFrom(graph.graph_def)
    for node in [n for n in new.node if n.name in decided]:
        bounds = decided[node.name]
        shape = masks.nodes[str(bounds.random)].input[0]
        value = new.node.add(name=f"{node.name}/kept", op="Const")
        # In a loop of TensorFlow 1 a constant belongs to the loop by what it waits for.
        value.input.append(f"^{node_of(shape)}")
        dtype = tf_module().dtypes.as_dtype(bounds.low.dtype)
        value.attr["dtype"].type = dtype.as_datatype_enum
        value.attr["value"].tensor.CopyFrom(tf_module().make_tensor_proto(bounds.low, dtype=dtype))
        index_type = masks.nodes[str(bounds.random)].attr["T"].type
        node.op = "Fill"
        del node.input[:]
        node.input.extend([shape, value.name])
        node.attr.clear()
        node.attr["T"].type = dtype.as_datatype_enum
        node.attr["index_type"].type = index_type
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
        if any(name in undecided and bounds.low == 1 for name, bounds in found.items()):
            return value
    return None


class _Masks:
    def __init__(self, graph_def: Any, assumed: Mapping[str, float]) -> None:
        self.nodes: dict[str, Any] = {node.name: node for node in graph_def.node}
        self._assumed = assumed
        self._known: dict[str, _Bounds | None] = {}

    def decided(self) -> dict[str, _Bounds]:
        """The masks that have one value, by node."""
        found = {}
        for name in self._masks():
            bounds = self._bounds(name)
            if bounds is not None and bounds.decided and bounds.random is not None:
                found[name] = bounds
        return found

    def undecided(self) -> set[str]:
        """The nodes that would be masks if they had one value."""
        return set(self._masks()) - self.decided().keys()

    def _masks(self) -> list[str]:
        if not any(node.op in _UNIFORM for node in self.nodes.values()):
            return []
        return [name for name, node in self.nodes.items() if node.op in _DECIDING]

    def _bounds(self, tensor: str) -> _Bounds | None:
        """The bounds of a tensor; an explicit stack, as graphs are deeper than Python's."""
        wanted = node_of(tensor)
        todo = [wanted]
        while todo:
            name = todo[-1]
            if name in self._known:
                todo.pop()
                continue
            node = self.nodes.get(name)
            operands = [] if node is None or name in self._assumed else _operands(node)
            left = [o for o in operands if o not in self._known]
            if left:
                todo.extend(left)
                continue
            self._known[name] = None if node is None else self._of(node)
        return self._known[wanted]

    def _of(self, node: Any) -> _Bounds | None:
        if node.name in self._assumed:
            dtype = tf_module().dtypes.as_dtype(node.attr["dtype"].type)
            value = dtype.as_numpy_dtype(self._assumed[node.name])
            return _Bounds(value, value, scalar=True)
        if node.op == "Const":
            return _constant(node)
        if node.op in _UNIFORM:
            dtype = tf_module().dtypes.as_dtype(node.attr["dtype"].type).as_numpy_dtype
            # Drawn as the bits of a mantissa behind a one, less that one.
            before_two = np.nextafter(dtype(2), dtype(0))
            return _Bounds(dtype(0), before_two - dtype(1), node.name)
        rule = _RULES.get(node.op)
        if rule is None:
            return None
        operands = [self._known[o] for o in _operands(node)]
        known = [o for o in operands if o is not None]
        if len(known) != len(operands) or not known:
            return None
        random = [o.random for o in known if o.random is not None]
        # The mask has the shape of the random numbers where nothing widens it.
        plain = len(random) == 1 and all(o.scalar or o.random is not None for o in known)
        with np.errstate(all="ignore"):
            low, high = rule(known)
        return _Bounds(low, high, random[0] if plain else None, scalar=all(o.scalar for o in known))


def _operands(node: Any) -> list[str]:
    if node.op not in _RULES:
        return []
    edges = [i for i in node.input if not i.startswith("^")]
    return [node_of(i) for i in (edges[:1] if node.op in _SAME_VALUE else edges)]


def _constant(node: Any) -> _Bounds | None:
    tensor = node.attr["value"].tensor
    dtype = tf_module().dtypes.as_dtype(tensor.dtype)
    if not dtype.is_floating or tensor.ByteSize() > _LARGEST_CONSTANT:
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
