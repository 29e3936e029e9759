"""What the documents say is so: code runs, links lead somewhere, tables are true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to, poster
from support_table import COLUMNS, layer_table, refused_ops, supported

from tfaot.ir.dtypes import DType
from tfaot.testing.cases import op_cases

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"]
)


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """The model that the README speaks of: 4 features, 2 scores; the folder that holds out/."""
    folder = tmp_path_factory.mktemp("readme")
    compile_to(folder / "out", poster("tagger", (4, 16, 2)))
    return folder


@pytest.mark.parametrize(
    ("language", "compiler", "standard"), [("c", "cc", "c11"), ("cpp", "c++", "c++17")]
)
def test_readme_program_builds_and_runs(tagger, language, compiler, standard):
    (program,) = blocks(ROOT / "README.md", language)
    source = tagger / f"main.{language}"
    source.write_text(program)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wconversion"]
    command = [compiler, f"-std={standard}", *warnings, "-I", "out", source.name, "out/tagger.o"]
    try:
        subprocess.run([*command, "-o", "main"], cwd=tagger, check=True)
    except FileNotFoundError:
        pytest.skip(f"needs {compiler}: apt-get install g++")

    done = subprocess.run([tagger / "main"], capture_output=True, text=True, check=True)

    values = np.array(done.stdout.split(), float).reshape(-1, 2)
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-5)


def test_readme_python_runs(tagger):
    (program,) = blocks(ROOT / "README.md", "python")

    subprocess.run([sys.executable, "-c", program], cwd=tagger, check=True, capture_output=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_files_that_are_named_exist(path):
    pattern = r"`((?:src|tests|docs|benchmarks|examples|tools)/[\w./-]*\w)`"
    for name in re.findall(pattern, path.read_text()):
        assert (ROOT / name).exists(), name


def test_stages_of_the_architecture_are_the_folders():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = re.search(r"^\| stage .*?\n\n", text, re.M | re.S)
    stages = set(re.findall(r"^\| `(\w+)/?` ", table.group(), re.M))

    package = ROOT / "src" / "tfaot"
    folders = {p.name for p in package.iterdir() if (p / "__init__.py").exists()}
    assert stages == folders


def test_make_help_lists_the_targets():
    text = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.M)
    helped = set(re.findall(r'@echo "make ([\w-]+)', text))

    assert helped == set(phony.split()) - {"help"}


def _support_rows():
    for line in (ROOT / "docs" / "support.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## Layers"):
            return
        if line.startswith("| ") and cells[0] not in ("op", "---"):
            yield cells[0], dict(zip(COLUMNS, cells[1:], strict=True))


def test_support_table_is_true_for_f32():
    cases = [c for c in op_cases() if c.dtype is DType.F32]
    rows = dict(_support_rows())
    found = supported(cases)

    for opcode, cells in rows.items():
        if opcode in found:
            assert cells["f32"] == ("yes" if found[opcode][DType.F32] else "no"), opcode


def test_support_of_layers_is_as_generated():
    text = (ROOT / "docs" / "support.md").read_text()
    assert text.endswith(layer_table())
    assert refused_ops() in text


@pytest.mark.slow
def test_support_table_is_as_generated():
    from support_table import table

    assert (ROOT / "docs" / "support.md").read_text() == table()


@pytest.mark.slow
@pytest.mark.tensorflow
def test_checks_print_what_the_page_says(tmp_path):
    pytest.importorskip("keras")
    page = ROOT / "docs" / "check.md"
    *models, use = blocks(page, "python")
    for program, text in zip(models, blocks(page, "text"), strict=True):
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
        command, output = text.split("\n", 1)
        arguments = [sys.executable, "-m", *command.removeprefix("$ ").split()]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
        assert done.stdout == output
    subprocess.run([sys.executable, "-c", use], cwd=tmp_path, check=True)
