"""Exported trees as their users build with them: CMake, pkg-config and make, plugins, SCRAM."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import tfaot
from tfaot.packaging.manifest import read_manifest

HERE = Path(__file__).parent / "export"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def versioned(artifacts, tmp_path_factory):
    """The folder of two compiled models, the first of version 1.2.3."""
    folder = tmp_path_factory.mktemp("compiled")
    for name in ("dense", "several"):
        for file in artifacts[name].files:
            shutil.copy(file, folder)
    manifest = read_manifest(folder / "dense.json")
    source = replace(manifest.source, version="1.2.3", description="costs 5 $ #1")
    (folder / "dense.json").write_text(replace(manifest, source=source).to_json())
    return folder


@pytest.fixture(scope="module")
def tree(versioned, tmp_path_factory):
    """An install tree that was moved after the export, to a path with a space."""
    folder = tmp_path_factory.mktemp("tree")
    tfaot.export(versioned, folder / "first")
    (folder / "first").rename(folder / "moved here")
    return folder / "moved here"


@pytest.fixture(scope="module")
def expected(artifacts):
    """What program.c and program.cpp print."""
    features = np.arange(27, dtype=np.float32).reshape(3, 9) / np.float32(9)
    scores = artifacts["dense"].load()(features)
    y = artifacts["several"].load()(
        features.reshape(-1)[:5].reshape(1, 5),
        np.array([[3]], np.int32),
        np.array([[0.5, -1.0, 2.0]]),
    )["y"]
    return np.concatenate([scores.reshape(-1), y.reshape(-1)])


def numbers(text):
    return np.array(text.split(), np.float32)


@pytest.fixture(scope="module")
def cmake_build(tool, tree, tmp_path_factory):
    """The build folder of a fresh CMake project with both models."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(HERE, folder / "source")
    build = folder / "build"
    for needed in ("cc", "c++"):
        tool(needed)
    run(tool("cmake"), "-S", folder / "source", "-B", build, f"-DCMAKE_PREFIX_PATH={tree}")
    run(tool("cmake"), "--build", build)
    return build


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("kind", ["static", "shared"])
def test_cmake_programs_give_the_models_values(cmake_build, expected, kind, language):
    output = run(cmake_build / f"{kind}_{language}")

    np.testing.assert_array_equal(numbers(output), expected)


def test_cmake_shared_program_loads_the_libraries(cmake_build, tool):
    needed = run(tool("readelf"), "-d", cmake_build / "shared_c")
    assert "libtfaot-model-dense.so" in needed
    assert "libtfaot-model-several.so" in needed
    assert "tfaot" not in run(tool("readelf"), "-d", cmake_build / "static_c")


def test_plugin_is_closed_and_opened_again(cmake_build, expected):
    output = run(cmake_build / "plugin" / "host", cmake_build / "plugin" / "libplugin.so")

    np.testing.assert_array_equal(numbers(output), expected[:6])


PROBE = """
cmake_minimum_required(VERSION 3.13)
project(probe LANGUAGES NONE)
function(probe result)
  set(CMAKE_SYSTEM_NAME Linux)
  find_package(dense ${ARGN} QUIET CONFIG)
  message(STATUS "found ${ARGN}: ${dense_FOUND} ${dense_VERSION}")
endfunction()
set(CMAKE_SYSTEM_PROCESSOR x86_64)
probe(r 1.2)
probe(r 1.2.3 EXACT)
probe(r 1.2.4)
probe(r 2)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
probe(r)
"""


