"""Models don't meet: any number of them in one program, library or process, built in any way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from consumer_models import compile_to
from isolated_models import (
    CHOOSING,
    NAMES,
    WARNINGS,
    Isolated,
    compile_isolated,
    program_of,
    scaling,
)

from tfaot.packaging.manifest import read_manifest

HERE = Path(__file__).parent
SAMPLE = ("net", "net_run", "tagger", "Tagger", "isa", "jets_2024", "jets_2025", "net_info")
"""Models for what doesn't grow with their number: with and without a choice of level."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("isolated")


@pytest.fixture(scope="module")
def fifty(folder) -> tuple[Isolated, ...]:
    models = compile_isolated(folder)
    assert len(models) >= 50
    return models


@pytest.fixture(scope="module")
def sample(fifty) -> tuple[Isolated, ...]:
    return tuple(m for m in fifty if m.name in SAMPLE)


def call(*command: str | Path, **environment: str) -> str:
    """The output of a command that must succeed without a word on stderr."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def objects(models: tuple[Isolated, ...]) -> list[Path]:
    return [m.artifact.object for m in models]


@pytest.fixture(scope="module")
def archive(fifty, folder, tool) -> Path:
    """A static library of all models."""
    path = folder / "libmodels.a"
    call(tool("ar"), "rcs", path, *objects(fifty))
    return path


@pytest.fixture(scope="module")
def compiled(fifty, folder, tool) -> Path:
    """A file that checks all models, as an object that a program or library can hold."""
    source, path = folder / "all.cpp", folder / "all.o"
    source.write_text(program_of(fifty, "check_all"))
    flags = ["-std=c++17", "-O1", "-fPIC", "-fvisibility=hidden", *WARNINGS, f"-I{folder}"]
    call(tool("c++"), *flags, "-c", source, "-o", path)
    return path


@pytest.fixture(scope="module")
def main_of_all(folder) -> Path:
    path = folder / "main.cpp"
    path.write_text('extern "C" int check_all();\nint main() { return check_all(); }\n')
    return path


def test_fifty_models_link_from_a_static_library(
    compiled, archive, main_of_all, fifty, tool, tmp_path
):
    program = tmp_path / "program"
    flags = ("-Wl,--fatal-warnings", "-Wl,--warn-common", "-Wl,-z,noexecstack", "-Wl,-z,text")

    call(tool("c++"), main_of_all, compiled, archive, *flags, "-o", program)

    assert call(program) == ""


def test_fifty_models_link_into_a_shared_library(compiled, main_of_all, fifty, tool, tmp_path):
    library, program = tmp_path / "libmodels.so", tmp_path / "program"
    flags = ("-Wl,--fatal-warnings", "-Wl,-z,defs", "-Wl,-z,text")
    call(tool("c++"), "-shared", compiled, *objects(fifty), *flags, "-o", library)
    link = (f"-L{tmp_path}", "-lmodels", f"-Wl,-rpath,{tmp_path}")
    call(tool("c++"), main_of_all, *link, "-Wl,--fatal-warnings", "-o", program)

    assert call(program) == ""
    api = {name for m in fifty for name in read_manifest(m.artifact.manifest).symbols.names}
    assert exported(tool, library) == dict.fromkeys(api | {"check_all"}, "T")


@pytest.mark.parametrize("compiler", ["c++", "clang++"])
def test_program_at_a_fixed_address_uses_a_shared_library(compiler, sample, folder, tool, tmp_path):
    library, source, program = tmp_path / "libm.so", tmp_path / "main.cpp", tmp_path / "program"
    source.write_text(program_of(sample))
    call(tool("cc"), "-shared", "-nostdlib", *objects(sample), "-o", library)
    flags = ("-std=c++17", "-O1", "-fno-pie", "-no-pie", "-Wl,--fatal-warnings", f"-I{folder}")

    call(tool(compiler), *flags, source, library, f"-Wl,-rpath,{tmp_path}", "-o", program)

    assert call(program, TFAOT_MAX_ISA="x86-64-v2") == ""


def test_shared_library_can_hide_the_models(compiled, archive, tool, tmp_path):
    library = tmp_path / "libmodels.so"

    hide = ("-Wl,--fatal-warnings", "-Wl,--exclude-libs,ALL")
    call(tool("c++"), "-shared", compiled, archive, *hide, "-o", library)

    assert exported(tool, library) == {"check_all": "T"}


def exported(tool, library: Path) -> dict[str, str]:
    """Symbols that a library offers, with nm's letter for their kind; none of namespace std."""
    lines = call(tool("nm"), "-D", "--defined-only", library).splitlines()
    symbols = {name: kind for _, kind, name in (line.split() for line in lines)}
    return {n: k for n, k in symbols.items() if not n.startswith(("_ZNSt", "_ZNKSt", "_ZSt"))}


