"""What the results depend on: CPU, system, versions of everything that is measured."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

from ceilings import vector_lanes
from limits import cache_bytes
from rich.console import Console

from tfaot.engines import Engine
from tfaot.engines.compiled import source_digest
from tfaot.engines.native import find_compiler
from tfaot.profiling.machine import cpu_name

PACKAGES = ("tensorflow", "keras", "tf2onnx", "numpy", "llvmlite")


def compiler_version() -> str:
    """The first line of the C compiler's own account of itself."""
    compiler = find_compiler()
    if compiler is None:
        return "none"
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or ["unknown"])[0]


def describe(engines: Mapping[str, Engine]) -> dict[str, Any]:
    """Machine and versions; equal for runs that may be put together."""
    versions = {name: engine.availability().version for name, engine in engines.items()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "cpu": cpu_name(),
        "lanes": vector_lanes(),
        "cache_bytes": cache_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "compiler": compiler_version(),
        "versions": dict(sorted(versions.items())),
        "source": source_digest(),
    }


def print_engines(console: Console, engines: Mapping[str, Engine]) -> dict[str, Engine]:
    """Tell which engines are there and how to get the others; those that are there."""
    found: dict[str, Engine] = {}
    for name, engine in engines.items():
        state = engine.availability()
        if state:
            found[name] = engine
            console.print(f"  {engine.title} {state.version}", markup=False)
        else:
            console.print(
                f"  missing: {engine.title}: {state.reason}: {state.remedy}", markup=False
            )
    return found
