"""The compiler driver: a model in, a verified header-object pair out.

Input: a model (path or Python object) and `CompileOptions`. Output: the `Artifact` on disk.
Stages, in the order in which they run:

1. frontend: load and freeze the model, lower it through XLA at three batch sizes;
2. symbolic batch: compare the lowerings, one module with sizes affine in the batch size B
   (or, where there is no such form, one module per static batch size);
3. passes: canonical form, folding, batch-parallel analysis;
4. schedule: kernels, tile of rows, workspace;
5. code generation: LLVM IR, object;
6. packaging: header and manifest, and the weights where they have a file of their own;
7. verification: the object runs against TensorFlow and a float64 evaluation, before any file
   appears in the output folder.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfaot.artifact import Artifact, check_output_dir, write_artifact
from tfaot.codegen.data import EMPTY
from tfaot.codegen.llvm import Emitted, emit
from tfaot.codegen.module import GeneratedModule, KernelFacts, Variant, generate
from tfaot.codegen.platforms import NATIVE, PORTABLE
from tfaot.codegen.self_test import SelfTestLayout
from tfaot.codegen.target import Target, describe, machine_for, resolve_targets
from tfaot.errors import UsageError
from tfaot.ir.attributes import Constant
from tfaot.ir.module import Computation
from tfaot.ir.printer import print_module
from tfaot.lowering import Lowered, Progress, lower
from tfaot.mapped import let_go
from tfaot.options import EXTERNAL, CompileOptions, check_name
from tfaot.packaging import manifest as packaging
from tfaot.packaging.describe import internals_of
from tfaot.packaging.external import ExternalWeights, Recipe
from tfaot.packaging.header import header_text
from tfaot.packaging.info import info_ir
from tfaot.packaging.object_file import attach, fill, set_sizes
from tfaot.packaging.tfcompile import tfcompile_headers
from tfaot.passes.batch_parallel import analyse_batch
from tfaot.passes.log import PassLog
from tfaot.passes.pipeline import default_passes, run_passes
from tfaot.pieces import Contents, Pieces, mapped_file
from tfaot.runtime.cpu import runs_here
from tfaot.schedule.composition import Composition, cheapest, estimated_cost
from tfaot.schedule.control import schedule
from tfaot.schedule.tiling import rows_per_tile
from tfaot.schedule.work import computation_flops
from tfaot.signature import Signature
from tfaot.verification.composition import with_composition
from tfaot.verification.golden import golden_rows
from tfaot.weights_file import SUFFIX, file_bytes, weights_file

if TYPE_CHECKING:
    from tfaot.frontend.session import LoadedModel
    from tfaot.runtime.model import Model


_NOT_FOR_HERE = (
    "this machine can't run code for {}: what is verified is the same model's code for this CPU"
)


@dataclass(frozen=True)
class Origin:
    """Where a model came from: the manifest's account, its parameters' bytes, versions of tools."""

    source: packaging.Source
    parameter_bytes: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Compiled:
    """An artifact in memory.

    `headers` are those besides NAME.h, by path; `weights` is the file of the weights, None where
    the object holds them; `self_test` says where golden rows go, None where there are none.
    """

    manifest: packaging.Manifest
    header: str
    object: Pieces
    emitted: Emitted
    lowered: Lowered
    headers: Mapping[str, str] = field(default_factory=dict)
    weights: Contents | None = None
    self_test: SelfTestLayout | None = None

    @property
    def object_bytes(self) -> bytes:
        """A copy of the object in one piece."""
        return bytes(self.object)


@dataclass(frozen=True)
class Batching:
    """What is known of the batch axis when code is generated, and what it is generated of.

    `log` tells what the passes did to the first variant; the others' are alike.
    """

    rows_independent: bool
    reason: str | None
    variants: tuple[Variant, ...] = ()
    log: PassLog | None = None


def compile_model(
    options: CompileOptions,
    model: object,
    progress: Progress,
    *,
    session: Any = None,
) -> Artifact:
    """Compile a model.

    Args:
        options: what to compile and how.
        model: a path, Keras model, tf.function, ConcreteFunction or tf.Module.
        progress: called with a stage and a detail as work goes on.
        session: a running `TensorFlowSession` to load the model in; by default one is started.

    Returns:
        The files.

    Raises:
        TfaotError: the model, an option or the environment is at fault; nothing was written.
    """
    from tfaot.frontend.session import open_with
    from tfaot.verification import verify_model

    targets = resolve_targets(options.target)
    check_output_dir(options.output_dir)
    name = options.name or default_name(model)
    progress("load", str(model) if isinstance(model, (str, Path)) else type(model).__name__)
    with open_with(model, options, session) as loaded:
        for note in loaded.notes:
            progress("note", note)
        lowered = with_composition(
            lower(loaded, static_sizes(options), progress, static=options.static), loaded
        )
        origin = _origin(model, loaded, options)
        compiled = build(name, loaded.signature, lowered, targets, options, origin, progress)
        if options.verify or options.self_test:
            with tempfile.TemporaryDirectory(prefix="tfaot-") as scratch:
                here = compiled
                if not runs_here(compiled.manifest.target):
                    progress("note", _NOT_FOR_HERE.format(describe(targets)))
                    own = resolve_targets(PORTABLE if options.self_test else NATIVE)
                    here = build(name, loaded.signature, lowered, own, options, origin, progress)
                trial = _write(Path(scratch), name, here, {})
                if here is compiled:
                    # The file has all weights, and what maps it needs no memory for them.
                    compiled = replace(compiled, object=mapped_file(trial.object))
                del here
                if options.verify:
                    report = verify_model(trial.manifest, loaded, lowered, progress)
                    description = replace(compiled.manifest, verification=report.to_json())
                    compiled = replace(compiled, manifest=description)
                if options.self_test:
                    progress("self-test", "golden rows")
                    compiled = with_golden_rows(compiled, trial.load(), loaded)
        progress("write", str(options.output_dir))
        return _write(options.output_dir, name, compiled, _extra(compiled, options.emit))


def with_golden_rows(compiled: Compiled, trial: Model, loaded: LoadedModel | None) -> Compiled:
    """`compiled` with golden rows: what its code, or the same model's for this CPU, gives.

    Args:
        compiled: the artifact.
        trial: it, or a build for this machine, loaded.
        loaded: the model in TensorFlow, which tells what inputs it takes; None for any.
    """
    layout = compiled.self_test
    assert layout is not None
    rows = golden_rows(trial, layout.batch, compiled.manifest.target, loaded)
    data = layout.data(*rows)
    return replace(compiled, object=fill(compiled.object, layout.marker, data))


def default_name(model: object) -> str:
    """A name for a model that was given none: of its file or folder, function or class."""
    if isinstance(model, (str, Path)):
        path = Path(model).resolve()
        text = path.parent.name if path.name == "saved_model.pb" else path.stem
        text = re.sub(r"_saved_model$", "", text)
    else:
        text = str(getattr(model, "name", None) or getattr(model, "__name__", "model"))
    cleaned = re.sub(r"_+", "_", re.sub(r"\W", "_", text, flags=re.ASCII)).strip("_")
    if not cleaned or not cleaned[0].isalpha():
        cleaned = f"model_{cleaned}".rstrip("_")
    try:
        return check_name(cleaned)
    except UsageError:
        reserved = cleaned.lower().startswith("tfaot_")
        return f"model_{cleaned}" if reserved else f"{cleaned}_model"


def build(
    name: str,
    signature: Signature,
    lowered: Lowered,
    targets: Sequence[Target],
    options: CompileOptions,
    origin: Origin,
    progress: Progress = lambda stage, detail: None,
) -> Compiled:
    """Everything from HLO to object and header, in memory.

    Args:
        name: C identifier.
        signature: the model's inputs and outputs.
        lowered: its HLO.
        targets: the instruction sets, ascending.
        options: namespace, and which intermediate texts to keep.
        origin: where the model came from.
        progress: told of the stages.
    """
    generated, batching = generate_code(
        name, signature, lowered, targets, options, origin.parameter_bytes, progress
    )
    description = _manifest(name, signature, lowered, batching, generated, targets, options, origin)
    description = description.with_internals(internals_of(batching.variants, batching.log))
    _let_go(v.schedule.computation for v in batching.variants)
    headers = {}
    if options.interface == "tfcompile":
        headers = tfcompile_headers(description, options.batch_sizes)
    progress("compile", f"{len(generated.kernels)} kernels for {describe(targets)}")
    emitted = _emit(generated, description, targets, options.emit)
    code, description = set_sizes(emitted.object_bytes, description)
    filled, weights = Pieces((code,)), None
    if generated.structure:
        weights = weights_file(generated.weights, generated.structure, origin.source.digest)
    elif generated.weights:
        filled = _put_weights(code, generated)
    header = header_text(description)
    return Compiled(
        description,
        header,
        filled,
        emitted,
        lowered,
        headers,
        weights,
        generated.self_test,
    )


def generate_code(
    name: str,
    signature: Signature,
    lowered: Lowered,
    targets: Sequence[Target],
    options: CompileOptions,
    parameter_bytes: int = 0,
    progress: Progress = lambda stage, detail: None,
) -> tuple[GeneratedModule, Batching]:
    """From HLO to LLVM IR, and what was found of the batch axis; arguments as for `build`."""
    variants: list[Variant] = []
    logs: list[PassLog] = []
    batching = Batching(rows_independent=lowered.composable, reason=lowered.reason)
    for module, batch in zip(lowered.modules, lowered.batches, strict=True):
        progress("passes", "")
        log = PassLog(module)
        module = run_passes(module, default_passes(log), hook=log.ran)
        logs.append(log)
        _let_go(module.computations())
        tile = None
        if module.batch:
            analysis = analyse_batch(module)
            batching = Batching(analysis.independent, analysis.reason)
        progress("schedule", "")
        plan = schedule(module.entry)
        if module.batch and batching.rows_independent:
            tile = rows_per_tile(plan)
        variants.append(Variant(plan, batch, tile))
    progress("generate", f"{sum(len(v.schedule.kernels) for v in variants)} kernels")
    composition = _composition(signature, lowered, variants, parameter_bytes)
    generated = generate(
        name,
        signature,
        variants,
        targets,
        composition=composition,
        timers=options.timers,
        external=options.weights == EXTERNAL,
        self_test=options.self_test,
    )
    return generated, replace(batching, variants=tuple(variants), log=logs[0])


def _let_go(computations: Iterable[Computation]) -> None:
    """Free what a stage has read of a large model's weights, which are mapped from files."""
    for computation in computations:
        for instruction in computation.instructions:
            if instruction.opcode == "constant":
                let_go(instruction.attr(Constant).value)


