"""Many random modules, one after the other, in several processes: what `make fuzz` runs.

Input: how many, where results go. Output: one line of JSON per module in `modules.jsonl`, so that a
run can be stopped at any time and continued; a summary; and a minimised case of each fault.

Workers hold LLVM and XLA, and try one module after the other. A worker that dies, or takes longer
than `HANG_SECONDS`, tells a fault of the module that it was trying.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from minimise import kind_of, minimise, trial_in_child
from module_graph import RandomModule
from module_trial import ALL_LEVELS, PAIR, try_module
from regressions import Regression

from tfaot.ir.module import Module
from tfaot.ir.shapes import Shape

HANG_SECONDS = 180
PER_WORKER = 400
"""Modules after which a worker is replaced, so that its memory is given back."""

EVERY_LEVEL = 5
"""One module in so many is compiled for all levels, the others for those with FMA."""


def target_of(number: int) -> str:
    """What module `number` is compiled for."""
    return ALL_LEVELS if number % EVERY_LEVEL == 0 else PAIR


def contents(module: Module) -> tuple[Counter[str], Counter[str]]:
    """How many instructions there are of each opcode, and of each element type."""
    opcodes: Counter[str] = Counter()
    types: Counter[str] = Counter()
    for computation in module.computations():
        for node in computation.instructions:
            opcodes[node.opcode] += 1
            if isinstance(node.shape, Shape):
                types[str(node.shape.dtype)] += 1
    return opcodes, types


def work(cases: Path) -> None:
    """A worker: numbers come on standard input, results go to standard output, both a line each."""
    for line in sys.stdin:
        number = int(line)
        result: dict[str, Any] = {"number": number}
        try:
            built = RandomModule.numbered(number).build()
        except Exception as error:  # a fault of the generator's own
            result["problem"] = f"generator: {type(error).__name__}: {error}"
            print(json.dumps(result), flush=True)
            continue
        opcodes, types = contents(built.module)
        result |= {"opcodes": opcodes, "types": types, "symbolic": built.module.batch}
        print(json.dumps(result), flush=True)
        outcome = try_module(built, number, target=target_of(number))
        result = {"number": number, **vars(outcome)}
        print(json.dumps(result), flush=True)


def keep_case(number: int, problem: str, cases: Path) -> None:
    """Write the minimised module; crashes and hangs are tried in processes of their own."""
    built, target, kind = RandomModule.numbered(number).build(), target_of(number), kind_of(problem)
    if kind == "xla":

        def wrong(smaller: Any) -> bool:
            return kind_of(try_module(smaller, number, target=target).problem) == kind
    else:

        def wrong(smaller: Any) -> bool:
            return kind_of(trial_in_child(smaller, number, target)) == kind

    small = minimise(built, wrong)
    Regression(f"{kind}-{number}", small, number, target, problem).save(cases)


class StoppedError(Exception):
    """Someone else ended a worker: its module is tried again."""


class _Worker:
    """A process and the module that it is trying."""

    def __init__(self, command: list[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.done = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def try_one(self, number: int) -> dict[str, Any]:
        """The result of a module, a crash or a hang included."""
        assert self.process.stdin is not None
        result: dict[str, Any] = {"number": number}
        try:
            self.process.stdin.write(f"{number}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return result | {"problem": "worker: ended before its module"}
        until = time.monotonic() + HANG_SECONDS
        while "problem" not in result:
            try:
                line = self.lines.get(timeout=max(until - time.monotonic(), 0.01))
            except queue.Empty:
                self.stop()
                return result | {"problem": f"hang: longer than {HANG_SECONDS} s"}
            if not line:
                status = self.process.wait()
                if status == -signal.SIGTERM:
                    raise StoppedError
                return result | {"problem": f"crash: exit status {status}"}
            if line.startswith("{"):
                result |= json.loads(line)
        self.done += 1
        return result

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def run(
    numbers: Iterable[int],
    folder: Path,
    workers: int,
    cases: Path,
    progress: Callable[[int, int, int], None],
    seconds: float | None = None,
    *,
    anew: bool = False,
) -> None:
    """Try modules; results are appended to `folder/modules.jsonl`.

    Args:
        numbers: which modules; those with a result already are left out.
        folder: of the results.
        workers: how many processes.
        cases: where minimised modules go.
        progress: told of how many are done, of how many, and how many faults there are.
        seconds: after which to stop; None for no limit.
        anew: whether those with a result are tried again; the last result counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "modules.jsonl"
    before = results(path)
    numbers = list(numbers)
    left: queue.Queue[int] = queue.Queue()
    for number in numbers:
        if anew or number not in before:
            left.put(number)
    done = len(numbers) - left.qsize()
    faults = 0 if anew else sum(1 for r in before.values() if r["problem"])
    lock, stopping = threading.Lock(), threading.Event()
    until = None if seconds is None else time.monotonic() + seconds
    kinds: Counter[str] = Counter()
    command = [sys.executable, sys.argv[0], "--worker", "--cases", str(cases)]

    def loop() -> None:
        nonlocal done, faults
        worker = _Worker(command)
        try:
            while not stopping.is_set() and (until is None or time.monotonic() < until):
                try:
                    number = left.get_nowait()
                except queue.Empty:
                    return
                try:
                    result = worker.try_one(number)
                except StoppedError:
                    left.put(number)
                    worker = _Worker(command)
                    continue
                if stopping.is_set():
                    return
                with lock:
                    with path.open("a") as file:
                        file.write(json.dumps(result, sort_keys=True) + "\n")
                    done += 1
                    problem = result["problem"]
                    if problem:
                        faults += 1
                        kinds[kind_of(problem)] += 1
                        (folder / "faults.txt").open("a").write(f"{number} {problem}\n")
                    progress(done, len(numbers), faults)
                if worker.done >= PER_WORKER or worker.process.poll() is not None:
                    worker.stop()
                    worker = _Worker(command)
        finally:
            worker.stop()

    threads = [threading.Thread(target=loop) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.5)
    except KeyboardInterrupt:
        stopping.set()
        for thread in threads:
            thread.join()
        raise


