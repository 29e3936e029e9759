"""The zoo's objects, and programs that run all of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from consumer_models import compile_to
from zoo import CHOOSING, compile_zoo, write_list, zoo

sys.path.insert(0, str(Path(__file__).parent))

HERE = Path(__file__).parent
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
_PACKAGES = {"cc": "gcc", "c++": "g++"}


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """The path of a program; skips where it is not installed."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs {name}: apt-get install {_PACKAGES.get(name, name)}")
        return path

    return find


@pytest.fixture(scope="session")
def fast_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all models, a few of them for all levels."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, model in zoo().items():
        compile_to(folder, model, "portable" if name in CHOOSING else "x86-64-v3", name)
    write_list(folder, tuple(zoo()))
    return folder


@pytest.fixture(scope="session")
def few_zoo(fast_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models of the fast zoo that hold all levels."""
    folder = tmp_path_factory.mktemp("few")
    for name in CHOOSING:
        for suffix in ("h", "o", "json"):
            shutil.copy(fast_zoo / f"{name}.{suffix}", folder)
    write_list(folder, CHOOSING)
    return folder


@pytest.fixture(scope="session")
def whole_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all models for all levels."""
    folder = tmp_path_factory.mktemp("portable")
    write_list(folder, tuple(compile_zoo(folder, "portable")))
    return folder


@pytest.fixture(scope="session")
def build_zoo(tool: Callable[[str], str]) -> Callable[..., Path]:
    """`build_zoo(folder, source, *flags)`: a program of the folder's objects, built once each."""
    built: dict[tuple[object, ...], Path] = {}

    def build(folder: Path, source: Path, *flags: str) -> Path:
        key = (folder, source, flags)
        if key not in built:
            is_cpp = source.suffix == ".cpp"
            command = [tool("c++"), "-std=c++17"] if is_cpp else [tool("cc"), "-std=c11"]
            program = folder / f"{source.stem}{len(built)}"
            options = [*WARNINGS, "-O1", "-g", "-pthread", f"-I{folder}", f"-I{HERE}", *flags]
            objects = sorted(folder.glob("zoo_*.o"))
            subprocess.run([*command, *options, source, *objects, "-o", program], check=True)
            built[key] = program
        return built[key]

    return build


def run(*command: str | Path, **environment: str) -> str:
    """What a program prints that must end well, with nothing on standard error."""
    done = subprocess.run(
        [*command], capture_output=True, text=True, check=False, env=environment or None
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def run_program() -> Callable[..., str]:
    """`run_program(program, *arguments)`: its output."""
    return run
