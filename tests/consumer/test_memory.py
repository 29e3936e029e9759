"""The memory certificate: stack measured in C, no call of the heap in C and C++, all sections."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from consumer_models import compile_to
from test_levels import HERE
from test_other_cpus import CROSS

from tfaot.cli.memory import memory_parts
from tfaot.packaging.elf import ElfObject
from tfaot.packaging.manifest import Manifest, read_manifest

FOLDER = Path(__file__).parent
BATCHES = (0, 1, 2, 5, 7, 16, 33, 100, 300)
SLACK = 512
"""Bytes that a bound may lie above twice what was measured: room that no call happened to write."""


def write_header(folder: Path, manifest: Manifest) -> None:
    """The model behind the names that memory.c knows."""
    types = [f"const {t.ctype.c} *" for t in manifest.inputs]
    types += [f"{t.ctype.c} *" for t in manifest.outputs] + ["void *"]
    name, count = manifest.name, len(types)
    setter = manifest.symbols.set_max_isa
    (folder / "model.h").write_text(
        f'#include "{name}.h"\n'
        f"#define POINTERS {count}\n"
        "#define PARAMETERS int64_t n, "
        + ", ".join(f"{t}p{i}" for i, t in enumerate(types))
        + f"\n#define ARGUMENTS batch, {', '.join(f'pointers[{i}]' for i in range(count))}\n"
        f"#define IGNORE (void)n; {' '.join(f'(void)p{i};' for i in range(count))} (void)0\n"
        f"#define RUN {name}_run\n#define INFO {name}_info\n"
        f"#define WORKSPACE_BYTES {name}_workspace_bytes\n"
        f"#define SET_MAX_ISA(level) {f'{setter}(level)' if setter else '(void)(level)'}\n"
        f'_Static_assert({name.upper()}_STACK_BYTES == {manifest.stack_bytes}, "header");\n'
    )


def measure(*command: str | Path) -> tuple[int, list[list[int]]]:
    """The stack that the object states, and the program's numbers for each batch size."""
    sizes = [str(n) for n in BATCHES]
    done = subprocess.run([*command, *sizes], capture_output=True, text=True, check=True)
    first, *lines = done.stdout.splitlines()
    return int(first.split()[1]), [[int(x) for x in line.split()] for line in lines]


def check(stated: int, runs: list[list[int]]) -> None:
    """Every run went well, and none took more stack than stated."""
    assert [n for n, *_ in runs] == list(BATCHES)
    for n, status, used, heap in runs:
        assert status == 0, n
        assert used <= stated, (n, used, stated)
        assert heap == 0, n
    assert stated < 8192


@pytest.fixture(scope="module")
def portable(tmp_path_factory, models):
    """Every model for all levels."""
    folder = tmp_path_factory.mktemp("portable")
    return {name: compile_to(folder, model, "portable") for name, model in models.items()}


def test_calls_keep_within_their_stack_and_leave_the_heap_alone(
    model, portable, build_program, tmp_path
):
    artifact = portable[model.name]
    manifest = read_manifest(artifact.manifest)
    write_header(tmp_path, manifest)
    flags = ("-Wno-pedantic", f"-I{FOLDER}")
    program = build_program(
        tmp_path / "program", FOLDER / "memory.c", "c11", artifact.object, flags=flags
    )

    most = 0
    for level in HERE:
        stated, runs = measure(program, level[-1])
        assert stated == manifest.stack_bytes
        check(stated, runs)
        most = max(most, *(used for _, _, used, _ in runs))

    if HERE[-1] == "x86-64-v4":
        assert stated < 2 * most + SLACK, (stated, most)


@pytest.mark.parametrize("platform", CROSS)
def test_stack_on_other_cpus(platform, model, tool, tmp_path):
    compiler, emulator = map(tool, CROSS[platform])
    artifact = compile_to(tmp_path, model, platform)
    manifest = read_manifest(artifact.manifest)
    write_header(tmp_path, manifest)
    flags = ["-std=c11", "-O1", "-static", "-DNO_HEAP", f"-I{tmp_path}"]
    program = tmp_path / "program"
    subprocess.run(
        [compiler, *flags, FOLDER / "memory.c", artifact.object, "-o", program], check=True
    )

    stated, runs = measure(emulator, program, "0")

    assert stated == manifest.stack_bytes
    check(stated, runs)
    assert stated < 2 * max(used for _, _, used, _ in runs) + SLACK


@pytest.mark.parametrize("platform", ["arm64-macos", "x86-64-windows"])
def test_stack_is_known_on_systems_that_cannot_run_here(platform, model, tmp_path):
    manifest = read_manifest(compile_to(tmp_path, model, platform).manifest)

    assert manifest.stack_bytes is not None
    # A larger frame on Windows calls a library function to touch its pages.
    assert 0 < manifest.stack_bytes < 4096
    assert manifest.data_bytes > 0


def test_cpp_runs_leave_the_heap_alone(portable, build_program, tmp_path):
    program = build_program(
        tmp_path / "program",
        FOLDER / "memory.cpp",
        "c++17",
        *(portable[name].object for name in ("dense", "mixing")),
        flags=(f"-I{FOLDER}",),
    )

    done = subprocess.run([program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "done\n"), done.stdout + done.stderr


def test_parts_are_all_that_the_object_loads(model, portable):
    artifact = portable[model.name]
    manifest = read_manifest(artifact.manifest)
    elf = ElfObject(artifact.object.read_bytes())

    loaded = sum(section.size for section in elf.sections if section.is_loaded)
    parts = memory_parts(manifest, 7)

    assert parts["weights"] + parts["code"] + parts["data"] == loaded
    assert parts["workspace"] == artifact.load().workspace_bytes(7)
    assert artifact.load().info().sizes["stack_bytes"] == manifest.stack_bytes
