"""The ops of a report: from what the worker tells of nodes, and from the HLO that they became."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from tfaot.checker.advice import Problem, advice_for
from tfaot.checker.report import Answer, OpReport
from tfaot.frontend.survey_data import SurveyedNode
from tfaot.ir.module import Module

_CALLS = re.compile(r"(StatefulPartitionedCall|PartitionedCall|Func|jit_\w+)(_\d+)?$")
_NUMBERED = re.compile(r"_\d+$")
_NO_CODE = frozenset({"parameter", "constant", "tuple", "get-tuple-element"})

_PASS_ON = frozenset({"Identity", "IdentityN", "Snapshot", "StopGradient", "Placeholder"})
"""Ops that change nothing: what is wrong with a type that XLA lacks is told of the ops around."""

Place = tuple[str, str]
"""A function of the graph (empty: the graph itself) and a node in it."""


@dataclass
class Findings:
    """What is known of a model's nodes.

    Attributes:
        problems: by place.
        lowered: the nodes of the graph that XLA took; None for all.
        became: per node's name the XLA ops that it became.
        generated: whether code was generated for what XLA took; None where that was not tried.
    """

    problems: dict[Place, Problem] = field(default_factory=dict)
    lowered: Collection[str] | None = None
    became: dict[str, tuple[str, ...]] = field(default_factory=dict)
    generated: bool | None = None


def kernel_problem(node: SurveyedNode) -> Problem | None:
    """Why a node can't be compiled, as far as TensorFlow's and tfaot's registries tell."""
    if not node.known:
        return Problem("unknown", "this TensorFlow has no such op: a library of the model's has it")
    if node.refused:
        return Problem("refused", node.refused)
    if node.kernel or node.op in _PASS_ON:
        return None
    if node.other_types:
        known = ", ".join(node.other_types)
        return Problem("kernel", f"XLA has no kernel for these types of it (it has for {known})")
    return Problem("kernel", "XLA has no kernel for it")


def xla_ops(modules: Iterable[Module]) -> dict[str, tuple[str, ...]]:
    """Per TensorFlow node the XLA ops that are left of it, in order, each once."""
    found: dict[str, dict[str, None]] = {}
    for module in modules:
        for computation in module.computations():
            for i in computation.instructions:
                if i.opcode not in _NO_CODE and i.metadata.op_name:
                    text = f"{i.opcode} {i.shape}".replace("B", "n")
                    found.setdefault(i.metadata.op_name, {})[text] = None
    return {name: tuple(texts) for name, texts in found.items()}


def reports(
    nodes: Iterable[SurveyedNode], layers: Mapping[str, str], findings: Findings
) -> tuple[OpReport, ...]:
    """The rows of a report."""
    return tuple(_report(node, layers, findings) for node in nodes)


def _report(node: SurveyedNode, layers: Mapping[str, str], findings: Findings) -> OpReport:
    problem = findings.problems.get((node.function, node.name))
    became = findings.became.get(node.name, ())
    lowered = findings.lowered is None or node.caller in findings.lowered
    if problem is not None:
        xla = Answer.YES if problem.stage in ("code", "refused") and node.kernel else Answer.NO
        generated = Answer.NO if problem.stage in ("code", "refused") else Answer.UNKNOWN
    elif not lowered:
        xla = generated = Answer.UNKNOWN
    else:
        xla = Answer.YES
        generated = Answer.UNKNOWN if findings.generated is None else Answer.YES
        if not became:
            generated = Answer.NOTHING_LEFT
    return OpReport(
        op=node.op,
        node=node.name,
        layer=layer_of(node.name, layers),
        function=node.function,
        inputs=node.inputs,
        outputs=node.outputs,
        xla=xla,
        xla_ops=became,
        generated=generated,
        problem=problem.text if problem is not None else "",
        advice=advice_for(node, problem) if problem is not None else "",
    )


def layer_of(node: str, layers: Mapping[str, str]) -> str:
    """The layer that a node belongs to: `encoder/dense (Dense)`, or its scope as it is.

    Args:
        node: its name, which Keras begins with the names of model and layers; where a model is
            traced again, it numbers them.
        layers: classes by names, where they are known.
    """
    scopes = [part for part in node.split("/")[:-1] if not _CALLS.match(part)]
    found = []
    for part in scopes:
        name = part if part in layers else _NUMBERED.sub("", part)
        if name in layers:
            found.append(name)
    if found:
        return f"{'/'.join(found)} ({layers[found[-1]]})"
    return "/".join(scopes)
