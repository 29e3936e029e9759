"""The errors of float32 kernels over every argument, by the C program in sweep.c.

Input: compiled kernels and the opcode that they compute. Output: what was found of each over all
bit patterns, or over random pairs of a function of two arguments.

The reference is the C library's function of doubles. Where that is glibc, its error is at most 4
ULP of double ("Known Maximum Errors in Math Functions" in its manual; 4 is cbrt's, most have 1),
which is less than 1e-8 ULP of float32.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure import Compiled, Cpu, Worst, compile_floats

from tfaot.codegen.math import MathFunction
from tfaot.codegen.types import F32

SOURCE = Path(__file__).with_name("sweep.c")
PATTERNS = range(2**32)
BLOCK = 4096
PAIR_BLOCKS = 2**28 // BLOCK
# Between two calls Python sees Ctrl-C.
_CHUNK = 1 << 22

_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


class _Kernel(ctypes.Structure):
    _fields_ = (("code", ctypes.c_void_p), ("same_as", ctypes.c_int64))


class _Finding(ctypes.Structure):
    _fields_ = (
        ("ulp", ctypes.c_double),
        ("worst_exact", ctypes.c_double),
        ("worst_argument", ctypes.c_uint32 * 2),
        ("worst_got", ctypes.c_float),
        ("differs_argument", ctypes.c_uint32 * 2),
        ("sign_argument", ctypes.c_uint32 * 2),
        ("differs", ctypes.c_uint64),
        ("wrong_sign", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Kernel:
    """Code to try.

    Attributes:
        code: compiled for 64 lanes or a divisor.
        same_as: the place of an earlier kernel that must give the same bits, NaN payloads aside.
    """

    code: Compiled
    same_as: int | None = None


@dataclass(frozen=True)
class Places:
    """How often something happened, and the arguments of one such case."""

    count: int
    first: tuple[float, ...]

    def __str__(self) -> str:
        args = ", ".join(f"{a!r} ({a.hex()})" for a in self.first)
        return f"{self.count} arguments, one of them ({args})"


@dataclass(frozen=True)
class Finding:
    """What was found of a kernel.

    Attributes:
        worst: the largest error.
        differs: where the bits are not those of the kernel that it must agree with.
        wrong_sign: where the sign is not the reference's, of zeros too.
    """

    worst: Worst
    differs: Places
    wrong_sign: Places


def compiler() -> str | None:
    """The system's C compiler."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@functools.cache
def library() -> ctypes.CDLL:
    """sweep.c, for this machine."""
    path = compiler()
    assert path is not None, "needs a C compiler: apt-get install gcc"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sweep.so"
        command = [path, *_FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(target), "-lm"]
        # Not every compiler knows the machine it is on.
        native = subprocess.run([*command, "-march=native"], capture_output=True, check=False)
        if native.returncode:
            subprocess.run(command, check=True)
        loaded = ctypes.CDLL(str(target))
    for function in (loaded.sweep_unary, loaded.sweep_binary):
        function.argtypes = [
            ctypes.c_char_p,
            ctypes.c_uint64,
            ctypes.c_uint64,
            ctypes.c_int64,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        function.restype = ctypes.c_int
    loaded.sweep_errors.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 3]
    loaded.sweep_errors.restype = None
    return loaded


def errors(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """What sweep.c takes for the errors in ULP of float32 results."""
    got, exact = np.ascontiguousarray(got), np.ascontiguousarray(exact)
    assert (got.dtype, exact.dtype) == (np.float32, np.float64)
    assert got.shape == exact.shape
    result = np.empty(got.shape)
    library().sweep_errors(got.size, got.ctypes.data, exact.ctypes.data, result.ctypes.data)
    return result


def sweep_unary(
    name: str, kernels: Sequence[Kernel], patterns: range = PATTERNS
) -> tuple[Finding, ...]:
    """Tries consecutive bit patterns (all, unless told) as arguments of all kernels."""
    assert patterns.step == 1
    return _sweep(library().sweep_unary, name, kernels, patterns, 1, _CHUNK)


def sweep_binary(
    name: str, kernels: Sequence[Kernel], blocks: range = range(PAIR_BLOCKS)
) -> tuple[Finding, ...]:
    """Tries random pairs, 4096 per block, the same ones for the same numbers of blocks."""
    return _sweep(library().sweep_binary, name, kernels, blocks, 2, _CHUNK // BLOCK)


def _sweep(
    function: ctypes._FuncPointer,  # type: ignore[name-defined]
    name: str,
    kernels: Sequence[Kernel],
    numbers: range,
    arity: int,
    chunk: int,
) -> tuple[Finding, ...]:
    listed = (_Kernel * len(kernels))()
    for number, kernel in enumerate(kernels):
        assert kernel.same_as is None or kernel.same_as < number
        before = -1 if kernel.same_as is None else kernel.same_as
        listed[number] = _Kernel(kernel.code.address, before)
    found = (_Finding * len(kernels))(*(_Finding(ulp=-1.0) for _ in kernels))
    for part in _chunks(numbers, chunk):
        known = function(name.encode(), part.start, len(part), len(kernels), listed, found)
        assert known, f"sweep.c has no reference for {name}"
    return tuple(_finding(f, arity) for f in found)


def _chunks(numbers: range, size: int) -> Iterator[range]:
    for start in range(numbers.start, numbers.stop, size):
        yield range(start, min(start + size, numbers.stop))


def _finding(found: _Finding, arity: int) -> Finding:
    def floats(patterns: Sequence[int]) -> tuple[float, ...]:
        return struct.unpack(f"<{arity}f", struct.pack(f"<{arity}I", *patterns[:arity]))

    return Finding(
        Worst(found.ulp, floats(found.worst_argument), found.worst_got, found.worst_exact),
        Places(found.differs, floats(found.differs_argument)),
        Places(found.wrong_sign, floats(found.sign_argument)),
    )


def sweep_function(function: MathFunction, cpus: Sequence[Cpu]) -> dict[Cpu, Finding]:
    """Every argument of a function (random pairs, of two), compiled for each CPU.

    All CPUs with FMA must give the bits of the first of them.
    """
    kernels: list[Kernel] = []
    for cpu in cpus:
        code = compile_floats(function.emit, function.arity, F32, lanes=16, cpu=cpu)
        earlier = [i for i, other in enumerate(cpus[: len(kernels)]) if other.has_fma]
        kernels.append(Kernel(code, earlier[0] if cpu.has_fma and earlier else None))
    sweep = sweep_unary if function.arity == 1 else sweep_binary
    return dict(zip(cpus, sweep(function.opcode, kernels), strict=True))
