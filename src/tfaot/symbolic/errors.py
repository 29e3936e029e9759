"""The error of models without a symbolic form."""

from __future__ import annotations

from tfaot.errors import TfaotError


class NotSymbolicError(TfaotError):
    """A model whose lowerings are not one program in the batch size; names the op that differs."""
