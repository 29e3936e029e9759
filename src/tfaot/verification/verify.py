"""Runs a compiled model on seeded inputs and compares it with TensorFlow and with float64.

Input: an artifact on disk, the model it was made of (loaded in TensorFlow), its HLO before the
passes. Output: a `VerificationReport`, or a VerificationError that names output, row and values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import InputError, ModelError, TfaotError, VerificationError
from tfaot.ir.module import Module
from tfaot.options import CompileOptions
from tfaot.signature import Signature
from tfaot.verification.accuracy import scaled_ulp
from tfaot.verification.budget import SECONDS, counted
from tfaot.verification.composition import with_composition
from tfaot.verification.inputs import InputRules, find_rules, make_inputs
from tfaot.verification.judge import Sample, batch_axis, judge
from tfaot.verification.levels import (
    check_same,
    limited,
    lower_levels,
    same_bits_expected,
)
from tfaot.verification.report import OutputReport, VerificationReport
from tfaot.verification.rounding import RoundingSpread

if TYPE_CHECKING:
    from tfaot.frontend.session import LoadedModel
    from tfaot.lowering import Lowered
    from tfaot.runtime.model import Model

__all__ = ["BATCH_SIZES", "scaled_ulp", "verify_artifact", "verify_model"]

Array = NDArray[Any]
Progress = Callable[[str, str], None]

BATCH_SIZES = (0, 1, 2, 3, 7, 8, 16, 33, 100, 1000)
ELEMENT_BUDGET = 40_000_000
"""Elements of all inputs and outputs of one call beyond which larger batches are left out."""

MUST_RUN = 2
"""Batch sizes up to this are verified whatever they cost."""

_ADVICE = "report the model, or compile with --no-verify"


def verify_artifact(
    manifest: Path, model: object, options: CompileOptions, progress: Progress
) -> dict[str, Any]:
    """Verify an artifact on disk against the model it was made of; returns the report as JSON.

    Raises:
        VerificationError: an output misses its bound.
        TfaotError: the artifact or the model can't be read.
    """
    from tfaot.frontend.session import open_with
    from tfaot.lowering import lower

    progress("load", str(model))
    with open_with(model, options) as loaded:
        lowered = with_composition(
            lower(loaded, options.batch_sizes, progress, static=options.static), loaded
        )
        return verify_model(manifest, loaded, lowered, progress).to_json()


def verify_model(
    manifest: Path, loaded: LoadedModel, lowered: Lowered, progress: Progress
) -> VerificationReport:
    """Verify an artifact on disk against a loaded model.

    Args:
        manifest: NAME.json.
        loaded: the model in TensorFlow.
        lowered: its HLO as it came from XLA, before the passes.
        progress: told of each batch size.

    Raises:
        VerificationError: an output misses its bound, or a row's bits depend on its batch.
        ModelError: the artifact is of another model, or TensorFlow takes none of the inputs tried.
    """
    from tfaot.runtime.model import load

    compiled = load(manifest)
    _check_interface(compiled, loaded.signature)
    reference = _Reference(loaded)
    runs: list[_Run] = []
    skipped = None
    for batch in _batch_sizes(loaded.signature, lowered):
        if batch not in lowered.batches and _takes_long(runs, batch):
            skipped = batch
            break
        progress("verify", f"batch {batch}")
        taken = reference.run(batch)
        if taken is None:
            continue
        try:
            runs.append(_Run.of(compiled, lowered, batch, *taken))
        except InputError:
            # Such as the first row of none: what TensorFlow makes of that, the HLO does not tell.
            if batch:
                raise
    if not any(run.batch or not loaded.signature.has_batch for run in runs):
        raise ModelError(
            f"the model can't be verified: TensorFlow refuses all inputs tried "
            f"({reference.refusal}): compile with --no-verify"
        )
    if compiled.manifest.batch.kind != "none" and compiled.manifest.batch.rows_independent:
        _check_rows(compiled, loaded.signature, runs[-1])
        if skipped is not None:
            progress("verify", f"batch {skipped}, rows repeated")
            _check_repeated(compiled, loaded.signature, runs[-1], skipped)
    reports = _judged(runs, loaded.signature)
    _check_levels(compiled, runs, loaded.signature, progress)
    return VerificationReport(
        tuple(run.batch for run in runs),
        reports,
        "float64 evaluation of the HLO",
        (*reversed(lower_levels(compiled)), compiled.isa),
    )


def _judged(runs: Sequence[_Run], signature: Signature) -> tuple[OutputReport, ...]:
    """What was found of each output; VerificationError where one misses its bound."""
    judged = [
        judge(spec, [run.sample(number, signature) for run in runs])
        for number, spec in enumerate(signature.outputs)
    ]
    misses = [miss for _, miss in judged if miss is not None]
    if misses:
        others = sum(miss.count for miss in misses) - 1
        more = f" (and {others} more elements)" if others else ""
        raise VerificationError(f"verification failed: {misses[0].message}{more}; {_ADVICE}")
    return tuple(report for report, _ in judged)


def _check_levels(
    compiled: Model, runs: Sequence[_Run], signature: Signature, progress: Progress
) -> None:
    """The instruction sets below the one in use, on the same inputs."""
    best = compiled.isa
    names = [tensor.name for tensor in compiled.outputs]
    for level in lower_levels(compiled):
        progress("verify", level)
        with limited(compiled, level):
            again = [replace(run, actual=run_compiled(compiled, run.inputs)) for run in runs]
        if same_bits_expected(best, level):
            for run, other in zip(runs, again, strict=True):
                pairs = list(zip(run.actual, other.actual, strict=True))
                check_same(names, (best, level), run.batch, pairs)
        else:
            _judged(again, signature)


def _check_interface(compiled: Model, signature: Signature) -> None:
    for kind, tensors, specs in (
        ("inputs", compiled.manifest.inputs, signature.inputs),
        ("outputs", compiled.manifest.outputs, signature.outputs),
    ):
        ours = [(t.name, t.dtype) for t in tensors]
        theirs = [(s.name, s.dtype.value) for s in specs]
        if ours != theirs:
            raise ModelError(
                f"the artifact is of another model: its {kind} are {ours}, the model's {theirs}"
            )


def _batch_sizes(signature: Signature, lowered: Lowered) -> list[int]:
    if not signature.has_batch:
        return [1]
    static = [b for b in lowered.batches if b is not None]
    sizes = static if static and not lowered.composable else [*BATCH_SIZES, *static]
    specs = (*signature.inputs, *signature.outputs)
    kept = []
    for batch in sorted(set(sizes)):
        shapes = [s.sizes(batch) for s in specs]
        if any(d < 0 for shape in shapes for d in shape):
            continue
        if batch > 1 and sum(int(np.prod(s)) for s in shapes) > ELEMENT_BUDGET:
            continue
        kept.append(batch)
    return kept


def _takes_long(runs: Sequence[_Run], batch: int) -> bool:
    """Whether a batch of a size is too much work in float64, going by the largest so far."""
    if batch <= MUST_RUN or not runs or not runs[-1].batch:
        return False
    spent = sum(run.seconds for run in runs)
    last = runs[-1]
    expected: float = last.seconds * (batch / last.batch) ** _growth(runs)
    return spent + expected > SECONDS


def _growth(runs: Sequence[_Run]) -> float:
    """The power of the batch size with which work grows, going by the two largest so far.

    Linear algebra over the rows takes their number to the fourth.
    """
    *others, last = runs
    before = next((run for run in reversed(others) if 0 < run.batch < last.batch), None)
    if before is None or not before.seconds or not last.seconds:
        return 1.0
    return max(1.0, math.log(last.seconds / before.seconds) / math.log(last.batch / before.batch))


class _Reference:
    """TensorFlow, and the inputs that it takes.

    Attributes:
        refusal: what it said of the last inputs that it refused.
    """

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._rules = InputRules()
        self._found = not any(s.dtype.is_integer for s in loaded.signature.inputs)
        self.refusal = ""

    def run(self, batch: int) -> tuple[list[Array], list[Array]] | None:
        """Inputs, and TensorFlow's outputs; None where it refuses all inputs of a batch size."""
        if batch and not self._found:
            self._found = True
            self._rules = find_rules(self._loaded.signature, self._takes) or self._rules
        for rules in self._rules.narrower():
            inputs = make_inputs(self._loaded.signature, batch, rules=rules)
            results = self._evaluate(inputs)
            if results is not None and self._fits(results, batch):
                return inputs, results
            if not batch:
                break
        return None

    def _fits(self, results: list[Array], batch: int) -> bool:
        """Whether results have the shapes that they should; convolutions of no rows do not."""
        specs = self._loaded.signature.outputs
        if all(r.shape == s.sizes(batch) for r, s in zip(results, specs, strict=True)):
            return True
        self.refusal = f"TensorFlow gives other shapes for {batch} rows"
        return batch > 0

    def _takes(self, inputs: list[Array]) -> bool:
        return self._evaluate(inputs) is not None

    def _evaluate(self, inputs: list[Array]) -> list[Array] | None:
        try:
            return self._loaded.evaluate(inputs)
        except TfaotError as error:
            self.refusal = str(error)
            return None


