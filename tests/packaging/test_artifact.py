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


def test_further_headers_are_part_of_the_artifact(tmp_path):
    data, manifest = toy_object(toy_manifest())
    headers = {"toy_bs2.h": "two", "deep/er/shim.h": "shim"}
    artifact = write_artifact(tmp_path / "out", "toy", "h", data, manifest, headers=headers)
    described = read_manifest(artifact.manifest).headers
    assert described == ("deep/er/shim.h", "toy_bs2.h")
    assert artifact.headers == tuple(tmp_path / "out" / path for path in described)
    assert [path.read_text() for path in artifact.headers] == ["shim", "two"]
    assert artifact.headers[0] in artifact.files


def test_nothing_is_left_of_a_failure_in_a_nested_folder(tmp_path):
    data, manifest = toy_object(toy_manifest())
    (tmp_path / "toy_bs2.h").mkdir()
    headers = {"toy_bs2.h": "two", "deep/er/shim.h": "shim"}
    with pytest.raises(UsageError, match=r"toy_bs2\.h' is a folder"):
        write_artifact(tmp_path, "toy", "h", data, manifest, headers=headers)
    assert os.listdir(tmp_path) == ["toy_bs2.h"]


def test_a_file_in_place_of_a_nested_folder(tmp_path):
    data, manifest = toy_object(toy_manifest())
    (tmp_path / "deep").write_text("")
    with pytest.raises(UsageError, match=r"can't write '.*shim\.h'"):
        write_artifact(tmp_path, "toy", "h", data, manifest, headers={"deep/er/shim.h": "shim"})
    assert os.listdir(tmp_path) == ["deep"]


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
