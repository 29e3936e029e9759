"""What the object holds: nothing undefined, the model's own symbols, weights once, no state."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to, poster
from test_rows import make_inputs

import tfaot
from tfaot.errors import ArtifactError
from tfaot.packaging.manifest import Symbols, read_manifest


def lines_of(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_nothing_is_undefined(artifact, tool):
    assert lines_of(tool("nm"), "-u", artifact.object) == []


def test_only_the_api_is_global(model, artifact, tool):
    symbols = {line.split()[-1] for line in lines_of(tool("nm"), "-g", artifact.object)}

    assert symbols == set(Symbols.of(model.name, composes=bool(model.static)).names)


def test_no_state_and_no_constructors(artifact, tool):
    sizes = {}
    for line in lines_of(tool("readelf"), "-S", "-W", artifact.object):
        fields = line.split("]", 1)[-1].split()
        if len(fields) > 5 and fields[0].startswith("."):
            sizes[fields[0]] = int(fields[4], 16)

    assert sizes[".text"] > 0
    for section, size in sizes.items():
        mutable = section.startswith((".data", ".bss", ".tdata", ".tbss"))
        # .data.rel.ro holds pointers, and is read-only once they are relocated.
        assert not mutable or section.startswith(".data.rel.ro") or size == 0, section
        assert not section.startswith((".init_array", ".ctors", ".fini_array"))


def test_links_alone(artifact, tool, tmp_path):
    subprocess.run(
        [tool("cc"), "-nostdlib", "-shared", "-Wl,-z,defs", artifact.object, "-o", tmp_path / "x"],
        check=True,
    )


@pytest.mark.parametrize("sizes", [(128, 128, 128, 128, 3), (20, 100, 75, 50, 1), (300, 257, 7)])
def test_weights_are_stored_once(sizes, tmp_path):
    model = poster("weights", sizes)

    manifest = read_manifest(compile_to(tmp_path, model).manifest)

    assert manifest.weights_bytes <= 1.02 * model.parameter_bytes
    assert (tmp_path / "weights.o").stat().st_size < manifest.weights_bytes + 200_000


def test_static_sizes_share_one_blob(tmp_path):
    sizes = (100, 128, 128, 3)
    model = poster("shared", sizes, static=(1, 2, 4, 8))

    manifest = read_manifest(compile_to(tmp_path, model).manifest)

    assert manifest.weights_bytes <= 1.02 * model.parameter_bytes


def test_workspace_is_constant_where_rows_are_independent(tmp_path):
    artifact = compile_to(tmp_path, poster("flat", (16, 64, 64, 4)))
    manifest, loaded = read_manifest(artifact.manifest), artifact.load()

    assert manifest.batch.rows_independent
    assert manifest.workspace.bytes is not None
    assert {loaded.workspace_bytes(n) for n in (0, 1, 100, 10**6)} == {manifest.workspace.bytes}


def test_workspace_grows_where_rows_are_mixed(artifacts):
    manifest, loaded = (
        read_manifest(artifacts["mixing"].manifest),
        artifacts["mixing"].load(),
    )

    assert not manifest.batch.rows_independent
    assert manifest.workspace.bytes is None
    assert loaded.workspace_bytes(10_000) > loaded.workspace_bytes(10)


def test_same_input_gives_the_same_bytes(model, artifact, tmp_path):
    again = compile_to(tmp_path, model)

    for one, other in zip(artifact.files, again.files, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


def test_same_bytes_whatever_the_hash_seed(artifacts, tmp_path):
    # Iteration over a set would give another order in a process with another seed.
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from consumer_models import compile_to, several\n"
        "compile_to(Path(sys.argv[2]), several())"
    )
    folder = str(Path(__file__).parent)
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", program, folder, tmp_path / seed],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )

    for file in artifacts["several"].files:
        assert (tmp_path / "1" / file.name).read_bytes() == file.read_bytes()
        assert (tmp_path / "2" / file.name).read_bytes() == file.read_bytes()


def test_instruction_sets_with_fma_agree_bitwise(model, tmp_path):
    x = [np.asarray(v) for v in _inputs(model)]
    results = []
    for target in ("x86-64-v3", "x86-64-v4", "native"):
        artifact = compile_to(tmp_path / target, model, target)
        try:
            loaded = artifact.load()
        except ArtifactError:  # this CPU lacks it
            continue
        result = loaded(*x)
        arrays = result.values() if isinstance(result, dict) else [result]
        results.append(b"".join(a.tobytes() for a in arrays))

    if len(results) < 2:
        pytest.skip("needs a CPU with AVX2 or more")
    assert len(set(results)) == 1


def _inputs(model):
    random = np.random.default_rng(3)
    for spec in model.signature.inputs:
        shape = spec.shape.at(45).static_dims
        values = random.normal(size=shape) * 3
        yield np.asarray(abs(values) if spec.dtype.is_integer else values).astype(spec.dtype.numpy)


@pytest.mark.parametrize("target", ["x86-64-v3", "portable"])
def test_the_object_alone_can_be_loaded(model, target, tmp_path):
    artifact = compile_to(tmp_path, model, target)
    whole = artifact.load()
    inputs = make_inputs(model, 10)
    expected = whole(*inputs)
    artifact.manifest.unlink()
    artifact.header.unlink()

    alone = tfaot.load(artifact.object)

    assert alone.inputs == whole.inputs
    assert alone.outputs == whole.outputs
    assert alone.manifest.batch.sizes == whole.manifest.batch.sizes
    assert alone.manifest.symbols == whole.manifest.symbols
    assert alone.isa == whole.isa
    results = alone(*inputs)
    pairs = [(results, expected)]
    if isinstance(results, dict):
        pairs = [(results[name], expected[name]) for name in expected]
    for ours, theirs in pairs:
        assert ours.tobytes() == theirs.tobytes()
    again = pickle.loads(pickle.dumps(alone))
    assert again.manifest.name == model.name


def test_objects_of_no_model_are_refused(artifacts, tool, tmp_path):
    source = tmp_path / "other.c"
    source.write_text("int other_run(void) { return 0; }")
    subprocess.run([tool("cc"), "-c", source, "-o", tmp_path / "other.o"], check=True)
    objects = [artifacts["dense"].object, artifacts["fixed"].object]
    both = tmp_path / "both.o"
    subprocess.run([tool("ld"), "-r", *objects, "-o", both], check=True)

    with pytest.raises(ArtifactError, match=r"other.o' holds no model of tfaot's"):
        tfaot.load(tmp_path / "other.o")
    with pytest.raises(ArtifactError, match=r"both.o' holds several models: dense, fixed"):
        tfaot.load(both)
    with pytest.raises(ArtifactError, match="there is no object"):
        tfaot.load(tmp_path / "missing.o")
