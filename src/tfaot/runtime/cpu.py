"""Whether this machine has the instructions that an artifact was compiled for.

Source: the x86-64 psABI, section 3.1.1 (micro-architecture levels), and the names of
/proc/cpuinfo (Linux, arch/x86/include/asm/cpufeatures.h).
"""

from __future__ import annotations

import platform
from pathlib import Path

from tfaot.errors import ArtifactError
from tfaot.packaging.manifest import Target

_V2 = ("cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2")
_V3 = (*_V2, "abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
LEVELS: dict[str, tuple[str, ...]] = {
    "x86-64": (),
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": _V4,
}

# Levels of LLVM's cpu names; what a cpu has beyond its level comes with the manifest's features.
_CPUS = {
    "x86-64-v2": "nehalem westmere silvermont goldmont goldmont-plus tremont sandybridge ivybridge "
    "corei7 corei7-avx core-avx-i btver2 bdver1 bdver2 bdver3",
    "x86-64-v3": "haswell core-avx2 broadwell skylake alderlake raptorlake meteorlake arrowlake "
    "lunarlake gracemont sierraforest bdver4 znver1 znver2 znver3",
    "x86-64-v4": "skylake-avx512 skx cascadelake cooperlake cannonlake icelake-client "
    "icelake-server tigerlake rocketlake sapphirerapids emeraldrapids graniterapids "
    "znver4 znver5",
}
_LEVEL_OF = {cpu: level for level, cpus in _CPUS.items() for cpu in cpus.split()}
_LEVEL_OF.update({level: level for level in LEVELS})

# LLVM feature -> /proc/cpuinfo flag, for the features that code generation makes use of.
_FLAGS = {
    "adx": "adx",
    "aes": "aes",
    "amx-bf16": "amx_bf16",
    "amx-int8": "amx_int8",
    "amx-tile": "amx_tile",
    "avx": "avx",
    "avx2": "avx2",
    "avx512bf16": "avx512_bf16",
    "avx512bitalg": "avx512_bitalg",
    "avx512bw": "avx512bw",
    "avx512cd": "avx512cd",
    "avx512dq": "avx512dq",
    "avx512f": "avx512f",
    "avx512fp16": "avx512_fp16",
    "avx512ifma": "avx512ifma",
    "avx512vbmi": "avx512vbmi",
    "avx512vbmi2": "avx512_vbmi2",
    "avx512vl": "avx512vl",
    "avx512vnni": "avx512_vnni",
    "avx512vpopcntdq": "avx512_vpopcntdq",
    "avxifma": "avx_ifma",
    "avxvnni": "avx_vnni",
    "bmi": "bmi1",
    "bmi2": "bmi2",
    "cx16": "cx16",
    "f16c": "f16c",
    "fma": "fma",
    "fma4": "fma4",
    "gfni": "gfni",
    "lzcnt": "abm",
    "movbe": "movbe",
    "pclmul": "pclmulqdq",
    "popcnt": "popcnt",
    "sahf": "lahf_lm",
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "sse4a": "sse4a",
    "ssse3": "ssse3",
    "tbm": "tbm",
    "vaes": "vaes",
    "vpclmulqdq": "vpclmulqdq",
    "xop": "xop",
}


def required_flags(target: Target) -> frozenset[str]:
    """The /proc/cpuinfo flags that code for `target` needs.

    A named cpu stands for its level unless features come with it: then (`native`) they are the
    whole list, since a virtual machine may lack what its cpu's name promises. Of several cpus it
    is the first that must run.
    """
    cpu = target.cpus[0]
    by_name = cpu in LEVELS or not target.features
    flags = set(LEVELS.get(_LEVEL_OF.get(cpu, ""), ())) if by_name else set()
    for feature in target.features:
        name, absent = feature.lstrip("+-"), feature.startswith("-")
        flag = _FLAGS.get(name)
        if flag is not None:
            flags.discard(flag) if absent else flags.add(flag)
    return frozenset(flags)


def best_level(flags: frozenset[str]) -> str:
    """The highest x86-64 level that a machine with `flags` has."""
    return [level for level, needed in LEVELS.items() if flags.issuperset(needed)][-1]


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """This machine's flags, or None where it doesn't tell."""
    try:
        text = cpuinfo.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return None


def runs_here(target: Target) -> bool:
    """Whether this machine can load and run code for `target`."""
    try:
        check_cpu(target)
    except ArtifactError:
        return False
    return True


def check_cpu(target: Target, flags: frozenset[str] | None = None) -> None:
    """ArtifactError where this machine can't run code for `target`.

    Args:
        target: what the object was compiled for.
        flags: the machine's flags; None reads them.
    """
    machine = platform.machine().replace("AMD64", "x86_64")
    architecture = target.triple.split("-", 1)[0]
    if architecture != machine:
        raise ArtifactError(f"compiled for {architecture}, this machine is {machine}")
    if "linux" not in target.triple:
        system = "Windows" if "windows" in target.triple else "macOS"
        raise ArtifactError(f"compiled for {system}, which this is not")
    flags = cpu_flags() if flags is None else flags
    if flags is None:
        return
    missing = sorted(required_flags(target) - flags)
    if missing:
        raise ArtifactError(
            f"compiled for {target.cpu}, this CPU lacks {', '.join(missing)}: "
            f"compile again with --target {best_level(flags)}"
        )
