"""Modules that once went wrong, as files: HLO text, and what makes their inputs.

`cases/NAME.hlo` is the module, `cases/NAME.json` tells the seed of the inputs, the limits of each,
the target, and what was wrong.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass
from pathlib import Path

from module_graph import Built

from tfaot.ir.printer import print_module
from tfaot.ir.text import parse_module
from tfaot.testing.cases.case import Limits

FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Regression:
    """A module with its inputs.

    Attributes:
        name: of its files.
        built: the module, and what its inputs may hold.
        seed: of the inputs.
        target: what it was compiled for.
        found: what was wrong.
    """

    name: str
    built: Built
    seed: int
    target: str
    found: str

    def save(self, folder: Path = FOLDER) -> None:
        """Write both files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.name}.hlo").write_text(print_module(self.built.module))
        data = {
            "found": self.found,
            "limits": [astuple(x) for x in self.built.limits],
            "seed": self.seed,
            "target": self.target,
        }
        (folder / f"{self.name}.json").write_text(json.dumps(data, indent=1) + "\n")


def load(name: str, folder: Path = FOLDER) -> Regression:
    """Read both files."""
    data = json.loads((folder / f"{name}.json").read_text())
    module = parse_module((folder / f"{name}.hlo").read_text())
    built = Built(module, tuple(Limits(*x) for x in data["limits"]))
    return Regression(name, built, data["seed"], data["target"], data["found"])


def names(folder: Path = FOLDER) -> list[str]:
    """All cases."""
    return sorted(p.stem for p in folder.glob("*.hlo"))
