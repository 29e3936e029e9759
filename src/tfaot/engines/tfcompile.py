"""XLA's own ahead-of-time compiler, tfcompile, from the installed TensorFlow wheel.

The wheel holds the compiler as a Python extension and the sources of its runtime. What dense models
need of them is built once; a shared library per model then holds one class per batch size.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfaot.engines.converter import Converter
from tfaot.engines.files import ModelFiles, new_file
from tfaot.engines.protocol import (
    Array,
    Availability,
    BoundCall,
    Engine,
    EngineError,
    Runner,
    describe_error,
    package_version,
    reported,
    tensorflow_availability,
)
from tfaot.runtime.cpu import LEVELS, cpu_flags

CPU = "skylake-avx512"
LARGEST_BATCH = 256
SOURCES = (
    "xla/backends/cpu/runtime/dot_lib_f32.cc",
    "xla/backends/cpu/runtime/rng_state_lib.cc",
    "xla/executable_run_options.cc",
    "xla/service/custom_call_status.cc",
    "tensorflow/compiler/tf2xla/allocator.cc",
    "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.cc",
)
FLAGS = ("-std=c++17", "-O2", "-DNDEBUG", f"-march={CPU}", "-fPIC", "-w", "-fno-gnu-unique")
"""Without the last, the static data of all loaded models' classes of one name would be one."""

LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")


