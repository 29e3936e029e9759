"""Compiles emitters to functions over arrays, and measures their error in ULP.

sweep.py does so for every float32. Shared by the tests here and by tools/measure_accuracy.py, which
writes docs/accuracy.md.
"""

from __future__ import annotations

import ctypes
import math
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
import mpmath as mp
import numpy as np
from llvmlite import ir

from tfaot.codegen.types import F32, F64, memory_element, vector_type
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.dtypes import DType

Emit = Callable[..., ir.Value]

TRIPLE = "x86_64-unknown-linux-gnu"
ELEMENTS = {"f32": F32, "f64": F64}
NUMPY = {"float": np.float32, "double": np.float64}

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()


@dataclass(frozen=True)
class Cpu:
    """A target to compile for."""

    name: str
    has_fma: bool
    has_f16c: bool
    triple: str = TRIPLE

    def machine(self, *, jit: bool = False) -> llvm.TargetMachine:
        target = llvm.Target.from_triple(self.triple)
        model = "jitdefault" if jit else "small"
        return target.create_target_machine(self.name, opt=3, reloc="pic", codemodel=model, jit=jit)


V2 = Cpu("x86-64-v2", has_fma=False, has_f16c=False)
V3 = Cpu("x86-64-v3", has_fma=True, has_f16c=True)
V4 = Cpu("x86-64-v4", has_fma=True, has_f16c=True)
AARCH64 = Cpu("generic", has_fma=True, has_f16c=True, triple="aarch64-unknown-linux-gnu")
X86 = (V2, V3, V4)


def host_runs(cpu: Cpu) -> bool:
    """Whether code for `cpu` can be executed here."""
    if not llvm.get_process_triple().startswith(cpu.triple.split("-")[0]):
        return False
    features = llvm.get_host_cpu_features()
    needed = {"x86-64-v2": "sse4.2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl"}.get(cpu.name)
    return needed is None or features.get(needed, False)


def best_cpu() -> Cpu:
    """The largest x86-64 level with FMA that runs here."""
    return next((cpu for cpu in (V4, V3) if host_runs(cpu)), V2)


def module_of(
    emit: Emit, inputs: list[ir.Type], output: ir.Type, lanes: int | None, cpu: Cpu
) -> ir.Module:
    """A module whose function `kernel(count, output, inputs...)` maps arrays through `emit`."""
    module = ir.Module("measure")
    module.triple = cpu.triple
    pointers = [ir.PointerType()] * (len(inputs) + 1)
    i64 = ir.IntType(64)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [i64, *pointers]), "kernel")
    count, target, *sources = function.args
    entry, loop, done = (function.append_basic_block(n) for n in ("entry", "loop", "done"))
    builder = ir.IRBuilder(entry)
    builder.cbranch(builder.icmp_signed(">", count, ir.Constant(i64, 0)), loop, done)
    builder.position_at_end(loop)
    index = builder.phi(i64)
    index.add_incoming(ir.Constant(i64, 0), entry)
    vector = VectorBuilder(builder, has_fma=cpu.has_fma, has_f16c=cpu.has_f16c)
    values = []
    for source, element in zip(sources, inputs, strict=True):
        address = builder.gep(source, [index], source_etype=element)
        values.append(builder.load(address, typ=vector_type(element, lanes), align=1))
    result = emit(vector, *values)
    builder.store(result, builder.gep(target, [index], source_etype=output), align=1)
    following = builder.add(index, ir.Constant(i64, lanes or 1))
    index.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, count), loop, done)
    builder.position_at_end(done)
    builder.ret_void()
    return module


