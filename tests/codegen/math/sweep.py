"""The errors of kernels over every float32, or very many float64, by the C code in sweep*.c.

Input: compiled kernels and the opcode that they compute. Output: what was found of each over all
bit patterns of float32, over random pairs of a function of two arguments, or over random float64.

The reference of float32 is the C library's function of doubles. Of glibc's the largest error that
its tests know on x86-64 is 4 ULP of double for cbrt, 2 for tanh, 1 for the others (its file
libm-test-ulps): less than 1e-8 ULP of float32. The reference of float64 is the function of long
doubles: with the 64 bits that they have on x86-64, errors are exact to SLACK64.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from llvmlite import ir
from measure import Compiled, Cpu, Worst, compile_floats

from tfaot.codegen.math import MathFunction
from tfaot.codegen.types import F32, F64

HERE = Path(__file__).parent
SOURCES = ("sweep.c", "sweep64.c")
PATTERNS = range(2**32)
BLOCK = 4096
PAIR_BLOCKS = 2**28 // BLOCK
BLOCKS64 = 2**25 // BLOCK
SLACK64 = 0.005
# Between two calls Python sees Ctrl-C.
_CHUNK = 1 << 22

_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


class _Kernel(ctypes.Structure):
    _fields_ = (("code", ctypes.c_void_p), ("same_as", ctypes.c_int64))


def _finding_fields(number: type) -> tuple[tuple[str, type], ...]:
    return (
        ("ulp", ctypes.c_double),
        ("worst_exact", ctypes.c_double),
        ("worst_argument", number * 2),
        ("worst_got", number),
        ("differs_argument", number * 2),
        ("sign_argument", number * 2),
        ("differs", ctypes.c_uint64),
        ("wrong_sign", ctypes.c_uint64),
    )


class _Finding(ctypes.Structure):
    _fields_ = _finding_fields(ctypes.c_float)


class _Finding64(ctypes.Structure):
    _fields_ = _finding_fields(ctypes.c_double)


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
    """The C code, built for this machine."""
    path = compiler()
    assert path is not None, "needs a C compiler: apt-get install gcc"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "sweep.so"
        sources = [str(HERE / name) for name in SOURCES]
        command = [path, *_FLAGS, "-shared", "-fPIC", *sources, "-o", str(target), "-lm"]
        # Not every compiler knows the machine it is on.
        native = subprocess.run([*command, "-march=native"], capture_output=True, check=False)
        if native.returncode:
            subprocess.run(command, check=True)
        loaded = ctypes.CDLL(str(target))
    for function in (loaded.sweep_unary, loaded.sweep_binary, loaded.sweep_float64):
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
    return _sweep(library().sweep_unary, _Finding, name, kernels, patterns, _CHUNK)


def sweep_binary(
    name: str, kernels: Sequence[Kernel], blocks: range = range(PAIR_BLOCKS)
) -> tuple[Finding, ...]:
    """Tries random pairs, 4096 per block, the same ones for the same numbers of blocks."""
    return _sweep(library().sweep_binary, _Finding, name, kernels, blocks, _CHUNK // BLOCK, 2)


def sweep_float64(
    name: str, kernels: Sequence[Kernel], blocks: range = range(BLOCKS64), arity: int = 1
) -> tuple[Finding, ...] | None:
    """Tries random float64 arguments, 4096 per block; None where long double is no wider."""
    if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        return None
    run = library().sweep_float64
    return _sweep(run, _Finding64, name, kernels, blocks, _CHUNK // BLOCK // 8, arity)


def _sweep(
    function: Callable[..., int],
    finding: type[_Finding] | type[_Finding64],
    name: str,
    kernels: Sequence[Kernel],
    numbers: range,
    chunk: int,
    arity: int = 1,
) -> tuple[Finding, ...]:
    listed = (_Kernel * len(kernels))()
    for number, kernel in enumerate(kernels):
        assert kernel.same_as is None or kernel.same_as < number
        before = -1 if kernel.same_as is None else kernel.same_as
        listed[number] = _Kernel(kernel.code.address, before)
    found = (finding * len(kernels))(*(finding(ulp=-1.0) for _ in kernels))
    for part in _chunks(numbers, chunk):
        known = function(name.encode(), part.start, len(part), len(kernels), listed, found)
        assert known, f"sweep.c and sweep64.c have no reference for {name}"
    return tuple(_finding(f, arity) for f in found)


def _chunks(numbers: range, size: int) -> Iterator[range]:
    for start in range(numbers.start, numbers.stop, size):
        yield range(start, min(start + size, numbers.stop))


def _finding(found: _Finding | _Finding64, arity: int) -> Finding:
    return Finding(
        Worst(found.ulp, tuple(found.worst_argument[:arity]), found.worst_got, found.worst_exact),
        Places(found.differs, tuple(found.differs_argument[:arity])),
        Places(found.wrong_sign, tuple(found.sign_argument[:arity])),
    )


def sweep_function(function: MathFunction, cpus: Sequence[Cpu]) -> dict[Cpu, Finding]:
    """Every float32 argument of a function (random pairs, of two), compiled for each CPU.

    All CPUs with FMA must give the bits of the first of them.
    """
    sweep = sweep_unary if function.arity == 1 else sweep_binary
    found = sweep(function.opcode, _for_each(function, F32, cpus))
    return dict(zip(cpus, found, strict=True))


def sweep_function64(function: MathFunction, cpus: Sequence[Cpu]) -> dict[Cpu, Finding] | None:
    """Random float64 arguments of a function; None where there is no reference."""
    kernels = _for_each(function, F64, cpus)
    found = sweep_float64(function.opcode, kernels, arity=function.arity)
    return None if found is None else dict(zip(cpus, found, strict=True))


def _for_each(function: MathFunction, element: ir.Type, cpus: Sequence[Cpu]) -> list[Kernel]:
    kernels: list[Kernel] = []
    for number, cpu in enumerate(cpus):
        code = compile_floats(function.emit, function.arity, element, lanes=16, cpu=cpu)
        earlier = [i for i in range(number) if cpus[i].has_fma]
        kernels.append(Kernel(code, earlier[0] if cpu.has_fma and earlier else None))
    return kernels