class TfcompileEngine(Engine):
    """TensorFlow's XLA ahead of time: code for one batch size each, called from C++."""

    name = "tfcompile"
    title = "XLA AOT (tfcompile)"
    color = "#85b6b2"

    def availability(self) -> Availability:
        """Whether there are the wheel's compiler and sources, g++ and AVX-512."""
        found = tensorflow_availability(self.title)
        if not found:
            return found
        if find_compiler() is None:
            return Availability(
                reason="there is no C++ compiler", remedy="apt-get install g++ (or set CXX)"
            )
        flags = cpu_flags()
        if flags is None or not flags.issuperset(LEVELS["x86-64-v4"]):
            return Availability(
                reason="this CPU has no AVX-512, which its runtime is built for",
                remedy="use another machine",
            )
        missing = [s for s in SOURCES if not (_package() / "xla_aot_runtime_src" / s).exists()]
        if missing:
            return Availability(
                reason=f"the wheel lacks {missing[0]}", remedy="pip install tensorflow-cpu==2.21.*"
            )
        return found

    def supports(self, batch: int) -> bool:
        """Powers of two: each batch size is code of its own."""
        return 1 <= batch <= LARGEST_BATCH and batch & (batch - 1) == 0

    def prepare(self, files: ModelFiles, batches: Sequence[int], converter: Converter) -> None:
        """Compile for each batch size, and link."""
        sizes = sorted(b for b in batches if self.supports(b))
        library = _library(files)
        folder = library.parent
        wanted = [b for b in sizes if not (folder / f"batch_{b}.done").exists()]
        if not wanted:
            return
        runtime = build_runtime(files.folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        for batch in wanted:
            converter.call(
                "tfcompile",
                folder=str(files.folder),
                directory=str(folder),
                batch=batch,
                cpp_class=f"batch_{batch}",
                target=CPU,
            )
        done = {int(p.stem.removeprefix("batch_")) for p in folder.glob("batch_*.done")}
        _link(library, sorted(done | set(wanted)), runtime)
        for batch in wanted:
            (folder / f"batch_{batch}.done").touch()

    def load(self, files: ModelFiles) -> Runner:
        """Load the shared library, and TensorFlow's with it."""
        library = _library(files)
        if not library.exists():
            raise EngineError("tfcompile: the model was not compiled")
        with reported("tfcompile"):
            return _TfcompileRunner(files, ctypes.CDLL(str(library)))


def find_compiler() -> str | None:
    """The C++ compiler: $CXX, g++ or c++."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")


def build_runtime(folder: Path) -> list[Path]:
    """The runtime, built in `folder` unless it is there: two minutes, once.

    Raises:
        EngineError: the compiler fails.
    """
    root = _package() / "xla_aot_runtime_src"
    place = folder / f"tfcompile-{package_version('tensorflow')}-runtime"
    objects = []
    for source in SOURCES:
        target = place / f"{Path(source).stem}.o"
        if not target.exists():
            with new_file(target) as path:
                include = [f"-I{_package() / 'include'}", f"-I{root}"]
                _run([*FLAGS, *include, "-c", str(root / source), "-o", str(path)])
        objects.append(target)
    return [*objects, *(_stand_in(place, name) for name in LIBRARIES)]


def _stand_in(folder: Path, name: str) -> Path:
    """An empty library of the same name to link against: looking through TensorFlow's takes long.

    What is missing is found when the model is loaded, from the real ones.
    """
    target = folder / name
    if not target.exists():
        with new_file(target) as path:
            flags = ["-shared", "-fPIC", "-x", "c++", "/dev/null", f"-Wl,-soname,{name}"]
            _run([*flags, "-o", str(path)])
    return target


def _package() -> Path:
    spec = importlib.util.find_spec("tensorflow")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _library(files: ModelFiles) -> Path:
    version = package_version("tensorflow")
    return files.folder / f"tfcompile-{version}" / "model.so"


def _link(library: Path, batches: Sequence[int], runtime: Sequence[Path]) -> None:
    folder, package = library.parent, _package()
    wrapper = folder / "wrapper.cc"
    wrapper.write_text(wrapper_text(batches))
    objects = [
        folder / f"batch_{b}_{part}.o" for b in batches for part in ("function", "constants")
    ]
    with new_file(library) as path:
        _run(
            [
                *FLAGS,
                "-shared",
                f"-I{package / 'include'}",
                f"-I{folder}",
                str(wrapper),
                *map(str, objects),
                "-Wl,--no-as-needed",
                *map(str, runtime),
                f"-Wl,-rpath,{package}",
                "-o",
                str(path),
            ]
        )


def wrapper_text(batches: Sequence[int]) -> str:
    """C++ that makes, feeds and runs the generated classes behind C functions."""
    includes = "\n".join(f'#include "batch_{b}.h"' for b in batches)
    cases = "\n".join(f"    case {b}: return new batch_{b}(Mode);" for b in batches)
    return f"""#include <time.h>
{includes}
using Function = tensorflow::XlaCompiledCpuFunction;
static constexpr auto Mode = Function::AllocMode::RESULTS_PROFILES_AND_TEMPS_ONLY;
static double seconds(clockid_t clock) {{
  timespec t;
  clock_gettime(clock, &t);
  return double(t.tv_sec) + 1e-9 * double(t.tv_nsec);
}}
extern "C" {{
Function* xla_make(int64_t batch) {{
  switch (batch) {{
{cases}
  }}
  return nullptr;
}}
void xla_input(Function* f, int index, const void* data) {{ f->set_arg_data(index, data); }}
const void* xla_output(Function* f, int index) {{ return f->result_data(index); }}
int64_t xla_output_bytes(Function* f, int index) {{ return f->result_size(index); }}
int xla_outputs(Function* f) {{ return f->num_results(); }}
int xla_run(Function* f) {{ return f->Run() ? 0 : 1; }}
double xla_loop(Function* f, int64_t calls) {{
  const double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
  for (int64_t i = 0; i < calls; ++i) f->Run();
  return seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
}}
double xla_once(Function* f) {{
  const double start = seconds(CLOCK_MONOTONIC);
  f->Run();
  return seconds(CLOCK_MONOTONIC) - start;
}}
}}
"""


def _run(arguments: Sequence[str]) -> None:
    compiler = find_compiler()
    if compiler is None:
        raise EngineError("tfcompile: there is no C++ compiler: apt-get install g++ (or set CXX)")
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [
            line for line in done.stderr.splitlines() if "error" in line or "undefined" in line
        ]
        text = (errors or done.stderr.splitlines() or [f"status {done.returncode}"])[0]
        raise EngineError(f"tfcompile: {describe_error(text)}")


class _TfcompileRunner(Runner):
    def __init__(self, files: ModelFiles, library: Any) -> None:
        self._files, self._library = files, library
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        for name, result, arguments in (
            ("xla_make", pointer, [number]),
            ("xla_input", None, [pointer, ctypes.c_int, pointer]),
            ("xla_output", pointer, [pointer, ctypes.c_int]),
            ("xla_output_bytes", number, [pointer, ctypes.c_int]),
            ("xla_outputs", ctypes.c_int, [pointer]),
            ("xla_run", ctypes.c_int, [pointer]),
            ("xla_loop", ctypes.c_double, [pointer, number]),
            ("xla_once", ctypes.c_double, [pointer]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments

    def bind(self, inputs: Sequence[Array]) -> BoundCall:
        """An object of the class for this batch size, with the inputs in aligned buffers.

        The outputs are flat: their shapes are not told.
        """
        library = self._library
        made = library.xla_make(self._files.batch_of(inputs))
        if not made:
            raise EngineError("tfcompile: the model was not compiled for this batch size")
        buffers = [_aligned_copy(array) for array in inputs]
        for number, buffer in enumerate(buffers):
            library.xla_input(made, number, buffer.ctypes.data)
        if library.xla_run(made):
            raise EngineError("tfcompile: the call failed")
        count = library.xla_outputs(made)

        def results() -> list[Array]:
            views = []
            for number in range(count):
                size = library.xla_output_bytes(made, number)
                address = library.xla_output(made, number)
                views.append(np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)))
            return views

        call = BoundCall(
            lambda: library.xla_run(made),
            results,
            loop=lambda calls: float(library.xla_loop(made, calls)),
            kept=(self, buffers),
        )
        call.once = lambda: float(library.xla_once(made))
        return call


def _aligned_copy(array: Array) -> Array:
    memory = np.empty(array.nbytes + 64, np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