def static_sizes(options: CompileOptions) -> tuple[int, ...]:
    """The batch sizes to compile for where there is no symbolic form."""
    if options.interface == "tfcompile" and not options.batch_sizes:
        return (1,)
    return options.batch_sizes


def _composition(
    signature: Signature, lowered: Lowered, variants: Sequence[Variant], weights_bytes: int
) -> Composition | None:
    """How static sizes make any other; None where there are none, or rows don't keep apart."""
    specs = (*signature.inputs, *signature.outputs)
    if not (lowered.composable and all(s.rows_lead for s in specs)):
        return None
    work = [
        (v.batch, computation_flops(v.schedule.computation).at(0))
        for v in variants
        if v.batch is not None
    ]
    if not work:
        return None
    return cheapest([size for size, _ in work], estimated_cost(work, weights_bytes))


def _put_weights(object_bytes: bytes, generated: GeneratedModule) -> Pieces:
    """The object with its weights."""
    if generated.section is None:
        return fill(object_bytes, generated.marker, generated.weights)
    name = generated.section.replace(EMPTY, ".rodata.")
    return attach(object_bytes, generated.section, name, generated.weights)


def _emit(
    generated: GeneratedModule,
    description: packaging.Manifest,
    targets: Sequence[Target],
    kinds: Sequence[str],
) -> Emitted:
    """Object of the generated code and the introspection data."""
    text = "\n".join([generated.text, info_ir(description)])
    return emit(text, machine_for(targets), assembly="asm" in kinds, ir="ll" in kinds)


