"""Frozen graphs as data: what depends on what, which nodes are inputs and which are outputs.

Works on TensorFlow's GraphDef messages without TensorFlow itself.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.frontend.interface import GraphInput, GraphOutput

PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
CONTROL_FLOW_V1 = frozenset(
    {"Switch", "RefSwitch", "Merge", "RefMerge", "Enter", "Exit", "NextIteration", "LoopCond"}
)
ASSIGNMENTS = frozenset(
    {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp", "Assign", "AssignAdd"}
    | {"AssignSub", "ResourceScatterUpdate", "ResourceScatterAdd", "ScatterUpdate", "ScatterAdd"}
)
_VARIABLES = frozenset({"VariableV2", "Variable", "VarHandleOp"})
_NO_OUTPUT = _VARIABLES | frozenset(
    {"NoOp", "Const", "Assert", "Print", "PrintV2"}
    | {"SaveV2", "RestoreV2", "SaveSlices", "MergeV2Checkpoints", "ShardedFilename"}
    | {"IsVariableInitialized", "VarIsInitializedOp", "ControlTrigger", "WriteFile"}
    | {"ScalarSummary", "HistogramSummary", "MergeSummary", "ImageSummary", "WriteSummary"}
)
_TRAINING_SCOPE = re.compile(
    r"^(loss(es)?|.*_loss|cost|gradients?|metrics?|accuracy|train(ing)?(_\d+)?|optimi[sz]er|save"
    r"|summar(y|ies)|init|report_uninitialized_\w+|Adam|SGD|RMSprop)(_\d+)?$",
    re.IGNORECASE,
)
_JUDGING_OPS = frozenset({"ArgMax", "ArgMin", "Equal", "NotEqual", "InTopK", "InTopKV2"})
_LEARNING_PHASE = re.compile(r"(^|/|_)learning_phase(_\d+)?$")
_OPAQUE_TYPES = frozenset({20, 21})  # DT_RESOURCE, DT_VARIANT
_LOWERED_EXIT = re.compile(r"/exit/_\d+$")
_IDENTITY = re.compile(r"^(?:.*/)?Identity(?:_(\d+))?$")
_STALE_ATTRIBUTES = ("_class", "_output_shapes", "_XlaMustCompile", "_XlaCompile", "_XlaScope")
_STALE_FUNCTION_ATTRIBUTES = ("_input_shapes", "_XlaMustCompile", "_XlaCompile")
_RANDOM_OPS = frozenset(
    {"RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial"}
    | {"ParameterizedTruncatedNormal", "RandomShuffle", "RandomGamma", "RandomPoisson"}
    | {"RandomPoissonV2", "StatefulUniform", "StatefulUniformInt", "StatefulUniformFullInt"}
    | {"StatefulStandardNormal", "StatefulStandardNormalV2", "StatefulTruncatedNormal"}
    | {"RngReadAndSkip", "RngSkip", "NonDeterministicInts", "StatefulRandomBinomial"}
)
_PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})


@dataclass(frozen=True)
class FrozenGraph:
    """A graph without variables: its GraphDef, and its inputs and outputs in order.

    `held` has the values, as TensorFlow's tensors, of constants that hold none in the GraphDef
    (`frontend.weights` tells which).
    """

    graph_def: Any
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]
    held: Mapping[str, Any] = field(default_factory=dict)


def node_of(tensor: str) -> str:
    """The node that makes a tensor: `a/b:1`, `^a/b` and `a/b` all give `a/b`."""
    return tensor.removeprefix("^").split(":")[0]


def tensor_name(name: str) -> str:
    """The name with its output number: `a/b` is `a/b:0`."""
    return name if ":" in name else f"{name}:0"


def is_learning_phase(name: str) -> bool:
    """Whether the placeholder tells Keras layers that the model is in training."""
    return bool(_LEARNING_PHASE.search(name))


def all_nodes(graph_def: Any) -> Iterator[Any]:
    """The nodes of the graph, then those of its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def dependencies(
    graph_def: Any, tensors: Iterable[str], *, cut: Collection[str] = (), control: bool = False
) -> set[str]:
    """The nodes that `tensors` depend on, themselves included; tensors in `cut` end the search."""
    nodes = {node.name: node for node in graph_def.node}
    ends = {tensor_name(t) for t in cut}
    todo = [tensor_name(t) for t in tensors]
    found: set[str] = set()
    while todo:
        tensor = todo.pop()
        name = node_of(tensor)
        if tensor in ends or name in found:
            continue
        if name not in nodes:
            raise ModelError(f"the graph is incomplete: the node '{name}' is missing")
        found.add(name)
        for operand in nodes[name].input:
            if control or not operand.startswith("^"):
                todo.append(f"{node_of(operand)}:0" if operand[0] == "^" else tensor_name(operand))
    return found


