"""The machine that is measured on: what it is, and which of its cores a process keeps to."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def cpu_name() -> str:
    """The CPU's model name, `unknown` where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def describe_machine() -> dict[str, str | int]:
    """What results depend on beside the engines: CPU, cores, system, Python."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def pin_to_cores(count: int) -> tuple[int, ...]:
    """Bind this process, and threads made from now on, to the last `count` cores it may use.

    Returns:
        The cores; all there are where these are fewer; none where the system can't bind.
    """
    if not hasattr(os, "sched_setaffinity"):
        return ()
    cores = tuple(sorted(os.sched_getaffinity(0))[-count:])
    os.sched_setaffinity(0, cores)
    return cores
