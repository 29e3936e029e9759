"""The check: what `tfaot compile` would do, and where it would end in an error, all causes of it.

Input: a model and the options of a compile. Output: a `CheckReport`.

A model that lowers is lowered as a compile does, and its code generated. One that doesn't is
lowered in part: the ops known to be refused are cut out of the graph, and whatever XLA refuses in
the rest too, until the rest lowers. So one check names every op to change, not the first alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tfaot.checker.advice import Problem, general_advice
from tfaot.checker.generation import Trial, try_generation
from tfaot.checker.ops import Findings, kernel_problem, layer_of, reports, xla_ops
from tfaot.checker.report import BatchReport, CheckReport
from tfaot.errors import UnsupportedError, UsageError
from tfaot.frontend.session import (
    LoadedModel,
    SurveyedModel,
    TensorFlowSession,
    check_model_path,
    model_source,
)
from tfaot.frontend.survey_data import SurveyReply
from tfaot.ir.proto import read_module
from tfaot.ir.raw import origin
from tfaot.lowering import Lowered, lower
from tfaot.options import EXTERNAL, INTERNAL, WEIGHTS

Progress = Callable[[str, str], None]

_MOST_ATTEMPTS = 60
"""Lowerings of parts of a graph, each without one more op, after which the rest is unknown."""


def check_model(
    model: object,
    *,
    signature: str | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    input_shapes: Mapping[str, Sequence[int | None]] | None = None,
    set_values: Mapping[str, object] | None = None,
    custom_objects: Mapping[str, object] | Sequence[str] = (),
    batch_sizes: Sequence[int] = (),
    static: bool = False,
    weights: str = INTERNAL,
    xla_flags: Sequence[str] = (),
    tf_xla_flags: Sequence[str] = (),
    session: TensorFlowSession | None = None,
    progress: Progress = lambda stage, detail: None,
) -> CheckReport:
    """Check a model.

    Args:
        model: a path, Keras model, tf.function, ConcreteFunction or tf.Module.
        signature: as in `tfaot.options.CompileOptions`, like the following.
        inputs: nodes of a frozen graph.
        outputs: nodes of a frozen graph.
        input_shapes: dimensions of inputs with unknown axes; None is the batch axis.
        set_values: placeholders fixed to a value.
        custom_objects: Keras custom objects.
        batch_sizes: static batch sizes.
        static: whether to compile for these alone.
        weights: `internal` or `external`.
        xla_flags: flags added to XLA_FLAGS.
        tf_xla_flags: flags added to TF_XLA_FLAGS.
        session: a running session to use; by default one is started.
        progress: called with a stage and a detail as work goes on.

    Raises:
        UsageError: an option doesn't fit.
        ModelError: there is no model, or something has to be told that only the user knows.
    """
    if static and not batch_sizes:
        raise UsageError("--static needs the sizes to compile for: --batch-sizes 1,2,4,8")
    if weights not in WEIGHTS:
        raise UsageError(f"--weights: '{weights}' is not known, use {' or '.join(WEIGHTS)}")
    what = str(model) if isinstance(model, (str, Path)) else type(model).__name__
    check_model_path(model)
    progress("load", what)
    with contextlib.ExitStack() as stack:
        running = session or stack.enter_context(TensorFlowSession(xla_flags, tf_xla_flags))
        source = stack.enter_context(
            model_source(
                model,
                signature=signature,
                inputs=inputs,
                outputs=outputs,
                input_shapes=input_shapes,
                set_values=set_values,
                custom_objects=custom_objects,
                external_weights=weights == EXTERNAL,
                refused=True,
            )
        )
        surveyed = running.survey(source)
        stack.callback(surveyed.close)
        return _report(surveyed, what, sorted(set(batch_sizes)), static, progress)


def _report(
    surveyed: SurveyedModel,
    what: str,
    batch_sizes: Sequence[int],
    static: bool,
    progress: Progress,
) -> CheckReport:
    reply, loaded = surveyed.reply, surveyed.loaded
    refusal = reply.refusal
    notes: tuple[str, ...] = ()
    batch = BatchReport("unknown")
    findings: Findings | None = None
    if loaded is not None:
        notes = loaded.notes
        try:
            lowered = lower(loaded, batch_sizes, progress, static=static)
        except UnsupportedError as error:
            refusal = str(error)
        else:
            progress("generate", "")
            trial = try_generation(lowered.modules, lowered.batches, loaded.signature)
            findings = _findings_of_trial(reply, Findings(became=xla_ops(lowered.modules)), trial)
            batch = _batch(loaded.signature.has_batch, lowered, trial, reply)
            refusal = trial.refusal
    if findings is None:
        findings = _findings_of_parts(surveyed, progress)
        refusal = refusal or _refusal_of(findings)
    unknown = sorted({node.op for node in reply.nodes if not node.known})
    if unknown:
        # TensorFlow's own words tell of one of them, of this machine and of tf.contrib.
        refusal = f"the model has ops that this TensorFlow doesn't: {', '.join(unknown)}"
    return CheckReport(
        model=what,
        inputs=reply.inputs,
        outputs=_outputs(reply, loaded),
        ops=reports(reply.nodes, reply.layers, findings),
        batch=batch,
        refusal=refusal,
        advice=general_advice(refusal, reply.inputs) if refusal and not findings.problems else "",
        notes=tuple(notes),
        versions=tuple(sorted(reply.versions.items())),
    )


def _findings_of_trial(reply: SurveyReply, findings: Findings, trial: Trial) -> Findings:
    """The findings with the ops that there is no code for."""
    findings.generated = not trial.refusal
    places = {node.name: (node.function, node.name) for node in reversed(reply.nodes)}
    for instruction, message in trial.failures:
        place = places.get(instruction.metadata.op_name)
        if place is not None:
            findings.problems.setdefault(place, Problem("code", message))
    return findings


def _findings_of_parts(surveyed: SurveyedModel, progress: Progress) -> Findings:
    """Problems of all ops, from lowerings of what is left without those that are refused."""
    reply = surveyed.reply
    findings = Findings(lowered=())
    callers = {(node.function, node.name): node.caller for node in reply.nodes}
    for node in reply.nodes:
        problem = kernel_problem(node)
        if problem is not None:
            findings.problems[node.function, node.name] = problem
    cut = {callers[place] for place in findings.problems}
    for _ in range(_MOST_ATTEMPTS):
        progress("lower in part", f"without {len(cut)} ops" if cut else "")
        attempt = surveyed.attempt(cut)
        if attempt.hlo is None:
            caller = callers.get(attempt.culprit)
            if caller is None or caller in cut:
                return findings
            findings.problems[attempt.culprit] = Problem("xla", attempt.message)
            cut.add(caller)
            continue
        try:
            module = read_module(attempt.hlo)
        except UnsupportedError as error:
            name = origin(str(error))
            place = next((p for p in callers if p[1] == name), None)
            if place is None or callers[place] in cut:
                return replace(findings, lowered=attempt.lowered)
            findings.problems[place] = Problem("code", str(error))
            cut.add(callers[place])
            continue
        findings.lowered = attempt.lowered
        findings.became = xla_ops([module])
        return _findings_of_trial(reply, findings, try_generation([module], [None]))
    return findings


def _batch(has_batch: bool, lowered: Lowered, trial: Trial, reply: SurveyReply) -> BatchReport:
    if not has_batch:
        return BatchReport("none")
    sizes = tuple(b for b in lowered.batches if b is not None)
    if sizes:
        return BatchReport("static", sizes, lowered.composable, lowered.reason or "")
    if trial.analysis is None:
        return BatchReport("symbolic")
    mixing = trial.analysis.mixing
    if mixing is None:
        return BatchReport("symbolic", (), trial.analysis.independent, trial.analysis.reason)
    node = mixing.metadata.op_name
    return BatchReport(
        "symbolic",
        (),
        trial.analysis.independent,
        trial.analysis.reason.replace("B", "n"),
        next((n.op for n in reply.nodes if n.name == node), mixing.metadata.op_type),
        node,
        layer_of(node, reply.layers),
    )


def _outputs(reply: SurveyReply, loaded: LoadedModel | None) -> tuple[tuple[str, str], ...]:
    """Names and types of the outputs, by the model's signature where TensorFlow can't tell."""
    if loaded is None or loaded.signature.irregular:
        return reply.outputs
    return tuple(
        (s.name, f"{s.dtype.numpy.name}[{','.join(map(_dim, s.dims))}]")
        for s in loaded.signature.outputs
    )


def _dim(dim: object) -> str:
    return str(dim).replace("B", "n")


def _refusal_of(findings: Findings) -> str:
    """The first problem as the refusal, where only the check has found it."""
    for (_, node), problem in findings.problems.items():
        return f"{problem.text} (node '{node}')"
    return ""
