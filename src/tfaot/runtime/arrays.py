"""From what a user passes to the contiguous, aligned arrays that `run` takes."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tfaot.errors import InputError
from tfaot.packaging.manifest import AffineDim, Batch, Dim, ListedDim, Tensor

Array = NDArray[Any]


_NO_BYTES = ctypes.c_char * 0


def address_of(array: Array) -> int:
    """The address of an array's first element."""
    try:
        # Several times faster than `array.ctypes.data`, which makes objects on the way.
        return ctypes.addressof(_NO_BYTES.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        # Read-only, or of a type that the buffer protocol has no word for.
        return int(array.ctypes.data)


def numpy_dtype(tensor: Tensor) -> np.dtype[Any]:
    """The NumPy type of a tensor.

    For types that NumPy lacks it is the one of `ml_dtypes`; where that is not installed, the
    unsigned integer of the same bits.
    """
    ctype = tensor.ctype
    if ctype.numpy == ctype.bits:
        return np.dtype(ctype.numpy)
    try:
        import ml_dtypes
    except ImportError:
        return np.dtype(ctype.bits)
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, ctype.numpy))
    return dtype


def describe(tensor: Tensor) -> str:
    """Type and shape as messages show them: `float32[n, 4]`."""
    return f"{numpy_dtype(tensor).name}[{', '.join(map(_dim, tensor.dims))}]"


def _dim(dim: Dim) -> str:
    if isinstance(dim, int):
        return str(dim)
    if isinstance(dim, ListedDim):
        return "|".join(map(str, dim.sizes))
    head = {1: "n", -1: "-n"}.get(dim.scale, f"{dim.scale}*n")
    return head if dim.offset == 0 else f"{head}{dim.offset:+d}"


def prepare(tensor: Tensor, value: ArrayLike, dtype: np.dtype[Any]) -> Array:
    """`value` as a C-contiguous, aligned, native array of `dtype` and the tensor's rank.

    Arrays must have the type already (a copy is made only where the layout demands it); Python
    scalars and nested lists are converted where no value changes kind or overflows.

    Raises:
        InputError: one line with the input's name, what is expected and what was given.
    """
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        array = np.asarray(value)
        if array.dtype.newbyteorder("=") != dtype:
            raise InputError(
                f"input '{tensor.name}': expected {describe(tensor)}, got an array of "
                f"{array.dtype.name}: convert it with .astype({_spelling(dtype)})"
            )
    else:
        array = _from_python(tensor, value, dtype)
    if array.ndim != len(tensor.dims):
        raise InputError(
            f"input '{tensor.name}': expected {describe(tensor)} of rank {len(tensor.dims)}, "
            f"got shape {array.shape} of rank {array.ndim}"
        )
    return np.require(array, dtype=dtype, requirements=["C", "A"])


def _spelling(dtype: np.dtype[Any]) -> str:
    module = "numpy" if dtype.isbuiltin == 1 else "ml_dtypes"
    return f"{module}.{dtype.name}"


def _from_python(tensor: Tensor, value: ArrayLike, dtype: np.dtype[Any]) -> Array:
    expected = f"input '{tensor.name}': expected {describe(tensor)}"
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        raise InputError(f"{expected}, got lists of unequal lengths or too large numbers") from None
    if array.dtype == dtype or array.size == 0:
        return array.astype(dtype)
    given, want = array.dtype.kind, _kind(dtype)
    if (given, want) == ("f", "i"):
        # NumPy makes floats of integers of which some need 64 bits without a sign.
        array = np.asarray(value, dtype=object)
        given = "i" if all(type(v) is int for v in array.flat) else "f"
    if (given, want) not in {("i", "i"), ("u", "i"), ("i", "f"), ("u", "f"), ("f", "f")} and not (
        want == "c" and given in "iufc"
    ):
        raise InputError(f"{expected}, got Python values of {array.dtype.name}")
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            result = array.astype(dtype)
        except OverflowError:
            raise InputError(f"{expected}, got a value that {dtype.name} can't hold") from None
        if given in "iu":
            lossless = bool(np.all(result.astype(object) == array.astype(object)))
        else:
            lossless = bool(np.array_equal(np.isfinite(result), np.isfinite(array)))
    if not lossless:
        raise InputError(f"{expected}, got a value that {dtype.name} can't hold")
    return result


def _kind(dtype: np.dtype[Any]) -> str:
    """`i` for integers, `f` for floats (of `ml_dtypes` too), `c` and `b` as NumPy has them."""
    if dtype.isbuiltin == 1:
        return "i" if dtype.kind in "iu" else dtype.kind
    return "i" if "int" in dtype.name else "f"


def find_batch(tensors: Sequence[Tensor], arrays: Sequence[Array], batch: Batch) -> int | None:
    """The batch size that the arrays' shapes agree on; None where no shape depends on it.

    Raises:
        InputError: a size that differs from the model's, or two batch sizes.
    """
    found: tuple[int, str] | None = None
    for tensor, array in zip(tensors, arrays, strict=True):
        wrong = InputError(
            f"input '{tensor.name}': expected shape {describe(tensor)}, got {array.shape}"
        )
        for dim, size in zip(tensor.dims, array.shape, strict=True):
            if isinstance(dim, int):
                if dim != size:
                    raise wrong
                continue
            assert isinstance(dim, AffineDim), "sizes of inputs have a rule"
            n, rest = divmod(size - dim.offset, dim.scale)
            if rest or n < 0:
                raise wrong
            if found is not None and found[0] != n:
                raise InputError(
                    f"inputs '{found[1]}' and '{tensor.name}' have batch sizes {found[0]} and {n}:"
                    " they must be equal"
                )
            found = (n, tensor.name)
    if found is None:
        return None
    check_batch(found[0], batch)
    return found[0]


def check_batch(n: int, batch: Batch) -> None:
    """InputError where a model can't run `n` rows."""
    if n < 0:
        raise InputError(f"batch size {n} is negative")
    if batch.kind == "static" and not batch.rows_independent and n not in batch.sizes:
        sizes = ", ".join(map(str, batch.sizes))
        raise InputError(f"batch size {n} is none of those compiled for ({sizes})")
