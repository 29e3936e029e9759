"""Exports: the same bytes again, all files or none, one-line errors, archives of every format."""

import os
import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace

import pytest
from toy_artifact import rewrite_manifest, toy_manifest, write_toy

import tfaot
from tfaot.cli.main import run
from tfaot.errors import UsageError
from tfaot.packaging.export.ar import static_library
from tfaot.packaging.manifest import read_manifest


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder with two models."""
    folder = tmp_path_factory.mktemp("toys")
    write_toy(folder)
    write_toy(folder, toy_manifest("second"))
    return folder


@pytest.fixture
def toy(toys, tmp_path):
    """A model alone, to be changed by a test."""
    shutil.copytree(toys, tmp_path / "toy", ignore=shutil.ignore_patterns("second*"))
    return tmp_path / "toy"


def files_below(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


TREE = {
    "include/tfaot-model-{}/{}.h",
    "lib/cmake/{}/{}Config.cmake",
    "lib/cmake/{}/{}ConfigVersion.cmake",
    "lib/libtfaot-model-{}.a",
    "lib/pkgconfig/tfaot-model-{}.pc",
    "lib/{}.json",
    "lib/{}.o",
    "tfaot-model-{}.xml",
}


def test_tree_has_the_files_of_each_model(toys, tmp_path):
    written = tfaot.export(toys, tmp_path / "deep" / "tree")

    found = files_below(tmp_path / "deep" / "tree")
    assert set(found) == {p.replace("{}", name) for p in TREE for name in ("toy", "second")}
    assert sorted(str(p.relative_to(tmp_path / "deep" / "tree")) for p in written) == sorted(found)
    for name in ("toy.o", "toy.json"):
        assert found[f"lib/{name}"] == (toys / name).read_bytes()
    assert tfaot.load(tmp_path / "deep" / "tree" / "lib" / "toy.json").manifest.name == "toy"


def test_same_models_give_the_same_bytes_and_no_absolute_path(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, source in enumerate([toys, [toys / "toy.json", toys / "second.json"], toys]):
        for options in ({}, {"zip": True}, {"wheel": True}):
            tfaot.export(source, tmp_path / str(number), **options)

    first = files_below(tmp_path / "0")
    assert len(first) == 2 * len(TREE) + 3
    assert files_below(tmp_path / "1") == files_below(tmp_path / "2") == first
    for path, data in first.items():
        assert str(tmp_path).encode() not in data, path
        assert str(toys).encode() not in data, path


def test_archive_holds_the_tree(toys, tmp_path):
    tfaot.export(toys / "toy.json", tmp_path / "tree")
    (archive,) = tfaot.export(toys / "toy.json", tmp_path, zip=True)

    assert archive == tmp_path / "tfaot-model-toy.zip"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["tfaot-models"]
    assert files_below(tmp_path / "out" / "tfaot-models") == files_below(tmp_path / "tree")


def test_trees_of_two_exports_merge(toys, tmp_path):
    for name in ("toy", "second"):
        tfaot.export(toys / f"{name}.json", tmp_path / "tree")
    (tmp_path / "tree" / "mine.txt").write_text("stays")
    tfaot.export(toys / "toy.json", tmp_path / "tree")

    tfaot.export(toys, tmp_path / "both")
    found = files_below(tmp_path / "tree")
    assert found.pop("mine.txt") == b"stays"
    assert found == files_below(tmp_path / "both")


def test_version_of_a_user_wins(toy, tmp_path):
    artifact_manifest = read_manifest(toy / "toy.json")
    source = replace(artifact_manifest.source, version="2.1-final")
    (toy / "toy.json").write_text(replace(artifact_manifest, source=source).to_json())

    tfaot.export(toy, tmp_path / "own")
    tfaot.export(toy, tmp_path / "given", version="3.4.5")

    for folder, version, numbers in (("own", "2.1-final", "2.1"), ("given", "3.4.5", "3.4.5")):
        tree = tmp_path / folder
        assert f'version="{version}"' in (tree / "tfaot-model-toy.xml").read_text()
        assert f"Version: {version}" in (tree / "lib/pkgconfig/tfaot-model-toy.pc").read_text()
        text = (tree / "lib/cmake/toy/toyConfigVersion.cmake").read_text()
        assert f'set(PACKAGE_VERSION "{numbers}")' in text


def test_commands_as_they_are_written(toys, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["export", str(toys), "--zip"]) == 0
    assert capsys.readouterr().out == "tfaot-models.zip\n"
    assert run(["export", str(toys / "toy.json"), "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert (tmp_path / "tfaot-models" / "tfaot-model-toy.xml").exists()

    monkeypatch.chdir(toys)
    assert run(["export", "--wheel", "-o", str(tmp_path / "wheels")]) == 0
    names = [os.path.basename(line) for line in capsys.readouterr().out.splitlines()]
    platforms = "manylinux2014_x86_64.manylinux_2_17_x86_64.musllinux_1_1_x86_64"
    assert names == [f"tfaot_model_{n}-0.0.0-py3-none-{platforms}.whl" for n in ("second", "toy")]
    assert sorted(os.listdir(tmp_path / "wheels")) == names


def fails(capsys, *arguments):
    """The one line of an error that ends with exit code 2."""
    assert run(["export", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_errors_name_what_is_wrong(toys, toy, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "package.json").write_text("{}")
    (tmp_path / "file").write_text("")
    options = ["-o", out]

    assert "there is no manifest" in fails(capsys, tmp_path / "none.json", *options)
    assert "no compiled model in" in fails(capsys, tmp_path / "empty", *options)
    assert "both called 'toy'" in fails(capsys, toys, toy, *options)
    assert "--tool-name is for one model" in fails(capsys, toys, *options, "--tool-name", "t")
    assert "--tool-name: 'a/b'" in fails(capsys, toy, *options, "--tool-name", "a/b")
    assert "--tool-base" in fails(capsys, toy, *options, "--tool-base", "")
    assert "is no version" in fails(capsys, toy, *options, "--model-version", "1 0")
    assert "is a file" in fails(capsys, toy, "-o", tmp_path / "file")
    assert not out.exists()


def test_broken_models_are_refused(toy, tmp_path, capsys):
    out = tmp_path / "out"
    header = (toy / "toy.h").read_bytes()

    (toy / "toy.h").unlink()
    assert "there is no header" in fails(capsys, toy, "-o", out)
    (toy / "toy.h").write_bytes(header)
    with (toy / "toy.o").open("ab") as stream:
        stream.write(b"x")
    assert "SHA-256 differs" in fails(capsys, toy, "-o", out)
    (toy / "toy.o").unlink()
    assert "there is no object" in fails(capsys, toy, "-o", out)
    (toy / "toy.json").write_text("{")
    assert "corrupt, not JSON" in fails(capsys, toy, "-o", out)
    assert not out.exists()


def test_nothing_is_left_where_a_file_is_in_the_way(toys, tmp_path):
    (tmp_path / "tree" / "lib" / "toy.o").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"toy\.o' is a folder"):
        tfaot.export(toys, tmp_path / "tree")
    assert files_below(tmp_path / "tree") == {}

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "include").write_text("mine")
    with pytest.raises(UsageError, match="include' is a file"):
        tfaot.export(toys, tmp_path / "other")
    assert os.listdir(tmp_path / "other") == ["include"]


def test_wheels_are_for_what_python_can_load(toys, tmp_path):
    artifact = write_toy(tmp_path)
    target = replace(read_manifest(artifact.manifest).target, triple="aarch64-unknown-linux-gnu")
    rewrite_manifest(artifact, target=target)

    with pytest.raises(UsageError, match="aarch64-unknown-linux-gnu"):
        tfaot.export(artifact, tmp_path / "out", wheel=True)
    tfaot.export(artifact, tmp_path / "out")
    text = (tmp_path / "out/lib/cmake/toy/toyConfigVersion.cmake").read_text()
    assert "aarch64|arm64" in text


NAMES = ("x_info", "x_run", "x_workspace_bytes")


def test_library_of_a_long_name_is_read_by_binutils(tmp_path):
    ar = shutil.which("ar")
    if ar is None:
        pytest.skip("needs ar: apt-get install binutils")
    name = "a_model_with_a_long_name.o"
    (tmp_path / "l.a").write_bytes(b"".join(static_library(b"\x7fELF odd", name, NAMES)))

    def output(*command):
        return subprocess.run([ar, *command], capture_output=True, check=True, cwd=tmp_path).stdout

    assert output("t", "l.a").decode().split() == [name]
    assert output("p", "l.a", name) == b"\x7fELF odd"


def llvm_index(folder, data, triple):
    """What llvm-nm finds in the archive of an object that LLVM makes for `triple`."""
    nm = shutil.which("llvm-nm")
    if nm is None:
        pytest.skip("needs llvm-nm: apt-get install llvm")
    (folder / "l.a").write_bytes(b"".join(static_library(data, "x.o", NAMES)))
    command = [nm, "--print-armap", folder / "l.a"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("triple", "prefix"), [("arm64-apple-macosx11.0.0", "_"), ("x86_64-pc-windows-msvc", "")]
)
def test_libraries_for_other_systems_have_their_form(tmp_path, triple, prefix):
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(triple).create_target_machine()
    functions = "\n".join(f"define i32 @{name}() {{\n ret i32 1\n}}" for name in NAMES)
    data = machine.emit_object(llvm.parse_assembly(f'target triple = "{triple}"\n{functions}'))

    output = llvm_index(tmp_path, data, triple)

    index, symbols = output.split("\n\n")[:2]
    for name in NAMES:
        assert f"{prefix}{name} in x.o" in index
        assert f"T {prefix}{name}" in symbols


def test_mach_o_members_are_aligned():
    pieces = static_library(b"\xcf\xfa\xed\xfe" + bytes(33), "model.o", NAMES)

    data = b"".join(pieces)
    assert len(data) % 8 == 0
    assert data.index(b"\xcf\xfa\xed\xfe") % 8 == 0


def test_windows_archive_has_both_symbol_tables():
    data = b"".join(static_library(b"\x64\x86 coff", "x.o", NAMES))

    first = data[8 + 60 :]
    count, *offsets = struct.unpack_from(">4I", first)
    assert (count, set(offsets)) == (3, {data.index(b"x.o/")})
    second = data.index(b"/ ", 8 + 60) + 60
    members, offset, symbols = struct.unpack_from("<3I", data, second)
    assert (members, offset, symbols) == (1, data.index(b"x.o/"), 3)
    assert struct.unpack_from("<3H", data, second + 12) == (1, 1, 1)


def test_further_headers_keep_their_folders(toy, tmp_path, capsys):
    headers = ("toy_bs1.h", "vendor/deep/shim.h")
    manifest = replace(read_manifest(toy / "toy.json"), headers=headers)
    (toy / "toy.json").write_text(manifest.to_json())
    (toy / "toy_bs1.h").write_text("/* one */")
    assert "there is no header" in fails(capsys, toy, "-o", tmp_path / "out")
    (toy / "vendor" / "deep").mkdir(parents=True)
    (toy / "vendor" / "deep" / "shim.h").write_text("/* two */")

    tfaot.export(toy, tmp_path / "out")

    include = tmp_path / "out" / "include" / "tfaot-model-toy"
    assert (include / "toy_bs1.h").read_text() == "/* one */"
    assert (include / "vendor" / "deep" / "shim.h").read_text() == "/* two */"
