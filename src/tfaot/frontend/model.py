"""A model in the worker: loaded, frozen, with its signature, lowered and evaluated on request.

Input: a `ModelSource`. Output: HLO protos at batch sizes, arrays, times. No TensorFlow import here:
`frontend.tensorflow` does what needs it.
"""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tfaot.errors import ModelError, UnsupportedError, UsageError
from tfaot.frontend import freezing, saved_models, xla
from tfaot.frontend import graph as graphs
from tfaot.frontend import tensorflow as backend
from tfaot.frontend.dropout import fold_masks
from tfaot.frontend.environment import expands_scatter
from tfaot.frontend.exported import ExportedFunction
from tfaot.frontend.flags import (
    InferenceValue,
    inference_values,
    with_branches_taken,
    with_defaults,
)
from tfaot.frontend.functional import functionalised
from tfaot.frontend.graph import FrozenGraph
from tfaot.frontend.interface import (
    PROBES,
    GraphInput,
    GraphOutput,
    IrregularError,
    affine_dims,
    check_sizes,
    element_type,
    input_specs,
)
from tfaot.frontend.keras_files import load_model
from tfaot.frontend.keras_models import freeze_keras
from tfaot.frontend.leftovers import depended_on, without_leftovers
from tfaot.frontend.messages import nodes_named, translated
from tfaot.frontend.model_description import Description
from tfaot.frontend.source import EXPORT_FILE, ModelKind, ModelSource, digest_files, model_kind
from tfaot.frontend.trail import Trail
from tfaot.frontend.weights import Hollow, completed, constant_values, hold, hollow
from tfaot.ir.shapes import Dim
from tfaot.signature import Signature, TensorSpec, with_sizes

_WITNESSES = (1, 10_007)
"""Batch sizes far from the probed ones, at which output sizes that TensorFlow infers must fit."""

_QUOTED_NODE = re.compile(r"node `(\S+?)`")
"""How XLA refers to a node in some of its messages."""

_TABLE_ELEMENTS = 64
"""Integer constants up to this size are shapes and axes, larger ones are tables: parameters."""