def _manifest(
    name: str,
    signature: Signature,
    lowered: Lowered,
    batching: Batching,
    generated: GeneratedModule,
    targets: Sequence[Target],
    options: CompileOptions,
    origin: Origin,
) -> packaging.Manifest:
    inputs, outputs = packaging.tensors_of(signature)
    sizes = tuple(b for b in lowered.batches if b is not None)
    kind = "static" if sizes else "symbolic" if signature.has_batch else "none"
    batch = packaging.Batch(kind, sizes, batching.rows_independent, batching.reason)
    workspace = generated.workspace
    return packaging.Manifest(
        name=name,
        inputs=inputs,
        outputs=outputs,
        batch=batch,
        workspace=(
            packaging.Workspace(workspace.at(0))
            if workspace.is_constant
            else packaging.Workspace(None, coefficients=workspace.coefficients)
        ),
        weights_bytes=len(generated.weights),
        parameter_bytes=origin.parameter_bytes,
        code_bytes=0,
        data_bytes=0,
        stack_bytes=None,
        target=packaging.Target(
            targets[0].triple, tuple(t.cpu for t in targets), targets[0].required_features
        ),
        object=packaging.ObjectFile(f"{name}.o", ""),
        symbols=packaging.Symbols.of(
            name,
            dispatches=len(targets) > 1,
            composes=batch.is_composed,
            timed=options.timers,
            external=bool(generated.structure),
            tested=generated.self_test is not None,
        ),
        self_test=_self_test(generated.self_test),
        source=origin.source,
        kernels=tuple(map(_kernel, generated.kernels)),
        namespace=options.namespace,
        weights=_external(name, generated, targets, options),
        versions={**_versions(), **origin.versions},
    )


