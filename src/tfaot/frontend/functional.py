"""Control flow of TensorFlow 1 rewritten as functional While and If, which XLA compiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tfaot.errors import UnsupportedError
from tfaot.frontend.control_flow import Branch, Loop, Region, operands_of, structured
from tfaot.frontend.graph import FrozenGraph, has_control_flow_v1, tensor_name
from tfaot.frontend.messages import translated
from tfaot.frontend.tensorflow import tf_module

_Tensors = dict[str, Any]


def functionalised(graph: FrozenGraph) -> FrozenGraph:
    """The graph with loops as While and conditions as If.

    Raises:
        UnsupportedError: control flow in a form that is not recognised.
    """
    if not has_control_flow_v1(graph.graph_def):
        return graph
    tf = tf_module()
    region = structured(graph)
    emit = _Emitter(graph.graph_def)
    full = tf.Graph()
    with translated(UnsupportedError, "TensorFlow 1 control flow can't be rewritten"):
        with full.as_default():
            arguments = [
                tf.compat.v1.placeholder(tf.dtypes.as_dtype(i.dtype), i.shape, name=f"{_INPUT}{n}")
                for n, i in enumerate(graph.inputs)
            ]
            results = [
                tf.identity(tensor, name=f"{_OUTPUT}{n}")
                for n, tensor in enumerate(emit.region(region, arguments))
            ]
        definition = full.as_graph_def()
    return FrozenGraph(
        definition,
        tuple(replace(i, tensor=t.name) for i, t in zip(graph.inputs, arguments, strict=True)),
        tuple(replace(o, tensor=t.name) for o, t in zip(graph.outputs, results, strict=True)),
    )


_INPUT = "tfaot_argument_"
_OUTPUT = "tfaot_result_"


class _Emitter:
    """Builds regions in TensorFlow's default graph."""

    def __init__(self, graph_def: Any) -> None:
        self._graph_def = graph_def

    def region(self, region: Region, arguments: Sequence[Any]) -> list[Any]:
        """The results of a region."""
        known: _Tensors = {
            name: tensor
            for names, tensor in zip(region.arguments, arguments, strict=True)
            for name in names
        }
        wanted = {tensor for item in region.items for tensor in operands_of(item)}
        wanted.update(region.results)
        plain: list[Any] = []
        for item in region.items:
            if isinstance(item, (Loop, Branch)):
                self._nodes(plain, known, wanted)
                plain = []
                known.update(self._loop(item, known) if isinstance(item, Loop) else {})
                known.update(self._branch(item, known) if isinstance(item, Branch) else {})
            else:
                plain.append(item)
        self._nodes(plain, known, wanted)
        return [known[name] for name in region.results]

    def _nodes(self, nodes: Sequence[Any], known: _Tensors, wanted: set[str]) -> None:
        """Import nodes, and add the tensors that others want to `known`."""
        if not nodes:
            return
        part = type(self._graph_def)()
        part.versions.CopyFrom(self._graph_def.versions)
        part.library.CopyFrom(self._graph_def.library)
        for node in nodes:
            copy = part.node.add()
            copy.CopyFrom(node)
            operands = [i for i in node.input if not i.startswith("^")]
            del copy.input[:]
            copy.input.extend(operands)
            if node.op == "LoopCond":
                copy.op = "Identity"
                copy.attr["T"].type = _BOOL
        names = {node.name for node in nodes}
        taken = {tensor_name(i) for node in part.node for i in node.input}
        leaving = sorted(t for t in wanted if t.split(":")[0] in names and t not in known)
        made = tf_module().graph_util.import_graph_def(
            part,
            input_map={name: tensor for name, tensor in known.items() if name in taken},
            return_elements=leaving,
            name="",
        )
        known.update(zip(leaving, made, strict=True))

    def _loop(self, loop: Loop, known: _Tensors) -> _Tensors:
        values = [known[name] for name in loop.operands]
        results = tf_module().raw_ops.While(
            input=values,
            cond=self._function(loop.condition, loop.dtypes),
            body=self._function(loop.body, loop.dtypes),
            name=_scope(loop.name),
        )
        return {n: t for n, t in zip(loop.outputs, results, strict=True) if n is not None}

    def _branch(self, branch: Branch, known: _Tensors) -> _Tensors:
        tf = tf_module()
        results = tf.raw_ops.If(
            cond=known[branch.predicate],
            input=[known[name] for name in branch.operands],
            Tout=[tf.dtypes.as_dtype(d) for d in branch.output_dtypes],
            then_branch=self._function(branch.sides[0], branch.dtypes),
            else_branch=self._function(branch.sides[1], branch.dtypes),
            name=branch.name,
        )
        return dict(zip(branch.outputs, results, strict=True))

    def _function(self, region: Region, dtypes: Sequence[int]) -> Any:
        """A region as a function of tensors whose shapes are left open."""
        tf = tf_module()

        def call(*arguments: Any) -> list[Any]:
            # A function may return none of its arguments as they are.
            return [tf.identity(t) for t in self.region(region, arguments)]

        specs = [tf.TensorSpec(None, tf.dtypes.as_dtype(d)) for d in dtypes]
        traced: Callable[..., Any] = tf.function(call, autograph=False)
        return traced.get_concrete_function(*specs)  # type: ignore[attr-defined]


_BOOL = 10  # DataType.DT_BOOL of tensorflow/core/framework/types.proto


def _scope(frame: str) -> str:
    """A name for a loop: its frame's, without the ending that TensorFlow gives it."""
    return frame.removesuffix("/while_context").removesuffix("while_context") or "while"


__all__ = ["functionalised"]
