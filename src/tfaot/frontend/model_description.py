"""What the worker tells the session about a loaded model."""

from __future__ import annotations

from dataclasses import dataclass

from tfaot.signature import Signature


@dataclass(frozen=True)
class Description:
    """Signature, size, digest and versions of a model (see `session.LoadedModel`).

    `weights` are the names of the weights that its HLO takes as arguments, after the inputs;
    `notes` are lines for the user.
    """

    signature: Signature
    parameter_count: int
    parameter_bytes: int
    digest: str
    versions: dict[str, str]
    weights: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
