"""Compiled models and the tools of a C or C++ user."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from consumer_models import Model, all_models, compile_to

from tfaot.artifact import Artifact

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
TFCOMPILE_SIZES = {
    "dense": (1, 3),
    "stitched": (),
    "several": (1, 2, 4),
    "mixing": (2,),
    "fixed": (),
}
MODELS = {model.name: model for model in all_models()}


PACKAGES = {
    "cc": "g++",
    "c++": "g++",
    "clang++": "clang",
    "ar": "binutils",
    "nm": "binutils",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "riscv64-linux-gnu-gcc": "gcc-riscv64-linux-gnu libc6-dev-riscv64-cross",
    "powerpc64le-linux-gnu-gcc": "gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross",
    "x86_64-w64-mingw32-gcc": "gcc-mingw-w64-x86-64",
    **{f"qemu-{cpu}": "qemu-user" for cpu in ("x86_64", "aarch64", "riscv64", "ppc64le")},
}
"""Debian's packages of programs that are called otherwise."""


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """The path of a program; skips where it is not installed."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"needs {name}: apt-get install {PACKAGES.get(name, name)}")
        return path

    return find


@pytest.fixture(scope="session")
def models() -> dict[str, Model]:
    """The models by name."""
    return MODELS


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Every model, compiled into one folder."""
    folder = tmp_path_factory.mktemp("models")
    return {name: compile_to(folder, model) for name, model in MODELS.items()}


@pytest.fixture(scope="session")
def tfcompile_folder(models: dict[str, Model], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model, with classes in tfcompile's shape for some batch sizes, in one folder."""
    folder = tmp_path_factory.mktemp("tfcompile")
    for name, sizes in TFCOMPILE_SIZES.items():
        compile_to(folder, models[name], interface="tfcompile", batch_sizes=sizes)
    return folder


@pytest.fixture(scope="session", params=MODELS)
def model(request: pytest.FixtureRequest) -> Model:
    """Each model in turn."""
    return MODELS[request.param]


@pytest.fixture(scope="session")
def artifact(model: Model, artifacts: dict[str, Artifact]) -> Artifact:
    """The model's artifact."""
    return artifacts[model.name]


@pytest.fixture(scope="session")
def build_program(tool: Callable[[str], str]) -> Callable[..., Path]:
    """Compile a source with all warnings as errors and link it with objects, and nothing else."""

    def build(
        program: Path, source: Path, standard: str, *objects: Path, flags: tuple[str, ...] = ()
    ) -> Path:
        compiler = tool("c++" if standard.startswith("c++") else "cc")
        language = "c++" if standard.startswith("c++") else "c"
        folders = {o.parent for o in objects} | {program.parent}
        includes = [f"-I{folder}" for folder in sorted(folders)]
        files = ["-x", language, source, "-x", "none", *objects, "-o", program]
        done = subprocess.run(
            [compiler, f"-std={standard}", *WARNINGS, "-O1", "-g", *flags, *includes, *files],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return program

    return build