def restricted(graph_def: Any, nodes: Collection[str], *, control: bool) -> Any:
    """The graph with only some nodes; control edges among them stay if `control`. No functions."""
    new = type(graph_def)()
    new.versions.CopyFrom(graph_def.versions)
    for node in graph_def.node:
        if node.name not in nodes:
            continue
        copy = new.node.add()
        copy.CopyFrom(node)
        edges = [i for i in node.input if i[:1] != "^" or (control and node_of(i) in nodes)]
        del copy.input[:]
        copy.input.extend(edges)
    return new


def pruned(graph: FrozenGraph, *, keep_control: bool = False) -> FrozenGraph:
    """The same graph with nothing left that its outputs don't need.

    Inputs' own nodes go away as well: whoever imports the graph maps them. Control edges only
    order side effects (assertions, prints, updates), which a compiled model has none of, so
    they are dropped unless `keep_control`, in functions too. Devices, colocation and shapes
    inferred earlier go as well.
    """
    cut = [i.tensor for i in graph.inputs]
    wanted = dependencies(
        graph.graph_def, [o.tensor for o in graph.outputs], cut=cut, control=keep_control
    )
    if keep_control:
        # A control edge may come from the node of an input, which is to be replaced.
        wanted -= {node_of(i.tensor) for i in graph.inputs if _is_placeholder(graph, i)}
    new = restricted(graph.graph_def, wanted, control=keep_control)
    _keep_reachable_functions(graph.graph_def, new)
    for node in all_nodes(new):
        node.device = ""
        _drop(node.attr, _STALE_ATTRIBUTES)
    for function in new.library.function:
        _drop(function.attr, _STALE_FUNCTION_ATTRIBUTES)
        function.arg_attr.clear()
        if not keep_control:
            _prune_function(function)
    return replace(graph, graph_def=new)


def canonical(graph: FrozenGraph) -> FrozenGraph:
    """The same graph with its functions named after their content.

    TensorFlow numbers functions as a process makes them, so that equal models made at different
    times would differ, and different ones from two processes could clash in a third.
    """
    names: dict[str, str] = {}
    functions = {f.signature.name: f for f in graph.graph_def.library.function}
    new = type(graph.graph_def)()
    new.versions.CopyFrom(graph.graph_def.versions)

    def rename(nodes: Iterable[Any]) -> None:
        for node in nodes:
            for reference in function_references(node):
                if reference in functions and reference not in names:
                    visit(reference)
            _rename_references(node, names)

    def visit(name: str) -> None:
        function = type(functions[name])()
        function.CopyFrom(functions[name])
        rename(function.node_def)
        _number_arguments(function)
        function.signature.name = ""
        content = hashlib.sha256(function.SerializeToString(deterministic=True)).hexdigest()
        function.signature.name = names[name] = f"function_{content[:24]}"
        if all(f.signature.name != names[name] for f in new.library.function):
            new.library.function.add().CopyFrom(function)

    new.node.extend(graph.graph_def.node)
    rename(new.node)
    return replace(graph, graph_def=new)


