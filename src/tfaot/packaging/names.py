"""Valid, unique C names for what users call their models and tensors."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from tfaot.options import RESERVED_WORDS

# What the generated header itself names inside the functions that take the tensors.
_TAKEN = frozenset(
    {
        "batch",
        "bytes",
        "count",
        "max_batch",
        "memory",
        "n",
        "parts",
        "rules",
        "small_stack_bytes",
        "stack",
        "status",
        "workspace",
        "workspace_bytes",
    }
)

_LONGEST = 96
"""Letters of an identifier; compilers stop to follow lines of some thousand."""


def c_identifier(text: str, fallback: str) -> str:
    """A C and C++ identifier close to `text`; accents are dropped, other symbols become `_`.

    What is longer than a name should be is cut off.
    """
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    plain = plain[:_LONGEST].rstrip("_")
    if not plain:
        return fallback
    if plain[0].isdigit():
        plain = f"{fallback}_{plain}"
    return f"{plain}_" if plain in RESERVED_WORDS else plain


def unique_c_names(names: Iterable[str], fallback: str = "tensor") -> tuple[str, ...]:
    """One C identifier per name, all different (also in upper case, for macros).

    A trailing `:0` of graph tensor names is dropped. Words that C, C++ or the generated header
    use get a trailing underscore; what would clash gets a number.
    """
    used: set[str] = set()
    result: list[str] = []
    for name in names:
        base = c_identifier(re.sub(r":0\Z", "", name), fallback)
        if base in _TAKEN or base.endswith("_t") or base.lower().startswith("tfaot"):
            base += "_"
        candidate, count = base, 1
        while candidate.upper() in used:
            count += 1
            candidate = f"{base.rstrip('_')}_{count}"
        used.add(candidate.upper())
        result.append(candidate)
    return tuple(result)


def default_model_name(source: str | PurePath) -> str:
    """The name of a model that is given none: its file's or folder's stem as a C identifier."""
    path = PurePath(source)
    stem = path.stem if path.suffix in {".keras", ".h5", ".hdf5", ".pb"} else path.name
    if stem in {"saved_model", "frozen_graph", "graph", "model"} and path.parent.name:
        stem = path.parent.name
    return c_identifier(stem, "model")
