"""Golden rows: inputs, and what verified code makes of them on each instruction set.

Input: a loaded artifact. Output: bytes for the self-test in its object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tfaot.errors import UsageError
from tfaot.packaging.manifest import Target
from tfaot.runtime.cpu import required_flags
from tfaot.verification.levels import limited, lower_levels
from tfaot.verification.verify import fitting_inputs, run_compiled

if TYPE_CHECKING:
    from tfaot.frontend.session import LoadedModel
    from tfaot.runtime.model import Model


def golden_rows(
    model: Model, batch: int, target: Target, loaded: LoadedModel | None
) -> tuple[list[bytes], list[list[bytes]]]:
    """The bytes of the inputs, and for each CPU those of the outputs.

    All CPUs with fused multiply-add give the same bits, so that one of them stands for another.

    Args:
        model: an artifact that runs here, of the same model as the one with the golden rows.
        batch: how many rows.
        target: the machine that the golden rows are of.
        loaded: the model in TensorFlow, which tells what inputs it takes; None for any.

    Raises:
        UsageError: this machine can't tell what one of the CPUs gives.
    """
    arrays = fitting_inputs(model, loaded, batch)
    own = model.manifest.target
    known = {model.isa: run_compiled(model, arrays)}
    for cpu in lower_levels(model):
        with limited(model, cpu):
            known[cpu] = run_compiled(model, arrays)
    results = []
    for cpu in target.cpus:
        same = [k for k in known if k == cpu] or [
            k for k in known if _has_fma(own, k) == _has_fma(target, cpu)
        ]
        if not same:
            raise UsageError(
                f"--self-test: this machine can't tell what {cpu} computes: compile on one that can"
            )
        results.append([np.ascontiguousarray(y).tobytes() for y in known[same[0]]])
    return [np.ascontiguousarray(x).tobytes() for x in arrays], results


def _has_fma(target: Target, cpu: str) -> bool:
    if not target.triple.startswith("x86"):
        return True
    return "fma" in required_flags(Target(target.triple, (cpu,), target.features))
