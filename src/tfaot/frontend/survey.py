"""A model's graph op by op, in the worker: kernels, types, and lowerings of what can be lowered.

Input: a `ModelSource`. Output: a `SurveyReply`, and an `Attempt` per set of nodes to leave out.
A model that can't be loaded is looked at as far as the loading came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from tfaot.errors import ModelError, TfaotError, UnsupportedError
from tfaot.frontend import graph as graphs
from tfaot.frontend import tensorflow as backend
from tfaot.frontend import xla
from tfaot.frontend.graph import FrozenGraph, node_of, tensor_name
from tfaot.frontend.interface import PROBES, GraphInput, GraphOutput, element_type, input_specs
from tfaot.frontend.messages import essential_line, nodes_named
from tfaot.frontend.model import Model
from tfaot.frontend.source import ModelSource
from tfaot.frontend.survey_data import Attempt, SurveyedNode
from tfaot.frontend.tensor_types import TensorTypes, type_texts
from tfaot.frontend.trail import Trail
from tfaot.frontend.weights import hollow

_OPAQUE = frozenset({20, 21})  # DT_RESOURCE and DT_VARIANT of tensorflow/core/framework/types.proto
_TYPED_INPUTS = frozenset({"Placeholder", "PlaceholderV2"})


class Survey:
    """A model's graph as far as it could be loaded.

    Attributes:
        model: the loaded model; None where it is refused.
        refusal: why.
        layers: classes of Keras layers by name.
    """

    def __init__(self, source: ModelSource) -> None:
        """Load as much as can be loaded.

        Raises:
            TfaotError: there is nothing to look at, or something that the user has to decide.
        """
        xla.register_kernels()
        trail = Trail(keep=True)
        self.model: Model | None = None
        self.refusal = ""
        try:
            self.model = Model(source, trail)
        except (UnsupportedError, ModelError) as error:
            unread = trail.graph is not None and _unknown_ops(trail.graph.graph_def)
            if trail.graph is None or not (isinstance(error, UnsupportedError) or unread):
                raise
            self.refusal = str(error)
        assert trail.graph is not None
        self.layers = trail.layers
        self._unknown = _unknown_ops(trail.graph.graph_def)
        # Updates of variables hang on control edges.
        graph = graphs.pruned(trail.graph, keep_control=bool(self.refusal))
        self._sides = (graph.inputs, graph.outputs)
        opened = hollow(graph)
        self._graph, self._weights = opened.graph, opened.weights
        # Nothing is inferred where an op is unknown, so nothing has to be known of the inputs.
        self._dims = [] if self._unknown else _input_dims(self._graph.inputs, source)
        self._has_batch = any(None in dims for dims in self._dims)
        self._types = self._infer()
        self._callers = _callers(self._graph.graph_def)

    def nodes(self) -> Iterator[SurveyedNode]:
        """The ops of the graph, then those of its functions."""
        functions = {f.signature.name for f in self._graph.graph_def.library.function}
        asked: dict[str, list[Any]] = {}
        for function, node in _places(self._graph.graph_def):
            kind = graphs.refused_kind(node.op)
            inputs, outputs = type_texts([t.of(function, node) for t in self._types], PROBES)
            known = node.op not in self._unknown
            kernel = node.op in functions or (known and xla.has_kernel(node, asked))
            yield SurveyedNode(
                node.name,
                node.op,
                function,
                self._callers.get(function, node.name),
                inputs,
                outputs,
                known,
                kernel,
                other_types=() if kernel else xla.kernel_types(asked.get(node.op, [])),
                refused=kind.value if kind is not None else "",
            )
        for name in self._weights:
            types = [t.tensors([name]) for t in self._types]
            _, outputs = type_texts([((), t) for t in types], PROBES)
            yield SurveyedNode(name, "Const", "", name, (), outputs, True, True, (), "")

    def interface(self) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        """Names and types of the inputs, and of the outputs."""
        found = []
        for side in self._sides:
            shown = [i for i in side if i.dtype not in _OPAQUE]
            columns = [types.tensors([i.tensor for i in shown]) for types in self._types]
            texts = type_texts([(c, ()) for c in columns], PROBES)[0] if columns else ()
            texts = texts or tuple(backend.type_name(i.dtype) for i in shown)
            found.append(tuple((i.name, text) for i, text in zip(shown, texts, strict=True)))
        return found[0], found[1]

    def attempt(self, cut: Collection[str]) -> Attempt:
        """Lower what is left of the graph at one batch size.

        Args:
            cut: nodes of the graph to leave out. What they give are inputs instead, where their
                types are known; what depends on them otherwise is left out as well.
        """
        if not self._types:
            return Attempt(None, message=self.refusal)
        part, lowered = _Part(self._graph, self._types[0], cut).build()
        if not part.outputs:
            return Attempt(None)
        shapes = [tuple(d for d in i.shape or () if d is not None) for i in part.inputs]
        tf = backend.tf_module()
        specs = [
            tf.TensorSpec(shape, tf.dtypes.as_dtype(i.dtype))
            for i, shape in zip(part.inputs, shapes, strict=True)
        ]
        try:
            function = backend.make_function(part, shapes)
            hlo = xla.compiled(function, specs, "optimized_hlo_serialized")
        except TfaotError as error:
            return Attempt(None, lowered, message=str(error))
        except (ValueError, TypeError, RuntimeError, tf.errors.OpError) as error:
            return self._failed(error, lowered)
        return Attempt(hlo, lowered)

    def _failed(self, error: Exception, lowered: tuple[str, ...]) -> Attempt:
        line = essential_line(error).removeprefix("Failed getting HLO text: ").strip("'\" .")
        places = {(f, n.name) for f, n in _places(self._graph.graph_def)}
        functions = ["", *self._callers]
        for name in nodes_named(error):
            for function in functions:
                if (function, name) in places:
                    return Attempt(None, lowered, (function, name), line)
        return Attempt(None, lowered, message=line)

    def _infer(self) -> tuple[TensorTypes, ...]:
        """Types of all tensors at two batch sizes, or at the only one; none where unknown."""
        if self._unknown:
            return ()
        light = _with_lookups_as_casts(backend.skeleton(self._graph))
        found = []
        for batch in PROBES[: 2 if self._has_batch else 1]:
            shapes = [tuple(batch if d is None else d for d in dims) for dims in self._dims]
            try:
                found.append(TensorTypes(light, shapes))
            except ModelError as error:
                # Older loops and resources can't be imported into a function of TensorFlow 2.
                self.refusal = self.refusal or str(error)
                return ()
        return tuple(found)


class _Part:
    """What can be lowered of a graph without some nodes."""

    def __init__(self, graph: FrozenGraph, types: TensorTypes, cut: Collection[str]) -> None:
        self._graph = graph
        self._nodes = {node.name: node for node in graph.graph_def.node}
        self._arguments = {i.tensor for i in graph.inputs}
        self._types = types
        self._batch = PROBES[0]
        self._cut = cut
        self._whole: dict[str, bool] = {}

    def build(self) -> tuple[FrozenGraph, tuple[str, ...]]:
        """The part, its inputs with the shapes that they have, and its nodes' names."""
        kept = [name for name in self._nodes if self._is_whole(name)]
        taken = {tensor_name(i) for name in kept for i in self._nodes[name].input if i[:1] != "^"}
        outputs = []
        for name in kept:
            for tensor, number in self._types.results(name):
                if tensor not in taken and _is_number(number):
                    outputs.append(GraphOutput(tensor, tensor, number))
        inputs = []
        whole = set(kept)
        made = {tensor for tensor in taken if node_of(tensor) not in whole}
        for tensor in sorted(made):
            number, _ = self._types.tensor(tensor)
            inputs.append(GraphInput(tensor, tensor, number, self._dims(tensor)))
        definition = graphs.restricted(self._graph.graph_def, whole, control=False)
        definition.library.CopyFrom(self._graph.graph_def.library)
        return FrozenGraph(definition, tuple(inputs), tuple(outputs)), tuple(kept)

    def _is_whole(self, name: str) -> bool:
        """Whether a node can be part: all that it takes is part, or can be an input."""
        todo = [name]
        while todo:
            top = todo[-1]
            if top in self._whole:
                todo.pop()
                continue
            if top not in self._nodes or self._is_left_out(top):
                self._whole[top] = False
                continue
            operands = [tensor_name(i) for i in self._nodes[top].input if i[:1] != "^"]
            open_ones = [
                node_of(t)
                for t in operands
                if node_of(t) not in self._whole and not self._is_argument(t)
            ]
            open_ones = [n for n in open_ones if n not in todo]
            if open_ones:
                todo += open_ones
                continue
            self._whole[top] = all(
                self._is_argument(t) or self._whole.get(node_of(t), False) for t in operands
            )
        return self._whole[name]

    def _is_left_out(self, name: str) -> bool:
        return name in self._cut or self._nodes[name].op in _TYPED_INPUTS

    def _is_argument(self, tensor: str) -> bool:
        """Whether a tensor can be an input of the part, as what makes it can't be part."""
        name = node_of(tensor)
        outside = name not in self._nodes or self._is_left_out(name) or tensor in self._arguments
        if not outside and self._whole.get(name, True):
            return False
        number, _ = self._types.tensor(tensor)
        return self._dims(tensor) is not None and _is_number(number)

    def _dims(self, tensor: str) -> tuple[int, ...] | None:
        """The dimensions of an input of the part; a first one that is unknown is the batch's."""
        _, dims = self._types.tensor(tensor)
        if dims is None or None in dims[1:]:
            return None
        return tuple(self._batch if d is None else d for d in dims)


