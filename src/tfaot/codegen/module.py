"""The generated code of an artifact, put together.

Input: variants of a model (one symbolic, or one per static batch size), each a scheduled
computation, and a target. Output: LLVM IR text, the weight blob, and facts about both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from tfaot.codegen.body import BodyEmitter, KernelFacts, Variant
from tfaot.codegen.entry import EntryEmitter
from tfaot.codegen.functions import KernelFunctions
from tfaot.codegen.target import Target
from tfaot.codegen.types import I8
from tfaot.schedule.sizes import ALIGNMENT, Bytes
from tfaot.schedule.weights import SLACK, WeightBlob
from tfaot.signature import Signature


@dataclass(frozen=True)
class GeneratedModule:
    """LLVM IR of an artifact, without introspection data.

    Attributes:
        text: the IR; it refers to the blob by the local symbol `weights_symbol`.
        weights: the blob, which `SLACK` readable bytes must follow.
        weights_symbol: the blob's symbol.
        workspace: bytes of workspace, a polynomial in n.
        kernels: in the order in which they run.
    """

    text: str
    weights: bytes
    weights_symbol: str
    workspace: Bytes
    kernels: tuple[KernelFacts, ...]


def generate(
    name: str,
    signature: Signature,
    variants: Sequence[Variant],
    target: Target,
    *,
    compose: bool = True,
) -> GeneratedModule:
    """Generate the code of an artifact.

    Args:
        name: C identifier; symbols begin with it.
        signature: inputs and outputs with symbolic shapes.
        variants: one with batch None, or several with static sizes.
        target: the CPU.
        compose: whether static variants may be stitched together to other batch sizes.
    """
    module = ir.Module(name)
    module.triple = target.triple
    symbol = f"{name}_weights"
    variable = ir.GlobalVariable(module, I8, symbol)
    variable.linkage = "external"
    variable.global_constant = True
    emitter = BodyEmitter(KernelFunctions(module, name, target), WeightBlob(), variable)
    bodies = [emitter.emit(n, v, signature) for n, v in enumerate(variants)]
    workspace = EntryEmitter(module, name, signature, bodies, compose).emit()
    return GeneratedModule(
        text=_text(module, symbol),
        weights=emitter.blob.to_bytes(),
        weights_symbol=symbol,
        workspace=workspace,
        kernels=tuple(emitter.facts),
    )


def _text(module: ir.Module, weights_symbol: str) -> str:
    # Without library functions no loop becomes a call of memset or memcpy.
    for function in module.functions:
        if not function.is_declaration:
            set.add(function.attributes, '"no-builtins"')
            function.attributes.add("nounwind")
    text = str(module)
    old = f'@"{weights_symbol}" = external constant i8'
    new = f'@"{weights_symbol}" = external hidden constant i8, align {ALIGNMENT}'
    assert old in text
    return text.replace(old, new)


__all__ = ["SLACK", "GeneratedModule", "KernelFacts", "Variant", "generate"]
