"""The loops at the machine's limits, for this CPU."""

from __future__ import annotations

from tfaot.codegen.target import resolve_target
from tfaot.profiling import ceilings


def vector_lanes() -> int:
    """float32 lanes of this CPU's widest vectors."""
    return resolve_target("native").vector_bytes // 4


def flops_per_iteration() -> int:
    """Floating-point operations in one iteration of `ceiling_fma`."""
    return ceilings.flops_per_iteration(resolve_target("native"))


def ceilings_object() -> bytes:
    """An object with the functions that driver.c declares."""
    return ceilings.ceilings_object(resolve_target("native"))