class Model:
    """A frozen model with its signature; functions are made per batch size when asked for."""

    def __init__(self, source: ModelSource, trail: Trail | None = None) -> None:
        kind = model_kind(source.path)
        _check_options(source, kind)
        loaded = _load(source, kind, trail or Trail())
        self._inputs = input_specs(loaded.graph.inputs, source.input_shapes)
        constants = [c for c in backend.constants(loaded.graph.graph_def) if _is_parameter(c)]
        self._external = external = source.external_weights
        self._hollow, self._weights = _without_weights(loaded.graph, external)
        self._graph = self._hollow.graph
        self._reference, self._reference_weights = self._graph, self._weights
        if loaded.reference is not loaded.graph:
            opened, self._reference_weights = _without_weights(loaded.reference, external)
            self._reference = opened.graph
        self._evaluator: Any = None
        self._functions: dict[int | None, Any] = {}
        self._lowered: dict[int | None, bytes] = {}
        self._expanded: bool | None = None
        self._varying: list[tuple[int, ...]] = [()] * len(self._graph.outputs)
        digest, notes = loaded.digest, loaded.notes
        del loaded
        backend.release_memory()
        self.description = Description(
            self._signature(),
            sum(count for count, _, _ in constants),
            sum(size for _, size, _ in constants),
            digest,
            backend.versions(),
            self._hollow.weights,
            notes,
        )

    def lower(self, batch: int | None) -> bytes | None:
        """The optimised HLO at one batch size (None for a model without a batch axis).

        None if the model holds a scatter, and this worker's flags let XLA expand it.
        """
        function, shapes = self._function(batch), self._shapes(batch)
        if self._expanded is None:
            with self._naming_variables():
                holds = expands_scatter() and xla.holds_scatter(function, self._graph, shapes)
            self._expanded = holds
        ready = self._lowered.pop(batch, None)
        # A graph per batch size would add up: probes are asked for once.
        self._functions.pop(batch, None)
        if self._expanded:
            return None
        if ready is None:
            with self._naming_variables():
                ready = xla.lower(function, self._graph, shapes)
        del function
        backend.release_memory()
        return ready

    @contextmanager
    def _naming_variables(self) -> Iterator[None]:
        """Where weights are outside of the code, tell of those whose values XLA needs."""
        try:
            yield
        except UnsupportedError as error:
            if not self._external or "compile-time constant" not in str(error):
                raise
            named = [*nodes_named(f"{error.__cause__}"), *_QUOTED_NODE.findall(str(error))]
            needed = self._hollow.behind(named)
            if not needed:
                raise
            variables = ", ".join(f"'{name}'" for name in needed)
            raise UnsupportedError(
                f"--weights external: the code depends on the value of {variables}, which sets a "
                f"size: leave the weights in the object (--weights internal) ({error})"
            ) from error

    def weight(self, number: int) -> NDArray[Any]:
        """A weight that the HLO takes as an argument, after the model's inputs."""
        (array,) = backend.to_arrays([self._weights[number]])
        return array

    def evaluate(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The results of plain TensorFlow.

        They are XLA's where TensorFlow has no kernel for the CPU, or another random generator.
        """
        return backend.to_arrays(self._run([*backend.to_tensors(inputs), *self._reference_weights]))

    def time(self, inputs: Sequence[NDArray[Any]], repetitions: int, warmup: int) -> list[float]:
        """Seconds of each of `repetitions` calls, after `warmup` calls that don't count."""
        tensors = [*backend.to_tensors(inputs), *self._reference_weights]
        for _ in range(max(1, warmup)):
            self._run(tensors)
        function = self._reference_function()
        times = []
        for _ in range(repetitions):
            start = time.perf_counter()
            backend.run(function, tensors)
            times.append(time.perf_counter() - start)
        return times

    def _run(self, tensors: Sequence[Any]) -> list[Any]:
        try:
            return backend.run(self._reference_function(), tensors)
        except ModelError as error:
            if self._graph is not self._reference or not backend.lacks_kernel(error):
                raise
            self._evaluator = backend.compiled_by_xla(self._reference_function())
            return backend.run(self._evaluator, tensors)

    def _reference_function(self) -> Any:
        if self._evaluator is None:
            shapes = [
                tuple(d if isinstance(d, int) else None for d in i.dims) for i in self._inputs
            ]
            shapes += _shapes_of(self._reference_weights)
            old = graphs.has_control_flow_v1(self._reference.graph_def)
            make = backend.make_session_function if old else backend.make_function
            self._evaluator = make(self._reference, shapes)
            if not old and graphs.draws_stateless(self._reference.graph_def):
                # Of one seed, XLA makes other numbers than TensorFlow's kernels.
                self._evaluator = backend.compiled_by_xla(self._evaluator)
        return self._evaluator

    def _shapes(self, batch: int | None) -> list[tuple[int, ...]]:
        own = [i.shape.at(batch or 0).static_dims for i in self._inputs]
        return own + _shapes_of(self._weights)

    def _function(self, batch: int | None) -> Any:
        if batch not in self._functions:
            self._functions[batch] = backend.make_function(self._graph, self._shapes(batch))
        return self._functions[batch]

    def _signature(self) -> Signature:
        light = backend.skeleton(self._graph)
        if all(i.shape.is_static for i in self._inputs):
            sizes = self._output_sizes(light, None)
            return Signature(self._inputs, self._output_specs(sizes))
        try:
            probed = [self._output_sizes(light, batch) for batch in PROBES]
            dims = [
                affine_dims(column, f"the output '{output.name}'")
                for output, column in zip(
                    self._graph.outputs, zip(*probed, strict=True), strict=True
                )
            ]
            for batch in _WITNESSES:
                self._check_sizes(light, dims, batch)
        except (IrregularError, ModelError) as error:
            # The shapes are found when the model is lowered at the batch sizes it is made for.
            self._lowered.clear()
            unknown: list[tuple[Dim, ...]] = [()] * len(self._graph.outputs)
            return Signature(self._inputs, self._output_specs(unknown), str(error))
        return Signature(self._inputs, self._output_specs(dims))

    def _output_specs(self, dims: Sequence[tuple[Dim, ...]]) -> tuple[TensorSpec, ...]:
        return with_sizes(
            [
                TensorSpec(o.name, element_type(o.dtype, f"the output '{o.name}'"), d, varying)
                for o, d, varying in zip(self._graph.outputs, dims, self._varying, strict=True)
            ]
        )

    def _check_sizes(self, light: FrozenGraph, dims: Sequence[tuple[Dim, ...]], batch: int) -> None:
        """Refuse outputs whose size at `batch`, where TensorFlow infers it, is another."""
        try:
            found = backend.output_shapes(backend.make_function(light, self._shapes(batch)))
        except ModelError:
            # A model that needs more than one row (the sixth of them) has no size to compare.
            return
        for output, expected, shape in zip(self._graph.outputs, dims, found, strict=True):
            known = [d for d in shape or () if d is not None]
            if shape is not None and len(known) == len(shape) == len(expected):
                check_sizes(expected, known, batch, f"the output '{output.name}'")

    def _output_sizes(self, light: FrozenGraph, batch: int | None) -> list[tuple[int, ...]]:
        """The output shapes at one batch size, from TensorFlow or, where it can't tell, XLA.

        XLA also tells which sizes depend on the data: those are bounds.
        """
        inferred = backend.output_shapes(backend.make_function(light, self._shapes(batch)))
        known = [tuple(d for d in s if d is not None) for s in inferred if s is not None]
        if len(known) == len(inferred) and all(
            s is not None and len(s) == len(k) for s, k in zip(inferred, known, strict=True)
        ):
            return known
        with self._naming_variables():
            serialized = xla.lower(self._function(batch), self._graph, self._shapes(batch))
        self._lowered[batch] = serialized
        shapes = xla.hlo_result_shapes(serialized)
        self._varying = [varying for _, varying in shapes]
        return [dims for dims, _ in shapes]


def _check_options(source: ModelSource, kind: ModelKind) -> None:
    if source.signature is not None and kind is not ModelKind.SAVED_MODEL:
        raise UsageError(f"--signature is for SavedModels, '{source.path}' is a {kind.value} model")
    if (source.inputs or source.outputs) and kind is not ModelKind.GRAPH:
        raise UsageError(
            f"--inputs and --outputs are for frozen graphs, '{source.path}' is a {kind.value} model"
        )


@dataclass(frozen=True)
class _Loaded:
    """A graph for XLA, the same as its author wrote it for TensorFlow, the files' digest, notes.

    The graphs differ where control flow of TensorFlow 1 was rewritten: results are compared with
    those of the original.
    """

    graph: FrozenGraph
    reference: FrozenGraph
    digest: str
    notes: tuple[str, ...] = ()


def frozen_graph(source: ModelSource) -> tuple[FrozenGraph, tuple[TensorSpec, ...]]:
    """The frozen graph that a model is compiled from, and its inputs with their batch axes.

    Raises:
        TfaotError: as loading the model for a compile does.
    """
    kind = model_kind(source.path)
    _check_options(source, kind)
    graph = completed(_load(source, kind, Trail()).graph)
    return graph, input_specs(graph.inputs, source.input_shapes)


def _load(source: ModelSource, kind: ModelKind, trail: Trail) -> _Loaded:
    match kind:
        case ModelKind.SAVED_MODEL:
            graph = saved_models.load_saved_model(source.path, source.signature, trail)
        case ModelKind.KERAS:
            graph = freeze_keras(load_model(source.path, source.custom_objects), trail)
        case ModelKind.GRAPH:
            graph, settled = _load_graph(source, trail)
        case ModelKind.EXPORTED:
            graph = _load_exported(source.path, trail)
    # The objects that held the variables refer to each other: they go now, not when chance has it.
    backend.release_memory()
    if kind is not ModelKind.GRAPH:
        graph = freezing.fix_inputs(graph, source.set_values)
        graph, settled = _settled(graph)
    graph = trail.reached(with_branches_taken(with_defaults(graph)))
    graph = graphs.pruned(graph, keep_control=graphs.has_control_flow_v1(graph.graph_def))
    if graphs.has_control_flow_v1(graph.graph_def):
        graph = completed(graph)
    graph = trail.reached(fold_masks(freezing.fold_control_flow(graph)))
    old = graphs.has_control_flow_v1(graph.graph_def)
    reference = graphs.pruned(graph, keep_control=True) if old else None
    graph = trail.reached(graphs.canonical(graphs.pruned(functionalised(graph))))
    graphs.check_inputs(graph)
    graphs.check_determinism(graph)
    notes = tuple(value.note for value in settled)
    return _Loaded(graph, reference or graph, digest_files(source.path, kind), notes)


def _load_exported(path: Path, trail: Trail) -> FrozenGraph:
    with translated(ModelError, f"the exported function '{path}' can't be read"):
        exported = pickle.loads((path / EXPORT_FILE).read_bytes())
    assert isinstance(exported, ExportedFunction)
    graph_def, held = hold(backend.parse_graph_def(exported.graph_def))
    trail.layers.update(exported.layers)
    graph = trail.reached(FrozenGraph(graph_def, exported.inputs, exported.outputs, held))
    if exported.refusal:
        raise UnsupportedError(exported.refusal)
    return graph


def _load_graph(
    source: ModelSource, trail: Trail
) -> tuple[FrozenGraph, tuple[InferenceValue, ...]]:
    """A frozen graph, with placeholders fixed and its inputs and outputs as told or found."""
    graph_def, held = hold(backend.load_graph_def(source.path))
    values: Mapping[str, object] = {
        **dict.fromkeys(graphs.learning_phases(graph_def), False),
        **source.set_values,
    }
    fixed = freezing.fix_inputs(FrozenGraph(graph_def, (), ()), values)
    settled = inference_values(fixed.graph_def, {graphs.node_of(name) for name in source.inputs})
    graph_def = freezing.fix_inputs(fixed, {v.name: v.value for v in settled}).graph_def
    names = graphs.checked_nodes(graph_def, source.outputs, "output")
    outputs = names or graphs.find_outputs(graph_def)
    inputs = graphs.checked_nodes(graph_def, source.inputs, "input")
    inputs = inputs or graphs.find_placeholders(graph_def, outputs)
    needed = graphs.dependencies(graph_def, outputs, cut=inputs)
    trail.reached(_unread(graph_def, inputs, outputs))
    graphs.check_frozen(graph_def, needed)
    old = graphs.has_control_flow_v1(graph_def)
    graph_def = without_leftovers(depended_on(graph_def, (*outputs, *inputs), control=old))
    found_inputs, found_outputs = backend.graph_interface(graph_def, inputs, outputs)
    graph = FrozenGraph(graph_def, found_inputs, found_outputs, held)
    return graph, tuple(value for value in settled if value.name in needed)


def _unread(graph_def: Any, inputs: Sequence[str], outputs: Sequence[str]) -> FrozenGraph:
    """A graph with the interface that its own placeholders tell, whatever its ops."""
    nodes = {node.name: node for node in graph_def.node}

    def argument(name: str) -> GraphInput:
        node = nodes[graphs.node_of(name)]
        shape = node.attr["shape"].shape if "shape" in node.attr else None
        known = shape is not None and not shape.unknown_rank
        dims = [d.size if d.size >= 0 else None for d in shape.dim] if shape is not None else ()
        number = node.attr["dtype"].type
        return GraphInput(name, graphs.tensor_name(name), number, tuple(dims) if known else None)

    return FrozenGraph(
        graph_def,
        tuple(argument(name) for name in inputs),
        tuple(GraphOutput(name, graphs.tensor_name(name), 0) for name in outputs),
    )


def _settled(graph: FrozenGraph) -> tuple[FrozenGraph, tuple[InferenceValue, ...]]:
    """The graph without inputs that only training needs, and what they are fixed to."""
    names = {graphs.node_of(i.tensor): i.name for i in graph.inputs}
    found = [v for v in inference_values(graph.graph_def) if v.name in names]
    fixed = freezing.fix_inputs(graph, {v.name: v.value for v in found})
    return fixed, tuple(replace(v, name=names[v.name]) for v in found)


def _without_weights(graph: FrozenGraph, external: bool) -> tuple[Hollow, list[Any]]:
    """The graph with large (`external`: all) weights as further inputs, their values as tensors."""
    opened = hollow(graph, external=external)
    return opened, constant_values(graph, opened.weights)


def _shapes_of(tensors: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors]


def _is_parameter(constant: tuple[int, int, bool]) -> bool:
    count, _, real = constant
    return real or count > _TABLE_ELEMENTS
