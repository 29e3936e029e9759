"""The memory certificate: what a model takes in a program that runs it, and a budget for it.

Input: a manifest, a batch size where the workspace grows with it, and a limit. Output: the parts
and their sum; one line that says by how much a limit is passed.
"""

from __future__ import annotations

import re

from tfaot.errors import ArtifactError, UsageError
from tfaot.packaging.manifest import Manifest

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmg", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmg", 1)},
}


def parse_size(text: str, option: str) -> int:
    """Bytes that `text` names: a number, or one with a unit, `64KiB` (65536) or `4MB` (4000000)."""
    found = _SIZE.fullmatch(text.strip())
    unit = _UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None or ("." in found[1] and unit == 1):
        raise UsageError(
            f"{option}: '{text}' is no size, give bytes or a unit: 4096, 64KiB (1024), 4MB (1000)"
        )
    return int(float(found[1]) * unit) if "." in found[1] else int(found[1]) * unit


def check_batch(manifest: Manifest, batch: int | None) -> None:
    """UsageError where the workspace depends on a batch size that is missing, or it is none."""
    if batch is not None and batch < 0:
        raise UsageError(f"--batch: {batch} is no batch size")
    if batch is None and manifest.workspace.bytes is None:
        raise UsageError(
            f"the workspace of {manifest.name} grows with the batch size: say for which one "
            "the budget is (--batch)"
        )


def memory_parts(manifest: Manifest, batch: int | None) -> dict[str, int]:
    """Bytes by part: what is in memory once, then what each call takes while it runs.

    Raises:
        UsageError: the workspace grows with the batch size, and none is given.
        ArtifactError: the stack that the model takes is unknown.
    """
    check_batch(manifest, batch)
    if manifest.stack_bytes is None:
        raise ArtifactError(
            f"the stack that {manifest.name} takes could not be told from its code for "
            f"{manifest.target.cpu}: compile for an older CPU (--target) to have a bound"
        )
    return {
        "weights": manifest.weights_bytes,
        "code": manifest.code_bytes,
        "data": manifest.data_bytes,
        "workspace": manifest.workspace.at(batch or 0),
        "stack": manifest.stack_bytes,
    }


def excess(manifest: Manifest, batch: int | None, limit: int) -> str | None:
    """One line that says by how much `limit` is passed and what takes most; None within it.

    The errors are those of `memory_parts`.
    """
    parts = memory_parts(manifest, batch)
    total = sum(parts.values())
    if total <= limit:
        return None
    name, most = max(parts.items(), key=lambda part: part[1])
    rows = f" with {batch} rows" if batch is not None and manifest.workspace.bytes is None else ""
    return (
        f"{manifest.name} takes {total} bytes{rows}, {total - limit} more than the {limit} allowed "
        f"(--max-bytes); most of it is {name}, {most} bytes"
    )
