"""Memory of one engine in Python, as models and then threads come.

Usage: python -m tfaot.profiling.memory_worker ENGINE BATCH THREADS,... TINY FOLDER..., folders
of a tiny model, which shows the runtime alone, and of the models. Prints one JSON object per state,
with the resident and the private bytes of this process.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from tfaot.engines import BoundCall, make_engine
from tfaot.engines.files import read_files


def tell(stage: str, models: int, threads: int) -> None:
    """Print the memory as it is now."""
    resident = private = 0
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "Rss":
            resident = int(rest.split()[0]) * 1024
        elif name in {"Private_Clean", "Private_Dirty"}:
            private += int(rest.split()[0]) * 1024
    state = {"stage": stage, "models": models, "threads": threads}
    print(json.dumps({**state, "resident": resident, "private": private}), flush=True)


def main() -> None:
    """Go through the states."""
    engine = make_engine(sys.argv[1])
    batch, counts = int(sys.argv[2]), [int(n) for n in sys.argv[3].split(",")]
    tiny, *folders = map(Path, sys.argv[4:])
    tell("start", 0, 0)
    files = read_files(tiny)
    runtime = engine.load(files)
    runtime.bind(files.random_inputs(batch)).run()
    tell("runtime", 0, 0)
    described = [read_files(folder) for folder in folders]
    runners = [engine.load(f) for f in described]
    inputs = described[0].random_inputs(batch)
    tell("load", len(runners), 0)
    calls: list[list[BoundCall]] = []
    for count in counts:
        ready = threading.Barrier(count + 1)

        def work(number: int, ready: threading.Barrier = ready) -> None:
            for call in calls[number]:
                call.call()
            ready.wait()
            ready.wait()

        # Each thread has calls of its own for all models, as far as the engine wants that.
        while len(calls) < count:
            calls.append([runner.bind(inputs) for runner in runners])
        threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        ready.wait()
        tell("run", len(runners), count)
        ready.wait()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