def _self_test(layout: SelfTestLayout | None) -> packaging.SelfTest | None:
    return None if layout is None else packaging.SelfTest(layout.batch, layout.workspace)


def _kernel(facts: KernelFacts) -> packaging.Kernel:
    work = facts.work
    details: dict[str, object] = {
        "flops": list(work.flops.coefficients),
        "read_bytes": list(work.read.coefficients),
        "written_bytes": list(work.written.coefficients),
        "weights_bytes": work.weights,
        "opcodes": list(facts.opcodes),
    }
    if facts.batch is not None:
        details["batch"] = facts.batch
    return packaging.Kernel(facts.name, facts.kind, facts.layers, details)


def _external(
    name: str, generated: GeneratedModule, targets: Sequence[Target], options: CompileOptions
) -> ExternalWeights | None:
    """What the manifest tells of the weights' file, None where the object holds them."""
    if not generated.structure:
        return None
    given = options.custom_objects
    recipe = Recipe(
        inputs=options.inputs,
        outputs=options.outputs,
        input_shapes=dict(options.input_shapes),
        set_values=dict(options.set_values),
        custom_objects=() if isinstance(given, Mapping) else tuple(given),
        batch_sizes=static_sizes(options),
        static=options.static,
        timers=options.timers,
        xla_flags=options.xla_flags,
        tf_xla_flags=options.tf_xla_flags,
        targets=tuple(asdict(target) for target in targets),
    )
    size = file_bytes(len(generated.weights))
    return ExternalWeights(f"{name}{SUFFIX}", size, generated.structure.hex(), recipe)


def _versions() -> dict[str, str]:
    import llvmlite
    import llvmlite.binding as llvm

    import tfaot

    return {
        "tfaot": tfaot.__version__,
        "llvmlite": llvmlite.__version__,
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
    }


def _origin(model: object, loaded: LoadedModel, options: CompileOptions) -> Origin:
    kind = "object"
    if isinstance(model, (str, Path)):
        path = Path(model)
        kind = "saved_model" if path.is_dir() else path.suffix.lstrip(".") or "file"
    source = packaging.Source(
        kind=kind,
        digest=loaded.digest,
        signature=options.signature,
        version=options.model_version,
        description=options.description,
        author=options.author,
    )
    return Origin(source, loaded.parameter_bytes, loaded.versions)


def _extra(compiled: Compiled, kinds: Sequence[str]) -> dict[str, str]:
    extra: dict[str, str] = {}
    if compiled.emitted.assembly is not None:
        extra["s"] = compiled.emitted.assembly
    if compiled.emitted.optimised_ir is not None:
        extra["ll"] = compiled.emitted.optimised_ir
    if "hlo" in kinds:
        modules = compiled.lowered.modules
        extra["hlo"] = "\n".join(print_module(m, max_constant=64) for m in modules)
    return extra


def _write(directory: Path, name: str, compiled: Compiled, extra: dict[str, str]) -> Artifact:
    return write_artifact(
        directory,
        name,
        compiled.header,
        compiled.object,
        compiled.manifest,
        extra,
        compiled.headers,
        weights=compiled.weights,
    )


__all__ = ["Compiled", "Lowered", "Origin", "build", "compile_model", "default_name", "lower"]
