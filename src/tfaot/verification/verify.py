"""Runs a compiled model on seeded inputs and compares it with TensorFlow and with float64.

Input: an artifact on disk, the model it was made of (loaded in TensorFlow), its HLO before the
passes. Output: a `VerificationReport`, or a VerificationError that names output, row and values.

The bound for each output is twice TensorFlow's own worst error, at least `FLOOR_ULP`. Booleans and
integers must agree with the float64 evaluation or with TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import ModelError, TfaotError, VerificationError
from tfaot.interpreter.evaluate import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Module
from tfaot.ir.shapes import BatchDim
from tfaot.options import CompileOptions
from tfaot.signature import Signature, TensorSpec
from tfaot.verification.inputs import INTEGER_LIMITS, make_inputs
from tfaot.verification.report import OutputReport, VerificationReport

if TYPE_CHECKING:
    from tfaot.compiler import Lowered
    from tfaot.frontend.session import LoadedModel
    from tfaot.runtime.model import Model

Array = NDArray[Any]
Progress = Callable[[str, str], None]

BATCH_SIZES = (0, 1, 2, 3, 7, 8, 16, 33, 100, 1000)
FLOOR_ULP = 8.0
"""Errors up to this are never refused: TensorFlow's own may be smaller by luck."""

PERTURBATIONS = 4
MOST_EXCUSED = 0.05
ELEMENT_BUDGET = 40_000_000
"""Elements of all inputs and outputs of one call beyond which larger batches are left out."""


@dataclass(frozen=True)
class _Sample:
    """One output at one batch size: values, and errors in scaled ULP (infinite where wrong)."""

    batch: int
    actual: Array
    expected: Array
    error: Array
    unstable: _Instability


@dataclass
class _Tally:
    """One output: its samples, TensorFlow's worst error, and the worst element found."""

    spec: TensorSpec
    samples: list[_Sample] = field(default_factory=list)
    worst: float = 0.0
    tensorflow: float = 0.0
    batch: int = 0
    index: tuple[int, ...] = ()
    actual: float = 0.0
    expected: float = 0.0
    excused: int = 0
    misses: list[str] = field(default_factory=list)


