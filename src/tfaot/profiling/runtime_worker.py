"""The process that measures runtimes: a crash of an engine ends it, and not the whole profile.

Input: one job as a line of standard input (`tfaot.profiling.runtime`). Output: events as lines of
JSON on what was standard output; what engines print goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from tfaot.profiling.machine import pin_to_cores
from tfaot.profiling.runtime import measure, read_job


def main() -> None:
    """Do the job."""
    # An interrupt at the terminal reaches this process too; the one that started it will end it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(event: Mapping[str, Any]) -> None:
        events.write(json.dumps(event) + "\n")
        events.flush()

    job = read_job(sys.stdin.readline())
    cores = pin_to_cores(job.threads)
    tell({"event": "pinned", "cores": len(cores)})
    measure(job, tell)
    tell({"event": "end"})
    # Engines may take long, or fail, in taking themselves down.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(1)