def learning_phases(graph_def: Any) -> tuple[str, ...]:
    """The placeholders that are Keras learning phases."""
    return tuple(
        n.name for n in graph_def.node if n.op in PLACEHOLDERS and is_learning_phase(n.name)
    )


def checked_nodes(graph_def: Any, names: Sequence[str], role: str) -> tuple[str, ...]:
    """The nodes given by the user, each once; UsageError for one that the graph lacks."""
    known = {node.name for node in graph_def.node}
    for name in names:
        if node_of(name) not in known:
            close = difflib.get_close_matches(node_of(name), sorted(known), n=3)
            hint = f" (did you mean {', '.join(close)}?)" if close else ""
            raise UsageError(f"there is no {role} node '{name}' in the graph{hint}")
    return tuple(dict.fromkeys(name.removesuffix(":0") for name in names))


def check_inputs(graph: FrozenGraph) -> None:
    """Refuse a graph that needs a placeholder which is no input; ModelError names it."""
    left = [n for n in graph.graph_def.node if n.op in {"Placeholder", "PlaceholderV2"}]
    if left:
        raise ModelError(
            f"the outputs also depend on the placeholder '{left[0].name}': "
            "add it to --inputs, or fix it with --set"
        )


def check_frozen(graph_def: Any, needed: Collection[str]) -> None:
    """Refuse a graph whose outputs need a variable; ModelError names it."""
    for node in graph_def.node:
        if node.op in _VARIABLES and node.name in needed:
            raise ModelError(
                f"the graph is not frozen (variable '{node.name}'): "
                "freeze it, or save the model as SavedModel"
            )


def find_placeholders(graph_def: Any, outputs: Sequence[str]) -> tuple[str, ...]:
    """The placeholders that `outputs` depend on, in the graph's order.

    Learning phases and placeholders that have a default are no inputs of their own.
    """
    needed = dependencies(graph_def, outputs)
    return tuple(
        node.name
        for node in graph_def.node
        if node.name in needed
        and node.op in PLACEHOLDERS
        and node.op != "PlaceholderWithDefault"
        and not is_learning_phase(node.name)
    )


def find_outputs(graph_def: Any) -> tuple[str, ...]:
    """The nodes that are the model's outputs: sinks that are no leftovers of training.

    A sink is a node that depends on a placeholder and whose results nothing else takes. Saving,
    updates, summaries and the scopes of losses, gradients and metrics are left out.

    Raises:
        ModelError: there is none, or several of which some look like no part of the model
            (they need placeholders that the others don't, or compare with a truth).
    """
    nodes = {node.name: node for node in graph_def.node}
    model = [n for n in graph_def.node if not _in_training_scope(n.name)]
    taken = {node_of(i) for node in model for i in node.input if i[:1] != "^"}
    feeds = {
        node.name: found
        for node in model
        if node.name not in taken
        and _gives_result(node, nodes)
        and (found := find_placeholders(graph_def, [node.name]))
    }
    if not feeds:
        raise ModelError(
            "no output was found, as nothing depends on a placeholder: name it with --outputs NODE"
        )
    # What a loop leaves behind besides its results, such as its counter, is no output.
    candidates = [n for n in feeds if not _leaves_loop(nodes[n], nodes)] or list(feeds)
    # Others wait for a check, and take nothing from it.
    checks = {node_of(i) for node in model for i in node.input if i.startswith("^")}
    candidates = [n for n in candidates if n not in checks] or candidates
    judging = [n for n in candidates if _judges(nodes[n])]
    if judging or len({feeds[n] for n in candidates}) > 1:
        raise ModelError(
            "which nodes are the outputs is not clear: name them with --outputs "
            f"(results that nothing takes: {', '.join(candidates[:20])})"
        )
    numbers = {n: _IDENTITY.match(n) for n in candidates}
    if all(numbers.values()):
        candidates.sort(key=lambda n: int((numbers[n] or [""])[1] or 0))
    return tuple(candidates)


