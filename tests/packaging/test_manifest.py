"""The manifest: a lossless, deterministic file; whatever is wrong with one is told in one line."""

import json
from dataclasses import replace

import pytest
from toy_artifact import toy_manifest

from tfaot.errors import ArtifactError
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import BatchDim
from tfaot.packaging.dtypes import CTYPES
from tfaot.packaging.manifest import (
    AffineDim,
    Batch,
    Kernel,
    ListedDim,
    Tensor,
    Varying,
    parse_manifest,
    read_manifest,
    tensors_of,
)
from tfaot.packaging.names import c_identifier, default_model_name, unique_c_names
from tfaot.signature import ListedDim as ListedSpecDim
from tfaot.signature import Signature, TensorSpec, with_sizes


def test_reads_what_it_writes(tmp_path):
    manifest = replace(
        toy_manifest(),
        batch=Batch("static", (1, 2, 4), False, "a cumulative sum over rows"),
        verification={"outputs": [{"ulp": 1.5, "index": [0, 1]}], "ok": True, "none": None},
        kernels=(Kernel("k", "dense", ("a", "b"), {"rows": 14}),),
    )
    path = tmp_path / "toy.json"
    path.write_text(manifest.to_json(), encoding="utf-8")
    assert read_manifest(path) == manifest
    assert read_manifest(path).to_json() == manifest.to_json()


def halved(*sizes: int):
    """A static model for 4, 8 and 9 rows, of which an output has `sizes`."""
    listed = Tensor("half", "half", "f32", (3, ListedDim((4, 8, 9), sizes)))
    toy = toy_manifest()
    batch = Batch("static", (4, 8, 9), False, "every other row")
    return replace(toy, outputs=(*toy.outputs, listed), batch=batch)


def test_sizes_without_a_rule_are_listed():
    manifest = parse_manifest(halved(2, 4, 5).to_json())
    assert manifest == halved(2, 4, 5)
    shapes = [manifest.outputs[-1].shape(n) for n in (4, 8, 9)]
    assert shapes == [(3, 2), (3, 4), (3, 5)]
    spec = TensorSpec("half", DType.F32, (3, ListedSpecDim(((4, 2), (8, 4), (9, 5)))))
    assert tensors_of(Signature((), (spec,)))[1] == manifest.outputs[-1:]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (halved(2, 4), "one size per batch size"),
        (halved(2, 4, -1), "negative size"),
        (replace(halved(2, 4, 5), batch=Batch("static", (4, 8), False)), "not the batch sizes"),
        (replace(halved(2, 4, 5), inputs=halved(2, 4, 5).outputs[-1:]), "input's size is listed"),
    ],
)
def test_listed_sizes_that_no_artifact_has(manifest, message):
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(manifest.to_json())


def masked(axes=(0,), size="kept_size", dims=(), dtype="s32"):
    """A model with an output of which some axes vary."""
    kept = Tensor("kept", "kept", "f32", (AffineDim(4), 3), Varying(axes, size))
    toy = toy_manifest()
    return replace(toy, outputs=(*toy.outputs, kept, Tensor("kept_size", "n", dtype, dims)))


def test_sizes_that_depend_on_the_data():
    spec = TensorSpec("kept", DType.F32, (BatchDim(4), 3), varying=(0,))
    outputs = tensors_of(Signature((), with_sizes([spec])))[1]
    assert [t.varying for t in outputs] == [Varying((0,), "kept_size"), None]
    assert parse_manifest(masked().to_json()) == masked()
    assert parse_manifest(masked((0, 1), dims=(2,)).to_json()) == masked((0, 1), dims=(2,))


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (masked(axes=()), "no axes of it"),
        (masked(axes=(1, 0), dims=(2,)), "no axes of it"),
        (masked(axes=(2,)), "no axes of it"),
        (masked(size="other"), "does not follow"),
        (replace(masked(), outputs=masked().outputs[:-1]), "does not follow"),
        (masked(dtype="s64"), "one s32 per axis"),
        (masked(axes=(0, 1)), "one s32 per axis"),
        (replace(masked(), inputs=masked().outputs[-2:]), "input's size varies"),
    ],
)
def test_varying_sizes_that_no_artifact_has(manifest, message):
    with pytest.raises(ArtifactError, match=message):
        parse_manifest(manifest.to_json())


def test_text_does_not_depend_on_the_order_of_dicts():
    one = replace(toy_manifest(), versions={"a": "1", "b": "2"}, verification={"x": 1, "y": 2})
    two = replace(toy_manifest(), versions={"b": "2", "a": "1"}, verification={"y": 2, "x": 1})
    assert one.to_json() == two.to_json()


