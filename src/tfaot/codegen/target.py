"""Targets: what a CPU offers to the code generator.

Input: the text of `--target`. Output: one `Target` for each instruction set that the object holds.
"""

from __future__ import annotations

import functools
import platform as system
from collections.abc import Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm

from tfaot.codegen.llvm import Machine, assembly_of
from tfaot.codegen.platforms import (
    BASELINE,
    LEVELS,
    NATIVE,
    Platform,
    host_platform,
    parse_target,
)
from tfaot.errors import UnsupportedError, UsageError


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
        abi: LLVM's name of the ABI, empty for the triple's own.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    vector_registers: int
    has_fma: bool
    has_f16c: bool
    abi: str = ""

    @property
    def required_features(self) -> tuple[str, ...]:
        """The features that `features` asks for beyond the cpu's name, without sign."""
        return tuple(f[1:] for f in self.features.split(",") if f.startswith("+"))

    @property
    def level(self) -> int:
        """The x86-64 level: 2 for x86-64-v2 and so on; 0 for any other CPU."""
        return LEVELS.index(self.cpu) + 2 if self.cpu in LEVELS else 0

    @property
    def suffix(self) -> str:
        """What tells functions of this level from those of another: `v3`."""
        return self.cpu.rpartition("-")[2]

    @property
    def machine(self) -> Machine:
        """What LLVM is told."""
        return Machine(self.triple, self.cpu, self.features, self.abi)


def machine_for(targets: Sequence[Target]) -> Machine:
    """The CPU that code outside the levels is for: any, where several levels are in one object."""
    if len(targets) == 1:
        return targets[0].machine
    return Machine(targets[0].triple, BASELINE)


def describe(targets: Sequence[Target]) -> str:
    """How messages call targets."""
    return ", ".join(t.cpu for t in targets)


def host_features() -> dict[str, bool]:
    """LLVM's feature flags of the CPU that this runs on."""
    return dict(llvm.get_host_cpu_features())


def resolve_targets(text: str) -> tuple[Target, ...]:
    """The instruction sets that `--target` asks for, ascending.

    Args:
        text: `portable`, `native`, a CPU, a platform, or levels of x86-64 separated by commas; see
            `tfaot.codegen.platforms`.

    Raises:
        UsageError: the text names nothing known.
        UnsupportedError: `native` on a machine that code can't be generated for.
    """
    host = host_platform(system.machine())
    platform, cpus = parse_target(text, host)
    if cpus == (NATIVE,):
        if host is None:
            raise UnsupportedError(
                f"--target native: there is no code generation for {system.machine()}"
            )
        return (_native(host),)
    return tuple(_describe(platform, cpu, platform.features) for cpu in cpus)


def resolve_target(text: str) -> Target:
    """The one instruction set that `text` names; UsageError where it names several."""
    targets = resolve_targets(text)
    if len(targets) > 1:
        raise UsageError(f"target '{text}' is several instruction sets, one is wanted")
    return targets[0]


def _native(host: Platform) -> Target:
    features = ",".join(f"{'+' if on else '-'}{f}" for f, on in sorted(host_features().items()))
    return _describe(host, llvm.get_host_cpu_name(), features)


@functools.cache
def _describe(platform: Platform, cpu: str, features: str) -> Target:
    """Ask LLVM what the cpu can do, by compiling a probe per capability."""
    machine = Machine(platform.triple, cpu, features, platform.abi)
    vector_bytes, vector_registers = _vectors(machine)
    return Target(
        triple=platform.triple,
        cpu=cpu,
        features=features,
        vector_bytes=vector_bytes,
        vector_registers=vector_registers,
        # What a CPU has no instruction for, LLVM makes a call of.
        has_fma="fmaf" not in assembly_of(_PROBE_FMA, machine),
        has_f16c="__" not in assembly_of(_PROBE_F16C, machine),
        abi=platform.abi,
    )


def _vectors(machine: Machine) -> tuple[int, int]:
    """Bytes and number of the vector registers."""
    if not machine.triple.startswith("x86_64"):
        # A CPU without vectors keeps virtual ones in its scalar registers.
        return (8 if machine.triple.startswith("riscv") else 16), 32
    if "zmm" in assembly_of(_PROBE_512, machine):
        return 64, 32
    return (32 if "ymm" in assembly_of(_PROBE_256, machine) else 16), 16


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
_PROBE_F16C = """define float @f(half %x) nounwind {
  %y = fpext half %x to float
  ret float %y
}"""
