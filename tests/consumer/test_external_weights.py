"""Weights in a file of their own, as programs in C and C++ use them."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to, poster
from external import with_weights
from guard_pages import GuardedPages

import tfaot
from tfaot.cli.main import run
from tfaot.errors import ArtifactError, InputError
from tfaot.packaging.elf import ElfObject
from tfaot.packaging.manifest import parse_manifest, read_manifest
from tfaot.runtime.elf import LoadedObject
from tfaot.runtime.model import load
from tfaot.runtime.weights import attach_function
from tfaot.weights_file import BLOB_OFFSET, IDENTITY_BYTES, SUMMED_FROM

HERE = Path(__file__).parent
SIZES = (9, 20, 33, 3)
OK, NULL, WRONG, TRUNCATED, CORRUPT, MISALIGNED = 0, 2, 12, 13, 14, 15


def compile_external(folder, sizes=SIZES, seed=1, target="portable"):
    model = poster("dense", sizes, seed=seed)
    external = replace(model, module=with_weights(model.module))
    return compile_to(folder, external, target, weights="external")


@pytest.fixture(scope="module")
def external(tmp_path_factory):
    return compile_external(tmp_path_factory.mktemp("external"))


@pytest.fixture(scope="module")
def retrained(tmp_path_factory):
    """The same structure with other weights."""
    return compile_external(tmp_path_factory.mktemp("retrained"), seed=2)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another structure under the same name."""
    return compile_external(tmp_path_factory.mktemp("other"), (9, 20, 32, 3))


@pytest.fixture(scope="module")
def internal(tmp_path_factory):
    return compile_to(tmp_path_factory.mktemp("internal"), poster("dense", SIZES), "portable")


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(300, 9)).astype(np.float32)