def test_cmake_compares_versions_and_machines(tool, tree, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(PROBE)

    prefix = f"-DCMAKE_PREFIX_PATH={tree}"
    output = run(tool("cmake"), "-S", tmp_path, "-B", tmp_path / "build", prefix)

    lines = [line[3:].strip() for line in output.splitlines() if line.startswith("-- found")]
    assert [line.split(":")[1].split()[0] for line in lines] == ["1", "1", "0", "0", "0"]
    assert lines[0] == "found 1.2: 1 1.2.3"


def test_cmake_names_a_file_that_is_missing(tool, tree, tmp_path):
    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree/lib/libtfaot-model-dense.a").unlink()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(probe LANGUAGES NONE)\n"
        "find_package(dense CONFIG REQUIRED)\n"
    )

    command = [tool("cmake"), "-S", tmp_path, "-B", tmp_path / "build"]
    command.append(f"-DCMAKE_PREFIX_PATH={tmp_path / 'tree'}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    text = " ".join(done.stderr.split())
    assert "libtfaot-model-dense.a' is missing: unpack or export the model again" in text


def test_pkg_config_and_make_from_the_unpacked_archive(tool, versioned, expected, tmp_path):
    (archive,) = tfaot.export([versioned], tmp_path, zip=True)
    assert archive == tmp_path / "tfaot-models.zip"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "elsewhere")
    shutil.copytree(HERE, tmp_path / "source")
    packages = tmp_path / "elsewhere" / "tfaot-models" / "lib" / "pkgconfig"
    environment = {"PKG_CONFIG_PATH": str(packages), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    for needed in ("cc", "c++", "pkg-config"):
        tool(needed)

    run(tool("make"), "-C", tmp_path / "source", env=environment)

    for program in ("static_c", "static_cpp", "shared_c"):
        np.testing.assert_array_equal(numbers(run(tmp_path / "source" / program)), expected)
    query = [tool("pkg-config"), "--modversion", "tfaot-model-dense", "tfaot-model-several"]
    assert run(*query, env=environment).split() == ["1.2.3", "0.0.0"]
    listed = run(tool("pkg-config"), "--list-all", env=environment)
    assert "costs 5 $ #1" in listed
    validated = run(tool("pkg-config"), "--validate", "tfaot-model-dense", env=environment)
    assert validated == ""


def test_static_program_of_archive_alone(tool, tree, expected, tmp_path):
    program = tmp_path / "program"
    libraries = [f"-ltfaot-model-{name}" for name in ("dense", "several")]
    includes = [f"-I{tree}/include", f"-I{tree}/include/tfaot-model-dense"]

    source = HERE / "program.c"
    run(tool("cc"), "-static", *includes, source, f"-L{tree}/lib", *libraries, "-o", program)

    np.testing.assert_array_equal(numbers(run(program)), expected)


def test_archive_is_as_binutils_sees_it(tool, tree, artifacts):
    archive = tree / "lib" / "libtfaot-model-dense.a"

    assert run(tool("ar"), "t", archive).split() == ["dense.o"]
    command = [tool("ar"), "p", archive, "dense.o"]
    member = subprocess.run(command, capture_output=True, check=True).stdout
    assert member == artifacts["dense"].object.read_bytes()
    index = run(tool("nm"), "--print-armap", archive).split("\n\n")[0]
    for symbol in ("dense_run", "dense_workspace_bytes", "dense_info"):
        assert f"{symbol} in dense.o" in index


def scram(path, environment):
    """What SCRAM makes of a tool file: its name, libraries and client environment."""
    root = ElementTree.fromstring(f"<root>{path.read_text('utf-8')}</root>")
    (tool,) = root
    assert {child.tag for child in tool} == {"lib", "client"}
    values = dict(environment)
    for entry in tool.iter("environment"):
        value = entry.attrib["default"]
        for name, replacement in values.items():
            value = value.replace(f"${name}", replacement)
        assert "$" not in value
        values[entry.attrib["name"]] = value
    return tool.attrib, [lib.attrib["name"] for lib in tool.iter("lib")], values


@pytest.mark.parametrize(("model", "version"), [("dense", "1.2.3"), ("several", "0.0.0")])
def test_scram_tool_names_what_is_in_the_tree(versioned, tmp_path, model, version):
    tfaot.export(versioned, tmp_path / "tfaot-models")
    tool = f"tfaot-model-{model}"

    attributes, libraries, values = scram(
        tmp_path / "tfaot-models" / f"{tool}.xml", {"CMSSW_BASE": str(tmp_path)}
    )

    assert attributes == {"name": tool, "version": version}
    assert libraries == [tool]
    assert values[f"TFAOT_MODEL_{model.upper()}_BASE"] == str(tmp_path / "tfaot-models")
    assert (Path(values["LIBDIR"]) / f"lib{tool}.a").exists()
    assert (Path(values["INCLUDE"]) / tool / f"{model}.h").exists()


def test_scram_tool_of_another_name_and_base(versioned, tool, tmp_path):
    tfaot.export(
        versioned / "dense.json", tmp_path, tool_name="tfaot-model-my-dense", tool_base="/cvmfs/a&b"
    )

    _, libraries, values = scram(tmp_path / "tfaot-model-my-dense.xml", {})

    assert libraries == ["tfaot-model-my-dense"]
    assert values["TFAOT_MODEL_MY_DENSE_BASE"] == "/cvmfs/a&b"
    assert (tmp_path / "lib" / "libtfaot-model-my-dense.a").exists()
    assert (tmp_path / "include" / "tfaot-model-my-dense" / "dense.h").exists()
    environment = {"PKG_CONFIG_PATH": str(tmp_path / "lib" / "pkgconfig")}
    flags = run(tool("pkg-config"), "--libs", "tfaot-model-my-dense", env=environment)
    assert "-ltfaot-model-my-dense" in flags
