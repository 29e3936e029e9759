"""Reads headers in tfcompile's shape with regular expressions, as generators of wrappers do.

Line by line, like the public generator of CMS: the last line that opens a namespace, the line of
the class, and the lines `int argN_count() ...`, `int resultN_count() ...` with a `return` after.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

NAMESPACE = re.compile(r"namespace\s+(\S+)\s*\{\Z")
CLASS = re.compile(
    r"class\s+(\S+)_bs(\d+)\s+final\s+:\s+public\stensorflow::XlaCompiledCpuFunction\s+.*\Z"
)
COUNT = re.compile(r"int\s+(arg|result)(\d+)_count\(\).+\Z")
RETURN = re.compile(r"return\s+(\d+)\s*;")


@dataclass
class TfcompileHeader:
    """What a wrapper needs to know: counts are elements by index."""

    namespace: str = ""
    class_name: str = ""
    batch: int = 0
    args: dict[int, int] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)


def read_tfcompile_header(path: Path) -> TfcompileHeader:
    """The header in the file `path`."""
    header = TfcompileHeader()
    lines = iter([line.strip() for line in path.read_text().splitlines() if line.strip()])
    for line in lines:
        if found := NAMESPACE.match(line):
            header.namespace = found[1]
        elif found := CLASS.match(line):
            header.class_name, header.batch = found[1], int(found[2])
        elif found := COUNT.match(line):
            value = RETURN.match(next(lines))
            assert value, line
            counts = header.args if found[1] == "arg" else header.results
            counts[int(found[2])] = int(value[1])
    return header