def _with_lookups_as_casts(graph: FrozenGraph) -> FrozenGraph:
    """The graph with lookups in tables as casts, whose results have the same types and shapes."""
    for node in graph.graph_def.node:
        if node.op in {"LookupTableFind", "LookupTableFindV2"}:
            types = (node.attr["Tin"].type, node.attr["Tout"].type)
            keys = node.input[1]
            node.op = "Cast"
            del node.input[:]
            node.input.append(keys)
            node.attr.clear()
            node.attr["SrcT"].type, node.attr["DstT"].type = types
    return graph


def _is_number(number: int) -> bool:
    try:
        element_type(number, "")
    except UnsupportedError:
        return False
    return True


def _input_dims(inputs: Sequence[GraphInput], source: ModelSource) -> list[tuple[int | None, ...]]:
    """The dimensions of the inputs, None for the batch axis."""
    numbers = [i for i in inputs if _is_number(i.dtype)]
    names = {i.name.removesuffix(":0") for i in inputs if i not in numbers}
    given = {
        name: dims
        for name, dims in source.input_shapes.items()
        if name.removesuffix(":0") not in names
    }
    specs = {s.name: s for s in input_specs(numbers, given)}
    return [
        tuple(d if isinstance(d, int) else None for d in specs[i.name].dims)
        if i.name in specs
        else (i.shape or ())
        for i in inputs
    ]


def _places(graph_def: Any) -> Iterator[tuple[str, Any]]:
    """The nodes with the function that holds them."""
    for node in graph_def.node:
        yield "", node
    for function in graph_def.library.function:
        for node in function.node_def:
            yield function.signature.name, node


def _callers(graph_def: Any) -> dict[str, str]:
    """Per function the first node of the graph that leads to it."""
    bodies = {f.signature.name: f.node_def for f in graph_def.library.function}
    found: dict[str, str] = {}

    def visit(nodes: Sequence[Any], caller: Callable[[Any], str]) -> None:
        for node in nodes:
            for name in graphs.function_references(node):
                if name in bodies and name not in found:
                    found[name] = origin = caller(node)
                    visit(bodies[name], lambda _, origin=origin: origin)  # type: ignore[misc]

    visit(graph_def.node, lambda node: str(node.name))
    return found


def _unknown_ops(graph_def: Any) -> frozenset[str]:
    """The ops that this TensorFlow doesn't have."""
    registry = backend.tf_module("python.framework.op_def_registry")
    functions = {f.signature.name for f in graph_def.library.function}
    ops = {node.op for node in graphs.all_nodes(graph_def)} - functions
    return frozenset(op for op in ops if registry.get(op) is None)
