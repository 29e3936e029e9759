"""What goes into tfaot and into an artifact is known: pins, licences, versions, digests."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from consumer_models import compile_to, poster

import tfaot
from tfaot.cli.main import run
from tfaot.frontend.source import digest_files, model_kind
from tfaot.packaging.manifest import Source, read_manifest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import list_licences  # noqa: E402

STRONG_COPYLEFT = re.compile(r"\bA?GPL", re.ASCII)


def entries(lock: str) -> dict[str, str]:
    """The text of each entry of a lock file, by package."""
    found: dict[str, str] = {}
    package = ""
    for line in (ROOT / lock).read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            package = re.match(r"[A-Za-z0-9_.-]+", line)[0].lower()
        found[package] = found.get(package, "") + line
    return found


@pytest.mark.parametrize("lock", list_licences.LOCKS)
def test_everything_is_pinned_with_its_hash(lock):
    for package, text in entries(lock).items():
        assert re.match(rf"{re.escape(package)}==\S", text, re.I), package
        assert "--hash=sha256:" in text, package


def test_all_that_the_project_asks_for_is_pinned():
    text = (ROOT / "pyproject.toml").read_text()
    extras = text[text.index("[project.optional-dependencies]") : text.index("[project.scripts]")]
    asked = {*list_licences.needed(), *re.findall(r'"([A-Za-z0-9_.-]+)[^"]*"[,\]]', extras)}
    names = {name.lower().replace("_", "-") for name in asked}
    assert len(names) > 20
    pinned = {p.replace("_", "-") for lock in list_licences.LOCKS for p in entries(lock)}
    assert names <= pinned


def test_every_licence_is_listed():
    listed = list_licences.listed()
    for package, locks in list_licences.pinned().items():
        versions = dict.fromkeys(v for found in locks.values() for v in found)
        assert package in listed, "run python tools/list_licences.py"
        assert listed[package][0] == ", ".join(versions), package
    assert len(listed) == len(list_licences.pinned())


def test_licences_are_those_of_the_installed_packages():
    checked = 0
    for package, (_, licence, _) in list_licences.listed().items():
        assert licence
        assert not STRONG_COPYLEFT.search(licence), (package, licence)
        own = list_licences.licence_of(package)
        pinned = list_licences.pinned()[package]
        if own and metadata.version(package) in {v for found in pinned.values() for v in found}:
            assert own == licence, package
            checked += 1
    assert checked > 30


# Artifacts


@pytest.fixture
def artifact(tmp_path):
    return compile_to(tmp_path / "out", poster("small", (4, 8, 2)))


def test_manifest_and_object_tell_the_versions(artifact):
    versions = read_manifest(artifact.manifest).versions
    info = artifact.load().info()

    assert {"tfaot", "llvm", "llvmlite"} <= set(versions)
    assert info.strings["tfaot_version"] == versions["tfaot"]
    assert info.strings["llvm_version"] == versions["llvm"]


@pytest.fixture
def of_files(artifact, tmp_path):
    """The artifact as if it were compiled from a SavedModel; and that."""
    model = tmp_path / "saved"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"a graph")
    (model / "variables" / "variables.index").write_bytes(b"weights")
    digest = digest_files(model, model_kind(model))
    manifest = replace(read_manifest(artifact.manifest), source=Source("saved_model", digest))
    artifact.manifest.write_text(manifest.to_json())
    return artifact, model


def test_digest_is_of_the_files_wherever_they_lie(of_files, tmp_path, capsys):
    artifact, model = of_files
    moved = model.rename(tmp_path / "elsewhere")
    (moved / "fingerprint.pb").write_bytes(b"made anew by each export")

    for path in (moved, moved / "saved_model.pb"):
        assert run(["inspect", str(artifact.manifest), "--verify-digest", str(path)]) == 0
    output = capsys.readouterr()

    assert output.err == ""
    assert read_manifest(artifact.manifest).source.digest in output.out


def test_digest_of_another_model(of_files, capsys):
    artifact, model = of_files
    (model / "variables" / "variables.index").write_bytes(b"other weights")

    assert run(["inspect", str(artifact.manifest), "--verify-digest", str(model)]) == 1
    error = capsys.readouterr().err

    assert "compiled from another model" in error
    assert error.count("\n") == 1


def test_digest_without_files(artifact, of_files, tmp_path, capsys):
    assert run(["inspect", str(artifact.manifest), "--verify-digest", str(tmp_path / "no")]) == 2
    assert "there is no model" in capsys.readouterr().err
    data = json.loads(artifact.manifest.read_text())
    data["source"]["kind"] = "object"
    artifact.manifest.write_text(json.dumps(data))

    assert run(["inspect", str(artifact.manifest), "--verify-digest", str(of_files[1])]) == 2
    assert "no files to compare with" in capsys.readouterr().err


def test_digest_needs_no_tensorflow(of_files):
    artifact, model = of_files
    arguments = ["inspect", str(artifact.manifest), "--verify-digest", str(model)]
    code = (
        "import sys\nsys.modules['tensorflow'] = None\nfrom tfaot.cli.main import run\n"
        f"assert run({arguments!r}) == 0\nassert 'tfaot.ir' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.tensorflow
def test_compiled_from_files_by_versions_that_are_told(tmp_path, capsys):
    code = (
        "import sys, tensorflow as tf\n"
        "class M(tf.Module):\n"
        "    @tf.function(input_signature=[tf.TensorSpec([None, 3])])\n"
        "    def __call__(self, x): return {'y': x * 2.0}\n"
        "m = M()\ntf.saved_model.save(m, sys.argv[1], signatures=m.__call__)\n"
    )
    model = tmp_path / "saved"
    subprocess.run([sys.executable, "-c", code, str(model)], check=True, capture_output=True)
    artifact = tfaot.compile(model, tmp_path / "out", name="scale")
    versions = read_manifest(artifact.manifest).versions

    assert set(versions) >= {"tfaot", "llvm", "tensorflow", "xla"}
    assert versions["xla"].startswith("in tensorflow v")
    assert run(["inspect", str(artifact.manifest), "--verify-digest", str(model)]) == 0
    (model / "saved_model.pb").write_bytes((model / "saved_model.pb").read_bytes() + b"\0")
    assert run(["inspect", str(artifact.manifest), "--verify-digest", str(model)]) == 1