def check(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("standard", ["c11", "gnu11", "c++17", "c++20"])
def test_a_program_maps_the_file(
    external, internal, other, features, standard, build_program, tmp_path
):
    program = build_program(tmp_path / "program", HERE / "external.c", standard, external.object)
    (tmp_path / "empty").touch()
    features.tofile(tmp_path / "in0")

    check(program, external.weights, other.weights, tmp_path)

    # The bits are those of the artifact that holds its weights.
    out = np.fromfile(tmp_path / "out0", np.float32).reshape(-1, 3)
    assert out.tobytes() == internal.load()(features).tobytes()


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_weights_are_replaced_while_threads_run(
    external, retrained, standard, build_program, tmp_path
):
    program = build_program(
        tmp_path / "program", HERE / "external.cpp", standard, external.object, flags=("-pthread",)
    )

    check(program, external.weights, retrained.weights)


def test_processes_share_the_weights(external, build_program, tmp_path):
    program = build_program(tmp_path / "program", HERE / "shared.c", "gnu11", external.object)
    done = subprocess.run([program, external.weights], capture_output=True, text=True, check=True)

    assert re.search(r"^\S+ r--s ", done.stdout), done.stdout
    kilobytes = {k: int(v) for k, v in re.findall(r"^(\w+): +(\d+) kB", done.stdout, re.MULTILINE)}
    assert kilobytes["Rss"] >= external.weights.stat().st_size // 1024
    assert kilobytes["Private_Clean"] == kilobytes["Private_Dirty"] == 0
    assert kilobytes["Shared_Clean"] + kilobytes["Shared_Dirty"] == kilobytes["Rss"]


def test_mapping_can_be_left_out(external, build_program, tmp_path):
    # Where there is no POSIX: the program hands over memory of its own.
    (tmp_path / "plain.c").write_text(
        "#define TFAOT_NO_MAP_WEIGHTS\n"
        '#include "dense.h"\n'
        "#include <stdio.h>\n"
        "#ifdef PROT_READ\n#error mmap was declared\n#endif\n"
        "int main(void) {\n"
        '  return dense_attach_weights(0, 0) == TFAOT_NULL_POINTER && puts("done") >= 0 ? 0 : 1;\n'
        "}\n"
    )

    check(build_program(tmp_path / "program", tmp_path / "plain.c", "c11", external.object))


def test_the_object_needs_nothing_and_shows_its_functions_alone(external):
    elf = ElfObject(external.object.read_bytes())
    names = {"run", "workspace_bytes", "info", "set_max_isa", "attach_weights"}

    assert not elf.undefined()
    assert {s.name for s in elf.symbols if s.binding and s.section} == {
        f"dense_{name}" for name in names
    }


def test_objects_are_the_same_whatever_the_weights(external, retrained):
    assert external.object.read_bytes() == retrained.object.read_bytes()
    assert external.header.read_bytes() == retrained.header.read_bytes()
    assert external.weights.read_bytes() != retrained.weights.read_bytes()


class Attacher:
    """NAME_attach_weights on copies of bytes that end where a page does that can't be touched."""

    def __init__(self, artifact):
        loaded = LoadedObject(artifact.object)
        symbol = read_manifest(artifact.manifest).symbols.attach_weights
        self.attach = attach_function(loaded.address(symbol))
        self.kept = loaded

    def __call__(self, data: bytes) -> int:
        # Of a length that is no multiple of 64 the end is at most 63 bytes before the page's.
        whole = -(-len(data) // 64) * 64
        pages = GuardedPages(whole, at_end=True)
        pages.bytes[: len(data)] = data
        for position in range(len(data), whole):
            pages.bytes[position] = 0xFF
        return self.attach(pages.address, len(data))


def test_nothing_is_read_past_the_end(external):
    attach, data = Attacher(external), external.weights.read_bytes()
    lengths = {*range(0, 200), *range(256, len(data), 320), *range(len(data) - 130, len(data))}

    for length in sorted(lengths):
        assert attach(data[:length]) == TRUNCATED, length
    assert attach(data) == OK
    assert attach(data + bytes(64)) == OK


def test_each_changed_byte_of_the_header_is_refused(external):
    attach, data = Attacher(external), bytearray(external.weights.read_bytes())

    for position in range(BLOB_OFFSET):
        for change in (1, 128):
            data[position] ^= change
            expected = WRONG if position < IDENTITY_BYTES else CORRUPT
            assert attach(bytes(data)) == expected, position
            data[position] ^= change
    assert attach(bytes(data)) == OK


def test_each_changed_bit_of_the_contents_is_refused(external):
    attach, data = Attacher(external), bytearray(external.weights.read_bytes())

    for bit in range(SUMMED_FROM * 8, len(data) * 8, 97):
        data[bit // 8] ^= 1 << bit % 8
        assert attach(bytes(data)) == CORRUPT, bit
        data[bit // 8] ^= 1 << bit % 8
    words = np.frombuffer(data, np.uint64)[BLOB_OFFSET // 8 :]
    swapped = words.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert attach(bytes(data[:BLOB_OFFSET]) + swapped.tobytes()) == CORRUPT
    # Whole blocks in another order, and signs of two numbers in one lane.
    blocks = np.frombuffer(data, np.uint8)[SUMMED_FROM:].reshape(-1, 4096)[::-1]
    assert attach(bytes(data[:SUMMED_FROM]) + blocks.tobytes()) == CORRUPT
    for position in (BLOB_OFFSET + 3, BLOB_OFFSET + 67):
        data[position] ^= 128
    assert attach(bytes(data)) == CORRUPT


def test_other_files_are_refused_by_name(external, other, internal):
    attach = Attacher(external)

    assert attach(other.weights.read_bytes()) == WRONG
    assert attach(internal.object.read_bytes()) == WRONG
    assert attach(b"\0" * 9000) == WRONG
    newer = bytearray(external.weights.read_bytes())
    newer[8] = 2
    assert attach(bytes(newer)) == WRONG


def test_python_finds_the_file_and_swaps_it(external, retrained, other, internal, features):
    model = external.load()
    before = model(features)

    assert before.tobytes() == internal.load()(features).tobytes()
    assert model.weights_path == external.weights
    model.load_weights(retrained.weights)
    after = model(features)
    assert after.tobytes() == retrained.load()(features).tobytes() != before.tobytes()
    with pytest.raises(ArtifactError, match="not for this model"):
        model.load_weights(other.weights)
    assert model(features).tobytes() == after.tobytes()
    assert load(external.manifest, retrained.weights)(features).tobytes() == after.tobytes()
    assert load(external.object)(features).tobytes() == before.tobytes()
    with pytest.raises(InputError, match="--weights external"):
        internal.load().load_weights(external.weights)


def test_every_instruction_set_reads_the_file(external, internal, features):
    mine, theirs = external.load(), internal.load()
    for level in ("x86-64-v2", "x86-64-v3", "x86-64-v4"):
        for model in (mine, theirs):
            model.set_max_isa(level)
        assert mine(features).tobytes() == theirs(features).tobytes()


def test_a_bound_call_takes_new_weights(external, retrained, features):
    model = external.load()
    call = model.bind(features)
    call()
    before = call.outputs[0].copy()

    model.load_weights(retrained.weights)
    call()

    assert call.outputs[0].tobytes() == retrained.load()(features).tobytes() != before.tobytes()


def test_files_that_python_refuses(external, tmp_path):
    copies = {p.name: tmp_path / p.name for p in external.files}
    for path in external.files:
        copies[path.name].write_bytes(path.read_bytes())
    manifest, weights = copies["dense.json"], copies["dense.weights"]
    data = weights.read_bytes()
    for contents, message in (
        (b"", "truncated"),
        (data[:1000], "truncated"),
        (data[:500] + b"\x01" + data[501:], "corrupt"),
        (external.object.read_bytes(), "not for this model"),
        (None, "can't read weights"),
    ):
        weights.unlink(missing_ok=True)
        if contents is not None:
            weights.write_bytes(contents)
        with pytest.raises(ArtifactError, match=message):
            load(manifest)


def test_a_pickled_model_takes_its_weights_along(external, retrained, features):
    model = external.load()
    model.load_weights(retrained.weights)

    copy = pickle.loads(pickle.dumps(model))

    assert copy(features).tobytes() == model(features).tobytes()


def test_exports_carry_the_file(external, other, tmp_path):
    tfaot.export(external, tmp_path / "tree")
    (wheel,) = tfaot.export(external, tmp_path, wheel=True)

    data = external.weights.read_bytes()
    assert (tmp_path / "tree" / "lib" / "dense.weights").read_bytes() == data
    assert zipfile.ZipFile(wheel).read("dense/dense.weights") == data
    for path in external.files:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "dense.weights").write_bytes(other.weights.read_bytes())
    with pytest.raises(ArtifactError, match="are of another model"):
        tfaot.export(tmp_path / "dense.json", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_inspect_and_the_command_tell_of_the_file(external, internal, capsys, tmp_path):
    assert run(["inspect", str(external.manifest)]) == 0
    assert "weights in   dense.weights" in capsys.readouterr().out.splitlines()
    (tmp_path / "model").mkdir()
    for manifest, model, message in (
        (internal.manifest, tmp_path / "model", "compile it with --weights external"),
        (external.manifest, tmp_path / "none", "there is no model"),
        (tmp_path / "none.json", tmp_path / "model", "there is no manifest"),
    ):
        assert run(["weights", str(manifest), "--model", str(model)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert run(["compile", str(tmp_path / "model"), "--weights", "sideways"]) == 2
    assert "use internal or external" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("field", "value"),
    [("file", "../dense.weights"), ("file", ""), ("bytes", 10), ("structure", "abc")],
)
def test_a_corrupt_manifest_is_refused_by_its_field(external, field, value, tmp_path):
    text = json.loads(external.manifest.read_text())
    text["weights"][field] = value

    with pytest.raises(ArtifactError, match=f"'weights.{field}'"):
        parse_manifest(json.dumps(text))


def test_the_manifest_holds_no_path_and_survives_being_read(external):
    manifest = read_manifest(external.manifest)

    assert manifest.to_json() == external.manifest.read_text()
    assert str(external.manifest.parent) not in external.manifest.read_text()


def test_composed_sizes_take_their_weights_from_the_file(tmp_path, features):
    model = poster("stitched", (9, 16, 2), static=(2, 5))
    outside = replace(model, module=with_weights(model.module))
    external = compile_to(tmp_path / "a", outside, "portable", weights="external")
    internal = compile_to(tmp_path / "b", model, "portable")
    mine, theirs = external.load(), internal.load()

    for loaded in (mine, theirs):
        loaded.set_batch_rules("7:2,5")
    for rows in (1, 2, 3, 5, 7, 13):
        assert mine(features[:rows]).tobytes() == theirs(features[:rows]).tobytes()


def test_other_machines_objects_have_the_function_too(tmp_path):
    for target in ("aarch64-linux", "riscv64-linux", "x86-64-windows", "arm64-macos"):
        artifact = compile_external(tmp_path / target, target=target)
        assert b"dense_attach_weights" in artifact.object.read_bytes()


def test_windows_programs_compile_with_the_header(external, tmp_path):
    compiler = shutil.which("x86_64-w64-mingw32-g++")
    if compiler is None:
        pytest.skip("needs x86_64-w64-mingw32-g++: apt-get install g++-mingw-w64-x86-64")
    artifact = compile_external(tmp_path, target="x86-64-windows")
    (tmp_path / "main.cpp").write_text(
        "#define TFAOT_MAP_WEIGHTS\n"
        '#include "dense.h"\n'
        "int main() { return tfaot_model::dense::map_weights(DENSE_WEIGHTS_FILE); }\n"
    )
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = [compiler, *flags, "main.cpp", artifact.object, "-o", "main.exe"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
