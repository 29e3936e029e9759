"""The machine's limits, measured next to a model: peak multiply-adds, reading its weights."""

from __future__ import annotations

import ctypes
import mmap
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ceilings import ceilings_object, flops_per_iteration
from numpy.typing import NDArray

from tfaot.engines.native import find_compiler
from tfaot.errors import UsageError

HERE = Path(__file__).resolve().parent
SECONDS = 1e-3


def build_limits(folder: Path) -> Path:
    """The shared library with the loops, built in `folder`.

    Raises:
        UsageError: there is no C compiler.
    """
    compiler = find_compiler()
    if compiler is None:
        raise UsageError("there is no C compiler: apt-get install gcc (or set CC)")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ceilings.o").write_bytes(ceilings_object())
    library = folder / "limits.so"
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    parts = [str(HERE / "limits.c"), str(folder / "ceilings.o"), "-o", str(library)]
    subprocess.run([compiler, *flags, *parts], check=True)
    return library


def cache_bytes(cpu: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """Bytes of the largest cache, as Linux tells; 32 MB where it doesn't."""
    units = {"K": 1 << 10, "M": 1 << 20}
    texts = [path.read_text().strip() for path in cpu.glob("index*/size")]
    sizes = [int(t[:-1]) * units[t[-1]] for t in texts if t[-1:] in units]
    return max(sizes, default=32 << 20)


class Limits:
    """Loops at the machine's limits, about `SECONDS` each."""

    def __init__(self, library: Path) -> None:
        """Load the loops."""
        self._library: Any = ctypes.CDLL(str(library))
        self._library.benchmark_fma.argtypes = [ctypes.c_int64]
        self._library.benchmark_read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
        for function in (self._library.benchmark_fma, self._library.benchmark_read):
            function.restype = ctypes.c_double
        self._bytes: NDArray[np.uint8] = np.zeros(1 << 16, np.uint8)
        self._dirt: NDArray[np.uint8] | None = None
        self._counts: dict[str, int] = {}

    @property
    def weight_bytes(self) -> int:
        """Bytes that `reading` reads."""
        return len(self._bytes)

    def use_weights(self, object_file: Path, count: int) -> None:
        """Read `count` bytes in the same kind of pages as a model's: those of its object's file."""
        with object_file.open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._bytes = np.frombuffer(pages, np.uint8)[:count]
        self._counts.pop("read", None)

    def ceiling(self, batch: int) -> float:
        """For one row the bytes read per second, for more the peak of floating-point operations."""
        return self.reading() if batch == 1 else self.peak()

    def peak(self) -> float:
        """Floating-point operations per second."""
        once = self._take("fma", lambda n: float(self._library.benchmark_fma(n)), 1000)
        return flops_per_iteration() / once

    def reading(self) -> float:
        """Bytes per second."""
        address, count = self._bytes.ctypes.data, len(self._bytes)
        once = self._take(
            "read", lambda n: float(self._library.benchmark_read(address, count, n)), 1
        )
        return count / once

    def evict(self) -> None:
        """Push code and data out of all caches, with twice the largest cache's bytes."""
        if self._dirt is None:
            self._dirt = np.ones(2 * cache_bytes(), np.uint8)
        self._library.benchmark_read(self._dirt.ctypes.data, len(self._dirt), 0)

    def _take(self, kind: str, run: Callable[[int], float], unit: int) -> float:
        if kind not in self._counts:
            once = min(run(unit) for _ in range(3))
            self._counts[kind] = max(unit, round(SECONDS / once))
        return run(self._counts[kind])
