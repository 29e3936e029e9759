"""Rows to measure on: made, from .npz files, from columns of ROOT files; and wrong ones."""

from __future__ import annotations

import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tfaot.engines.files import Input, ModelFiles, Origin
from tfaot.errors import InputError, TfaotError, UsageError
from tfaot.profiling.inputs import (
    InputSource,
    first_rows,
    input_source,
    make_inputs,
    read_inputs,
    write_inputs,
)

X = Input("features", "float32", (None, 3))
IDS = Input("in/id:0", "int32", (None, 2))
SCALE = Input("scale", "float64", ())


def npz(tmp_path: Path, **arrays: object) -> InputSource:
    np.savez(tmp_path / "rows.npz", **arrays)
    return input_source(str(tmp_path / "rows.npz"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("zeros", [[0, 0, 0], [0, 0, 0]]),
        ("ones", [[1, 1, 1], [1, 1, 1]]),
        ("incremental", [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_made_inputs(kind: str, expected: list[list[int]]) -> None:
    (x,) = make_inputs(input_source(kind), [X], 2)
    assert x.dtype == np.float32
    assert x.tolist() == expected


def test_random_inputs_differ_in_every_row_and_are_the_same_each_time() -> None:
    first, second = (make_inputs(InputSource(), [X, IDS, SCALE], 50) for _ in range(2))
    assert len({row.tobytes() for row in first[0]}) == 50
    assert first[1].min() >= 0
    assert first[2].shape == ()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_inputs_of_types_that_numpy_lacks(tmp_path: Path) -> None:
    half = Input("x", "bfloat16", (None, 3))
    (made,) = make_inputs(InputSource(), [half], 4)
    assert made.dtype == ml_dtypes.bfloat16
    write_inputs(tmp_path / "a.npz", [made])
    (again,) = read_inputs(tmp_path / "a.npz", [half])
    assert again.dtype == made.dtype
    assert again.tobytes() == made.tobytes()


def test_arrays_by_name_or_place_with_rows_repeated(tmp_path: Path) -> None:
    rows = np.arange(6.0).reshape(2, 3)
    source = npz(tmp_path, features=rows, in1=np.array([[1, 2]], np.int64), scale=np.array(2.5))
    x, ids, scale = make_inputs(source, [X, IDS, SCALE], 5)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, rows[[0, 1, 0, 1, 0]])
    assert ids.dtype == np.int32
    assert ids.tolist() == [[1, 2]] * 5
    assert scale == 2.5


def test_smaller_batches_are_the_first_rows(tmp_path: Path) -> None:
    files = ModelFiles(tmp_path, Origin(""), (X, SCALE), ("y",), False)
    arrays = make_inputs(input_source("incremental"), files.inputs, 4)
    x, scale = first_rows(arrays, files, 2)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert x.flags.c_contiguous
    assert scale.shape == ()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"feature": np.ones((2, 3))}, r"has no array 'features' \(or in0\), it has 'feature'"),
        ({"features": np.ones((2, 4))}, r"has the shape \[2, 4\], .*'features' is \[n, 3\]"),
        ({"features": np.ones(3)}, r"has the shape \[3\], .*'features' is \[n, 3\]"),
        ({"features": np.ones((0, 3))}, "has no rows"),
        ({"features": np.array([["a", "b", "c"]])}, "is str.*'features' is float32"),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_inputs(npz(tmp_path, **arrays), [X], 2)
    assert "\n" not in str(caught.value)


def test_ids_must_be_whole(tmp_path: Path) -> None:
    (ids,) = make_inputs(npz(tmp_path, in0=np.array([[1.0, 2.0]])), [IDS], 1)
    assert ids.tolist() == [[1, 2]]
    with pytest.raises(InputError, match="is float64, the model's input 'in/id:0' is int32"):
        make_inputs(npz(tmp_path, in0=np.array([[1.5, 2.0]])), [IDS], 1)


def test_sources_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'gaussian' are not known: give random, zeros, ones"):
        input_source("gaussian")
    with pytest.raises(UsageError, match="there is no file"):
        input_source(str(tmp_path / "rows.npz"))
    with pytest.raises(UsageError, match="tree and columns are those of a ROOT file"):
        input_source("zeros", "Events")
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    with pytest.raises(UsageError, match=r"is no \.npz file"):
        make_inputs(input_source(str(tmp_path / "bad.npz")), [X], 1)


# ROOT files.


@pytest.fixture(scope="module")
def root_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three events: scalars, an array of two, lists of one to three; and an empty tree."""
    uproot = pytest.importorskip("uproot", reason="uproot writes the file: pip install uproot")
    awkward = pytest.importorskip("awkward")
    path = tmp_path_factory.mktemp("root") / "events.root"
    with uproot.recreate(path) as file:
        tree = {
            "pt": np.array([10.0, 20.0, 30.0]),
            "eta": np.array([0.1, 0.2, 0.3], np.float32),
            "n": np.array([1, 2, 3], np.int32),
            "pair": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], np.float32),
        }
        file.mktree("Events", {k: (v.dtype, v.shape[1:]) for k, v in tree.items()})
        file["Events"].extend(tree)
        jets = awkward.Array([[1.0], [2.0, 3.0], [4.0, 5.0, 6.0]])
        file["Jets"] = {"Jet_pt": jets, "Jet_m": jets * 10}
    return path


def rows(path: Path, tree: str, inputs: list[Input], batch: int = 3, **columns: str) -> list:
    chosen = {name: branches.split(",") for name, branches in columns.items()}
    return make_inputs(input_source(str(path), tree, chosen), inputs, batch)


def test_columns_of_scalars(root_file: Path) -> None:
    (x,) = rows(root_file, "Events", [X], 4, features="pt,eta,n")
    assert x.dtype == np.float32
    expected = np.array([[10, 0.1, 1], [20, 0.2, 2], [30, 0.3, 3], [10, 0.1, 1]], np.float32)
    np.testing.assert_array_equal(x, expected)


def test_columns_of_arrays_and_branches_called_as_the_input(root_file: Path) -> None:
    (x,) = rows(root_file, "Events", [X], features="pair,pt")
    assert x[1].tolist() == [3, 4, 20]
    (pair,) = rows(root_file, "Events", [Input("pair:0", "float64", (None, 2))])
    assert pair.tolist() == [[1, 2], [3, 4], [5, 6]]


def test_lists_are_cut_or_filled_with_zeros(root_file: Path) -> None:
    (x,) = rows(root_file, "Jets", [X], features="Jet_pt[2],Jet_m[1]")
    assert x.tolist() == [[1, 0, 10], [2, 3, 20], [4, 5, 40]]
    jets = Input("jets", "float32", (None, 2, 2))
    (sequence,) = rows(root_file, "Jets", [jets], jets="Jet_pt,Jet_m")
    assert sequence.tolist() == [
        [[1, 10], [0, 0]],
        [[2, 20], [3, 30]],
        [[4, 40], [5, 50]],
    ]


@pytest.mark.parametrize(
    ("tree", "columns", "message"),
    [
        ("Events", {"features": "pt,phi,eta"}, r"no branch 'phi' for the input 'features', it has"),
        ("Events", {}, "no branch 'features'"),
        ("Events", {"feature": "pt"}, "has no input 'feature', its inputs are features"),
        ("Events", {"features": "pt,eta"}, r"has the shape \[3, 2\], .* is \[n, 3\]"),
        ("Jets", {"features": "Jet_pt"}, r"lists of different lengths: write 'Jet_pt\[4\]'"),
        ("Muons", {"features": "pt"}, r"has no tree 'Muons', it has Events, Jets \(--tree\)"),
        (None, {"features": "pt"}, r"has these trees: Events, Jets: name one \(--tree\)"),
    ],
)
def test_wrong_columns(
    root_file: Path, tree: str | None, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(TfaotError, match=message) as caught:
        rows(root_file, tree, [X], **columns)
    assert "\n" not in str(caught.value)


def test_no_root_file(tmp_path: Path) -> None:
    pytest.importorskip("uproot", reason="uproot reads ROOT files: pip install uproot")
    (tmp_path / "a.root").write_bytes(b"not ROOT at all, but long enough to be looked at" * 9)
    with pytest.raises(UsageError, match="is no ROOT file that can be read"):
        rows(tmp_path / "a.root", "Events", [X])


def test_uproot_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.root").touch()
    monkeypatch.setitem(sys.modules, "uproot", None)
    with pytest.raises(UsageError, match=r"uproot, which is missing: pip install 'tfaot\[profile"):
        rows(tmp_path / "a.root", "Events", [X])