@dataclass
class _Run:
    """One batch size: inputs, and the outputs of the three evaluations."""

    batch: int
    module: Module | None
    inputs: list[Array]
    actual: list[Array]
    tensorflow: list[Array]
    expected: list[Array]
    independent: bool
    seconds: float
    _spreads: dict[bytes, RoundingSpread] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        compiled: Model,
        lowered: Lowered,
        batch: int,
        inputs: list[Array],
        tensorflow: list[Array],
    ) -> _Run:
        module = _module_for(lowered, batch)
        actual = run_compiled(compiled, inputs)
        if module is None or batch == 0:
            # HLO of one row before the first has no meaning without rows; TensorFlow's has.
            module, expected, seconds = None, [np.asarray(t) for t in tensorflow], 0.0
        else:
            expected, seconds = counted(module, inputs, batch if module.batch else None)
        for tensor, ours, theirs in zip(compiled.outputs, actual, tensorflow, strict=True):
            if ours.shape != theirs.shape:
                raise VerificationError(
                    f"verification failed: output '{tensor.name}' has shape {ours.shape} at batch "
                    f"{batch}, TensorFlow gives {theirs.shape}; {_ADVICE}"
                )
        independent = compiled.manifest.batch.rows_independent
        return cls(batch, module, inputs, actual, tensorflow, expected, independent, seconds)

    def sample(self, number: int, signature: Signature) -> Sample:
        """One output of this run."""

        def spread(rows: Array | None, enough: Callable[[Array], bool]) -> Array:
            return self._spread(number, signature, rows, enough)

        # XLA's own account of a size is not to be trusted: TensorFlow's is the size.
        told = self.tensorflow if signature.is_size(number) else self.expected
        return Sample(
            self.batch, self.actual[number], self.tensorflow[number], told[number], spread
        )

    def _spread(
        self,
        number: int,
        signature: Signature,
        rows: Array | None,
        enough: Callable[[Array], bool],
    ) -> Array:
        """What rounding does to an output, evaluated for some rows alone where they keep apart."""
        expected = self.expected
        if self.module is None:
            return np.zeros(expected[number].shape)
        batch = self.batch if self.module.batch else None
        specs = (*signature.inputs, *signature.outputs)
        alone = batch and self.independent and all(_has_rows_or_none(s.dims) for s in specs)
        if rows is None or not alone:
            key = b""
            if key not in self._spreads:
                self._spreads[key] = RoundingSpread(self.module, self.inputs, batch, expected)
            return self._spreads[key].of(number, enough)
        key = rows.tobytes()
        if key not in self._spreads:
            self._spreads[key] = RoundingSpread(
                self.module,
                _rows_of(self.inputs, signature.inputs, rows),
                len(rows),
                _rows_of(expected, signature.outputs, rows),
            )
        axis = batch_axis(signature.outputs[number])
        assert axis is not None, "rows are asked for of outputs that have them"
        result = np.zeros(expected[number].shape)

        def whole(spread: Array) -> Array:
            np.moveaxis(result, axis, 0)[rows] = np.moveaxis(spread, axis, 0)
            return result

        return whole(self._spreads[key].of(number, lambda spread: enough(whole(spread))))


