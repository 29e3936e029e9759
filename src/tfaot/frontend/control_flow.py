"""Control flow of TensorFlow 1 as data: frames become loops, Switch and Merge become branches.

Input: a frozen graph with Enter, Exit, NextIteration, LoopCond, Switch and Merge. Output: the same
computation as a `Region`: plain nodes, `Loop`s and `Branch`es in the order in which they run.
Constructs are recognised from the inside out: one is taken once nothing unrecognised is left in it.
Every node is taken to be free of side effects, so that control edges only tell branches apart.

Works on TensorFlow's GraphDef messages without TensorFlow itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfaot.errors import UnsupportedError
from tfaot.frontend.graph import FrozenGraph, node_of, tensor_name

_SWITCHES = frozenset({"Switch", "RefSwitch"})
_MERGES = frozenset({"Merge", "RefMerge"})
_ENTERS = frozenset({"Enter", "RefEnter"})
_EXITS = frozenset({"Exit", "RefExit"})
_NEXT = frozenset({"NextIteration", "RefNextIteration"})
_RESOURCE = 20  # DataType.DT_RESOURCE of tensorflow/core/framework/types.proto


@dataclass(frozen=True)
class Region:
    """A piece of a graph with one way in and one way out.

    Attributes:
        arguments: per argument, the names of the tensors that stand for it inside.
        items: nodes (NodeDef messages), loops and branches, each after what it needs.
        results: the tensors that leave.
    """

    arguments: tuple[tuple[str, ...], ...]
    items: tuple[Any, ...]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Loop:
    """A while loop.

    Attributes:
        name: its frame.
        operands: the tensors that the carried values start from, resources last.
        dtypes: their types, TensorFlow's DataType numbers.
        condition: carried values to a scalar bool.
        body: carried values to the next ones.
        outputs: per carried value, the tensor that holds it after the loop, None if unused.
    """

    name: str
    operands: tuple[str, ...]
    dtypes: tuple[int, ...]
    condition: Region
    body: Region
    outputs: tuple[str | None, ...]


@dataclass(frozen=True)
class Branch:
    """A condition.

    Attributes:
        name: its first Merge.
        predicate: a scalar bool.
        operands: what both sides take.
        dtypes: the operands' types.
        sides: the regions for true and for false.
        outputs: the tensors that hold its results.
        output_dtypes: their types.
    """

    name: str
    predicate: str
    operands: tuple[str, ...]
    dtypes: tuple[int, ...]
    sides: tuple[Region, Region]
    outputs: tuple[str, ...]
    output_dtypes: tuple[int, ...]


def structured(graph: FrozenGraph) -> Region:
    """The graph as a region whose arguments and results are the graph's inputs and outputs.

    Raises:
        UnsupportedError: control flow in a form that TensorFlow's own functions don't make.
    """
    return _Recogniser(graph).region()


def operands_of(item: Any) -> Sequence[str]:
    """The tensors that a node, loop or branch takes."""
    match item:
        case Loop():
            return item.operands
        case Branch():
            return (*item.operands, item.predicate)
        case _:
            return [tensor_name(i) for i in item.input if not i.startswith("^")]


class _PendingError(Exception):
    """A construct that is not recognised yet is in the way."""

    def __init__(self, node: Any) -> None:
        super().__init__(node.name)
        self.node = node


class _Recogniser:
    def __init__(self, graph: FrozenGraph) -> None:
        self._graph = graph
        self._nodes: dict[str, Any] = {node.name: node for node in graph.graph_def.node}
        # Tensors that a recognised construct makes.
        self._made: dict[str, Loop | Branch] = {}
        self._inputs = {i.tensor: i.dtype for i in graph.inputs}
        self._uses: dict[str, list[Any]] = {}
        for node in graph.graph_def.node:
            for operand in node.input:
                if not operand.startswith("^"):
                    self._uses.setdefault(tensor_name(operand), []).append(node)

    def region(self) -> Region:
        frames: dict[str, list[Any]] = {}
        for node in self._nodes.values():
            if node.op in _ENTERS:
                frames.setdefault(node.attr["frame_name"].s.decode(), []).append(node)
        loops = list(frames.items())
        merges = [n for n in self._nodes.values() if n.op in _MERGES and not self._carries(n)]
        while loops or merges:
            found = len(loops) + len(merges)
            loops = [(name, enters) for name, enters in loops if not self._loop(name, enters)]
            merges = self._branches(merges)
            if len(loops) + len(merges) == found:
                break
        arguments = tuple((i.tensor,) for i in self._graph.inputs)
        results = tuple(tensor_name(o.tensor) for o in self._graph.outputs)
        try:
            # Constructs that nothing depends on may stay unrecognised.
            return self._region(arguments, results)
        except _PendingError as error:
            raise UnsupportedError(
                "control flow of TensorFlow 1 in a form that is not recognised: "
                f"{error.node.op} '{error.node.name}'"
            ) from None

    # Loops

    def _loop(self, name: str, enters: Sequence[Any]) -> bool:
        """Recognise the loop of a frame; whether that is possible by now."""
        carried: list[tuple[Any, Any, Any]] = []
        invariant: list[Any] = []
        for enter in enters:
            merge = next(
                (u for u in self._uses.get(f"{enter.name}:0", ()) if self._carries(u)), None
            )
            if merge is None:
                invariant.append(enter)
            else:
                following = next(i for i in merge.input if self._is_next(i))
                carried.append((enter, merge, self._nodes[node_of(following)]))
        switches = {
            merge.name: [u for u in self._uses.get(f"{merge.name}:0", ()) if u.op in _SWITCHES]
            for _, merge, _ in carried
        }
        predicate = next((s.input[1] for found in switches.values() for s in found), None)
        if predicate is None or self._nodes[node_of(predicate)].op != "LoopCond":
            return False
        condition = tensor_name(self._nodes[node_of(predicate)].input[0])
        arguments: list[tuple[Any, tuple[str, ...], str | None, str | None]] = []
        for enter, merge, following in carried:
            names = (f"{merge.name}:0", *(f"{s.name}:1" for s in switches[merge.name]))
            leaving = [
                u
                for s in switches[merge.name]
                for u in self._uses.get(f"{s.name}:0", ())
                if u.op in _EXITS
            ]
            output = f"{leaving[0].name}:0" if leaving else None
            if len(leaving) > 1:
                return False
            arguments.append((enter, names, tensor_name(following.input[0]), output))
        for enter in invariant:
            arguments.append((enter, (f"{enter.name}:0",), None, None))
        # XLA takes resources (tensor arrays) after all values.
        arguments.sort(key=lambda a: a[0].attr["T"].type == _RESOURCE)
        names_of = tuple(names for _, names, _, _ in arguments)
        try:
            loop = Loop(
                name,
                tuple(tensor_name(enter.input[0]) for enter, *_ in arguments),
                tuple(enter.attr["T"].type for enter, *_ in arguments),
                self._region(names_of, (condition,)),
                self._region(names_of, tuple(after or n[0] for _, n, after, _ in arguments)),
                tuple(output for *_, output in arguments),
            )
        except _PendingError:
            return False
        self._made.update({output: loop for output in loop.outputs if output is not None})
        return True

    def _carries(self, node: Any) -> bool:
        """Whether this is a Merge of a loop."""
        return node.op in _MERGES and any(self._is_next(i) for i in node.input)

    def _is_next(self, tensor: str) -> bool:
        node = self._nodes.get(node_of(tensor))
        return node is not None and node.op in _NEXT

    # Branches

    def _branches(self, merges: Sequence[Any]) -> list[Any]:
        """Recognise the conditions that end in these Merges; the ones left."""
        ready: list[tuple[Any, str, list[_Side]]] = []
        left: list[Any] = []
        for merge in merges:
            try:
                found = self._sides(merge)
            except _PendingError:
                found = None
            if found is None:
                left.append(merge)
            else:
                ready.append((merge, *found))
        for group in _overlapping(ready):
            self._branch(group)
        return left

    def _sides(self, merge: Any) -> tuple[str, list[_Side]] | None:
        """The predicate of a Merge, and its sides for true and for false."""
        sides = [self._side(tensor_name(i)) for i in merge.input if not i.startswith("^")]
        if len(sides) != 2:
            return None
        for predicate, taken in sides[0].reached:
            if (predicate, 1 - taken) in sides[1].reached and not self._is_loop_end(predicate):
                return predicate, sides if taken else sides[::-1]
        return None

    def _side(self, result: str) -> _Side:
        """What a Merge's operand depends on up to the Switches around it, control edges too."""
        reached: dict[tuple[str, int], None] = {}
        nodes: dict[str, None] = {}
        todo, seen = [result], {result}
        while todo:
            tensor = todo.pop(0)
            if tensor in self._inputs:
                continue
            made = self._made.get(tensor)
            if made is not None:
                operands: Iterable[str] = operands_of(made)
            else:
                node = self._nodes[node_of(tensor)]
                if node.op in _SWITCHES:
                    key = (self._origin(node.input[1]), int(tensor.split(":")[1]))
                    reached[key] = None
                    continue
                if node.op in _ENTERS or self._carries(node):
                    continue
                if node.op in _EXITS or node.op in _MERGES:
                    raise _PendingError(node)
                nodes[node.name] = None
                operands = [tensor_name(i.removeprefix("^")) for i in node.input]
            for operand in operands:
                if operand not in seen:
                    seen.add(operand)
                    todo.append(operand)
        return _Side(result, reached, nodes)

    def _branch(self, group: Sequence[tuple[Any, str, list[_Side]]]) -> None:
        predicate = group[0][1]
        regions = []
        operands: dict[str, int] = {}
        inner: list[dict[str, str]] = []
        for taken in (1, 0):
            results = tuple(sides[1 - taken].result for _, _, sides in group)
            stops = dict(self._stops(results, predicate, taken))
            inner.append({name: outer for name, (outer, _) in stops.items()})
            operands.update(dict(stops.values()))
        for side, taken in zip(inner, (1, 0), strict=True):
            arguments = tuple(
                tuple(name for name, outer in side.items() if outer == operand)
                for operand in operands
            )
            results = tuple(sides[1 - taken].result for _, _, sides in group)
            regions.append(self._region(arguments, results))
        branch = Branch(
            group[0][0].name,
            predicate,
            tuple(operands),
            tuple(operands.values()),
            (regions[0], regions[1]),
            tuple(f"{merge.name}:0" for merge, _, _ in group),
            tuple(merge.attr["T"].type for merge, _, _ in group),
        )
        self._made.update(dict.fromkeys(branch.outputs, branch))

    def _stops(
        self, results: Sequence[str], predicate: str, taken: int
    ) -> Iterator[tuple[str, tuple[str, int]]]:
        """The tensors at which a side begins, each with the one outside and its type."""
        todo, seen = list(results), set(results)
        while todo:
            tensor = todo.pop(0)
            if tensor in self._inputs:
                yield tensor, (tensor, self._inputs[tensor])
                continue
            made = self._made.get(tensor)
            if made is None:
                node = self._nodes[node_of(tensor)]
                if node.op in _SWITCHES:
                    own = (self._origin(node.input[1]), int(tensor.split(":")[1])) == (
                        predicate,
                        taken,
                    )
                    outer = tensor_name(node.input[0]) if own else tensor
                    yield tensor, (outer, node.attr["T"].type)
                    continue
                if node.op in _ENTERS or self._carries(node):
                    yield tensor, (tensor, node.attr["T"].type)
                    continue
            for operand in operands_of(made or node):
                if operand not in seen:
                    seen.add(operand)
                    todo.append(operand)

    def _origin(self, tensor: str) -> str:
        """The tensor behind Identity nodes."""
        name = tensor_name(tensor)
        while name not in self._inputs and name not in self._made:
            node = self._nodes[node_of(name)]
            if node.op != "Identity":
                break
            name = tensor_name(node.input[0])
        return name

    def _is_loop_end(self, predicate: str) -> bool:
        node = self._nodes.get(node_of(predicate))
        return node is not None and node.op == "LoopCond"

    # Regions

    def _region(self, arguments: Sequence[tuple[str, ...]], results: Sequence[str]) -> Region:
        """What leads from the arguments to the results; _PendingError if that crosses more."""
        known = {name for names in arguments for name in names}
        items: dict[int, Any] = {}
        open_items: set[int] = set()
        stack: list[tuple[str, bool]] = [(r, False) for r in reversed(results)]
        while stack:
            tensor, expanded = stack.pop()
            if tensor in known:
                continue
            item = self._made.get(tensor) or self._nodes.get(node_of(tensor))
            if item is None:
                raise UnsupportedError(f"the graph is incomplete: '{node_of(tensor)}' is missing")
            if id(item) in items:
                continue
            if expanded:
                open_items.discard(id(item))
                items[id(item)] = item
                continue
            if not isinstance(item, (Loop, Branch)) and item.op in _UNRECOGNISED:
                raise _PendingError(item)
            if id(item) in open_items:
                raise UnsupportedError(f"the graph has a cycle at '{node_of(tensor)}'")
            open_items.add(id(item))
            stack.append((tensor, True))
            stack.extend(
                (o, False)
                for o in reversed(operands_of(item))
                if o not in known
                and id(self._made.get(o) or self._nodes.get(node_of(o))) not in items
            )
        return Region(tuple(arguments), tuple(items.values()), tuple(results))


_UNRECOGNISED = _SWITCHES | _MERGES | _ENTERS | _EXITS | _NEXT


@dataclass(frozen=True)
class _Side:
    """One operand of a Merge: (predicate, output) of each Switch that it reaches, its nodes."""

    result: str
    reached: Mapping[tuple[str, int], None]
    nodes: Mapping[str, None]


def _overlapping(
    ready: Sequence[tuple[Any, str, list[_Side]]],
) -> list[list[tuple[Any, str, list[_Side]]]]:
    """Merges of one predicate that share nodes, together: the nodes are then computed once."""
    groups: list[tuple[str, set[str], list[tuple[Any, str, list[_Side]]]]] = []
    for entry in ready:
        predicate = entry[1]
        nodes = {name for side in entry[2] for name in side.nodes}
        joined = [entry]
        rest = []
        for known, members, entries in groups:
            if known == predicate and members & nodes:
                nodes |= members
                joined = [*entries, *joined]
            else:
                rest.append((known, members, entries))
        groups = [*rest, (predicate, nodes, joined)]
    return [entries for _, _, entries in groups]
