"""Errors that a user can cause, each with a one-line message that says what to do.

The command line prints the message and exits with `exit_code`; Python callers catch `TfaotError`.
"""

from __future__ import annotations


class TfaotError(Exception):
    """Base of all errors that are the input's or the environment's, never the program's."""

    exit_code = 2

    def __str__(self) -> str:
        """The message on one line, whatever names and texts it quotes."""
        return " ".join(super().__str__().splitlines())


class UsageError(TfaotError):
    """A wrong option, name, path or call."""


class ModelError(TfaotError):
    """The model can't be read, or lacks what was asked of it (signature, input, output)."""


class UnsupportedError(TfaotError):
    """An op, type or shape that can't be compiled; the message names op, shape and layer."""


class InvalidModuleError(TfaotError):
    """HLO that is malformed: unparsable, ill-typed, or against the HLO specification."""


class ArtifactError(TfaotError):
    """A manifest or an object that is missing, corrupt, or not for this machine."""


class InputError(TfaotError):
    """Arrays of the wrong rank, shape or type, or a missing or unknown input, given to a model."""


class VerificationError(TfaotError):
    """The compiled model's outputs miss the accuracy bound; names output, row and both values."""

    exit_code = 3
