"""Values of constants as HLO text: exact in both directions."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.errors import InvalidModuleError
from tfaot.ir.dtypes import DType

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_SCALAR = re.compile(r"[+-]?nan\(0x[0-9a-fA-F]+\)|[^\s{},()]+")
_PART = r"([+-]?nan\(0x[0-9a-fA-F]+\)|[^\s{},()]+)"
_PAIR = re.compile(rf"\(\s*{_PART}\s*,\s*{_PART}\s*\)")
_PAYLOAD = re.compile(r"([+-]?)nan(?:\(0x([0-9a-fA-F]+)\))?")
_MANTISSA_BITS = {
    DType.F8E4M3FN: 3,
    DType.F8E5M2: 2,
    DType.F16: 10,
    DType.BF16: 7,
    DType.F32: 23,
    DType.F64: 52,
}
_PREDS = {"true": True, "false": False, "1": True, "0": False}


def format_literal(value: NDArray[Any]) -> str:
    """`value` as HLO text, shortest digits that read back to the same bits, nested by braces."""
    dtype = DType.from_numpy(value.dtype)
    if dtype is DType.PRED and value.ndim == 0:
        return "true" if value else "false"
    return _nest(_scalars(value.reshape(-1), dtype), value.shape)


def parse_literal(text: str, dtype: DType, dims: tuple[int, ...]) -> NDArray[Any]:
    """The array of type `dtype` and dimensions `dims` that `text` writes.

    Raises:
        InvalidModuleError: an elided constant, wrong nesting or count, a number out of range.
    """
    if "..." in text:
        raise InvalidModuleError(
            "the constant's value is elided ({...}); pass the serialized HLO proto instead"
        )
    text = _COMMENT.sub("", text)
    if dtype.is_complex:
        pairs = _PAIR.findall(text)
        skeleton = _PAIR.sub("", text)
        parts = _numbers([p for pair in pairs for p in pair], dtype.real)
        values = parts.view(dtype.numpy)
    else:
        values = _numbers(_SCALAR.findall(text), dtype)
        skeleton = _SCALAR.sub("", text)
    if "".join(skeleton.split()) != _nest_all("", dims):
        raise InvalidModuleError(f"the constant's braces don't fit {dtype}{list(dims)}")
    count = int(np.prod(dims, dtype=np.int64))
    if values.size != count:
        raise InvalidModuleError(f"the constant has {values.size} elements, not {count}")
    return values.reshape(dims)


def _nest(items: list[str], dims: tuple[int, ...]) -> str:
    if not dims:
        return items[0]
    for size in reversed(dims[1:]):
        items = _grouped(items, size)
    if 0 in dims[1:]:
        return _nest_all("", dims)
    return "{" + ", ".join(items) + "}"


def _grouped(items: list[str], size: int) -> list[str]:
    if not size:
        return items
    return ["{" + ", ".join(items[i : i + size]) + "}" for i in range(0, len(items), size)]


def _nest_all(item: str, dims: tuple[int, ...]) -> str:
    for size in reversed(dims):
        item = "{" + ",".join([item] * size) + "}"
    return item


def _scalars(flat: NDArray[Any], dtype: DType) -> list[str]:
    if dtype.is_complex:
        real, imaginary = _scalars(flat.real, dtype.real), _scalars(flat.imag, dtype.real)
        return [f"({a}, {b})" for a, b in zip(real, imaginary, strict=True)]
    if not dtype.is_float:
        return list(map(str, flat.astype(np.uint64 if dtype is DType.U64 else np.int64).tolist()))
    # Every narrower float is exact in float32, whose shortest digits then identify it.
    printed = flat if dtype is DType.F64 else flat.astype(np.float32)
    texts: list[str] = printed.astype(str).tolist()
    # XLA reads -0 as an integer, and its sign is lost.
    texts = [t[:-2] if t.endswith(".0") and t != "-0.0" else t for t in texts]
    for position in np.flatnonzero(np.isnan(printed)):
        texts[position] = _format_nan(flat[position : position + 1], dtype)
    return texts


def _bits(dtype: DType) -> tuple[np.dtype[Any], int, int]:
    """The unsigned type of the same width, the mantissa's mask and the sign's mask."""
    mantissa = (1 << _MANTISSA_BITS[dtype]) - 1
    return np.dtype(f"u{dtype.itemsize}"), mantissa, 1 << (dtype.itemsize * 8 - 1)


def _format_nan(value: NDArray[Any], dtype: DType) -> str:
    unsigned, mantissa, sign = _bits(dtype)
    bits = int(np.ascontiguousarray(value).view(unsigned)[0])
    plain = int(np.array([np.nan]).astype(dtype.numpy).view(unsigned)[0]) & ~sign
    if bits == plain:
        return "nan"
    return f"{'-' if bits & sign else ''}nan(0x{bits & mantissa:x})"


def _parse_nan(token: str, dtype: DType) -> NDArray[Any]:
    matched = _PAYLOAD.fullmatch(token)
    assert matched is not None
    unsigned, mantissa, sign = _bits(dtype)
    bits = int(np.array([np.nan]).astype(dtype.numpy).view(unsigned)[0]) & ~sign
    if matched[2] is not None:
        payload = int(matched[2], 16)
        if not 0 < payload <= mantissa:
            raise InvalidModuleError(f"'{token}' is no {dtype}")
        bits = (bits & ~mantissa) | payload
    if matched[1] == "-":
        bits |= sign
    return np.array([bits], unsigned).view(dtype.numpy)


def _numbers(tokens: list[str], dtype: DType) -> NDArray[Any]:
    if dtype is DType.PRED:
        unknown = next((t for t in tokens if t not in _PREDS), None)
        if unknown is not None:
            raise InvalidModuleError(f"'{unknown}' is no pred")
        return np.array([_PREDS[t] for t in tokens], np.bool_)
    return _floats(tokens, dtype) if dtype.is_float else _integers(tokens, dtype)


def _integers(tokens: list[str], dtype: DType) -> NDArray[Any]:
    low = -(1 << (dtype.bits - 1)) if dtype.is_signed else 0
    high = (1 << (dtype.bits - 1 if dtype.is_signed else dtype.bits)) - 1
    numbers = []
    for token in tokens:
        try:
            number = int(token)
        except ValueError:
            raise InvalidModuleError(f"'{token}' is no {dtype}") from None
        if not low <= number <= high:
            raise InvalidModuleError(f"{token} is out of range for {dtype}")
        numbers.append(number)
    wide = np.uint64 if dtype is DType.U64 else np.int64
    return np.array(numbers, wide).astype(dtype.numpy)


def _floats(tokens: list[str], dtype: DType) -> NDArray[Any]:
    numbers = []
    special = []
    for position, token in enumerate(tokens):
        if "nan" in token.lower():
            if _PAYLOAD.fullmatch(token) is None:
                raise InvalidModuleError(f"'{token}' is no {dtype}")
            special.append(position)
            numbers.append(0.0)
            continue
        try:
            numbers.append(float.fromhex(token) if "0x" in token else float(token))
        except ValueError:
            raise InvalidModuleError(f"'{token}' is no {dtype}") from None
    with np.errstate(over="ignore"):
        values = np.array(numbers, np.float64).astype(dtype.numpy)
    for position in special:
        values[position : position + 1] = _parse_nan(tokens[position], dtype)
    return values
