"""Whatever happens to a compile, its folder holds the old artifact or the new one, no mixture."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from variants import FILES, NAME, WRITER, factor_of, found, make_variants, no_writer

from tfaot import rename_all, replacing
from tfaot.artifact import write_artifact
from tfaot.errors import ArtifactError, UsageError
from tfaot.packaging.manifest import read_manifest
from tfaot.replacing import STAGING, replace_files
from tfaot.runtime.model import load

_KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    return make_variants(tmp_path_factory.mktemp("variants"), 3)


@pytest.fixture
def folder(tmp_path, variants) -> Path:
    """A folder that holds the first variant."""
    place = tmp_path / "out"
    place.mkdir()
    replace_files(place, variants[0])
    return place


@pytest.fixture
def stored(tmp_path, variants) -> Path:
    path = tmp_path / "variants"
    path.write_bytes(pickle.dumps(variants))
    return path


def writer(folder: Path, stored: Path, *order: int, before: str = "", after: str = "") -> list[str]:
    script = WRITER.format(before=before, after=after)
    return [sys.executable, "-c", script, str(folder), str(stored), *map(str, order)]


def files_of(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def kill_at_random(folder: Path, stored: Path, variants, times: int, seed: int) -> set[int]:
    """Kill a writer after a random time, again and again; the variants that were left."""
    generator, seen = random.Random(seed), set()
    for _ in range(times):
        process = subprocess.Popen(
            writer(folder, stored, 1, 2, 0), stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(generator.uniform(0, 0.15))
        # Every other time all of its group at once, as a terminal or a batch system does.
        kill = generator.choice((os.kill, os.killpg))
        kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with no_writer(folder):
            seen.add(found(folder, variants))
    replace_files(folder, variants[0])
    assert files_of(folder) == sorted(FILES)  # what the killed ones left is gone
    return seen


def test_killed_at_random_moments(folder, stored, variants):
    assert kill_at_random(folder, stored, variants, 15, 1) <= {0, 1, 2}


@pytest.mark.slow
def test_killed_at_a_thousand_moments(folder, stored, variants):
    assert kill_at_random(folder, stored, variants, 1000, 2) == {0, 1, 2}


COUNTING = """
import os, signal, subprocess, tempfile
count, last = 0, {last}
def counted(function, late):
    def call(*arguments, **options):
        global count
        count += 1
        if not late and count == last: os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **options)
        if late and count == last: os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
late = {late}
os.fsync = counted(os.fsync, late)
tempfile.mkdtemp = counted(tempfile.mkdtemp, late)
Path.chmod = counted(Path.chmod, late)
Path.mkdir = counted(Path.mkdir, late)
class Counted(subprocess.Popen):
    communicate = counted(subprocess.Popen.communicate, late)
    def __init__(self, *arguments, **options):
        counted(super().__init__, late)(*arguments, **options)