def verify_artifact(
    manifest: Path, model: object, options: CompileOptions, progress: Progress
) -> dict[str, Any]:
    """Verify an artifact on disk against the model it was made of; returns the report as JSON.

    Raises:
        VerificationError: an output misses its bound.
        TfaotError: the artifact or the model can't be read.
    """
    from tfaot.compiler import lower
    from tfaot.frontend.session import open_model

    progress("load", str(model))
    with open_model(
        model,
        signature=options.signature,
        inputs=options.inputs,
        outputs=options.outputs,
        input_shapes=options.input_shapes,
        set_values=options.set_values,
        custom_objects=options.custom_objects,
    ) as loaded:
        lowered = lower(loaded, options.batch_sizes, progress)
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
    """
    from tfaot.runtime.model import load

    compiled = load(manifest)
    _check_interface(compiled, loaded.signature)
    tallies = [_Tally(spec) for spec in loaded.signature.outputs]
    done: list[int] = []
    for batch in _batch_sizes(loaded.signature, lowered):
        progress("verify", f"batch {batch}")
        _verify_batch(compiled, loaded, lowered, batch, tallies)
        done.append(batch)
    for tally in tallies:
        for sample in tally.samples:
            _judge(tally, sample)
    misses = [m for t in tallies for m in t.misses]
    if misses:
        more = f" (and {len(misses) - 1} more)" if len(misses) > 1 else ""
        raise VerificationError(f"verification failed: {misses[0]}{more}")
    return VerificationReport(
        tuple(done),
        tuple(
            OutputReport(
                t.spec.name,
                t.worst,
                t.tensorflow,
                _bound(t.tensorflow),
                t.batch,
                t.index,
                t.actual,
                t.expected,
                t.excused,
            )
            for t in tallies
        ),
        "float64 evaluation of the HLO",
    )


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
    sizes = [*BATCH_SIZES, *(b for b in lowered.batches if b is not None)]
    specs = (*signature.inputs, *signature.outputs)
    kept = []
    for batch in sorted(set(sizes)):
        shapes = [s.shape.at(batch).static_dims for s in specs]
        if any(d < 0 for shape in shapes for d in shape):
            continue
        if batch > 1 and sum(int(np.prod(s)) for s in shapes) > ELEMENT_BUDGET:
            continue
        kept.append(batch)
    return kept


def _verify_batch(
    compiled: Model,
    loaded: LoadedModel,
    lowered: Lowered,
    batch: int,
    tallies: Sequence[_Tally],
) -> None:
    if batch == 0:
        _verify_empty(compiled, loaded.signature, tallies)
        return
    inputs, theirs = _run_tensorflow(loaded, batch)
    ours = _run_compiled(compiled, inputs)
    module = _module_for(lowered, batch)
    if module is None:
        exact: list[Array] = [np.asarray(t) for t in theirs]
    else:
        exact = evaluate(module, inputs, batch=batch if module.batch else None, float64=True)
    for number, (tally, our, their, expected) in enumerate(
        zip(tallies, ours, theirs, exact, strict=True)
    ):
        if our.shape != their.shape:
            tally.misses.append(
                f"output '{tally.spec.name}' has shape {our.shape} at batch {batch}, "
                f"TensorFlow gives {their.shape}"
            )
            continue
        if our.size:
            unstable = _Instability(module, inputs, batch, number)
            _compare(tally, our, their, expected, batch, unstable)


def _verify_empty(compiled: Model, signature: Signature, tallies: Sequence[_Tally]) -> None:
    """No rows give outputs of the shapes that they should have (TensorFlow refuses some)."""
    outputs = _run_compiled(compiled, make_inputs(signature, 0))
    for tally, output in zip(tallies, outputs, strict=True):
        wanted = tally.spec.shape.at(0).static_dims
        if output.shape != wanted:
            tally.misses.append(
                f"output '{tally.spec.name}' has shape {output.shape} at batch 0, not {wanted}"
            )


def _run_compiled(compiled: Model, inputs: Sequence[Array]) -> list[Array]:
    result = compiled(*inputs)
    if len(compiled.outputs) == 1:
        return [result]
    return [result[tensor.name] for tensor in compiled.outputs]


def _run_tensorflow(loaded: LoadedModel, batch: int) -> tuple[list[Array], list[Array]]:
    """Inputs that TensorFlow takes, and its outputs."""
    integers = any(s.dtype.is_integer for s in loaded.signature.inputs)
    limits = INTEGER_LIMITS if integers else INTEGER_LIMITS[:1]
    for limit in limits:
        inputs = make_inputs(loaded.signature, batch, integer_limit=limit)
        try:
            return inputs, loaded.evaluate(inputs)
        except TfaotError:
            if limit == limits[-1]:
                raise
    raise AssertionError("the last limit returns or raises")


def _module_for(lowered: Lowered, batch: int) -> Module | None:
    for module, size in zip(lowered.modules, lowered.batches, strict=True):
        if size is None or size == batch:
            return module
    return None


@dataclass
class _Instability:
    """Tells which elements of an output change when inputs change in their last bits."""

    module: Module | None
    inputs: Sequence[Array]
    batch: int
    output: int

    def change(self, expected: Array) -> Array:
        """The largest change seen of each element, over a few seeded perturbations."""
        largest = np.zeros(expected.shape)
        if self.module is None:
            return largest
        for seed in range(PERTURBATIONS):
            random = np.random.Generator(np.random.PCG64([seed, 7]))
            changed = [
                x * (1 + (random.random(x.shape) * 2 - 1) * 2.0**-21).astype(x.dtype)
                if np.issubdtype(x.dtype, np.floating)
                else x
                for x in self.inputs
            ]
            batch = self.batch if self.module.batch else None
            result = evaluate(self.module, changed, batch=batch, float64=True)[self.output]
            with np.errstate(invalid="ignore"):
                largest = np.fmax(
                    largest, np.abs(result.astype(np.complex128) - expected.astype(np.complex128))
                )
        return largest


def _compare(
    tally: _Tally,
    our: Array,
    their: Array,
    expected: Array,
    batch: int,
    unstable: _Instability,
) -> None:
    """Take down the errors of one output at one batch size."""
    dtype = tally.spec.dtype
    if dtype.is_float:
        error = _errors(tally, our, their, expected, dtype)
    elif dtype.is_complex:
        error = np.maximum(
            _errors(tally, our.real, their.real, expected.real, dtype.real),
            _errors(tally, our.imag, their.imag, expected.imag, dtype.real),
        )
    else:
        wrong = (our != expected.astype(our.dtype)) & (our != their)
        error = np.where(wrong, np.inf, 0.0)
    tally.samples.append(_Sample(batch, our, expected, error, unstable))


def _errors(tally: _Tally, our: Array, their: Array, expected: Array, dtype: DType) -> Array:
    unit = scaled_ulp(expected, dtype)
    mine = _error(our, expected, unit)
    reference = _error(their, expected, unit)
    finite = reference[np.isfinite(reference)]
    if finite.size:
        tally.tensorflow = max(tally.tensorflow, float(finite.max()))
    # Where TensorFlow itself gives something else (NaN, infinity), agreeing with it is right.
    return np.where(~np.isfinite(mine) & _same(our, their), 0.0, mine)


def _same(a: Array, b: Array) -> Array:
    return (a == b) | (np.isnan(a.astype(np.float64)) & np.isnan(b.astype(np.float64)))


def _bound(tensorflow: float) -> float:
    return max(FLOOR_ULP, 2.0 * tensorflow)


def scaled_ulp(expected: Array, dtype: DType) -> Array:
    """ULP of each element, taken at the output's median magnitude where the element is smaller."""
    magnitude = np.abs(expected.astype(np.float64))
    finite = magnitude[np.isfinite(magnitude)]
    typical = float(np.median(finite)) if finite.size else 0.0
    bits = {DType.F16: 10, DType.BF16: 7, DType.F32: 23, DType.F64: 52}[dtype]
    least = {DType.F16: -14, DType.BF16: -126, DType.F32: -126, DType.F64: -1022}[dtype]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.maximum(np.where(np.isfinite(magnitude), magnitude, 1.0), typical)
        exponent = np.floor(np.log2(np.where(scale > 0, scale, 2.0**least)))
    return np.exp2(np.maximum(exponent, least) - bits)