def results(path: Path) -> dict[int, dict[str, Any]]:
    """The results so far, by module; a last line that was cut off is left out."""
    found: dict[int, dict[str, Any]] = {}
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                result = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[result["number"]] = result
    return found


def summary(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Counts of what was tried, and the faults."""
    opcodes: Counter[str] = Counter()
    types: Counter[str] = Counter()
    xla: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    batches: Counter[int] = Counter()
    faults = []
    found = sorted(found, key=lambda r: r["number"])
    for result in found:
        opcodes.update(result.get("opcodes", {}))
        types.update(result.get("types", {}))
        batches.update(result.get("batches", []))
        xla[result.get("xla", "not asked").partition(":")[0]] += 1
        for key in ("calls", "compared", "skipped", "xla_compared"):
            totals[key] += result.get(key, 0)
        totals["symbolic"] += bool(result.get("symbolic"))
        if result["problem"]:
            faults.append({"module": result["number"], "problem": result["problem"]})
    return {
        "modules": len(found),
        "first": found[0]["number"] if found else None,
        "last": found[-1]["number"] if found else None,
        "symbolic_modules": totals["symbolic"],
        "calls_of_compiled_code": totals["calls"],
        "elements_compared_with_the_interpreter": totals["compared"],
        "elements_not_specified": totals["skipped"],
        "elements_compared_with_xla": totals["xla_compared"],
        "modules_by_answer_of_xla": dict(sorted(xla.items())),
        "calls_by_batch_size": {str(k): v for k, v in sorted(batches.items())},
        "instructions_by_opcode": dict(sorted(opcodes.items())),
        "instructions_by_type": dict(sorted(types.items())),
        "faults": faults,
    }
