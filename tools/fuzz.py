"""Random modules through interpreter, XLA and compiled code; malformed files through all readers.

    python tools/fuzz.py --modules 20000 --workers 2

Results are kept in the folder `fuzz-out`: a run that is stopped (Ctrl-C) goes on where it was when
started again. Modules that go wrong are minimised into `fuzz-out/found`; from there they are moved
to `tests/fuzz/cases` with the fix. XLA is asked where jaxlib is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / n) for n in ("fuzz", "support", "ir")]

import campaign  # noqa: E402
import file_campaign  # noqa: E402


class Progress:
    """A line that changes on a terminal; in a pipe, a line a minute."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.start = self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, of: int, faults: int) -> None:
        """Say so, if it is time."""
        now = time.monotonic()
        self.first = done if self.first is None else self.first
        terminal = sys.stderr.isatty()
        if now - self.last < (0.5 if terminal else 60) and done < of:
            return
        self.last = now
        rate = (done - self.first + 1) / (now - self.start)
        text = f"{done} of {of} {self.what}, {rate:.1f}/s, {faults} faults"
        print(f"\r{text} " if terminal else text, end="" if terminal else "\n", file=sys.stderr)


def main() -> int:
    """Run, or go on; exit status 1 where there are faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--modules", type=int, default=20000, help="how many modules")
    parser.add_argument("--files", type=int, default=20000, help="how many files of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first module")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("fuzz-out"), help="folder of results")
    parser.add_argument("--summary", type=Path, help="file for the summary (OUT/summary.json)")
    parser.add_argument("--seconds", type=float, help="stop after that long")
    parser.add_argument("--minimise", type=int, nargs="*", help="modules to minimise, and no run")
    parser.add_argument("--again", type=int, nargs="*", help="modules to try again (all faults)")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--cases", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = given.cases or given.out / "found"
    if given.worker:
        campaign.work(cases)
        return 0
    path = given.out / "modules.jsonl"
    if given.minimise is not None:
        for number in given.minimise:
            campaign.keep_case(number, campaign.results(path)[number]["problem"], cases)
        return 0
    numbers: Sequence[int] = range(given.first, given.first + given.modules)
    stopped = False
    # A shell's background jobs ignore the one, and others send the other.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        if given.files and given.again is None:
            file_campaign.run(given.files, given.out, Progress("files"), given.seconds)
        if given.modules:
            progress = Progress("modules")
            again = given.again
            if again is not None:
                known = campaign.results(path).values()
                numbers = again or [r["number"] for r in known if r["problem"]]
            campaign.run(
                numbers,
                given.out,
                given.workers,
                cases,
                progress,
                given.seconds,
                anew=again is not None,
            )
    except KeyboardInterrupt:
        stopped = True
    if sys.stderr.isatty():
        print(file=sys.stderr)
    modules = campaign.summary(campaign.results(path).values())
    files = file_campaign.summary(file_campaign.results(given.out / "files.jsonl"))
    target = given.summary or given.out / "summary.json"
    target.write_text(json.dumps({"modules": modules, "files": files}, indent=1) + "\n")
    faults = len(modules["faults"]) + len(files["faults"])
    read = sum(files["files_by_kind"].values())
    print(f"{modules['modules']} modules, {read} files, {faults} faults: {target}")
    if stopped:
        print("stopped: the same command goes on")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
