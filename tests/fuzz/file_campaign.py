"""Many damaged files, chunk by chunk, each chunk in a process of its own.

Input: how many files of each kind, where results go. Output: one line of JSON per chunk in
`files.jsonl`, so that a run can be stopped and continued; files that go wrong in `found/`.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import malformed
import numpy as np
from malformed import READERS, damaged, problem_of

CHUNK = 500
CHUNK_SECONDS = 600
"""A chunk that takes longer hangs outside of Python, where no alarm reaches it."""


def run(
    each: int,
    folder: Path,
    progress: Callable[[int, int, int], None],
    seconds: float | None = None,
) -> None:
    """Read `each` damaged files of every kind; chunks that are done are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "files.jsonl"
    known = results(path)
    until = None if seconds is None else time.monotonic() + seconds
    faults = sum(len(r["problems"]) for r in known)
    chunks = [(k, n) for n in range(0, each, CHUNK) for k in READERS]
    before = {(r["kind"], r["first"]) for r in known}
    for kind in READERS:
        malformed.seeds_of(kind)
    for done, (kind, first) in enumerate(chunks):
        if (kind, first) in before:
            continue
        if until is not None and time.monotonic() > until:
            return
        problems = _chunk(kind, first, folder)
        faults += len(problems)
        result = {"kind": kind, "first": first, "files": CHUNK, "problems": problems}
        with path.open("a") as file:
            file.write(json.dumps(result) + "\n")
        progress((done + 1) * CHUNK, len(chunks) * CHUNK, faults)


def _chunk(kind: str, first: int, folder: Path) -> list[dict[str, Any]]:
    """Problems of one chunk; a crash or a hang ends it at the file that it was reading."""
    notes = folder / "chunk.jsonl"
    notes.write_text("")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _read_chunk(kind, first, notes)
            status = 0
        finally:
            os._exit(status)
    until = time.monotonic() + CHUNK_SECONDS
    pid, ended = os.waitpid(child, os.WNOHANG)
    while pid == 0 and time.monotonic() < until:
        time.sleep(0.05)
        pid, ended = os.waitpid(child, os.WNOHANG)
    if pid == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
        ended = -1
    lines = [json.loads(line) for line in notes.read_text().splitlines()]
    problems = [line for line in lines if line["problem"]]
    if ended:
        problems.append(lines[-1] | {"problem": f"crash or hang: wait status {ended}"})
    for problem in problems:
        data = damaged(kind, np.random.default_rng([problem["number"], 5]))
        (folder / "found").mkdir(exist_ok=True)
        (folder / "found" / f"{kind}-{problem['number']}").write_bytes(data)
    return problems


def _read_chunk(kind: str, first: int, notes: Path) -> None:
    with notes.open("a") as file:
        for number in range(first, first + CHUNK):
            data = damaged(kind, np.random.default_rng([number, 5]))
            if number % 50 == 0 or kind in ("weights", "object"):
                file.write(json.dumps({"number": number, "problem": None}) + "\n")
                file.flush()
            problem = problem_of(kind, data)
            if problem:
                file.write(json.dumps({"number": number, "problem": problem}) + "\n")


def results(path: Path) -> list[dict[str, Any]]:
    """The chunks so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


def summary(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """How many files of each kind were read, and the faults."""
    files: Counter[str] = Counter()
    faults = []
    for result in found:
        files[result["kind"]] += result["files"]
        faults += [{"kind": result["kind"], **p} for p in result["problems"]]
    return {"files_by_kind": dict(sorted(files.items())), "faults": faults}
