"""`tfaot inspect`: the memory that a model takes, and budgets of it."""

import json
from dataclasses import replace

import pytest
from toy_artifact import rewrite_manifest, write_toy

from tfaot.cli.main import run
from tfaot.cli.memory import memory_parts, parse_size
from tfaot.errors import UsageError
from tfaot.packaging.manifest import read_manifest


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("growing"), growing=True)


def total_of(artifact, batch=None):
    return sum(memory_parts(read_manifest(artifact.manifest), batch).values())


def test_certificate_is_printed(capsys, toy):
    manifest = read_manifest(toy.manifest)
    assert run(["inspect", str(toy.manifest)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"code         {manifest.code_bytes} bytes" in lines
    assert f"data         {manifest.data_bytes} bytes" in lines
    assert f"stack        {manifest.stack_bytes} bytes at most" in lines
    (memory,) = (line for line in lines if line.startswith("memory"))
    assert memory.startswith(f"memory       {total_of(toy)} bytes: ")
    assert manifest.code_bytes > 50
    assert 8 <= manifest.stack_bytes < 200


def test_budget_that_is_kept(capsys, toy):
    assert run(["inspect", str(toy.manifest), "--max-bytes", str(total_of(toy))]) == 0
    assert capsys.readouterr().err == ""
    assert run(["inspect", str(toy.manifest), "--max-bytes", "4MB"]) == 0


def test_budget_that_is_passed(capsys, toy):
    total = total_of(toy)
    parts = memory_parts(read_manifest(toy.manifest), None)
    most = max(parts, key=parts.__getitem__)
    assert run(["inspect", str(toy.manifest), "--max-bytes", str(total - 7)]) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        f"tfaot: toy takes {total} bytes, 7 more than the {total - 7} allowed (--max-bytes); "
        f"most of it is {most}, {parts[most]} bytes\n"
    )
    assert captured.out.startswith("model ")


def test_json_stays_the_manifest(capsys, toy):
    assert run(["inspect", str(toy.manifest), "--json", "--max-bytes", "0"]) == 1
    assert json.loads(capsys.readouterr().out) == json.loads(toy.manifest.read_text("utf-8"))


def test_workspace_that_grows_needs_a_batch_size(capsys, growing):
    assert run(["inspect", str(growing.manifest)]) == 0
    out = capsys.readouterr().out
    assert "workspace    64 + 16*n bytes, grows with the batch size\n" in out
    assert "\nmemory" not in out
    assert run(["inspect", str(growing.manifest), "--max-bytes", "1MB"]) == 2
    assert "grows with the batch size" in capsys.readouterr().err

    arguments = ["inspect", str(growing.manifest), "--batch", "1000"]
    assert run([*arguments, "--max-bytes", str(total_of(growing, 1000))]) == 0
    assert "workspace    16064 bytes for 1000 rows\n" in capsys.readouterr().out
    assert run([*arguments, "--max-bytes", "16KiB"]) == 1
    error = capsys.readouterr().err
    assert " with 1000 rows, " in error
    assert "most of it is workspace, 16064 bytes" in error
    assert total_of(growing, 1000) - total_of(growing, 0) == 16000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-bytes", "many"], "--max-bytes: 'many' is no size, give bytes or a unit"),
        (["--max-bytes", "-1"], "--max-bytes: '-1' is no size"),
        (["--max-bytes", "4MB", "--batch", "-2"], "--batch: -2 is no batch size"),
    ],
)
def test_wrong_options(capsys, toy, arguments, words):
    assert run(["inspect", str(toy.manifest), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1


def test_stack_that_is_unknown(capsys, tmp_path):
    artifact = write_toy(tmp_path)
    rewrite_manifest(artifact, stack_bytes=None)
    assert run(["inspect", str(artifact.manifest)]) == 0
    assert "stack        unknown\n" in capsys.readouterr().out
    assert run(["inspect", str(artifact.manifest), "--max-bytes", "4MB"]) == 2
    assert "the stack that toy takes could not be told" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"stack_bytes": -1}, "stack_bytes"),
        ({"data_bytes": -1}, "data_bytes"),
        ({"workspace": (None, ())}, "workspace.coefficients"),
        ({"workspace": (64, (1, 2))}, "workspace.coefficients"),
        ({"workspace": (None, (1, -2))}, "workspace.coefficients"),
    ],
)
def test_corrupt_sizes_are_named(capsys, tmp_path, changes, field):
    artifact = write_toy(tmp_path)
    if "workspace" in changes:
        size, coefficients = changes["workspace"]
        workspace = read_manifest(artifact.manifest).workspace
        changes = {"workspace": replace(workspace, bytes=size, coefficients=coefficients)}
    rewrite_manifest(artifact, **changes)
    assert run(["inspect", str(artifact.manifest)]) == 2
    assert f"field '{field}' is corrupt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("12B", 12),
        ("4MB", 4_000_000),
        ("4 mb", 4_000_000),
        ("64KiB", 65536),
        ("1.5KiB", 1536),
        ("2GB", 2_000_000_000),
        ("1GiB", 2**30),
    ],
)
def test_sizes(text, size):
    assert parse_size(text, "--max-bytes") == size


@pytest.mark.parametrize("text", ["", "1.5", "MB", "4M", "1e6", "4 bytes", "4MBs", "٣"])
def test_no_sizes(text):
    with pytest.raises(UsageError, match="is no size"):
        parse_size(text, "--max-bytes")
