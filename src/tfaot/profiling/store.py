"""What was measured, one JSON object per line, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Key = tuple[str, ...]


@dataclass
class Store:
    """A file of records under a header.

    The header tells what the records depend on: machine, versions, settings. A file with another
    header is set aside (`NAME.old`), and a new one is begun. A last line that was cut off is
    ignored.

    Attributes:
        path: the file.
        header: what all records depend on.
        keys: the fields that tell what a record is about; a later one replaces an earlier.
        set_aside: where a file with another header was moved, None where there was none.
    """

    path: Path
    header: Mapping[str, Any]
    keys: Sequence[str]

    def __post_init__(self) -> None:
        self._records: dict[Key, dict[str, Any]] = {}
        self.set_aside: Path | None = None
        lines = read_lines(self.path)
        if lines and lines[0] != {"header": dict(self.header)}:
            self.set_aside = self.path.with_name(self.path.name + ".old")
            os.replace(self.path, self.set_aside)
            lines = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Rewritten whole, so that what follows a cut line is a line of its own.
        new = self.path.with_name(self.path.name + ".new")
        kept = lines or [{"header": dict(self.header)}]
        new.write_text("".join(json.dumps(line) + "\n" for line in kept))
        os.replace(new, self.path)
        for record in kept[1:]:
            self._records[self._key(record)] = record

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append records, all in one write."""
        with self.path.open("a") as file:
            file.write("".join(json.dumps(dict(r)) + "\n" for r in records))
            file.flush()
            os.fsync(file.fileno())
        for record in records:
            self._records[self._key(record)] = dict(record)

    def _key(self, record: Mapping[str, Any]) -> Key:
        return tuple(str(record.get(field, "")) for field in self.keys)

    def has(self, **fields: Any) -> bool:
        """Whether there is a record with these values."""
        return bool(self.select(**fields))

    def select(self, **fields: Any) -> list[dict[str, Any]]:
        """The records with these values, in the order in which they were measured."""
        return [
            record
            for record in self._records.values()
            if all(record.get(name) == value for name, value in fields.items())
        ]

    def all(self) -> list[dict[str, Any]]:
        """All records."""
        return list(self._records.values())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines, up to the first that is no whole line."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            value = json.loads(line)
        except ValueError:
            break
        if not line.endswith("\n"):
            break
        found.append(value)
    return found