def draws_stateless(graph_def: Any) -> bool:
    """Whether random numbers are drawn from a seed, for which XLA has generators of its own."""
    return any(node.op.startswith("StatelessRandom") for node in all_nodes(graph_def))


class RefusedKind(Enum):
    """Why an op is refused whether XLA has a kernel for it or not."""

    RANDOM = "draws random numbers from a hidden state"
    PYTHON = "calls Python"
    TABLE = "looks up a table outside the graph"
    STATE = "updates a variable, which a compiled model has none of"


def refused_kind(op: str) -> RefusedKind | None:
    """Why tfaot refuses an op in any model; None for all others."""
    if op in _RANDOM_OPS:
        return RefusedKind.RANDOM
    if op in _PYTHON_OPS:
        return RefusedKind.PYTHON
    if "Table" in op and op != "TableToText":
        return RefusedKind.TABLE
    return RefusedKind.STATE if op in ASSIGNMENTS else None


def check_determinism(graph: FrozenGraph) -> None:
    """Refuse random ops with a state, Python functions and lookup tables in the graph.

    Raises:
        UnsupportedError: names the ops and their nodes.
    """
    graph_def = graph.graph_def
    found = [n for n in all_nodes(graph_def) if refused_kind(n.op) is RefusedKind.RANDOM]
    if found:
        flags = [i.name for i in graph.inputs if i.shape == () or i.shape is None]
        remedy = "export the model for inference"
        if flags:
            remedy += f", or fix the input that turns them off: --set {flags[0]}=VALUE"
            remedy += f" (scalars: {', '.join(flags)})" if len(flags) > 1 else ""
        raise UnsupportedError(
            f"random numbers with a hidden state can't be compiled: {list_nodes(found)}: {remedy}"
        )
    found = [n for n in all_nodes(graph_def) if refused_kind(n.op) is RefusedKind.PYTHON]
    if found:
        raise UnsupportedError(
            f"Python functions in the graph can't be compiled: {list_nodes(found)}: "
            "write them with TensorFlow ops"
        )
    found = [n for n in all_nodes(graph_def) if refused_kind(n.op) is RefusedKind.TABLE]
    if found:
        raise UnsupportedError(
            f"lookup tables can't be compiled: {list_nodes(found)}: look up before the model"
        )


def list_nodes(nodes: Sequence[Any], limit: int = 8) -> str:
    """The ops, each with its first node, in one line: `Op (layer/node), Op (other) and 2 more`."""
    first: dict[str, Any] = {}
    for node in nodes:
        first.setdefault(node.op, node)
    named = list(first.values())[:limit]
    shown = ", ".join(f"{node.op} ({node.name})" for node in named)
    more = len(nodes) - len(named)
    return f"{shown} and {more} more" if more > 0 else shown


def has_control_flow_v1(graph_def: Any) -> bool:
    """Whether the graph holds control flow of TensorFlow 1."""
    return any(node.op in CONTROL_FLOW_V1 for node in graph_def.node)


def _in_training_scope(name: str) -> bool:
    return any(_TRAINING_SCOPE.match(part) for part in name.split("/")[:-1])


def _gives_result(node: Any, nodes: dict[str, Any]) -> bool:
    """Whether a node could be an output: no update, no saving, no pivot of a condition."""
    if node.op in _NO_OUTPUT or node.op in ASSIGNMENTS or node.op in PLACEHOLDERS:
        return False
    if node.op.startswith(("Apply", "ResourceApply")) or node.op in {"Switch", "LoopCond"}:
        return False
    if "T" in node.attr and node.attr["T"].type in _OPAQUE_TYPES:
        return False
    source = nodes.get(node_of(node.input[0])) if node.op == "Identity" and node.input else None
    return source is None or source.op != "Switch"