def _error(value: Array, expected: Array, unit: Array) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(value.astype(np.float64) - expected.astype(np.float64)) / unit
    equal = _same(value.astype(np.float64), expected.astype(np.float64))
    # A float64 value beyond the type's range is infinite in the type.
    limit = np.isinf(value.astype(np.float64)) & (np.abs(expected.astype(np.float64)) > 6e4)
    return np.where(equal | limit, 0.0, np.where(np.isnan(error), np.inf, error))


def _judge(tally: _Tally, sample: _Sample) -> None:
    """Hold a sample's errors against the bound; keeps the worst element."""
    bound = _bound(tally.tensorflow)
    error, our, expected = sample.error, sample.actual, sample.expected
    beyond = error > bound
    if beyond.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.abs(our.astype(np.complex128) - expected.astype(np.complex128))
            allowed = np.where(np.isfinite(error), distance / error * bound, 0.0)
            moved = sample.unstable.change(expected)
        excused = beyond & (moved > 0) & (moved > allowed)
        if excused.sum() <= max(1, MOST_EXCUSED * error.size):
            tally.excused += int(excused.sum())
            error = np.where(excused, 0.0, error)
    index = np.unravel_index(int(np.argmax(error)), error.shape)
    worst = float(error[index])
    place = tuple(int(i) for i in index)
    if worst > bound:
        tally.misses.append(
            f"output '{tally.spec.name}' at batch {sample.batch}, {_where(tally.spec, place)}: "
            f"{our[index]} where float64 gives {expected[index]} "
            f"({worst:.3g} ULP, allowed {bound:.3g}); report the model, or compile with --no-verify"
        )
    if worst >= tally.worst:
        tally.worst, tally.batch, tally.index = worst, sample.batch, place
        tally.actual, tally.expected = float(np.real(our[index])), float(np.real(expected[index]))


def _where(spec: TensorSpec, index: tuple[int, ...]) -> str:
    axis = next((n for n, d in enumerate(spec.dims) if isinstance(d, BatchDim)), None)
    if axis is None:
        return f"element {list(index)}"
    return f"row {index[axis]}, element {list(index)}"
