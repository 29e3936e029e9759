"""`tfaot report` as it is called: where it writes, and what it says when something is wrong."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from html_reader import read_page

from tfaot.cli.main import run


def failure(capsys, *arguments):
    """The one line of an error with exit code 2."""
    code = run(["report", *map(str, arguments)])
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_the_page_is_written_and_replaced(artifacts, tmp_path, capsys):
    output = tmp_path / "report.html"
    output.write_text("old")
    assert run(["report", str(artifacts["loop"].manifest), "-o", str(output), "--no-run"]) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert read_page(output).texts["h1"] == ["loop"]
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    umask = os.umask(0)
    os.umask(umask)
    assert output.stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_same_artifact_gives_the_same_page(artifacts, tmp_path):
    pages = []
    for name in ("a.html", "b.html"):
        run(
            ["report", str(artifacts["odd"].manifest), "-o", str(tmp_path / name), "-q", "--no-run"]
        )
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1]
    assert str(tmp_path).encode() not in pages[0]


def test_wrong_paths(artifacts, tmp_path, capsys):
    manifest = artifacts["loop"].manifest
    assert "is a folder" in failure(capsys, manifest, "-o", tmp_path)
    assert "no folder" in failure(capsys, manifest, "-o", tmp_path / "none" / "x.html")
    output = tmp_path / "x.html"
    assert "there is no manifest" in failure(capsys, tmp_path / "none.json", "-o", output)
    assert "is a folder" in failure(capsys, tmp_path, "-o", output)
    assert "there is no model" in failure(capsys, manifest, "-o", output, "--model", "none")
    assert not list(tmp_path.iterdir())


def test_wrong_options(artifacts, tmp_path, capsys):
    manifest, output = artifacts["loop"].manifest, tmp_path / "x.html"
    assert "--batch 0" in failure(capsys, manifest, "-o", output, "--batch", "0")
    contradiction = failure(capsys, manifest, "-o", output, "--model", tmp_path, "--no-run")
    assert "--no-run" in contradiction


def test_a_manifest_with_a_corrupt_section(artifacts, tmp_path, capsys):
    data = json.loads(artifacts["loop"].manifest.read_text(encoding="utf-8"))
    data["internals"]["kernels"][0]["reads"] = "all"
    broken = tmp_path / "loop.json"
    broken.write_text(json.dumps(data))
    output = tmp_path / "x.html"
    assert "internals.kernels[0].reads" in failure(capsys, broken, "-o", output)
    assert not output.exists()


def test_without_its_object_the_page_says_why_nothing_ran(artifacts, tmp_path):
    manifest = tmp_path / "loop.json"
    shutil.copy(artifacts["loop"].manifest, manifest)
    output = tmp_path / "x.html"
    assert run(["report", str(manifest), "-o", str(output), "-q"]) == 0
    assert "could not be run" in read_page(output).section("batches").words


def test_a_folder_that_can_not_be_written(artifacts, tmp_path, capsys):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    assert "no permission" in failure(capsys, artifacts["loop"].manifest, "-o", tmp_path / "x")


def test_nothing_heavy_is_loaded(artifacts, tmp_path):
    code = (
        "import sys, tfaot\n"
        "tfaot.report(sys.argv[1], sys.argv[2], run=False)\n"
        "print([m for m in ('tensorflow', 'llvmlite', 'numpy', 'matplotlib', 'rich') "
        "if m in sys.modules])"
    )
    paths = [artifacts["loop"].manifest, tmp_path / "x.html"]
    command = [sys.executable, "-c", code, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
