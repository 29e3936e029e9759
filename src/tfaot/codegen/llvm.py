"""LLVM's part of the work: IR text to an object, assembly or optimised IR.

Input: IR text, and the CPU that functions without attributes of their own are for.
Output: the bytes of a relocatable object, in the format of the target's system.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from tfaot.codegen import apart


@dataclass(frozen=True)
class Machine:
    """What LLVM is told of a CPU.

    Attributes:
        triple: target triple.
        cpu: LLVM's cpu name.
        features: feature string (`+avx2,-sse4a`), empty for the cpu's own.
        abi: name of the ABI, empty for the triple's own.
    """

    triple: str
    cpu: str
    features: str = ""
    abi: str = ""


@dataclass(frozen=True)
class Emitted:
    """What LLVM made of a module: object bytes, and assembly or optimised IR where asked for."""

    object_bytes: bytes
    assembly: str | None = None
    optimised_ir: str | None = None


@functools.cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()


@functools.lru_cache(maxsize=32)
def _machine(machine: Machine) -> llvm.TargetMachine:
    _initialise()
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=machine.cpu,
        features=machine.features,
        opt=3,
        reloc="pic",
        codemodel="small",
        abiname=machine.abi,
    )


def assembly_of(text: str, machine: Machine) -> str:
    """The assembly of IR text as it stands, not optimised first."""
    if apart.is_needed(machine.triple):
        assembly: str = apart.call("_assembly_of", text, machine)
        return assembly
    return _assembly_of(text, machine)


def _assembly_of(text: str, machine: Machine) -> str:
    made = _machine(machine)
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    return made.emit_assembly(module)


def emit(text: str, machine: Machine, *, assembly: bool = False, ir: bool = False) -> Emitted:
    """Optimise and compile LLVM IR text: position-independent code, highest optimisation.

    Neither loop nor straight-line vectorisation runs (the code is vectorised by construction, and
    vectorised reductions would change bits).
    """
    if apart.is_needed(machine.triple):
        emitted: Emitted = apart.call("_emit", text, machine, assembly, ir)
        return emitted
    return _emit(text, machine, assembly, ir)


def _emit(text: str, machine: Machine, assembly: bool, ir: bool) -> Emitted:
    made = _machine(machine)
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(made.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(made, options)
    passes.getModulePassManager().run(module, passes)
    optimised = str(module) if ir else None
    listing = made.emit_assembly(module) if assembly else None
    return Emitted(made.emit_object(module), listing, optimised)
