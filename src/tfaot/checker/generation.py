"""Whether code is generated for a module: a trial, up to LLVM IR, and which ops fail where it does.

Input: modules. Output: what is known of the batch, and the instructions that there is no code for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfaot.codegen.module import Variant, generate
from tfaot.codegen.target import resolve_targets
from tfaot.errors import TfaotError, UnsupportedError
from tfaot.ir.attributes import Parameter
from tfaot.ir.module import Instruction, Module, make_computation
from tfaot.ir.shapes import AnyShape, Shape
from tfaot.passes.batch_parallel import BatchAnalysis, analyse_batch
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.schedule.control import schedule
from tfaot.schedule.tiling import rows_per_tile
from tfaot.signature import Signature, TensorSpec

_TARGET = "x86-64-v3"
"""Support doesn't depend on the instruction set: any that has an assembler will do."""

_ALWAYS = frozenset({"parameter", "constant", "tuple", "get-tuple-element"})


@dataclass(frozen=True)
class Trial:
    """The outcome of a trial.

    Attributes:
        analysis: of the batch axis; None without one.
        failures: instructions that there is no code for, with the error.
        refusal: the error of the whole; empty where code was generated.
    """

    analysis: BatchAnalysis | None
    failures: tuple[tuple[Instruction, str], ...] = ()
    refusal: str = ""


def try_generation(
    modules: Sequence[Module],
    batches: Sequence[int | None],
    signature: Signature | None = None,
) -> Trial:
    """Generate the code of a model, and forget it.

    Args:
        modules: the model's lowerings.
        batches: the batch size of each, None for a symbolic one.
        signature: of the model; by default one of nameless parameters.
    """
    analysis = None
    try:
        variants = []
        for module, batch in zip(modules, batches, strict=True):
            ready = run_passes(module, default_passes())
            if ready.batch:
                analysis = analyse_batch(ready)
            plan = schedule(ready.entry)
            apart = analysis is not None and analysis.independent
            variants.append(Variant(plan, batch, rows_per_tile(plan) if apart else None))
        generate("model", signature or _signature(modules[0]), variants, resolve_targets(_TARGET))
    except TfaotError as error:
        return Trial(analysis, tuple(_failures(modules)), str(error))
    return Trial(analysis)


def _failures(modules: Sequence[Module]) -> Iterator[tuple[Instruction, str]]:
    """The instructions that fail alone, one of each kind tried."""
    tried: dict[object, str] = {}
    for module in modules:
        for computation in module.computations():
            for instruction in computation.instructions:
                if instruction.opcode in _ALWAYS or not _is_array(instruction.shape):
                    continue
                kinds = tuple(str(o.shape) for o in instruction.operands)
                key = (instruction.opcode, str(instruction.shape), kinds, repr(instruction.attrs))
                if key not in tried:
                    tried[key] = _refusal_alone(instruction)
                if tried[key]:
                    yield instruction, tried[key]


def _refusal_alone(instruction: Instruction) -> str:
    """The error that an instruction gives on its own, empty where there is code for it."""
    if not all(_is_array(o.shape) for o in instruction.operands):
        return ""
    parameters = tuple(
        Instruction(f"p{n}", "parameter", o.shape, (), Parameter(n))
        for n, o in enumerate(instruction.operands)
    )
    alone = Instruction(
        instruction.name,
        instruction.opcode,
        instruction.shape,
        parameters,
        instruction.attrs,
        instruction.metadata,
    )
    module = Module("alone", make_computation("alone", alone, parameters), _has_batch(alone))
    try:
        plan = schedule(module.entry)
        generate("alone", _signature(module), [Variant(plan)], resolve_targets(_TARGET))
    except UnsupportedError as error:
        return str(error)
    return ""


def _signature(module: Module) -> Signature:
    def spec(name: str, value: Instruction) -> TensorSpec:
        return TensorSpec(name, value.array.dtype, value.array.dims)

    return Signature(
        tuple(spec(f"in{n}", p) for n, p in enumerate(module.entry.parameters)),
        tuple(spec(f"out{n}", o) for n, o in enumerate(module.outputs)),
    )


def _is_array(shape: AnyShape) -> bool:
    return isinstance(shape, Shape)


def _has_batch(instruction: Instruction) -> bool:
    shapes = [instruction.shape, *(o.shape for o in instruction.operands)]
    return any(isinstance(s, Shape) and not s.is_static for s in shapes)
