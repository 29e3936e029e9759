"""Loading an artifact and calling it: values, accepted inputs, refused ones, threads, processes."""

import concurrent.futures
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from toy_artifact import WEIGHTS, rewrite_manifest, toy_manifest, write_toy

import tfaot
from tfaot.errors import ArtifactError, InputError, TfaotError
from tfaot.packaging.manifest import AffineDim, Target, Workspace, read_manifest

W = np.array(WEIGHTS, np.float32)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return write_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def model(artifact):
    return tfaot.load(artifact.manifest)


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 4)).astype(np.float32), rng.normal(size=n)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 100, 1000])
def test_values_by_position_and_by_name(model, n):
    x, d = rows(n)
    outputs = model(x, d)
    assert list(outputs) == ["y/out:0", "größer */ 0?"]
    np.testing.assert_array_equal(outputs["y/out:0"], x + x + W)
    np.testing.assert_array_equal(outputs["größer */ 0?"], d > 0)
    assert outputs["y/out:0"].dtype == np.float32
    assert outputs["größer */ 0?"].dtype == np.bool_
    named = model(**{"double": d}, x=x)
    np.testing.assert_array_equal(named["y/out:0"], outputs["y/out:0"])
    by_c_name = model(x=x, double_=d)
    np.testing.assert_array_equal(by_c_name["y/out:0"], outputs["y/out:0"])


def test_growing_workspace(tmp_path):
    model = write_toy(tmp_path, growing=True).load()
    assert model.workspace_bytes(10) == 224
    x, d = rows(400_000)  # more than a thread keeps
    np.testing.assert_array_equal(model(x, d)["y/out:0"], x + x + W)
    np.testing.assert_array_equal(model(x[:3], d[:3])["y/out:0"], (x + x + W)[:3])


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x.astype(">f4"),
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(-1, 4),
        lambda x: x.tolist(),
        lambda x: tuple(map(tuple, x.tolist())),
    ],
    ids=["fortran", "strided", "big-endian", "unaligned", "list", "tuple"],
)
def test_layouts_are_accepted(model, change):
    x, d = rows(5)
    np.testing.assert_array_equal(model(change(x), d)["y/out:0"], x + x + W)


def test_inputs_are_not_changed(model):
    x, d = rows(5)
    before = x.copy()
    x.setflags(write=False)
    model(x, d)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((3, 4)), ["'x'", "float32[n, 4]", "float64", ".astype(numpy.float32)"]),
        (np.zeros((3, 4), np.int64), ["'x'", "int64"]),
        (np.zeros((3, 5), np.float32), ["'x'", "float32[n, 4]", "(3, 5)"]),
        (np.zeros(4, np.float32), ["'x'", "rank 2", "(4,)"]),
        (np.zeros((1, 3, 4), np.float32), ["'x'", "rank 3"]),
        (np.float32(1), ["'x'", "rank 0"]),
        ([[1.0, 2.0], [3.0]], ["'x'", "unequal"]),
        ([["a", "b", "c", "d"]], ["'x'", "Python values"]),
        ([[True, False, True, True]], ["'x'", "Python values"]),
        ([[1e300, 0.0, 0.0, 0.0]], ["'x'", "can't hold"]),
        ([[2**24 + 1, 0, 0, 0]], ["'x'", "can't hold"]),
        (None, ["'x'"]),
        (np.zeros((2, 4), np.float32), ["'x'", "'double'", "2 and 3"]),
        (np.array([[None] * 4]), ["'x'", "object"]),
    ],
)
def test_wrong_arrays(model, x, words):
    with pytest.raises(InputError) as caught:
        model(x, np.zeros(3))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_calls(model):
    x, d = rows(3)
    with pytest.raises(InputError, match="'double' is missing"):
        model(x)
    with pytest.raises(InputError, match="no input 'z', the inputs are 'x', 'double'"):
        model(x, z=d)
    with pytest.raises(InputError, match="given twice"):
        model(x, d, x=x)
    with pytest.raises(InputError, match="expected 2 inputs"):
        model(x, d, d)
    with pytest.raises(InputError, match="negative"):
        model.workspace_bytes(-1)


def test_run_into(model):
    x, d = rows(3)
    y, p = np.full((3, 4), np.nan, np.float32), np.zeros(3, bool)
    model.run_into([y, p], x, d)
    np.testing.assert_array_equal(y, x + x + W)
    with pytest.raises(InputError, match="C-contiguous"):
        model.run_into([np.empty((4, 3), np.float32).T, p], x, d)
    with pytest.raises(InputError, match=r"float32\[3, 4\]"):
        model.run_into([y[:2], p], x, d)
    with pytest.raises(InputError, match="expected 2 output"):
        model.run_into([y], x, d)


