"""Writing artifacts: all files or none, the same bytes again, errors that name the folder."""

import json
import os

import pytest
from toy_artifact import toy_manifest, toy_object, write_toy

from tfaot.artifact import check_output_dir, write_artifact
from tfaot.errors import UsageError
from tfaot.packaging.manifest import read_manifest


def test_writes_three_files_and_nothing_else(tmp_path):
    artifact = write_toy(tmp_path / "deep" / "out")
    assert sorted(os.listdir(tmp_path / "deep" / "out")) == ["toy.h", "toy.json", "toy.o"]
    assert read_manifest(artifact.manifest).object.file == "toy.o"
    assert artifact.header.stat().st_mode & 0o444


def test_same_bytes_again_and_elsewhere(tmp_path):
    one, two = write_toy(tmp_path / "one"), write_toy(tmp_path / "two")
    write_toy(tmp_path / "one")
    for a, b in zip(one.files, two.files, strict=True):
        assert a.read_bytes() == b.read_bytes()
        assert str(tmp_path).encode() not in a.read_bytes()


def test_extra_files(tmp_path):
    data, manifest = toy_object(toy_manifest())
    artifact = write_artifact(
        tmp_path, "toy", "h", data, manifest, {"ll": "; ir", "hlo": "HloModule"}
    )
    assert [p.name for p in artifact.extra] == ["toy.hlo", "toy.ll"]
    assert (tmp_path / "toy.ll").read_text() == "; ir"


def test_nothing_is_left_of_a_failure(tmp_path):
    data, manifest = toy_object(toy_manifest())
    (tmp_path / "toy.o").mkdir()
    with pytest.raises(UsageError, match=r"toy\.o' is a folder"):
        write_artifact(tmp_path, "toy", "h", data, manifest)
    assert not (tmp_path / "toy.json").exists()
    assert not [f for f in os.listdir(tmp_path) if f.startswith(".")]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="is a file"):
            check_output_dir(folder)


def test_unwritable_folder(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises(UsageError, match="no permission"):
        check_output_dir(folder / "new")


def test_check_makes_nothing(tmp_path):
    check_output_dir(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


def test_manifest_is_sorted_json_without_paths(tmp_path):
    text = write_toy(tmp_path).manifest.read_text(encoding="utf-8")
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert str(tmp_path) not in text
