"""The rows that models are measured on: made, from .npz files, or columns of ROOT files.

Input: an `InputSource` and the inputs of a model. Output: one array per input, with as many rows as
the largest batch size; smaller batches are its first rows.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.engines.files import Input, ModelFiles, new_file, random_array
from tfaot.errors import InputError, UsageError
from tfaot.runtime.files import read_npz

Array = NDArray[Any]

MADE = ("random", "zeros", "ones", "incremental")
"""Inputs that need no file: normal floats and small integers, 0, 1, and 0, 1, 2, ... ."""

_COLUMN = re.compile(r"(?P<name>.+?)(\[(?P<count>\d+)\])?\Z")


@dataclass(frozen=True)
class InputSource:
    """Where rows come from.

    Attributes:
        kind: of `MADE`, `npz` or `root`.
        file: the file of the last two.
        tree: name of the tree in a ROOT file; None takes the only one.
        columns: per input the branches of a ROOT file that make its columns, in order. `NAME[4]`
            takes the first four values of a branch of lists, zeros where there are fewer. An input
            that is not named takes the branch of its own name.
    """

    kind: str = "random"
    file: Path | None = None
    tree: str | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def describe(self) -> str:
        """For results: `random`, or the file with its tree."""
        if self.file is None:
            return self.kind
        return f"{self.file}:{self.tree}" if self.tree else str(self.file)


def input_source(
    text: str, tree: str | None = None, columns: Mapping[str, Sequence[str]] | None = None
) -> InputSource:
    """The source that `text` names: a kind of `MADE`, or the path of an .npz or ROOT file.

    Raises:
        UsageError: it is neither, or tree and columns are given for something else.
    """
    chosen = {name: tuple(branches) for name, branches in (columns or {}).items()}
    path = Path(text).expanduser()
    kind = text if text in MADE else {".npz": "npz", ".root": "root"}.get(path.suffix, "")
    if not kind:
        raise UsageError(
            f"inputs '{text}' are not known: give {', '.join(MADE)}, or an .npz or .root file"
        )
    if kind != "root" and (tree or chosen):
        raise UsageError("tree and columns are those of a ROOT file: give one as inputs")
    if kind in MADE:
        return InputSource(kind)
    if not path.exists():
        raise UsageError(f"there is no file '{text}' to take inputs from")
    return InputSource(kind, path, tree, chosen)


def make_inputs(source: InputSource, inputs: Sequence[Input], batch: int) -> list[Array]:
    """One array per input with `batch` rows, C-contiguous, of the model's types.

    Files with fewer rows are repeated from their start.

    Raises:
        InputError: the file lacks an input, or holds it in another shape or type.
        UsageError: the file can't be read.
    """
    if source.kind == "npz":
        return _from_npz(source, inputs, batch)
    if source.kind == "root":
        return _from_root(source, inputs, batch)
    random = np.random.default_rng(1)
    return [_made(source.kind, random, i.shape(batch), dtype_of(i)) for i in inputs]


def dtype_of(tensor: Input) -> np.dtype[Any]:
    """The NumPy type of an input, from `ml_dtypes` where NumPy lacks it."""
    try:
        return np.dtype(tensor.dtype)
    except TypeError:
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, tensor.dtype))
        return dtype


def _made(
    kind: str, random: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    if kind == "random":
        if dtype.kind == "V":  # bfloat16 and its like
            return random.normal(size=shape).astype(np.float32).astype(dtype)
        return random_array(random, shape, dtype)
    if kind == "incremental":
        return np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    return np.full(shape, 0 if kind == "zeros" else 1, dtype)


def _from_npz(source: InputSource, inputs: Sequence[Input], batch: int) -> list[Array]:
    assert source.file is not None
    arrays = read_npz(source.file, "inputs")
    found = []
    for number, tensor in enumerate(inputs):
        keys = (tensor.name, tensor.name.split(":")[0], f"in{number}")
        key = next((k for k in (*keys, tensor.name.replace("/", "_")) if k in arrays), None)
        if key is None:
            have = ", ".join(f"'{k}'" for k in arrays) or "nothing"
            raise InputError(
                f"'{source.file}' has no array '{tensor.name}' (or in{number}), it has {have}"
            )
        found.append(_fitted(arrays[key], tensor, batch, f"'{source.file}': array '{key}'"))
    return found


def _fitted(given: Array, tensor: Input, batch: int, what: str) -> Array:
    """An array with the rows and the type of an input; its rows are repeated where too few."""
    array, dtype = given, dtype_of(tensor)
    if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize:
        array = array.view(dtype)  # how .npz files store the types of ml_dtypes
    fits = array.ndim == len(tensor.dims) and all(
        size is None or size == actual
        for size, actual in zip(tensor.dims, array.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"{what} has the shape {_shape(array.shape)}, the model's input "
            f"'{tensor.name}' is {_shape(tensor.dims)}"
        )
    if not _castable(array, dtype):
        raise InputError(
            f"{what} is {array.dtype.name}, the model's input '{tensor.name}' is {dtype.name}"
        )
    for axis, size in enumerate(tensor.dims):
        if size is not None:
            continue
        if not array.shape[axis]:
            raise InputError(f"{what} has no rows: give one at least")
        array = np.take(array, np.arange(batch) % array.shape[axis], axis=axis)
    return np.asarray(array.astype(dtype), order="C")


def _castable(array: Array, dtype: np.dtype[Any]) -> bool:
    if array.dtype.kind == "V" or dtype.kind == "V":
        return array.dtype == dtype or array.dtype.kind == "f"
    if array.dtype.kind == "f" and dtype.kind in "iu":  # ids that a file holds as floats
        return bool(np.all(array == np.floor(array)))
    return np.can_cast(array.dtype, dtype, "same_kind") or array.dtype.kind in "iub"


def _shape(dims: Sequence[int | None]) -> str:
    return f"[{', '.join('n' if d is None else str(d) for d in dims)}]"


def _from_root(source: InputSource, inputs: Sequence[Input], batch: int) -> list[Array]:
    assert source.file is not None
    names = [i.name for i in inputs]
    for name in source.columns:
        if name not in names and name not in {n.split(":")[0] for n in names}:
            raise InputError(
                f"columns: the model has no input '{name}', its inputs are {', '.join(names)}"
            )
    tree = _open_tree(source)
    found = []
    for tensor in inputs:
        short = tensor.name.split(":")[0]
        branches = source.columns.get(tensor.name) or source.columns.get(short) or (short,)
        columns = [_column(source, tree, branch, tensor, batch) for branch in branches]
        # A branch is one place of the last axis, an array of fixed size as many as it has.
        rank = len(tensor.dims)
        wide = [c[..., np.newaxis] if c.ndim == rank - 1 else c for c in columns]
        what = f"'{source.file}': branch{'es' if len(branches) > 1 else ''} {', '.join(branches)}"
        if len(wide) == 1 and columns[0].ndim == rank:
            array = columns[0]
        else:
            if any(c.ndim != rank for c in wide):
                raise InputError(
                    f"{what} can't make the input '{tensor.name}' of shape {_shape(tensor.dims)}: "
                    "give a branch per column, or an .npz file"
                )
            array = np.concatenate(wide, axis=-1)
        found.append(_fitted(array, tensor, batch, what))
    return found


def _open_tree(source: InputSource) -> Any:
    try:
        uproot: Any = importlib.import_module("uproot")
    except ImportError:
        raise UsageError(
            "ROOT files are read by uproot, which is missing: pip install 'tfaot[profile]'"
        ) from None
    try:
        file = uproot.open(source.file)
        kinds = ["TTree", "TNtuple", "ROOT::RNTuple"]
        found = {k.split(";")[0]: k for k in file.keys(filter_classname=lambda c: c in kinds)}
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"'{source.file}' is no ROOT file that can be read: {reason}") from None
    name = source.tree
    if name is None:
        if len(found) != 1:
            have = ", ".join(found) or "none"
            raise UsageError(f"'{source.file}' has these trees: {have}: name one (--tree)")
        (name,) = found
    if name not in found:
        have = ", ".join(found) or "none"
        raise UsageError(f"'{source.file}' has no tree '{name}', it has {have} (--tree)")
    return file[found[name]]


def _column(source: InputSource, tree: Any, text: str, tensor: Input, batch: int) -> Array:
    """A branch as numbers: one per row, or as many per row as the input or `[count]` asks for."""
    matched, known = _COLUMN.match(text), list(tree.keys())
    assert matched is not None
    name, asked = (text, None) if text in known else (matched["name"], matched["count"])
    if name not in known:
        have = ", ".join(known[:20]) or "none"
        raise InputError(
            f"'{source.file}' has no branch '{name}' for the input '{tensor.name}', "
            f"it has {have} (--columns)"
        )
    try:
        values = tree[name].array(entry_stop=batch, library="np")
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"'{source.file}': branch '{name}' can't be read: {reason}") from None
    if not len(values):
        raise InputError(f"'{source.file}' has no entries in branch '{name}'")
    if values.dtype.kind != "O":
        if asked is not None and values.ndim == 2:
            values = values[:, : int(asked)]
        return np.asarray(values)
    # Lists of different lengths: cut, or filled with zeros.
    if asked is not None:
        length = int(asked)
    elif len(tensor.dims) == 3 and tensor.dims[1] is not None:
        length = tensor.dims[1]
    else:
        raise InputError(
            f"'{source.file}': branch '{name}' holds lists of different lengths: "
            f"write '{name}[4]' to take the first four of each (--columns)"
        )
    first = np.asarray(values[0])
    if first.ndim != 1 or first.dtype.kind not in "iufb":
        raise InputError(f"'{source.file}': branch '{name}' holds no lists of numbers")
    filled = np.zeros((len(values), length), np.result_type(*(np.asarray(v) for v in values[:1])))
    for row, listed in enumerate(values):
        part = np.asarray(listed)[:length]
        filled[row, : len(part)] = part
    return filled


def write_inputs(path: Path, arrays: Sequence[Array]) -> None:
    """Write the arrays as in0, in1, ... for `read_inputs`."""
    with new_file(path) as new, new.open("wb") as stream:
        named: dict[str, Any] = {f"in{n}": array for n, array in enumerate(arrays)}
        np.savez(stream, **named)


def read_inputs(path: Path, inputs: Sequence[Input]) -> list[Array]:
    """The arrays that `write_inputs` wrote, in the types of the model's inputs."""
    with np.load(path) as file:
        arrays = [file[f"in{n}"] for n in range(len(inputs))]
    return [
        a if a.dtype.kind != "V" else a.view(dtype_of(i))
        for a, i in zip(arrays, inputs, strict=True)
    ]


def first_rows(arrays: Sequence[Array], files: ModelFiles, batch: int) -> list[Array]:
    """The first `batch` rows of each input that has rows, C-contiguous."""
    found = []
    for array, tensor in zip(arrays, files.inputs, strict=True):
        place = tuple(slice(batch) if size is None else slice(None) for size in tensor.dims)
        found.append(np.asarray(array[place], order="C"))
    return found
