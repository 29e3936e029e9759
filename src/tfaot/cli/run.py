"""`tfaot run`: a compiled model on arrays in .npz files."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfaot.errors import InputError, UsageError

if TYPE_CHECKING:
    from tfaot.runtime.model import Model


def run_command(
    manifest: Annotated[Path, typer.Argument(help="DIR/NAME.json")],
    inputs: Annotated[Path, typer.Option(help="Arrays by input name, or in0, in1, ...")],
    outputs: Annotated[Path, typer.Option(help="Receives the arrays by output name.")],
) -> None:
    """Run a compiled model on the arrays of an .npz file."""
    from tfaot.runtime.files import read_npz
    from tfaot.runtime.model import load

    model = load(manifest)
    arrays = read_npz(inputs, "--inputs")
    result = model(**_by_name(model, arrays, inputs))
    if len(model.outputs) == 1:
        result = {model.outputs[0].name: result}
    _write(outputs, result)


def _by_name(model: Model, arrays: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Arrays by input name; `/` may be written `_`, and in0, in1, ... go by position."""
    import numpy as np

    found: dict[str, Any] = {}
    for i, tensor in enumerate(model.inputs):
        keys = (tensor.name, tensor.c_name, tensor.name.replace("/", "_"), f"in{i}")
        key = next((k for k in keys if k in arrays), None)
        if key is None:
            have = ", ".join(f"'{k}'" for k in arrays) or "nothing"
            raise InputError(f"'{path}' has no array '{tensor.name}' (or in{i}), it has {have}")
        array = arrays[key]
        if array.dtype.kind == "V":  # how .npz files store the types of ml_dtypes
            from tfaot.runtime.arrays import numpy_dtype

            wanted = numpy_dtype(tensor)
            array = array.view(wanted) if array.dtype.itemsize == wanted.itemsize else array
        found[tensor.name] = np.asarray(array)
    return found


def _write(path: Path, arrays: Mapping[str, Any]) -> None:
    import numpy as np

    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise UsageError(f"can't write '{path}': {error.strerror} (--outputs)") from None
    temporary = Path(name)
    umask = os.umask(0)
    os.umask(umask)
    try:
        with os.fdopen(descriptor, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
            # Not numpy.savez: it takes names as keyword arguments, where `file` is its own.
            for key, array in arrays.items():
                entry = zipfile.ZipInfo(f"{key}.npy")
                with archive.open(entry, "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"can't write '{path}': {error.strerror} (--outputs)") from None
    finally:
        temporary.unlink(missing_ok=True)
