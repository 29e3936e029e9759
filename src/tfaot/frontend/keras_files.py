"""Keras files of all ages: which Keras reads them, and with which objects of the user's.

Input: the path of a `.keras` or HDF5 file. Output: the Keras model.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfaot.errors import ModelError, UsageError
from tfaot.frontend.messages import translated
from tfaot.frontend.tensorflow import keras_package, select_old_keras

_UNKNOWN_OBJECT = re.compile(
    r"(?:Could not locate (?:class|function)|Unknown (?:layer|function|object|activation function"
    r"|\w+)):? '?(\w+)'?"
)
_HDF5 = "h5py"
_LAST_OLD_VERSION = 2
"""Keras 3 is another package than the Keras of TensorFlow before it, which is `tf_keras` today."""


def load_model(path: Path, custom_objects: Sequence[str]) -> Any:
    """The model in a file, with the objects that `custom_objects` name.

    Raises:
        ModelError: no Keras can read it.
        UsageError: no such objects, or no Keras.
    """
    version = keras_version(path)
    old = version is not None and version <= _LAST_OLD_VERSION
    if old and custom_objects and keras_package("tf_keras"):
        # Modules with layers from `tensorflow.keras` shall get the Keras that the file is for.
        select_old_keras()
    return read_keras(path, import_objects(custom_objects))


def read_keras(path: Path, objects: Mapping[str, object]) -> Any:
    """The Keras or tf_keras model in a file; ModelError where neither can read it."""
    keras, legacy = keras_package("keras"), keras_package("tf_keras")
    version = keras_version(path)
    if legacy is not None and version is not None and version <= _LAST_OLD_VERSION:
        keras, legacy = legacy, keras
    first, second = (keras, legacy) if keras is not None else (legacy, None)
    if first is None:
        raise UsageError("Keras is needed to read this model and is not installed")
    try:
        return _read(first, path, objects)
    except ModelError as error:
        if second is None:
            raise _explained(path, error) from None
        try:
            return _read(second, path, objects)
        except ModelError:
            # The second choice's complaint would mislead.
            raise _explained(path, error) from None


def keras_version(path: Path) -> int | None:
    """The major version of the Keras that wrote a file, None where it doesn't tell."""
    text: Any = ""
    if zipfile.is_zipfile(path):
        with translated(ModelError, f"'{path}' can't be read"), zipfile.ZipFile(path) as archive:
            if "metadata.json" in archive.namelist():
                text = json.loads(archive.read("metadata.json")).get("keras_version", "")
    elif _is_hdf5(path):
        h5py = importlib.import_module(_HDF5)
        with translated(ModelError, f"'{path}' can't be read"), h5py.File(path, "r") as file:
            text = file.attrs.get("keras_version", "")
    text = text.decode() if isinstance(text, bytes) else str(text)
    number = text.split(".")[0]
    return int(number) if number.isdigit() else None


def import_objects(names: Sequence[str]) -> dict[str, object]:
    """The Python objects called `module:name`, by name, or all that a `module` has of its own.

    Raises:
        UsageError: there is no such module or object.
    """
    found: dict[str, object] = {}
    for name in names:
        module, separator, attribute = name.partition(":")
        if not module or (separator and not attribute):
            raise UsageError(
                f"--custom-objects: '{name}' must have the form module:name, or be a module"
            )
        with translated(UsageError, f"--custom-objects: '{module}' can't be imported"):
            value = importlib.import_module(module)
        if not separator:
            found.update(_own_objects(value))
            continue
        for part in attribute.split("."):
            if not hasattr(value, part):
                raise UsageError(f"--custom-objects: '{module}' has no '{attribute}'")
            value = getattr(value, part)
        found[attribute.split(".")[-1]] = value
    return found


def _own_objects(module: Any) -> dict[str, object]:
    """The classes and functions that a module or its package defines."""
    package = module.__name__.split(".")[0]
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value)
        and not name.startswith("_")
        and str(getattr(value, "__module__", "")).split(".")[0] == package
    }


def _read(package: Any, path: Path, objects: Mapping[str, object]) -> Any:
    known = {**_layers_for_graphics_cards(package), **objects}
    what = f"the Keras model '{path}' can't be loaded"
    with translated(ModelError, what), _readable_file(path) as readable:
        return package.models.load_model(str(readable), custom_objects=known, compile=False)


def _layers_for_graphics_cards(package: Any) -> dict[str, object]:
    """The plain layers that take the weights of those that ran on graphics cards alone."""
    return {"CuDNNLSTM": package.layers.LSTM, "CuDNNGRU": package.layers.GRU}


@contextmanager
def _readable_file(path: Path) -> Iterator[Path]:
    """The file, or a copy of an HDF5 file that says what its Keras took for granted.

    Functions of the user's stand by their names: Keras 2.13 and later wrote them as dictionaries,
    which it does not read from HDF5 itself.

    Raises:
        ModelError: it holds a Lambda layer's code, which tf_keras would run.
    """
    if not _is_hdf5(path):
        yield path
        return
    h5py = importlib.import_module(_HDF5)
    with h5py.File(path, "r") as file:
        text = file.attrs.get("model_config", "")
    config = json.loads(text) if text else None
    if _holds_code(config):
        raise _lambda_refused(path)
    plain = _readable(config)
    if plain == config:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tfaot-") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(plain)
        yield copy


def _holds_code(config: Any) -> bool:
    """Whether a configuration has a Lambda layer whose function is stored as bytes."""
    if isinstance(config, list):
        return any(_holds_code(item) for item in config)
    if not isinstance(config, dict):
        return False
    if config.get("class_name") == "Lambda":
        function = config.get("config", {}).get("function")
        kind = function.get("class_name") if isinstance(function, dict) else None
        return isinstance(function, list) or kind == "__lambda__"
    return any(_holds_code(value) for value in config.values())


def _lambda_refused(path: Path) -> ModelError:
    return ModelError(
        f"the Keras model '{path}' holds a Lambda layer, whose code is not run from a file: "
        "load it in Python and pass the model object"
    )


def _readable(config: Any) -> Any:
    """A configuration as tf_keras reads it, with functions by their names."""
    if isinstance(config, list):
        return [_readable(item) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "function" and isinstance(config.get("config"), str):
        return config["config"]
    read = {key: _readable(value) for key, value in config.items()}
    if read.get("class_name") in {"GRU", "GRUCell"} and isinstance(read.get("config"), dict):
        # Releases that did not know the choice reset the state before they multiplied it.
        read["config"].setdefault("reset_after", False)
    return read


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(4) == b"\x89HDF"


def _explained(path: Path, error: ModelError) -> ModelError:
    """The error with what to do, for those that only the user can mend."""
    if "No model config found" in str(error) or path.name.endswith(".weights.h5"):
        return ModelError(
            f"the file '{path}' holds weights without a model: "
            "load them into the model in Python, and save the model or pass it"
        )
    if unknown := _UNKNOWN_OBJECT.search(str(error)):
        name = unknown.group(1)
        return ModelError(
            f"the Keras model '{path}' needs the object '{name}': "
            f"pass it with --custom-objects module:{name}"
        )
    if "Lambda" in str(error):
        return _lambda_refused(path)
    return error
