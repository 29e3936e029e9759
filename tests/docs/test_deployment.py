"""What docs/deployment.md and docs/cms.md say is so: programs build and run as they are written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from consumer_models import compile_to, poster
from external import with_weights

import tfaot

ROOT = Path(__file__).parents[2]
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text()
CMS = (ROOT / "docs" / "cms.md").read_text()
# Compiling needs TensorFlow; what pip installs is tried in tests/consumer/test_export_wheel.py.
ELSEWHERE = ("tfaot compile", "tfaot weights", "pip install")


def blocks(text):
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the walk: out/tagger.*, the files that the page shows, and `tfaot` to call."""
    folder = tmp_path_factory.mktemp("deployment")
    compile_to(folder / "out", poster("tagger", (4, 16, 2)), "portable")
    compile_to(folder / "static", poster("sizes", (4, 16, 2), static=(1, 2, 4)))
    served = poster("served", (4, 16, 2))
    external = replace(served, module=with_weights(served.module))
    compile_to(folder / "outside", external, "portable", weights="external")
    for language, text in blocks(DEPLOYMENT):
        if language in ("c", "cpp", "cmake", "make", "python"):
            first = text.splitlines()[0]
            name = re.fullmatch(r"(?:/\*|//|#) ([\w.]+)(?: \*/)?", first)
            assert name, first
            (folder / name.group(1)).write_text(text)
    (folder / "bin").mkdir()
    command = folder / "bin" / "tfaot"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tfaot "$@"\n')
    command.chmod(0o755)
    (folder / "bin" / "python").symlink_to(sys.executable)
    return folder


def test_commands_of_the_walk_run_in_their_order(folder):
    for program in ("cc", "c++", "cmake", "make", "pkg-config", "unzip"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install g++ cmake make pkg-config unzip")
    commands = [text for language, text in blocks(DEPLOYMENT) if language == "sh"]
    script = "".join(c for c in commands if not any(word in c for word in ELSEWHERE))
    package = str(Path(tfaot.__file__).parents[1])
    path = os.pathsep.join(
        [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    )

    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path, "PYTHONPATH": package},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # Each program prints the four scores of the same two rows.
    found = re.findall(r"(?<![\d.])0?\.\d{6,8}", done.stdout)
    features = np.array([[0.5, 1, 0, 2], [1.5, 0, 1, 0]], np.float32)
    expected = tfaot.load(folder / "out" / "tagger.json")(features).reshape(-1)
    runs = 8  # main_c, main_cpp twice, two of CMake's, make's, served, Python's
    assert len(found) == 4 * runs, done.stdout
    np.testing.assert_allclose(
        np.array(found, float).reshape(runs, 4), [expected] * runs, atol=2e-6
    )
    assert (folder / "tfaot-models" / "lib" / "cmake" / "tagger").is_dir()
    plugin = ["nm", "-D", "--defined-only", folder / "plugin.so"]
    if shutil.which("nm"):
        symbols = subprocess.run(plugin, capture_output=True, text=True, check=True).stdout
        assert "evaluate" in symbols
        assert "tagger_run" not in symbols


def test_tree_is_the_one_shown(folder, tmp_path):
    tfaot.export(folder / "out", tmp_path)

    for path in tmp_path.rglob("*"):
        name = f"lib/{path.name}" if path.suffix in (".o", ".json") else path.name
        assert path.is_dir() or name in DEPLOYMENT or path.suffix == ".cmake", path


def test_tool_file_is_the_one_shown(folder, tmp_path):
    tfaot.export(folder / "out", tmp_path, version="1.0.0")
    shown, build_file = (text for language, text in blocks(CMS) if language == "xml")

    assert (tmp_path / "tfaot-model-tagger.xml").read_text() == shown
    uses = ElementTree.fromstring(f"<root>{build_file}</root>").iter("use")
    assert "tfaot-model-tagger" in {use.attrib["name"] for use in uses}


MAIN = """
#include <cstdio>
edm::stream::EDProducer<> *make_module();
int main() {
  edm::Event event;
  edm::stream::EDProducer<> *module = make_module();
  for (std::size_t jets : {0, 3, 1}) {
    event.jets.resize(jets);
    module->produce(event, edm::EventSetup());
    std::printf("%zu\\n", event.put.size());
  }
  delete module;
}
"""


def test_the_producer_compiles_and_runs(folder, tmp_path):
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs c++: apt-get install g++")
    tfaot.export(folder / "out", tmp_path / "tree")
    (source,) = (text for language, text in blocks(CMS) if language == "cpp")
    stubs = (ROOT / "tests" / "docs" / "cmssw_stubs.h").read_text()
    for header in re.findall(r'#include "((?:FWCore|DataFormats)/[^"]+)"', source):
        (tmp_path / header).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / header).write_text('#include "stubs.h"\n')
    (tmp_path / "stubs.h").write_text(stubs)
    (tmp_path / "plugin.cc").write_text(source + MAIN)

    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I."]
    command += ["-Itree/include", "plugin.cc", "-Ltree/lib", "-ltfaot-model-tagger", "-o", "plugin"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    run = subprocess.run([tmp_path / "plugin"], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "6", "2"]


def test_options_that_the_pages_name_exist():
    from tfaot.cli.compile import compile_command
    from tfaot.cli.export import export_command
    from tfaot.cli.inspect import inspect_command
    from tfaot.cli.weights import weights_command

    known = {"--zip", "--wheel"}
    for command in (compile_command, export_command, inspect_command, weights_command):
        known |= {f"--{name.rstrip('_').replace('_', '-')}" for name in command.__annotations__}
    others = {"--exclude-libs", "--cflags", "--libs", "--variable", "--build", "--force-reinstall"}
    others |= {"--dev", "--no-verify"}
    visible = re.sub(r"<!--.*?-->", "", DEPLOYMENT + CMS, flags=re.S)
    for option in re.findall(r"(?<![\w-])--[a-z][\w-]+", visible):
        assert option in known | others, option
