"""A model as files: the frozen graph that all engines start from, and what they made of it.

A folder per model holds `graph.pb`, whose inputs are the placeholders `input_0`, `input_1`, ... and
whose outputs are the nodes `output_0`, ..., and `graph.json`, which describes them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRAPH = "graph.pb"
DESCRIPTION = "graph.json"


@dataclass(frozen=True)
class Origin:
    """Where a model is and what is taken from it, as `tfaot compile` would be told.

    Attributes:
        path: SavedModel, .keras, .h5 or frozen graph.
        inputs: names of the graph's inputs; empty lets the frontend find them.
        outputs: names of its outputs; empty lets the frontend find them.
        set_values: placeholders that are fixed to a value.
        signature: key of the signature of a SavedModel.
        input_shapes: for inputs with unknown axes, sizes per axis; None is the batch axis.
        custom_objects: Keras custom objects, as texts `module:name` or `module`.
    """

    path: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    set_values: Mapping[str, Any] = field(default_factory=dict)
    signature: str | None = None
    input_shapes: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    custom_objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Input:
    """An input: the user's name, NumPy's name of its type, its sizes with None for the batch."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]

    def shape(self, batch: int) -> tuple[int, ...]:
        """The sizes at one batch size."""
        return tuple(batch if size is None else size for size in self.dims)


@dataclass(frozen=True)
class ModelFiles:
    """A frozen model in a folder.

    Attributes:
        folder: the folder.
        origin: the model that was frozen.
        inputs: its inputs, in order.
        outputs: the names of its outputs, in order.
        dynamic: whether the graph computes with shapes, so that sizes known ahead may help.
        target: what tfaot compiles for.
        artifact: path of the manifest of a compiled model, which tfaot takes instead of compiling;
            empty where there is none. Without a frozen graph beside it no other engine can run.
    """

    folder: Path
    origin: Origin
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    dynamic: bool
    target: str = "native"
    artifact: str = ""

    @property
    def graph(self) -> Path:
        """The frozen GraphDef."""
        return self.folder / GRAPH

    @property
    def input_nodes(self) -> tuple[str, ...]:
        """The placeholders of `graph`."""
        return tuple(f"input_{n}" for n in range(len(self.inputs)))

    @property
    def output_nodes(self) -> tuple[str, ...]:
        """The output nodes of `graph`."""
        return tuple(f"output_{n}" for n in range(len(self.outputs)))

    def random_inputs(self, batch: int, seed: int = 1) -> list[NDArray[Any]]:
        """Inputs with every row different: normal floats, small non-negative integers."""
        random = np.random.default_rng(seed)
        return [random_array(random, i.shape(batch), np.dtype(i.dtype)) for i in self.inputs]

    def batch_of(self, inputs: Sequence[NDArray[Any]]) -> int:
        """The batch size of arrays; 1 for a model without a batch axis."""
        for source, array in zip(self.inputs, inputs, strict=True):
            for size, actual in zip(source.dims, array.shape, strict=True):
                if size is None:
                    return int(actual)
        return 1

    def write(self) -> None:
        """Write the description."""
        data = {
            "origin": asdict(self.origin),
            "inputs": [asdict(i) for i in self.inputs],
            "outputs": list(self.outputs),
            "dynamic": self.dynamic,
            "target": self.target,
            "artifact": self.artifact,
        }
        with new_file(self.folder / DESCRIPTION) as path:
            path.write_text(json.dumps(data, indent=1) + "\n")


def read_files(folder: Path) -> ModelFiles:
    """The frozen model in `folder`."""
    data = json.loads((folder / DESCRIPTION).read_text())
    return ModelFiles(
        folder,
        read_origin(data["origin"]),
        tuple(Input(i["name"], i["dtype"], tuple(i["dims"])) for i in data["inputs"]),
        tuple(data["outputs"]),
        data["dynamic"],
        data.get("target", "native"),
        data.get("artifact", ""),
    )


def read_origin(data: Mapping[str, Any]) -> Origin:
    """An origin from the JSON values of its fields."""
    return Origin(
        data["path"],
        tuple(data["inputs"]),
        tuple(data["outputs"]),
        data["set_values"],
        data["signature"],
        {name: tuple(dims) for name, dims in data.get("input_shapes", {}).items()},
        tuple(data.get("custom_objects", ())),
    )


def random_array(
    random: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Random values: normal floats, integers from 0 to 9, booleans."""
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if dtype.kind == "c":
        return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(dtype)
    return random.integers(0, 2 if dtype.kind == "b" else 10, size=shape).astype(dtype)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as scratch:
        made = Path(scratch) / path.name
        yield made
        os.replace(made, path)