def test_bound_calls_read_what_the_inputs_hold_and_write_the_same_outputs(model):
    x, d = rows(5)
    call = model.bind(x, d)
    first = call.outputs[0]
    for seed in range(3):
        x[:], d[:] = rows(5, seed)
        call()
        assert call.outputs[0] is first
        np.testing.assert_array_equal(first, x + x + W)
        np.testing.assert_array_equal(call.outputs[1], d > 0)
    mine = [np.empty((5, 4), np.float32), np.empty(5, np.bool_)]
    model.bind(x, d, outputs=mine)()
    np.testing.assert_array_equal(mine[0], first)


def test_bound_calls_refuse_arrays_that_would_be_copied(model):
    x, d = rows(6)
    with pytest.raises(InputError, match="contiguous array to bind"):
        model.bind(x[::2], d[:3])
    with pytest.raises(InputError, match="expected 2 output arrays, got 1"):
        model.bind(x, d, outputs=[np.empty((6, 4), np.float32)])
    with pytest.raises(InputError, match="not a writable"):
        model.bind(x, d, outputs=[np.empty((4, 6), np.float32).T, np.empty(6, np.bool_)])


def test_shapes_seen_before_are_checked_again_in_all_but_shape(model):
    x, d = rows(3)
    expected = model(x, d)["y/out:0"]
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    backwards = x.astype(x.dtype.newbyteorder())
    locked = x.copy()
    locked.flags.writeable = False
    for same in (wide, backwards, locked, x.view(np.matrix)):
        np.testing.assert_array_equal(model(same, d)["y/out:0"], expected)
    with pytest.raises(InputError, match="got an array of float64"):
        model(x.astype(np.float64), d)
    with pytest.raises(InputError, match="missing"):
        model(x)
    for n in range(1, 600):
        assert len(model(*rows(n))["y/out:0"]) == n


def test_many_threads_on_one_model(model):
    batches = [rows(n % 37, seed=n) for n in range(200)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda b: model(*b), batches))
    for (x, _), result in zip(batches, results, strict=True):
        np.testing.assert_array_equal(result["y/out:0"], x + x + W)


def test_many_models_load_and_go_away(artifact):
    x, d = rows(2)
    for _ in range(50):
        assert artifact.load()(x, d)["y/out:0"].shape == (2, 4)


def test_pickles(model):
    x, d = rows(2)
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy(x, d)["y/out:0"], x + x + W)


def test_description(model):
    assert [t.name for t in model.inputs] == ["x", "double"]
    assert [t.c_name for t in model.outputs] == ["y_out", "gro_er_0"]
    assert model.info().strings["description"] == 'a "toy" \\ model'
    assert model.info().sizes["code_bytes"] == model.manifest.code_bytes > 50
    assert repr(model).startswith("<tfaot model toy(x: float32[n, 4], double: float64[n]) -> (")


def test_loading_imports_numpy_alone(artifact):
    program = (
        "import sys, tfaot, numpy as np\n"
        f"m = tfaot.load({str(artifact.manifest)!r})\n"
        "m(np.zeros((2, 4), np.float32), [1.0, 2.0])\n"
        "print([k for k in ('tensorflow', 'llvmlite', 'pydantic', 'jinja2', 'yaml', 'typer', "
        "'ml_dtypes', 'google') if k in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert output.stdout.strip() == "[]"


def test_missing_or_corrupt_files(tmp_path):
    with pytest.raises(ArtifactError, match="no manifest"):
        tfaot.load(tmp_path / "none.json")
    with pytest.raises(ArtifactError, match="folder"):
        tfaot.load(tmp_path)
    artifact = write_toy(tmp_path)
    data = artifact.object.read_bytes()
    artifact.object.write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match="SHA-256"):
        artifact.load()
    artifact.object.write_bytes(b"")
    with pytest.raises(ArtifactError, match="empty"):
        artifact.load()
    artifact.object.unlink()
    with pytest.raises(ArtifactError, match="belongs beside"):
        artifact.load()


@pytest.mark.parametrize(
    "changes",
    [
        {"workspace": Workspace(128)},
        {"weights_bytes": 3},
        {"inputs": "wider"},
        {"outputs": "wider"},
    ],
)
def test_manifest_of_another_object(tmp_path, changes):
    artifact = write_toy(tmp_path)
    manifest = read_manifest(artifact.manifest)
    for key in ("inputs", "outputs"):
        if key in changes:
            first, *others = getattr(manifest, key)
            changes[key] = (replace(first, dims=(AffineDim(1), 3)), *others)
    rewrite_manifest(artifact, **changes)
    with pytest.raises(ArtifactError, match="disagree"):
        artifact.load()


def test_object_for_another_machine(tmp_path):
    artifact = write_toy(tmp_path, toy_manifest(cpu="x86-64"))
    target = read_manifest(artifact.manifest).target
    rewrite_manifest(artifact, target=Target("aarch64-unknown-linux-gnu", ("generic",)))
    with pytest.raises(ArtifactError, match="compiled for aarch64"):
        artifact.load()
    rewrite_manifest(artifact, target=replace(target, features=("+tbm", "+fma4")))
    with pytest.raises(TfaotError, match=r"lacks fma4.*--target x86-64"):
        artifact.load()