def _leaves_loop(node: Any, nodes: dict[str, Any]) -> bool:
    if node.op in {"Exit", "RefExit"} or _LOWERED_EXIT.search(node.name):
        return True
    source = nodes.get(node_of(node.input[0])) if node.op == "Identity" else None
    # TensorFlow 2 names the elements of a loop's state after the loop.
    return (
        source is not None
        and source.op in {"While", "StatelessWhile"}
        and node.name.startswith(f"{source.name}/Identity")
    )


def _judges(node: Any) -> bool:
    """Whether a node looks like a loss or a metric rather than a result of the model."""
    return node.op in _JUDGING_OPS or bool(_TRAINING_SCOPE.match(node.name.split("/")[-1]))


def _is_placeholder(graph: FrozenGraph, source: GraphInput) -> bool:
    name = node_of(source.tensor)
    return any(n.name == name and n.op in PLACEHOLDERS for n in graph.graph_def.node)


def _drop(attributes: Any, names: Iterable[str]) -> None:
    for name in names:
        if name in attributes:
            del attributes[name]


def _prune_function(function: Any) -> None:
    """Leave only the nodes that a function's results need, without control edges."""
    nodes = {node.name: node for node in function.node_def}
    todo = [node_of(edge) for edge in function.ret.values()]
    wanted: set[str] = set()
    while todo:
        name = todo.pop()
        if name in nodes and name not in wanted:
            wanted.add(name)
            todo.extend(node_of(i) for i in nodes[name].input if not i.startswith("^"))
    kept = [node for node in function.node_def if node.name in wanted]
    for node in kept:
        edges = [i for i in node.input if not i.startswith("^")]
        del node.input[:]
        node.input.extend(edges)
    del function.node_def[:]
    function.node_def.extend(kept)
    function.control_ret.clear()
    del function.signature.control_output[:]


def _called_functions(nodes: Iterable[Any]) -> set[str]:
    return {name for node in nodes for name in function_references(node)}


def _number_arguments(function: Any) -> None:
    """Rename a function's arguments, whose names hold numbers of functions, by position."""
    new: dict[str, str] = {}
    taken = {node.name for node in function.node_def}
    for number, argument in enumerate(function.signature.input_arg):
        new[argument.name] = f"argument_{number}"
        while new[argument.name] in taken:
            new[argument.name] += "_"
        argument.name = new[argument.name]

    def renamed(edge: str) -> str:
        name, separator, rest = edge.partition(":")
        return new.get(name, name) + separator + rest

    for node in function.node_def:
        edges = [renamed(edge) for edge in node.input]
        del node.input[:]
        node.input.extend(edges)
    for key, edge in list(function.ret.items()):
        function.ret[key] = renamed(edge)


def _rename_references(node: Any, names: dict[str, str]) -> None:
    node.op = names.get(node.op, node.op)
    node.ClearField("experimental_debug_info")
    for value in node.attr.values():
        if value.HasField("func"):
            value.func.name = names.get(value.func.name, value.func.name)
        for called in value.list.func if value.HasField("list") else ():
            called.name = names.get(called.name, called.name)


def function_references(node: Any) -> Iterator[str]:
    """The op and the functions in a node's attributes, in a stable order."""
    yield node.op
    for key in sorted(node.attr):
        value = node.attr[key]
        if value.HasField("func"):
            yield value.func.name
        elif value.HasField("list"):
            yield from (f.name for f in value.list.func)


def _keep_reachable_functions(old: Any, new: Any) -> None:
    functions = {f.signature.name: f for f in old.library.function}
    todo = sorted(_called_functions(new.node) & functions.keys())
    wanted: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo.extend(_called_functions(functions[name].node_def) & functions.keys())
    for name, function in functions.items():
        if name in wanted:
            new.library.function.add().CopyFrom(function)