def _has_rows_or_none(dims: Sequence[Any]) -> bool:
    spec_dims = [d for d in dims if not isinstance(d, int)]
    return not spec_dims or (len(spec_dims) == 1 and spec_dims[0].scale == 1)


def _rows_of(arrays: Sequence[Array], specs: Sequence[Any], rows: Array) -> list[Array]:
    axes = [batch_axis(spec) for spec in specs]
    return [
        x if axis is None else np.take(x, rows, axis=axis)
        for x, axis in zip(arrays, axes, strict=True)
    ]


def run_compiled(compiled: Model, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of an artifact, in their order."""
    result = compiled(*inputs)
    if len(compiled.outputs) == 1:
        return [result]
    return [result[tensor.name] for tensor in compiled.outputs]


def fitting_inputs(model: Model, loaded: LoadedModel | None, batch: int) -> list[Array]:
    """Inputs that TensorFlow takes; seeded ones where there is no TensorFlow to ask."""
    if loaded is not None:
        taken = _Reference(loaded).run(batch)
        if taken is not None:
            return taken[0]
    from tfaot.runtime.samples import random_inputs

    return random_inputs(model.inputs, batch)


def _module_for(lowered: Lowered, batch: int) -> Module | None:
    for module, size in zip(lowered.modules, lowered.batches, strict=True):
        if size is None or size == batch:
            return module
    return lowered.symbolic


def _check_rows(compiled: Model, signature: Signature, run: _Run) -> None:
    """A row's bits must not depend on the batch that it comes in."""
    if run.batch < 2 or any(batch_axis(s) is None for s in signature.outputs):
        return
    middle = run.batch // 2
    for rows in (np.array([middle]), np.arange(middle, min(middle + 7, run.batch))):
        again = run_compiled(compiled, _rows_of(run.inputs, signature.inputs, rows))
        whole = _rows_of(run.actual, signature.outputs, rows)
        for spec, ours, theirs in zip(signature.outputs, again, whole, strict=True):
            if ours.tobytes() != np.ascontiguousarray(theirs).tobytes():
                raise VerificationError(
                    f"verification failed: output '{spec.name}', row {middle} in a batch of "
                    f"{len(rows)} differs in its bits from the same row in a batch of {run.batch}; "
                    f"{_ADVICE}"
                )


def _check_repeated(compiled: Model, signature: Signature, run: _Run, batch: int) -> None:
    """Verified rows, repeated to a larger batch that float64 has no time for, keep their bits."""
    specs = (*signature.inputs, *signature.outputs)
    if not run.batch or not all(_has_rows_or_none(s.dims) for s in specs):
        return
    if any(batch_axis(s) is None for s in signature.outputs):
        return
    rows = np.arange(batch) % run.batch
    again = run_compiled(compiled, _rows_of(run.inputs, signature.inputs, rows))
    whole = _rows_of(run.actual, signature.outputs, rows)
    for spec, ours, theirs in zip(signature.outputs, again, whole, strict=True):
        if ours.tobytes() != np.ascontiguousarray(theirs).tobytes():
            raise VerificationError(
                f"verification failed: output '{spec.name}', rows in a batch of {batch} differ in "
                f"their bits from the same rows in a batch of {run.batch}; {_ADVICE}"
            )
