"""Parsing of option values that name several things; errors name the option."""

from __future__ import annotations

from collections.abc import Iterable

from tfaot.errors import UsageError
from tfaot.options import SetValue

_BATCH_AXIS = {"n", "b", "none", "batch", "?", "-1"}
_WORDS: dict[str, SetValue] = {"true": True, "false": False}


def names(text: str | None) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def batch_sizes(text: str | None) -> tuple[int, ...]:
    """Positive integers separated by commas, ascending."""
    sizes = set()
    for part in names(text):
        if not part.isascii() or not part.isdigit() or int(part) < 1:
            raise UsageError(
                f"--batch-sizes: '{part}' is not a positive integer, give for example 1,2,4"
            )
        sizes.add(int(part))
    return tuple(sorted(sizes))


def flags(texts: Iterable[str]) -> tuple[str, ...]:
    """Flags separated by white space, over all uses of the option."""
    return tuple(flag for text in texts for flag in text.split())


def assignments(texts: Iterable[str], option: str) -> dict[str, str]:
    """NAME=VALUE, once per name."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{option}: '{text}' must have the form NAME=VALUE")
        if name.strip() in found:
            raise UsageError(f"{option}: '{name.strip()}' is given twice")
        found[name.strip()] = value.strip()
    return found


def input_shapes(texts: Iterable[str]) -> dict[str, tuple[int | None, ...]]:
    """NAME=n,28,28,1: sizes separated by commas; n, None, ? or -1 is the batch axis."""
    return {
        name: tuple(_size(part, name) for part in names(value.strip("[]()")))
        for name, value in assignments(texts, "--input-shape").items()
    }


def _size(text: str, name: str) -> int | None:
    if text.lower() in _BATCH_AXIS:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise UsageError(f"--input-shape {name}: '{text}' is no size, give for example {name}=n,28,28")


def set_values(texts: Iterable[str]) -> dict[str, SetValue]:
    """NAME=VALUE with true, false, a number, or numbers separated by commas."""
    return {name: _value(value, name) for name, value in assignments(texts, "--set").items()}


def _value(text: str, name: str) -> SetValue:
    if "," in text or text.startswith("["):
        return tuple(_value(part, name) for part in names(text.strip("[]")))
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise UsageError(f"--set {name}: '{text}' is no number, true or false")
