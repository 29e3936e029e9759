"""What a model costs: runtime over batch sizes and memory over threads, in tfaot and other engines.

Input: models, engines, batch sizes (`Settings`). Output: a `Profile`, JSON, CSV and plots.

    profile = tfaot.profile("tagger.keras", "out", engines=["tfaot-c", "tensorflow"])
    for r in profile.runtime:
        print(r.engine, r.batch_size, r.spread_per_row.median)

As the public project MLProf does it, a repetition is one call after some warm-up, and what is
given is the median with a band from the 16th to the 84th percentile.
"""

from __future__ import annotations

from tfaot.profiling.config import ModelSettings, Settings
from tfaot.profiling.results import (
    Bytes,
    Failure,
    MemoryResult,
    MemoryState,
    Profile,
    RuntimeResult,
    read_profile,
)

__all__ = [
    "Bytes",
    "Failure",
    "MemoryResult",
    "MemoryState",
    "ModelSettings",
    "Profile",
    "RuntimeResult",
    "Settings",
    "read_profile",
]