def optimized(module: ir.Module, machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The module after LLVM's passes; the loop vectorizer is off, to keep the lanes asked for."""
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return parsed


class Compiled:
    """Compiled code that maps arrays, whose sizes are a multiple of `lanes`.

    Attributes:
        address: of the function `kernel(count, output, inputs...)`.
    """

    def __init__(
        self,
        engine: llvm.ExecutionEngine,
        arity: int,
        numpy_output: type | np.dtype,
        lanes: int | None,
    ) -> None:
        self._engine = engine
        self._output = numpy_output
        self._lanes = lanes or 1
        self.address: int = engine.get_function_address("kernel")
        pointers = [ctypes.c_void_p] * (arity + 1)
        self._kernel = ctypes.CFUNCTYPE(None, ctypes.c_int64, *pointers)(self.address)

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        size = arrays[0].size
        assert size % self._lanes == 0
        held = [np.ascontiguousarray(a) for a in arrays]
        result = np.empty(size, self._output)
        self._kernel(size, result.ctypes.data, *(a.ctypes.data for a in held))
        return result


def compile_elements(
    emit: Emit,
    inputs: list[ir.Type],
    output: ir.Type,
    numpy_output: type | np.dtype,
    *,
    lanes: int | None,
    cpu: Cpu,
) -> Compiled:
    """A function of arrays (sizes a multiple of `lanes`) that applies `emit` elementwise."""
    machine = cpu.machine(jit=True)
    engine = llvm.create_mcjit_compiler(
        optimized(module_of(emit, inputs, output, lanes, cpu), machine), machine
    )
    engine.finalize_object()
    return Compiled(engine, len(inputs), numpy_output, lanes)


def compile_floats(
    emit: Emit, arity: int, element: ir.Type, *, lanes: int | None, cpu: Cpu
) -> Compiled:
    """`compile_elements` for a function of floats of one type."""
    output = NUMPY[str(element)]
    return compile_elements(emit, [element] * arity, element, output, lanes=lanes, cpu=cpu)


def undefined_symbols(module: ir.Module, cpu: Cpu) -> list[str]:
    """What `nm -u` prints for the module's object."""
    machine = cpu.machine()
    data = machine.emit_object(optimized(module, machine))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.o"
        path.write_bytes(data)
        done = subprocess.run(["nm", "-u", path], capture_output=True, text=True, check=True)
    return done.stdout.split()


# References: float64 for float32, mpmath for float64.


def reference32(name: str) -> Callable[..., np.ndarray]:
    """The function in float64, vectorised, accurate to far less than a float32 ULP."""
    erf = np.frompyfunc(math.erf, 1, 1)
    table: dict[str, Callable[..., np.ndarray]] = {
        "exponential": np.exp,
        "exponential-minus-one": np.expm1,
        "log": np.log,
        "log-plus-one": np.log1p,
        "tanh": np.tanh,
        "logistic": lambda x: np.where(x < 0, np.exp(x), 1.0) / (1.0 + np.exp(-np.abs(x))),
        "erf": lambda x: erf(x).astype(np.float64),
        "sine": np.sin,
        "cosine": np.cos,
        "tan": np.tan,
        "atan2": np.arctan2,
        "power": np.power,
        "cbrt": np.cbrt,
        "sqrt": np.sqrt,
        "rsqrt": lambda x: 1.0 / np.sqrt(x),
        "remainder": np.fmod,
    }
    function = table[name]

    def run(*args: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return function(*(a.astype(np.float64) for a in args))

    return run


def reference64(name: str) -> Callable[..., mp.mpf]:
    """The function with 40 digits more than its argument needs."""
    table: dict[str, Callable[..., mp.mpf]] = {
        "exponential": mp.exp,
        "exponential-minus-one": mp.expm1,
        "log": mp.log,
        "log-plus-one": mp.log1p,
        "tanh": mp.tanh,
        "logistic": lambda x: 1 / (1 + mp.exp(-x)),
        "erf": mp.erf,
        "sine": mp.sin,
        "cosine": mp.cos,
        "tan": mp.tan,
        "atan2": mp.atan2,
        "power": mp.power,
        "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
        "sqrt": mp.sqrt,
        "rsqrt": lambda x: 1 / mp.sqrt(x),
        "remainder": lambda x, y: mp.sign(x) * mp.fmod(abs(x), abs(y)),
    }
    return table[name]


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: mantissa bits, exponents of normal numbers."""

    mantissa: int
    smallest: int
    largest: int


FORMATS = {
    DType.F16: Format(10, -14, 15),
    DType.BF16: Format(7, -126, 127),
    DType.F32: Format(23, -126, 127),
}


def ulp_errors(got: np.ndarray, exact: np.ndarray, form: Format) -> np.ndarray:
    """Error in ULP of a format per element: 0 where both are NaN or equal, inf where only one is.

    An infinity counts as the power of two after the largest number, so that overflow a little early
    or late is a small error.
    """
    limit = 2.0 ** (form.largest + 1)
    with np.errstate(all="ignore"):
        wide = got.astype(np.float64)
        both_nan = np.isnan(wide) & np.isnan(exact)
        wide = np.clip(wide, -limit, limit)
        exact = np.clip(exact, -limit, limit)
        exponent = np.where(exact == 0, form.smallest, np.frexp(np.abs(exact))[1] - 1)
        exponent = np.clip(exponent, form.smallest, form.largest)
        error = np.abs(wide - exact) / np.ldexp(1.0, exponent - form.mantissa)
    error = np.where(both_nan, 0.0, error)
    return np.where(np.isnan(error), math.inf, error)


def ulp_errors32(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """`ulp_errors` of float32; sweep.c computes the same."""
    return ulp_errors(got, exact, FORMATS[DType.F32])


def ulp_error64(got: float, exact: mp.mpf) -> float:
    """Error in ULP of float64, as `ulp_errors`."""
    if mp.isnan(exact) or math.isnan(got):
        return 0.0 if mp.isnan(exact) and math.isnan(got) else math.inf
    limit = mp.mpf(2) ** 1024
    value = mp.mpf(math.copysign(1, got)) * limit if math.isinf(got) else mp.mpf(got)
    exact = max(-limit, min(limit, exact))
    if value == exact:
        return 0.0
    exponent = -1022 if exact == 0 else min(1023, max(-1022, mp.mag(exact) - 1))
    return float(mp.ldexp(abs(value - exact), 52 - exponent))


@dataclass(frozen=True)
class Worst:
    """The largest error found, and where."""

    ulp: float
    args: tuple[float, ...]
    got: float
    exact: float

    def __str__(self) -> str:
        args = ", ".join(f"{a!r} ({float(a).hex()})" for a in self.args)
        return f"{self.ulp:.3f} ULP at ({args}): got {self.got!r}, exact {self.exact!r}"


def worst32(name: str, run: Compiled, args: tuple[np.ndarray, ...]) -> Worst:
    """The largest error of float32 results."""
    got = run(*args)
    exact = reference32(name)(*args)
    errors = ulp_errors32(got, exact)
    i = int(np.argmax(errors))
    return Worst(float(errors[i]), tuple(float(a[i]) for a in args), float(got[i]), float(exact[i]))


def worsts64(
    name: str, runs: Sequence[Compiled], args: tuple[np.ndarray, ...]
) -> tuple[Worst, ...]:
    """The largest errors of float64 kernels (finite arguments in the function's domain)."""
    results = [run(*args) for run in runs]
    function = reference64(name)
    worst = [Worst(-1.0, (), 0.0, 0.0) for _ in runs]
    with mp.workdps(50):
        for i in range(args[0].size):
            point = tuple(float(a[i]) for a in args)
            exact = function(*(mp.mpf(p) for p in point))
            for k, got in enumerate(results):
                error = ulp_error64(float(got[i]), exact)
                if error > worst[k].ulp:
                    worst[k] = Worst(error, point, float(got[i]), float(exact))
    return tuple(worst)


def compile_narrow(
    emit: Emit, arity: int, dtype: DType, *, lanes: int | None, cpu: Cpu
) -> Compiled:
    """A function of arrays of float16 or bfloat16 bits (uint16): computed in float32, rounded."""

    def widened(v: VectorBuilder, *values: ir.Value) -> ir.Value:
        return v.to_memory(emit(v, *(v.from_memory(x, dtype) for x in values)), dtype)

    element = memory_element(dtype)
    return compile_elements(widened, [element] * arity, element, np.uint16, lanes=lanes, cpu=cpu)


def worst_narrow(name: str, run: Compiled, dtype: DType, codes: tuple[np.ndarray, ...]) -> Worst:
    """The largest error of float16 or bfloat16 results, for arguments given by their bits."""
    # NumPy's casts of signalling NaNs warn.
    with np.errstate(invalid="ignore"):
        args = tuple(c.view(dtype.numpy).astype(np.float64) for c in codes)
        got = run(*codes).view(dtype.numpy).astype(np.float64)
    exact = reference32(name)(*args)
    errors = ulp_errors(got, exact, FORMATS[dtype])
    i = int(np.argmax(errors))
    return Worst(float(errors[i]), tuple(float(a[i]) for a in args), float(got[i]), float(exact[i]))


NARROW_BOUND = {DType.F16: 0.5004, DType.BF16: 0.50005}
"""Half an ULP, and what the largest error in float32 (2.5 ULP) is in theirs."""
