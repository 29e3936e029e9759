import shutil

import pytest

from tfaot.errors import ModelError
from tfaot.frontend.source import ModelKind, digest_files, model_kind, model_root


@pytest.fixture
def saved_model(tmp_path):
    folder = tmp_path / "model"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "variables.index").write_bytes(b"weights")
    (folder / "fingerprint.pb").write_bytes(b"1")
    return folder


def test_kinds_are_told_by_name_and_content(tmp_path, saved_model):
    assert model_kind(saved_model) is ModelKind.SAVED_MODEL
    for name, data, kind in [
        ("a.keras", b"PK\x03\x04", ModelKind.KERAS),
        ("a.h5", b"\x89HDF", ModelKind.KERAS),
        ("noext", b"\x89HDF\r\n", ModelKind.KERAS),
        ("a.pb", b"x", ModelKind.GRAPH),
        ("a.pbtxt", b"x", ModelKind.GRAPH),
    ]:
        (tmp_path / name).write_bytes(data)
        assert model_kind(tmp_path / name) is kind


def test_the_file_in_a_saved_model_stands_for_its_directory(saved_model):
    assert model_root(saved_model / "saved_model.pb") == saved_model
    assert model_root(saved_model) == saved_model


def test_what_is_no_model_is_refused_with_a_reason(tmp_path, saved_model):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.pb").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("hello")
    for path, reason in [
        (tmp_path / "missing", "there is no model"),
        (tmp_path / "empty", "is empty"),
        (tmp_path / "empty.pb", "is empty"),
        (tmp_path / "notes.txt", "no model format"),
        (tmp_path, "holds model: give"),
        (saved_model / "variables", "no saved_model.pb"),
    ]:
        with pytest.raises(ModelError, match=reason):
            model_kind(path)


def test_the_digest_follows_the_content_not_the_place(tmp_path, saved_model):
    first = digest_files(saved_model, ModelKind.SAVED_MODEL)
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(saved_model, copy)
    (copy / "fingerprint.pb").write_bytes(b"2")
    assert digest_files(copy, ModelKind.SAVED_MODEL) == first
    (copy / "variables" / "variables.index").write_bytes(b"other")
    assert digest_files(copy, ModelKind.SAVED_MODEL) != first
