"""Batch rules: how users have a batch size composed of those that a model was compiled for.

Input: texts such as `5:2,4`: 5 rows as 2 and 4, the last padded with zeros. Output: the parts by
batch size. The notation is that of cms-tfaot. Only the standard library is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tfaot.errors import UsageError

Rules = Mapping[int, tuple[int, ...]]

_RULE = re.compile(r"(\d+):(\d+(?:,\d+)*)\Z", re.ASCII)
_LARGEST = 10**9


def parse_rules(
    rules: str | Iterable[str] | Mapping[int, Sequence[int]], sizes: Sequence[int]
) -> dict[int, tuple[int, ...]]:
    """The parts of each batch size that has a rule.

    Args:
        rules: texts `N:A,B,...`, one text with several separated by white space, or parts by size.
        sizes: the batch sizes that the model was compiled for; empty where it takes any.

    Raises:
        UsageError: a rule that is no rule, names other sizes, or whose parts don't make it up.
    """
    if isinstance(rules, Mapping):
        pairs = [(int(n), tuple(map(int, parts))) for n, parts in rules.items()]
    else:
        texts = rules.split() if isinstance(rules, str) else [t for r in rules for t in r.split()]
        pairs = [_parse(text) for text in texts]
    found: dict[int, tuple[int, ...]] = {}
    for batch, parts in pairs:
        text = rule_text(batch, parts)
        if batch in found:
            raise UsageError(f"batch rule '{text}': there is another for {batch} rows")
        for part in parts:
            if sizes and part not in sizes:
                compiled = ", ".join(map(str, sizes))
                raise UsageError(
                    f"batch rule '{text}': the model is not compiled for {part} rows, "
                    f"but for {compiled}"
                )
        if batch < 1 or not all(1 <= part <= _LARGEST for part in parts):
            raise UsageError(f"batch rule '{text}': sizes must be from 1 to {_LARGEST}")
        if sum(parts) < batch:
            raise UsageError(f"batch rule '{text}': the parts are {sum(parts)} rows, too few")
        if sum(parts[:-1]) >= batch:
            raise UsageError(f"batch rule '{text}': its last part has nothing to do")
        found[batch] = parts
    return found


def rule_text(batch: int, parts: Sequence[int]) -> str:
    """A rule as users write it."""
    return f"{batch}:{','.join(map(str, parts))}"


def _parse(text: str) -> tuple[int, tuple[int, ...]]:
    match = _RULE.match(text)
    if match is None:
        raise UsageError(f"batch rule '{text}': write it as 5:2,4 (5 rows as 2 and 4, padded)")
    return int(match[1]), tuple(int(part) for part in match[2].split(","))
