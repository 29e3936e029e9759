"""Targets: what a CPU offers to the code generator, and LLVM's part of the work.

Input: a target name (`native`, `x86-64-v3`, an LLVM cpu) and LLVM IR text.
Output: `Target`, and the relocatable object or assembly that LLVM makes of the text.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import llvmlite.binding as llvm

from tfaot.errors import UnsupportedError, UsageError

_LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


@dataclass(frozen=True)
class Target:
    """A CPU to generate code for.

    Attributes:
        triple: LLVM's target triple.
        cpu: LLVM's cpu name.
        features: LLVM's feature string (`+avx2,-sse4a`), empty for the cpu's own.
        vector_bytes: bytes of the widest vector register.
        vector_registers: how many of them there are.
        has_fma: whether fused multiply-add is an instruction.
        has_f16c: whether float16 conversion is an instruction.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    has_fma: bool
    has_f16c: bool

    @property
    def required_features(self) -> tuple[str, ...]:
        """The features that `features` asks for beyond the cpu's name, without sign."""
        return tuple(f[1:] for f in self.features.split(",") if f.startswith("+"))

    @property
    def name(self) -> str:
        """How messages and the manifest call this target."""
        return self.cpu


@functools.cache
def _initialise() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()


def host_features() -> dict[str, bool]:
    """LLVM's feature flags of the CPU that this runs on."""
    return dict(llvm.get_host_cpu_features())


def resolve_target(name: str) -> Target:
    """The target called `name`; UsageError where LLVM knows no such CPU.

    Args:
        name: `native`, `x86-64-v2`, `x86-64-v3`, `x86-64-v4`, or a cpu name of LLVM.
    """
    _initialise()
    triple = "x86_64-unknown-linux-gnu"
    if name == "native":
        host = llvm.get_process_triple()
        if not host.startswith("x86_64"):
            raise UnsupportedError(f"--target native: this machine ({host}) is not x86-64")
        features = host_features()
        flags = ",".join(f"{'+' if on else '-'}{f}" for f, on in sorted(features.items()))
        return _describe(triple, llvm.get_host_cpu_name(), flags)
    if not _is_known_cpu(name):
        levels = ", ".join(_LEVELS)
        raise UsageError(
            f"target '{name}' is not a CPU that LLVM knows for x86-64: use native, {levels} "
            "or a name such as skylake-avx512"
        )
    return _describe(triple, name, "")


_CPUS = frozenset(
    {
        *_LEVELS,
        "x86-64",
        *("nehalem", "westmere", "sandybridge", "ivybridge", "haswell", "broadwell", "skylake"),
        *("skylake-avx512", "cascadelake", "cooperlake", "cannonlake", "icelake-client"),
        *("icelake-server", "tigerlake", "rocketlake", "alderlake", "raptorlake", "meteorlake"),
        *("arrowlake", "arrowlake-s", "lunarlake", "pantherlake", "sapphirerapids"),
        *("emeraldrapids", "graniterapids", "graniterapids-d", "sierraforest", "grandridge"),
        *("clearwaterforest", "silvermont", "goldmont", "goldmont-plus", "tremont", "gracemont"),
        *("bdver1", "bdver2", "bdver3", "bdver4", "btver2"),
        *("znver1", "znver2", "znver3", "znver4", "znver5"),
    }
)
"""LLVM's x86-64 names with SSE4.1 and later. LLVM itself only warns, on stderr, about others."""


def _is_known_cpu(name: str) -> bool:
    return name in _CPUS


def _describe(triple: str, cpu: str, features: str) -> Target:
    """Ask LLVM what the cpu can do, by compiling a probe per capability."""
    has_avx512 = _emits(triple, cpu, features, _PROBE_512, "zmm")
    has_avx = _emits(triple, cpu, features, _PROBE_256, "ymm")
    return Target(
        triple=triple,
        cpu=cpu,
        features=features,
        vector_bytes=64 if has_avx512 else 32 if has_avx else 16,
        vector_registers=32 if has_avx512 else 16,
        has_fma=_emits(triple, cpu, features, _PROBE_FMA, "vfm"),
        has_f16c=_emits(triple, cpu, features, _PROBE_F16C, "vcvtph2ps"),
    )


_PROBE_512 = """define void @f(ptr %p) {
  %x = load <16 x float>, ptr %p, align 4
  %y = fadd <16 x float> %x, %x
  store <16 x float> %y, ptr %p, align 4
  ret void
}"""
_PROBE_256 = _PROBE_512.replace("16 x", "8 x")
_PROBE_FMA = """declare float @llvm.fma.f32(float, float, float)
define float @f(float %x) {
  %y = call float @llvm.fma.f32(float %x, float %x, float %x)
  ret float %y
}"""
_PROBE_F16C = """define float @f(half %x) {
  %y = fpext half %x to float
  ret float %y
}"""


def _emits(triple: str, cpu: str, features: str, probe: str, needle: str) -> bool:
    machine = _machine(triple, cpu, features)
    module = llvm.parse_assembly(probe)
    module.triple = triple
    return needle in machine.emit_assembly(module)


@functools.lru_cache(maxsize=32)
def _machine(triple: str, cpu: str, features: str) -> llvm.TargetMachine:
    target = llvm.Target.from_triple(triple)
    return target.create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )


def machine_of(target: Target) -> llvm.TargetMachine:
    """LLVM's target machine for `target`: position-independent code, highest optimisation."""
    _initialise()
    return _machine(target.triple, target.cpu, target.features)


@dataclass(frozen=True)
class Emitted:
    """What LLVM made of a module: object bytes, and assembly or optimised IR where asked for."""

    object_bytes: bytes
    assembly: str | None = None
    optimised_ir: str | None = None


def emit(text: str, target: Target, *, assembly: bool = False, ir: bool = False) -> Emitted:
    """Optimise and compile LLVM IR text for `target`.

    Neither loop nor straight-line vectorisation runs (the code is vectorised by construction, and
    vectorised reductions would change bits).
    """
    machine = machine_of(target)
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    optimised = str(module) if ir else None
    listing = machine.emit_assembly(module) if assembly else None
    return Emitted(machine.emit_object(module), listing, optimised)