subprocess.Popen = Counted
"""
"""The writer dies right before, or right after, the call of that number."""


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_killed_at_every_step(late, folder, stored, variants):
    seen = []
    for last in itertools.count(1):
        before = COUNTING.format(last=last, late=late)
        command = writer(folder, stored, 1, before=before, after="break")
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        with no_writer(folder):
            seen.append(found(folder, variants))
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        replace_files(folder, variants[0])
        assert files_of(folder) == sorted(FILES)

    assert len(seen) > 10
    assert seen == sorted(seen)  # from one step on the new one is there, and before it the old
    assert seen[0] == 0


def test_an_end_between_two_renames_is_noticed(folder, stored, variants, monkeypatch):
    """The renaming process itself is killed: what is left loads as a whole, or not at all."""
    for last in range(1, len(FILES) + 1):
        script = folder.parent / "rename.py"
        text = Path(rename_all.__file__).read_text()
        kill = f"count[0] += 1\n            if count[0] == {last}:\n                {_KILL}"
        killing = text.replace("            done.append(target)", f"            {kill}")
        script.write_text(killing.replace("import json\n", "import json\ncount = [0]\n", 1))
        monkeypatch.setattr(rename_all, "__file__", str(script))
        with pytest.raises(UsageError, match="compile again"):
            replace_files(folder, variants[1])

        left = [(folder / file).read_bytes() for file in FILES]
        if left == list(variants[1].values()):
            assert factor_of(load(folder / "model.json")) == 2
        elif left[1:] == [variants[0][file] for file in FILES[1:]]:  # the header alone is new
            assert factor_of(load(folder / "model.json")) == 1
        else:
            with pytest.raises(ArtifactError, match="compile the model again"):
                load(folder / "model.json")
        monkeypatch.undo()
        replace_files(folder, variants[0])
        assert found(folder, variants) == 0


@pytest.mark.parametrize("call", ["link", "replace"])
@pytest.mark.parametrize("last", range(len(FILES)))
def test_a_rename_that_fails_changes_nothing(call, last, folder, variants, monkeypatch):
    original, count = getattr(os, call), itertools.count()

    def failing(*arguments):
        if next(count) == last:
            raise OSError(28, "No space left on device")
        return original(*arguments)

    def here(folder, staging, files, lock):
        return rename_all.rename_all(folder, staging, files)

    monkeypatch.setattr(replacing, "_rename_apart", here)
    monkeypatch.setattr(os, call, failing)
    if call == "link":  # there is another way to keep the old file
        replace_files(folder, variants[1])
    else:
        with pytest.raises(UsageError, match=r"can't write '.*model\.\w+': No space left"):
            replace_files(folder, variants[1])
    monkeypatch.undo()

    assert found(folder, variants) == (1 if call == "link" else 0)
    assert files_of(folder) == sorted(FILES)


def test_nested_folders_come_and_go_with_the_files(tmp_path, monkeypatch):
    replace_files(tmp_path, {"a/b/one": b"1", "two": b"2"})
    assert (tmp_path / "a" / "b" / "one").read_bytes() == b"1"
    (tmp_path / "three").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        replace_files(tmp_path, {"c/d": b"", "three": b""})
    assert files_of(tmp_path) == ["a", "three", "two"]


@pytest.mark.parametrize("executable", ["", "/bin/true", "/nowhere/python"])
def test_programs_that_embed_python_write_too(executable, folder, variants, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    replace_files(folder, variants[2])
    monkeypatch.undo()

    assert found(folder, variants) == 2


def test_permissions_are_those_of_new_files(folder, variants):
    old = os.umask(0o027)
    try:
        replace_files(folder, variants[1])
    finally:
        os.umask(old)

    assert {(folder / file).stat().st_mode & 0o777 for file in FILES} == {0o640}


# Several at once


def race(folder: Path, stored: Path, variants, seconds: float, writers: int) -> int:
    """Writers in one folder, and a reader; how often that loaded a model."""
    orders = list(itertools.permutations(range(3)))
    processes = [
        subprocess.Popen(writer(folder, stored, *orders[n]), stdout=subprocess.PIPE)
        for n in range(writers)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    loads, end = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            assert factor_of(load(folder / "model.json")) in (1, 2, 3)
            loads += 1
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    with no_writer(folder):
        found(folder, variants)
    return loads


def test_two_compiles_into_one_folder_and_a_reader(folder, stored, variants):
    assert race(folder, stored, variants, 1.5, 2) > 5


@pytest.mark.slow
def test_six_compiles_into_one_folder_and_a_reader(folder, stored, variants):
    assert race(folder, stored, variants, 60, 6) > 100


# A full disk


def write_again(folder: Path, other: Path, more: int) -> None:
    """Write the artifact in `other` to `folder`, with an object that is larger by `more` bytes."""
    manifest = read_manifest(other / "model.json")
    data = (other / "model.o").read_bytes() + bytes(more)
    write_artifact(folder, NAME, (other / "model.h").read_text(), data, manifest)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"needs mount: {error}")
    if made.returncode != 0:
        pytest.skip(f"needs to mount a tmpfs, as root: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_a_named_error(small_disk, folder, variants):
    replace_files(small_disk, variants[1])

    with pytest.raises(UsageError, match=r"can't write '.*': No space left on device") as caught:
        write_again(small_disk, folder, 1 << 20)

    assert "\n" not in str(caught.value)
    assert found(small_disk, variants) == 1
    assert files_of(small_disk) == sorted(FILES)


def test_a_full_disk_for_temporary_files_is_a_named_error(small_disk, monkeypatch, capsys, folder):
    from tfaot.cli import main

    def full(*arguments, **options):
        raise OSError(28, "No space left on device", str(small_disk))

    monkeypatch.setattr("tfaot.cli.inspect.read_manifest", full)

    assert main.run(["inspect", str(folder / "model.json")]) == 2
    error = capsys.readouterr().err
    assert "no room left" in error
    assert error.count("\n") == 1


def test_a_limit_of_file_sizes_is_a_named_error(folder, tmp_path, variants):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, limits[1]))
    try:
        with pytest.raises(UsageError, match=r"can't write '.*model\.o': File too large"):
            write_again(folder, folder, 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert found(folder, variants) == 0
    assert files_of(folder) == sorted(FILES)


# The command itself

MODEL = """
import sys, tensorflow as tf
class Scale(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def __call__(self, x): return {"y": x * float(sys.argv[2])}
model = Scale()
tf.saved_model.save(model, sys.argv[1], signatures=model.__call__)
"""


@pytest.mark.slow
@pytest.mark.tensorflow
def test_killing_the_command_leaves_the_old_model_or_the_new(tmp_path):
    """At random moments of whole compiles, TensorFlow's worker and LLVM included."""
    for factor in (2, 3):
        command = [sys.executable, "-c", MODEL, str(tmp_path / str(factor)), str(factor)]
        subprocess.run(command, check=True, capture_output=True)
    out = tmp_path / "out"

    def command(factor: int) -> list[str]:
        model = str(tmp_path / str(factor))
        return [sys.executable, "-m", "tfaot", "compile", model, "-o", str(out), "--name", NAME]

    started = time.monotonic()
    subprocess.run(command(2), check=True, capture_output=True)
    takes = time.monotonic() - started
    generator, x = random.Random(3), np.ones((1, 3), np.float32)
    for number in range(12):
        process = subprocess.Popen(
            command(2 + number % 2), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(generator.uniform(0, 1.1 * takes))
        process.kill()
        process.wait()
        with no_writer(out):
            model = load(out / f"{NAME}.json")
            assert model(x)[0, 0] in (2, 3)
            assert {f for f in files_of(out) if not f.startswith(STAGING)} == set(FILES)