def test_infinite_numbers_stay_readable_json():
    text = replace(toy_manifest(), verification={"ulp": float("inf")}).to_json()
    assert json.loads(text)["verification"]["ulp"] == "inf"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format_version=2), "newer than this tfaot reads"),
        (lambda d: d.pop("format_version"), "no manifest of tfaot"),
        (lambda d: d.pop("inputs"), "'inputs' is missing"),
        (lambda d: d.update(extra=1), "unknown field 'extra'"),
        (lambda d: d.update(weights_bytes="16"), "'weights_bytes' is corrupt: expected int"),
        (lambda d: d.update(weights_bytes=-1), "'weights_bytes'"),
        (lambda d: d.update(weights_bytes=True), "'weights_bytes'"),
        (lambda d: d.update(name="3x"), "'name'"),
        (lambda d: d["symbols"].update(run="toy_info"), "'symbols'"),
        (lambda d: d["inputs"][0].update(dtype="f31"), "unknown type 'f31'"),
        (lambda d: d["inputs"][0].update(dims=[-1]), "negative size"),
        (lambda d: d["inputs"][0].update(dims=[2.5]), r"inputs\[0\].dims\[0\]"),
        (lambda d: d["inputs"][0].update(dims=[2**40, 2**40]), "overflow"),
        (lambda d: d["inputs"][0].update(dims=[{"scale": 0, "offset": 1}]), "scale is 0"),
        (lambda d: d["inputs"][0].update(dims=[{"scale": 1}]), "offset' is missing"),
        (lambda d: d["inputs"][1].update(name="x"), "two tensors have one name"),
        (lambda d: d.update(outputs=[]), "'outputs'"),
        (lambda d: d["object"].update(file="../toy.o"), "'object.file'"),
        (lambda d: d["object"].update(sha256="0"), "'object.sha256'"),
        (lambda d: d["batch"].update(kind="any"), "'batch.kind'"),
        (lambda d: d["batch"].update(kind="static"), "'batch.sizes'"),
        (lambda d: d["batch"].update(kind="none"), "fixed sizes"),
        (lambda d: d["workspace"].update(bytes=-1), "'workspace.bytes'"),
        (lambda d: d["workspace"].update(bytes="64"), "'workspace.bytes'"),
    ],
)
def test_corrupt_fields(change, message):
    data = json.loads(toy_manifest().to_json())
    change(data)
    with pytest.raises(ArtifactError, match=message) as caught:
        parse_manifest(json.dumps(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00", "{}", '"a"'])
def test_no_manifest_at_all(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(ArtifactError, match=r"m\.json"):
        read_manifest(path)


def test_truncated_anywhere(tmp_path):
    text = toy_manifest().to_json()
    for end in range(0, len(text) - 2, 7):
        with pytest.raises(ArtifactError):
            parse_manifest(text[:end])
    path = tmp_path / "m.json"
    path.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ArtifactError, match="UTF-8"):
        read_manifest(path)


def test_tensors_of_a_signature():
    signature = Signature(
        (TensorSpec("a b", DType.F32, (BatchDim(1), 4)), TensorSpec("n", DType.S64, ())),
        (TensorSpec("a/b", DType.BF16, (BatchDim(2, -1),)),),
    )
    inputs, outputs = tensors_of(signature)
    assert [t.c_name for t in (*inputs, *outputs)] == ["a_b", "n_", "a_b_2"]
    assert inputs[0].dims == (AffineDim(1, 0), 4)
    assert inputs[0].shape(3) == (3, 4)
    assert outputs[0].shape(3) == (5,)


def test_every_type_of_the_ir_has_a_c_type():
    assert set(CTYPES) == {d.value for d in DType}
    for dtype in DType:
        assert CTYPES[dtype.value].size == dtype.itemsize
        assert CTYPES[dtype.value].numpy == dtype.numpy.name
    assert len({t.code for t in CTYPES.values()}) == len(CTYPES)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["input:0", "Input"], ["input", "Input_2"]),
        (["a/b", "a.b", "a b"], ["a_b", "a_b_2", "a_b_3"]),
        (["int", "class", "and", "float"], ["int_", "class_", "and_", "float_"]),
        (["", "日本", "3d"], ["tensor", "tensor_2", "tensor_3d"]),
        (["café", "__x__", "_Y"], ["cafe", "x", "Y"]),
        (
            ["batch", "workspace", "memory", "int8_t"],
            ["batch_", "workspace_", "memory_", "int8_t_"],
        ),
        (["x", "x_2", "x"], ["x", "x_2", "x_3"]),
    ],
)
def test_c_names(names, expected):
    assert list(unique_c_names(names)) == expected


def test_model_names():
    assert default_model_name("models/my-tagger.keras") == "my_tagger"
    assert default_model_name("models/jet.v2/saved_model.pb") == "jet_v2"
    assert default_model_name("models/jet_saved_model/") == "jet_saved_model"
    assert c_identifier("2024", "model") == "model_2024"
