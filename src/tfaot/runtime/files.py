"""Arrays in .npz files, for the commands that run a model."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from tfaot.errors import UsageError
from tfaot.runtime.arrays import Array


def read_npz(path: Path, option: str) -> dict[str, Array]:
    """The arrays of an .npz file, by name; errors name `option`.

    Raises:
        UsageError: it is missing or no such file.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise UsageError(f"'{path}' holds no arrays by name: save them with numpy.savez")
        with file:
            return {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}' ({option})") from None
    except OSError as error:
        raise UsageError(f"can't read '{path}': {error.strerror or error} ({option})") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        raise UsageError(f"'{path}' is no .npz file of plain arrays ({option})") from None
