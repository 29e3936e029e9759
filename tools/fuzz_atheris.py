"""Damaged files chosen by coverage: libFuzzer drives one reader, through atheris.

    pip install --require-hashes --no-deps -r requirements-fuzz.lock
    python tools/fuzz_atheris.py text -max_total_time=600 [more options of libFuzzer, a corpus]

Kinds are those of `tests/fuzz/malformed.py`: text, proto, yaml, manifest, weights, object. A file
that goes wrong is written as `crash-HASH` and ends the run.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / n) for n in ("fuzz", "support", "ir")]


def main() -> None:
    """Run until a fault is found, or libFuzzer's limits are reached."""
    try:
        import atheris
    except ImportError:
        sys.exit(
            "needs atheris (CPython 3.11 to 3.13 on Linux): "
            "pip install --require-hashes --no-deps -r requirements-fuzz.lock"
        )
    with atheris.instrument_imports(include=["tfaot.ir", "tfaot.config", "tfaot.packaging"]):
        import malformed
    if len(sys.argv) < 2 or sys.argv[1] not in malformed.READERS:
        sys.exit(f"usage: fuzz_atheris.py {'|'.join(malformed.READERS)} [options of libFuzzer]")
    kind = sys.argv.pop(1)

    def read(data: bytes) -> None:
        problem = malformed.problem_of(kind, data)
        if problem:
            raise AssertionError(problem)

    corpus = Path(tempfile.mkdtemp(prefix=f"tfaot-{kind}-"))
    for number, seed in enumerate(malformed.seeds_of(kind)):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
