"""Classes in tfcompile's shape on TensorFlow's own base class, of this version and older ones."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HEADER = "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.h"
RUNTIME = (
    "tensorflow/compiler/tf2xla/allocator.cc",
    "tensorflow/compiler/tf2xla/xla_compiled_cpu_function.cc",
    "xla/backends/cpu/runtime/rng_state_lib.cc",
    "xla/executable_run_options.cc",
)

PROGRAM = Path(__file__).with_name("tfcompile_bases.cpp")
OLD_BASE = Path(__file__).with_name("tfcompile_old_base.h")


def compile_program(
    tool: Callable[[str], str], source: Path, text: str, *arguments: str | Path
) -> Path:
    source.write_text(text)
    program = source.with_suffix("")
    command = [tool("c++"), "-std=c++17", "-O1", source, *arguments, "-o", program]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return program


def status_of(program: Path) -> tuple[int, str]:
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def objects(tfcompile_folder) -> list[Path]:
    return [tfcompile_folder / f"{name}.o" for name in ("several", "fixed")]


@pytest.fixture
def old_headers(tmp_path) -> Path:
    """A folder with a base class of TensorFlow 2.7 to 2.12."""
    path = tmp_path / "old" / HEADER
    path.parent.mkdir(parents=True)
    path.write_text(OLD_BASE.read_text())
    return tmp_path / "old"


@pytest.fixture(scope="module")
def tensorflow_package() -> Path:
    """The installed TensorFlow, with headers and the sources of the compiled models' runtime."""
    spec = importlib.util.find_spec("tensorflow")
    root = Path(spec.origin).parent if spec and spec.origin else None
    if root is None or not (root / "include" / HEADER).exists():
        pytest.skip("needs TensorFlow's headers: pip install tensorflow-cpu")
    if not all((root / "xla_aot_runtime_src" / source).exists() for source in RUNTIME):
        pytest.skip("this TensorFlow comes without the runtime of compiled models")
    return root


def test_stand_in(tool, tfcompile_folder, objects, tmp_path):
    program = compile_program(
        tool, tmp_path / "main.cpp", PROGRAM.read_text(), f"-I{tfcompile_folder}", *objects
    )
    assert status_of(program) == (0, "")


def test_stand_in_comes_first_where_nothing_else_did(
    tool, tfcompile_folder, objects, old_headers, tmp_path
):
    """The model's header finds the stand-in beside it, wherever else there is one."""
    program = compile_program(
        tool,
        tmp_path / "main.cpp",
        PROGRAM.read_text(),
        f"-I{old_headers}",
        f"-I{tfcompile_folder}",
        *objects,
    )
    assert status_of(program) == (0, "")


def test_older_base(tool, tfcompile_folder, objects, old_headers, tmp_path):
    program = compile_program(
        tool,
        tmp_path / "main.cpp",
        PROGRAM.read_text(),
        "-DTHEIRS",
        f"-I{old_headers}",
        f"-I{tfcompile_folder}",
        *objects,
    )
    assert status_of(program) == (0, "")


def test_two_bases_in_one_program_stop_it(tool, tfcompile_folder, objects, old_headers, tmp_path):
    """The class has another layout in each file, which nothing but this tells."""
    other = tmp_path / "other.cpp"
    other.write_text(
        '#include "several_bs2.h"\nbool other() { return tfaot_model::several_bs2().Run(); }\n'
    )
    program = compile_program(
        tool,
        tmp_path / "main.cpp",
        f'#include "{HEADER}"\n#include "several_bs2.h"\n'
        "bool other();\nint main() { return tfaot_model::several_bs2().Run() && other(); }\n",
        other,
        f"-I{old_headers}",
        f"-I{tfcompile_folder}",
        *objects,
    )
    status, errors = status_of(program)
    assert status != 0
    assert "include it in all" in errors


def test_a_header_alone_says_what_is_missing(tool, tfcompile_folder, tmp_path):
    (tmp_path / "several_bs2.h").write_text((tfcompile_folder / "several_bs2.h").read_text())
    source = tmp_path / "main.cpp"
    source.write_text('#include "several_bs2.h"\n')
    done = subprocess.run(
        [tool("c++"), "-std=c++17", "-fsyntax-only", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "keep the folder tensorflow/" in done.stderr


@pytest.mark.slow
@pytest.mark.tensorflow
def test_base_of_the_installed_tensorflow(
    tool, tfcompile_folder, objects, tensorflow_package, tmp_path
):
    """Compiled and run against TensorFlow's headers and runtime; its include folder first."""
    sources = [tensorflow_package / "xla_aot_runtime_src" / source for source in RUNTIME]
    for defines in (["-DTHEIRS"], []):
        program = compile_program(
            tool,
            tmp_path / "main.cpp",
            PROGRAM.read_text(),
            "-w",
            *defines,
            f"-I{tensorflow_package / 'include'}",
            f"-I{tensorflow_package / 'xla_aot_runtime_src'}",
            f"-I{tfcompile_folder}",
            *(sources if defines else []),
            *objects,
            f"-L{tensorflow_package}",
            "-l:libtensorflow_framework.so.2",
            "-l:libtensorflow_cc.so.2",
            f"-Wl,-rpath,{tensorflow_package}",
        )
        assert status_of(program)[0] == 0