BUILDS = {
    "without exceptions and RTTI": "-std=c++17 -fno-exceptions -fno-rtti",
    "without guards of statics": "-std=c++17 -fno-exceptions -fno-threadsafe-statics",
    "static": "-std=c++17 -static",
    "static PIE": "-std=c++17 -fPIE -static-pie",
    "no PIE": "-std=c++17 -fno-pie -no-pie",
    "sections": "-std=c++17 -ffunction-sections -fdata-sections -Wl,--gc-sections",
    "link-time optimisation": "-std=c++17 -O2 -flto=1 -Wodr",
    "sanitizers": "-std=c++17 -g -fsanitize=address,undefined -fno-sanitize-recover=all",
    "thread sanitizer": "-std=c++17 -g -fsanitize=thread",
    "C++20": "-std=c++20",
    "C++23": "-std=c++23 -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast",
    "GNU C++17": "-std=gnu++17 -O3 -ffast-math -march=native",
    "no stack": "-std=c++17 -DTFAOT_MAX_STACK_BYTES=0",
}


@pytest.mark.parametrize("build", BUILDS)
def test_models_work_however_a_program_is_built(build, sample, folder, tool, tmp_path):
    check_build(tool("c++"), BUILDS[build].split(), sample, folder, tmp_path)


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_models_work_with_clang(standard, sample, folder, tool, tmp_path):
    flags = [f"-std={standard}", "-Wshadow", "-Wconversion", "-Wno-unused-const-variable"]
    check_build(tool("clang++"), flags, sample, folder, tmp_path)


def check_build(compiler: str, flags: list[str], models, folder: Path, scratch: Path) -> None:
    source, program = scratch / "program.cpp", scratch / "program"
    source.write_text(program_of(models))
    common = ["-O1", *WARNINGS, "-Wl,--fatal-warnings", f"-I{folder}"]

    call(compiler, *common, *flags, source, *objects(models), "-o", program)

    assert call(program) == ""
    assert call(program, TFAOT_MAX_ISA="x86-64-v2") == ""


@pytest.mark.parametrize("flags", [(), ("-flto=1", "-Wodr", "-O2")], ids=["plain", "lto"])
def test_files_of_one_program_may_differ(flags, sample, folder, tool, tmp_path):
    """Other orders of headers, other standards, without exceptions: one definition of each."""
    kinds = {
        "forth": (False, "-std=c++17"),
        "back": (True, "-std=c++17"),
        "spans": (True, "-std=c++20"),
        "none": (False, "-std=c++17 -fno-exceptions -fno-rtti"),
    }
    files = []
    for name, (reverse, options) in kinds.items():
        source = tmp_path / f"{name}.cpp"
        source.write_text(program_of(sample, f"check_{name}", reverse))
        files.append(source.with_suffix(".o"))
        command = [tool("c++"), "-O1", *WARNINGS, *flags, *options.split(), f"-I{folder}"]
        call(*command, "-c", source, "-o", files[-1])
    main = tmp_path / "main.cpp"
    main.write_text(
        "".join(f'extern "C" int check_{name}();\n' for name in kinds)
        + f"int main() {{ return {' + '.join(f'check_{name}()' for name in kinds)}; }}\n"
    )
    link = ("-Wl,--fatal-warnings", *WARNINGS, *flags, "-o", tmp_path / "program")
    call(tool("c++"), main, *files, *objects(sample), *link)

    assert call(tmp_path / "program") == ""


def test_models_have_namespaces_of_their_own(tool, tmp_path):
    models = compile_isolated(tmp_path, ("net", "net_run", "tagger"), namespaces=True)

    check_build(tool("c++"), ["-std=c++17"], models, tmp_path, tmp_path)


