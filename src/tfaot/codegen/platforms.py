"""Platforms and CPUs by the names that users give them.

Input: the text of `--target`. Output: an LLVM triple and CPU names. A platform is an architecture
and a system, `aarch64-linux`; a CPU is a name of LLVM's, or a level of the x86-64 psABI.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from tfaot.errors import UsageError

LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
"""The x86-64 levels that code is generated for, ascending."""

BASELINE = "x86-64"
"""What every x86-64 CPU runs: the code that chooses a level is for it."""

PORTABLE = "portable"
NATIVE = "native"


@dataclass(frozen=True)
class Platform:
    """An architecture and a system.

    Attributes:
        name: how users call it.
        triple: LLVM's target triple.
        cpus: what is generated where no CPU is named.
        known: LLVM's names of CPUs that may be named.
        features: LLVM features beyond the CPU's own, as its feature string.
        abi: name of the ABI, where LLVM wants one.
    """

    name: str
    triple: str
    cpus: tuple[str, ...]
    known: frozenset[str]
    features: str = ""
    abi: str = ""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# LLVM itself only warns, on stderr, about names that it does not know.
_X86 = frozenset(LEVELS) | _names(
    "x86-64 nehalem westmere sandybridge ivybridge haswell broadwell skylake skylake-avx512 "
    "cascadelake cooperlake cannonlake icelake-client icelake-server tigerlake rocketlake "
    "alderlake raptorlake meteorlake arrowlake arrowlake-s lunarlake pantherlake sapphirerapids "
    "emeraldrapids graniterapids graniterapids-d sierraforest grandridge clearwaterforest "
    "silvermont goldmont goldmont-plus tremont gracemont bdver1 bdver2 bdver3 bdver4 btver2 "
    "znver1 znver2 znver3 znver4 znver5"
)
_ARM = _names(
    "generic cortex-a35 cortex-a53 cortex-a55 cortex-a57 cortex-a72 cortex-a73 cortex-a75 "
    "cortex-a76 cortex-a77 cortex-a78 cortex-a78ae cortex-a510 cortex-a710 cortex-a715 "
    "cortex-x1 cortex-x2 cortex-x3 neoverse-n1 neoverse-n2 neoverse-v1 neoverse-v2 neoverse-e1 "
    "a64fx ampere1 ampere1a thunderx2t99 carmel apple-m1 apple-m2 apple-m3 apple-m4"
)
_RISCV = _names(
    "generic-rv64 sifive-u54 sifive-u74 sifive-p450 sifive-p470 sifive-p670 rocket-rv64"
)
_POWER = _names("pwr8 pwr9 pwr10 pwr11")

PLATFORMS: dict[str, Platform] = {
    p.name: p
    for p in (
        Platform("x86-64-linux", "x86_64-unknown-linux-gnu", LEVELS, _X86),
        Platform("x86-64-windows", "x86_64-pc-windows-gnu", LEVELS, _X86),
        Platform("aarch64-linux", "aarch64-unknown-linux-gnu", ("generic",), _ARM),
        Platform("arm64-macos", "arm64-apple-macosx11.0.0", ("apple-m1",), _ARM),
        Platform(
            "riscv64-linux",
            "riscv64-unknown-linux-gnu",
            ("generic-rv64",),
            _RISCV,
            "+m,+a,+f,+d,+c",
            "lp64d",
        ),
        Platform("ppc64le-linux", "powerpc64le-unknown-linux-gnu", ("pwr8",), _POWER),
    )
}
_ALIASES = {
    "aarch64": "aarch64-linux",
    "arm64": "aarch64-linux",
    "arm64-linux": "aarch64-linux",
    "aarch64-macos": "arm64-macos",
    "riscv64": "riscv64-linux",
    "ppc64le": "ppc64le-linux",
    "x86-64-linux-gnu": "x86-64-linux",
}

_HOSTS = {"x86_64": "x86-64-linux", "aarch64": "aarch64-linux", "arm64": "arm64-macos"}


def host_platform(machine: str) -> Platform | None:
    """The platform of a machine with the architecture that LLVM or the kernel calls `machine`."""
    name = _HOSTS.get(machine)
    return PLATFORMS[name] if name is not None else None


def parse_target(text: str, host: Platform | None) -> tuple[Platform, tuple[str, ...]]:
    """Platform and CPUs that `--target` asks for; a CPU may be `native`.

    Args:
        text: `portable`, `native`, a CPU, a platform, `PLATFORM:CPU`, or x86-64 levels separated
            by commas.
        host: the platform that this runs on, which CPUs without a platform are for where they
            are its.

    Raises:
        UsageError: the text names nothing known; it says what is.
    """
    default = host or PLATFORMS["x86-64-linux"]
    text = text.strip()
    if text == PORTABLE:
        return default, default.cpus
    if text == NATIVE:
        return default, (NATIVE,)
    head, colon, tail = text.partition(":")
    platform = PLATFORMS.get(_ALIASES.get(head, head))
    if colon and platform is None:
        raise UsageError(f"--target: '{head}' is no platform, known are {', '.join(PLATFORMS)}")
    if platform is not None and not colon:
        return platform, platform.cpus
    cpus = tuple(part.strip() for part in (tail if colon else text).split(","))
    if platform is None:
        candidates = (default, *PLATFORMS.values())
        platform = next((p for p in candidates if set(cpus) <= p.known), None)
    if platform is None or not set(cpus) <= platform.known:
        known = platform.known if platform is not None else frozenset().union(*_all_known())
        unknown = next((c for c in cpus if c not in known), None)
        if unknown is None:
            raise UsageError(f"--target: {' and '.join(cpus)} are not of one platform")
        raise UsageError(_unknown(unknown, known))
    if len(cpus) > 1:
        return platform, _levels(cpus)
    return platform, cpus


def _all_known() -> list[frozenset[str]]:
    return [p.known for p in PLATFORMS.values()]


def _unknown(cpu: str, known: frozenset[str]) -> str:
    close = difflib.get_close_matches(cpu, sorted({*known, *PLATFORMS}), 1)
    hint = f"did you mean {close[0]}? " if close else ""
    return (
        f"target '{cpu}' is not a CPU that LLVM knows: {hint}use portable, native, "
        f"{', '.join(LEVELS)}, a name such as skylake-avx512, or a platform "
        f"({', '.join(PLATFORMS)})"
    )


def _levels(cpus: Sequence[str]) -> tuple[str, ...]:
    for cpu in cpus:
        if cpu not in LEVELS:
            raise UsageError(
                f"--target: '{cpu}' can't be one of several: give levels of x86-64 "
                f"({', '.join(LEVELS)}), or one CPU alone"
            )
    return tuple(level for level in LEVELS if level in cpus)
