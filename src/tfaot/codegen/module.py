"""The generated code of an artifact, put together.

Input: variants of a model (one symbolic, or one per static batch size), each a scheduled
computation, and the instruction sets that the object holds. Output: LLVM IR text, the weight blob,
and facts about both. Every instruction set has functions of its own; the weights are there once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.body import BodyEmitter, KernelFacts, Variant
from tfaot.codegen.data import LateData, used
from tfaot.codegen.dispatch import Dispatch, Level
from tfaot.codegen.entry import EntryEmitter
from tfaot.codegen.external import ExternalWeights, with_identity
from tfaot.codegen.functions import KernelFunctions
from tfaot.codegen.self_test import SelfTest, SelfTestLayout
from tfaot.codegen.target import Target
from tfaot.codegen.timers import Timers
from tfaot.pieces import Pieces
from tfaot.schedule.composition import Composition
from tfaot.schedule.sizes import Bytes
from tfaot.schedule.weights import SLACK, WeightBlob
from tfaot.signature import Signature
from tfaot.weights_file import identity


@dataclass(frozen=True)
class GeneratedModule:
    """LLVM IR of an artifact, without introspection data.

    Attributes:
        text: the IR; in it the blob is a section without contents, or zeros that begin with
            `marker`.
        weights: the blob, which `SLACK` bytes follow; its place is as long as `marker` at least.
        marker: what to look for in the object, to put the blob there.
        section: the section without contents, None where there is none.
        structure: hash of all that weights must fit, where they are outside of the object; else
            empty.
        workspace: bytes of workspace, a polynomial in n.
        kernels: in the order in which they run, of the last instruction set.
        self_test: what NAME_self_test needs, None where there is none.
    """

    text: str
    weights: Pieces
    marker: bytes
    section: str | None
    workspace: Bytes
    kernels: tuple[KernelFacts, ...]
    structure: bytes = b""
    self_test: SelfTestLayout | None = None


def generate(
    name: str,
    signature: Signature,
    variants: Sequence[Variant],
    targets: Sequence[Target],
    *,
    composition: Composition | None = None,
    timers: bool = False,
    external: bool = False,
    self_test: bool = False,
) -> GeneratedModule:
    """Generate the code of an artifact.

    Args:
        name: C identifier; symbols begin with it.
        signature: inputs and outputs with symbolic shapes.
        variants: one with batch None, or several with static sizes.
        targets: the instruction sets, ascending; where there are several, levels of one CPU.
        composition: how static variants make other batch sizes; None where they can't.
        timers: whether each kernel is timed, for looking at one thread's calls.
        external: whether the weights are outside of the object.
        self_test: whether NAME_self_test and room for its golden rows are part of the object.
    """
    module = ir.Module(name)
    module.triple = targets[0].triple
    clock = Timers(module, name) if timers else None
    place = LateData(module, f"{name}_weights")
    outside = ExternalWeights(module, name) if external else None
    variable = None if external else place.declare()
    blob = WeightBlob()
    entry = EntryEmitter(module, name, signature, composition, outside)
    levels: list[Level] = []
    facts: list[KernelFacts] = []
    sizes: set[int] = set()
    for target in targets:
        known = len(module.functions)
        own = name if len(targets) == 1 else f"{name}.{target.suffix}"
        emitter = BodyEmitter(KernelFunctions(module, own, target), blob, variable, timers=clock)
        bodies = [emitter.emit(n, v, signature) for n, v in enumerate(variants)]
        levels.append(entry.level(own, target, bodies))
        facts = emitter.facts
        sizes.add(blob.size)
        if len(targets) > 1:
            _mark(module.functions[known:], target)
    assert len(sizes) == 1, "all instruction sets read the same weights"
    dispatch = Dispatch(module, name, levels) if len(levels) > 1 else None
    workspace = entry.emit(levels, dispatch)
    weights = blob.pieces()
    test = None
    if self_test:
        test = SelfTest(module, name, signature, targets, variants, workspace)
        test.emit(dispatch)
    structure = b""
    section = None
    if outside is not None:
        outside.emit(len(weights))
        text = _plain_text(module)
        structure = _structure(text, signature, blob)
        text = with_identity(text, outside.identity_symbol, identity(structure, len(weights)))
    else:
        section = place.empty_section if weights else None
        define = place.define if section is None else place.define_empty
        text = define(_plain_text(module), len(weights), SLACK)
        kept = [place.symbol] if weights else []
        if test is not None:
            text = test.define(text)
            kept.append(test.data.symbol)
        text += used(kept)
    return GeneratedModule(
        text=clock.defined(text) if clock is not None else text,
        weights=weights,
        marker=place.marker,
        section=section,
        workspace=workspace,
        kernels=tuple(facts),
        structure=structure,
        self_test=test.layout if test is not None else None,
    )


def _structure(text: str, signature: Signature, blob: WeightBlob) -> bytes:
    """A hash of all that a file of weights must fit: the code, its interface, the blob's layout.

    Names are no part of it: Keras numbers its layers anew in each process.
    """
    specs = (*signature.inputs, *signature.outputs)
    interface = repr([(spec.dtype, spec.dims, spec.varying) for spec in specs])
    total = hashlib.sha256()
    for part in (text, interface, blob.layout):
        total.update(hashlib.sha256(part.encode()).digest())
    return total.digest()


def _mark(functions: Sequence[ir.Function], target: Target) -> None:
    """Make functions code for `target`, whatever the module is for."""
    for function in functions:
        if not function.is_declaration:
            set.add(function.attributes, f'"target-cpu"="{target.cpu}"')


def _plain_text(module: ir.Module) -> str:
    # Without library functions no loop becomes a call of memset or memcpy.
    for function in module.functions:
        if not function.is_declaration:
            set.add(function.attributes, '"no-builtins"')
            # Where all jumps are direct, the stack that a call takes can be told from the code.
            set.add(function.attributes, '"no-jump-tables"="true"')
            function.attributes.add("nounwind")
    return str(module)


__all__ = ["SLACK", "GeneratedModule", "KernelFacts", "Variant", "generate"]