def test_macros_of_names_that_differ_in_case_are_gone(fifty, folder, tool, tmp_path):
    """They would have the values of the other model; functions and classes are there."""
    source = tmp_path / "macros.c"
    command = [tool("cc"), "-std=c11", *WARNINGS, f"-I{folder}", "-fsyntax-only", source]
    one = '#include "tagger.h"\n'
    use = "int inputs(void) { return TAGGER_NUM_INPUTS; }\n"

    source.write_text(one + use)
    call(*command)
    source.write_text(one + '#include "Tagger.h"\n' + use)
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "TAGGER_NUM_INPUTS" in done.stderr


def test_header_of_an_older_abi_comes_last(fifty, folder, tool, tmp_path):
    source = tmp_path / "abi.c"
    command = [tool("cc"), "-std=c11", f"-I{folder}", "-fsyntax-only", source]
    source.write_text('#define TFAOT_ABI_VERSION 2\n#include "net.h"\n')

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "include the header of the model that the newest tfaot compiled first" in done.stderr


def test_object_needs_no_library_and_no_start_files(sample, folder, tool, tmp_path):
    if os.uname().machine != "x86_64":
        pytest.skip("needs an x86-64 CPU")
    program = tmp_path / "program"
    flags = ("-ffreestanding", "-nostdlib", "-static", "-fno-stack-protector", "-std=c11", "-O1")
    files = (HERE / "freestanding.c", *objects(sample))

    call(
        tool("cc"), *WARNINGS, *flags, "-Wl,--fatal-warnings", f"-I{folder}", *files, "-o", program
    )

    assert call(program) == ""


# Plugins


@pytest.fixture(scope="module")
def plugins(folder, tool, tmp_path_factory) -> list[Path]:
    """Three plugins that hold other versions of the models `net` and `tagger`, by default visible.

    Two are built by g++, one by clang++ where there is one.
    """
    paths = []
    for number in range(3):
        place = tmp_path_factory.mktemp("plugin")
        models = compile_isolated(place, ("net", "tagger", "name"), shift=100 * number)
        source, path = place / "plugin.cpp", place / f"plugin{number}.so"
        source.write_text(program_of(models, "check_plugin"))
        compiler = shutil.which("clang++") if number == 2 else None
        flags = ["-std=c++17", "-O0", "-fPIC", "-shared", *WARNINGS, f"-I{place}"]
        flags += ["-Wl,--fatal-warnings", "-Wl,-z,defs"]
        call(compiler or tool("c++"), *flags, source, *objects(models), "-o", path)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def plugin_host(folder, tool) -> Path:
    program = folder / "plugin_host"
    call(tool("c++"), "-std=c++17", *WARNINGS, HERE / "plugin_host.cpp", "-ldl", "-o", program)
    return program


@pytest.mark.parametrize("mode", ["local", "deep", "global"])
def test_plugins_hold_models_of_one_name(mode, plugins, plugin_host):
    """Open at once, closed, really gone from memory, and opened again."""
    assert call(plugin_host, mode, *plugins) == "done\n"
    assert call(plugin_host, mode, *reversed(plugins), TFAOT_MAX_ISA="x86-64-v2") == "done\n"


def test_plugins_are_not_disturbed_by_a_model_of_the_program(plugins, tool, tmp_path):
    """The program exports another `net`; the plugins' classes and NAME_info lead to theirs."""
    other = compile_to(tmp_path, scaling("net", 2, 7))
    program = tmp_path / "program"
    flags = ("-std=c++17", *WARNINGS, "-rdynamic", "-DOWN_NET", f"-I{tmp_path}")
    files = (HERE / "plugin_host.cpp", other.object)

    call(tool("c++"), *flags, *files, "-ldl", "-o", program)

    for mode in ("info", "local", "global"):
        assert call(program, mode, *plugins) == "done\n"


def test_names_are_as_awkward_as_they_claim():
    lower = [name.lower() for name in NAMES]
    assert len(set(NAMES)) == len(NAMES) > len(set(lower))
    assert set(CHOOSING) < set(NAMES)
    assert {"tagger", "isa", "net"} <= set(SAMPLE) & set(NAMES)
