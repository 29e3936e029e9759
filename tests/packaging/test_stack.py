"""Bounds of stack from machine code: small functions for every CPU, and kernels as they run."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np
import pytest

from tfaot.codegen.platforms import PLATFORMS
from tfaot.codegen.target import resolve_targets
from tfaot.packaging.object_code import read_code
from tfaot.packaging.stack import UnknownCodeError, stack_bytes
from tfaot.runtime.cpu import runs_here
from tfaot.testing.cases import op_cases

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from compiled import compile_module

MOST_FURTHER = {"ppc64le-linux": 288 + 160, "x86-64-windows": 160}
"""Bytes besides its array that a function with one may take: saved registers, linkage."""


def object_of(text: str, platform: str) -> bytes:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = resolve_targets(platform)[-1]
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=3,
        reloc="pic",
        codemodel="small",
        abiname=target.abi,
    )
    module = llvm.parse_assembly(text)
    module.triple = target.triple
    module.data_layout = str(machine.target_data)
    return bytes(machine.emit_object(module))


def bound(text: str, platform: str, *functions: str) -> int:
    return stack_bytes(read_code(object_of(text, platform)), functions or ("f",))


def with_array(size: int, alignment: int = 8, name: str = "f", calls: str = "") -> str:
    """A function that writes an array of its own, and may call another with it."""
    return f"""
define i64 @{name}(i64 %i) noinline nounwind "no-stack-arg-probe" {{
  %a = alloca [{size} x i8], align {alignment}
  %p = getelementptr i8, ptr %a, i64 %i
  store volatile i8 1, ptr %p
  {f"%r = call i64 @{calls}(i64 %i)" if calls else "%r = add i64 %i, 1"}
  store volatile i8 2, ptr %p
  ret i64 %r
}}
"""


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("size", [8, 100, 200, 500, 2032, 2056, 4096, 5000, 30000, 40000, 70000])
def test_arrays_are_counted(platform, size):
    found = bound(with_array(size), platform)

    assert size <= found + 288 * platform.startswith("ppc")
    assert found <= size + MOST_FURTHER.get(platform, 128), found


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("alignment", [32, 64, 256])
def test_alignment_is_counted(platform, alignment):
    plain, aligned = (bound(with_array(512, a), platform) for a in (8, alignment))

    # Below the array there may be anything up to the alignment.
    assert plain + alignment // 2 <= aligned <= plain + 3 * alignment + 96


@pytest.mark.parametrize("platform", PLATFORMS)
def test_calls_add_up(platform):
    text = with_array(600, name="leaf") + with_array(400, name="middle", calls="leaf")
    text += with_array(200, name="f", calls="middle")

    found = bound(text, platform)

    assert 1200 <= found <= 1200 + 2 * MOST_FURTHER.get(platform, 160)
    assert bound(text, platform, "leaf") < bound(text, platform, "middle") < found
    assert bound(text, platform, "leaf", "f", "middle") == found


@pytest.mark.parametrize("platform", PLATFORMS)
def test_arguments_on_the_stack_are_counted(platform):
    count = 40
    parameters = ", ".join("i64" for _ in range(count))
    text = f"""
define internal i64 @g({", ".join(f"i64 %a{i}" for i in range(count))}) noinline nounwind {{
  %r = add i64 %a0, %a{count - 1}
  ret i64 %r
}}
define i64 @f(i64 %i) nounwind {{
  %r = call i64 (ptr, {parameters}) @h(ptr null, {", ".join("i64 %i" for _ in range(count))})
  %s = add i64 %r, 1
  ret i64 %s
}}
define i64 @h(ptr %p, {", ".join(f"i64 %a{i}" for i in range(count))}) noinline nounwind {{
  %r = add i64 %a1, %a{count - 1}
  ret i64 %r
}}
"""
    assert 8 * (count - 8) < bound(text, platform) < 8 * count + 600


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("problem", "body"),
    [
        ("recursion", "%r = call i64 @f(i64 %i)\n %s = add i64 %r, 1\n ret i64 %s"),
        ("pointer", "%p = inttoptr i64 %i to ptr\n %r = call i64 %p(i64 %i)\n ret i64 %r"),
        ("elsewhere", "%r = call i64 @library(i64 %i)\n %s = add i64 %r, 1\n ret i64 %s"),
        ("size of data", "%a = alloca i8, i64 %i\n store volatile i8 1, ptr %a\n ret i64 %i"),
    ],
)
def test_what_has_no_bound_is_refused(platform, problem, body):
    text = (
        f'declare i64 @library(i64)\ndefine i64 @f(i64 %i) nounwind "no-stack-arg-probe" {{\n'
        f" {body}\n}}\n"
    )
    with pytest.raises(UnknownCodeError):
        bound(text, platform)


def test_garbage_is_refused_or_bounded():
    random = np.random.default_rng(1)
    for platform in PLATFORMS:
        data = bytearray(object_of(with_array(300), platform))
        code = read_code(bytes(data))
        start = data.find(code.text[:16])
        for _ in range(200):
            data[start : start + len(code.text)] = random.bytes(len(code.text))
            try:
                assert stack_bytes(read_code(bytes(data)), ("f",)) >= 0
            except UnknownCodeError:
                continue


@pytest.fixture(scope="module")
def stack_of(tmp_path_factory):
    """The C function that measures a call."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs cc: apt-get install gcc")
    library = tmp_path_factory.mktemp("meter") / "meter.so"
    source = Path(__file__).with_name("stack_meter.c")
    subprocess.run(
        [compiler, "-std=c11", "-O1", "-shared", "-fPIC", source, "-o", library], check=True
    )
    function = ctypes.CDLL(str(library)).stack_of
    function.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
    return function


KERNELS = (
    "convolution/convolution/f32/3x3-same",
    "linalg/fft/c64/FFT-12",
    "linalg/cholesky/f64/9-lower",
    "linalg/triangular-solve/c128/left-upper-any-adjoint",
    "sort/sort/f64/argsort-Bx33",
    "elementwise/sine/c128/Bx3",
    "elementwise/power/u64/17",
    "elementwise/power/f64/Bx3",
    "elementwise/log/c128/64",
    "dot/dot/f32/layer-63-32",
    "window/select-and-scatter/f64/pool-3-same",
    "random/rng-bit-generator/u16/rng_philox-64",
)


@pytest.mark.parametrize("level", ["x86-64-v2", "x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_keep_within_their_bound(name, level, stack_of):
    (case,) = (c for c in op_cases() if c.name == name)
    run = compile_module(case.module(), level)
    manifest = run.compiled.manifest
    if not runs_here(manifest.target):
        pytest.skip(f"needs a CPU with {level}")
    batch = 5 if case.symbolic else 1
    arrays = [np.ascontiguousarray(x) for x in case.inputs(0, batch)]
    shapes = [o.array.at(batch) for o in run.module.outputs]
    arrays += [np.zeros(s.dims, s.dtype.numpy) for s in shapes]
    memory = np.zeros(run.workspace_bytes(batch) + 64, np.uint8)
    addresses = [a.ctypes.data for a in arrays] + [-(-memory.ctypes.data // 64) * 64]
    pointers = (ctypes.c_void_p * 12)(*addresses)

    used = stack_of(run.loaded.address(manifest.symbols.run), batch, ctypes.addressof(pointers))

    assert manifest.stack_bytes is not None
    assert 0 < used <= manifest.stack_bytes <= min(2 * used + 512, 8192)
