"""What the worker tells the session about a loaded model."""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.signature import Signature


@dataclass(frozen=True)
class Description:
    """Signature, size, digest and versions of a model, and lines for the user.

    See `session.LoadedModel`.
    """

    signature: Signature
    parameter_count: int
    parameter_bytes: int
    digest: str
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
