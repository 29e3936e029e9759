"""Attributes of HLO text: one reader per attribute name, others are skipped."""

from __future__ import annotations

import re
from collections.abc import Callable

from tfaot.ir.attributes import Metadata, WindowDimension
from tfaot.ir.lexer import parse_dim, unescape
from tfaot.ir.raw import RawInstruction
from tfaot.ir.shapes import Dim

Reader = Callable[[RawInstruction, str], None]
READERS: dict[str, Reader] = {}

_RANGE = re.compile(r"\[([^\]]*)\]")
_PAIRS = re.compile(r'(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"')
_FIELD = re.compile(r"(\w+)=(\S+)")
_BOOLS = {"true": 1, "false": 0}


def _reads(*names: str) -> Callable[[Reader], Reader]:
    def register(reader: Reader) -> Reader:
        for name in names:
            READERS[name] = reader
        return reader

    return register


def _list(raw: RawInstruction, name: str, text: str) -> tuple[Dim, ...]:
    inner = text.strip()
    if inner.startswith("{"):
        inner = inner[1:-1]
    values = [parse_dim(part) for part in inner.split(",")] if inner.strip() else []
    found = tuple(v for v in values if v is not None)
    if len(found) != len(values):
        raise raw.error(f"{name}={text} is no list of integers")
    return found


def _register_lists(*names: str, to: str | None = None) -> None:
    for name in names:

        def reader(raw: RawInstruction, text: str, name: str = name) -> None:
            raw.ints[to or name] = _list(raw, name, text)

        READERS[name] = reader


_register_lists("dimensions", "iota_dimension", to="dimensions")
_register_lists(
    "index",
    "lhs_contracting_dims",
    "rhs_contracting_dims",
    "lhs_batch_dims",
    "rhs_batch_dims",
    "dynamic_slice_sizes",
    "offset_dims",
    "collapsed_slice_dims",
    "start_index_map",
    "index_vector_dim",
    "slice_sizes",
    "operand_batching_dims",
    "start_indices_batching_dims",
    "update_window_dims",
    "inserted_window_dims",
    "scatter_dims_to_operand_dims",
    "input_batching_dims",
    "scatter_indices_batching_dims",
    "feature_group_count",
    "batch_group_count",
    "fft_length",
    "exponent_bits",
    "mantissa_bits",
)


def _register_flags(*names: str) -> None:
    for name in names:

        def reader(raw: RawInstruction, text: str, name: str = name) -> None:
            if text not in _BOOLS:
                raise raw.error(f"{name}={text} is neither true nor false")
            raw.ints[name] = (_BOOLS[text],)

        READERS[name] = reader


_register_flags(
    "is_stable",
    "indices_are_sorted",
    "unique_indices",
    "lower",
    "left_side",
    "unit_diagonal",
    "custom_call_has_side_effect",
    "largest",
)


def _register_words(*names: str) -> None:
    for name in names:

        def reader(raw: RawInstruction, text: str, name: str = name) -> None:
            raw.words[name] = _unquoted(text).decode("utf-8", "replace")

        READERS[name] = reader


_register_words("direction", "type", "fft_type", "transpose_a", "algorithm", "custom_call_target")


def _register_calls(**roles: str) -> None:
    for name, role in roles.items():

        def reader(raw: RawInstruction, text: str, role: str = role) -> None:
            names = text.strip("{} ").split(",")
            raw.called[role] = tuple(n.strip().lstrip("%") for n in names if n.strip())

        READERS[name] = reader


_register_calls(
    to_apply="to_apply",
    calls="to_apply",
    condition="condition",
    body="body",
    select="select",
    scatter="scatter",
    branch_computations="branches",
    true_computation="true",
    false_computation="false",
    called_computations="called",
)


def _unquoted(text: str) -> bytes:
    return unescape(text[1:-1]) if text.startswith('"') else text.encode()


@_reads("opaque", "backend_config")
def _opaque(raw: RawInstruction, text: str) -> None:
    if raw.opcode == "custom-call":
        raw.opaque = _unquoted(text)


@_reads("metadata")
def _metadata(raw: RawInstruction, text: str) -> None:
    pairs = {k: unescape(v).decode("utf-8", "replace") for k, v in _PAIRS.findall(text)}
    raw.metadata = Metadata(pairs.get("op_type", ""), pairs.get("op_name", ""))


@_reads("slice")
def _slice(raw: RawInstruction, text: str) -> None:
    starts: list[Dim] = []
    limits: list[Dim] = []
    strides: list[Dim] = []
    for part in _RANGE.findall(text):
        values = [parse_dim(v) for v in part.split(":")]
        numbers = [v for v in values if v is not None]
        if len(numbers) != len(values) or len(numbers) not in (2, 3):
            raise raw.error(f"slice [{part}] is no range")
        starts.append(numbers[0])
        limits.append(numbers[1])
        strides.append(numbers[2] if len(numbers) == 3 else 1)
    raw.ints["slice_starts"] = tuple(starts)
    raw.ints["slice_limits"] = tuple(limits)
    raw.ints["slice_strides"] = tuple(strides)


@_reads("padding")
def _padding(raw: RawInstruction, text: str) -> None:
    columns: tuple[list[Dim], list[Dim], list[Dim]] = ([], [], [])
    for part in text.split("x"):
        values = [parse_dim(v) for v in part.split("_")]
        numbers = [v for v in values if v is not None]
        if len(numbers) != len(values) or len(numbers) not in (2, 3):
            raise raw.error(f"padding {part} is not low_high or low_high_interior")
        for column, value in zip(columns, (*numbers, 0), strict=False):
            column.append(value)
    for name, column in zip(("low", "high", "interior"), columns, strict=True):
        raw.ints[f"padding_{name}"] = tuple(column)


@_reads("window")
def _window(raw: RawInstruction, text: str) -> None:
    columns: dict[str, list[int]] = {}
    dims: dict[str, list[Dim]] = {}
    for name, values in _FIELD.findall(text[1:-1]):
        numbers = [parse_dim(v) for v in values.replace("_", "x").split("x")]
        dims[name] = [n for n in numbers if n is not None]
        columns[name] = [n for n in numbers if isinstance(n, int)]
        may_vary = name in ("size", "pad")
        if len((dims if may_vary else columns)[name]) != len(numbers):
            raise raw.error(f"window {name}={values} is no list of integers")
    sizes = dims.get("size", [])
    rank = len(sizes)
    pads = dims.get("pad", [0] * (2 * rank))
    strides = columns.get("stride", [1] * rank)
    window_dilations = columns.get("rhs_dilate", [1] * rank)
    base_dilations = columns.get("lhs_dilate", [1] * rank)
    reversals = columns.get("rhs_reversal", [0] * rank)
    lengths = {len(c) for c in (strides, window_dilations, base_dilations, reversals)}
    if len(pads) != 2 * rank or lengths - {rank}:
        raise raw.error(f"window {text} has fields of different lengths")
    raw.window = tuple(
        WindowDimension(
            sizes[i],
            strides[i],
            pads[2 * i],
            pads[2 * i + 1],
            window_dilations[i],
            base_dilations[i],
            bool(reversals[i]),
        )
        for i in range(rank)
    )


@_reads("dim_labels")
def _dim_labels(raw: RawInstruction, text: str) -> None:
    parts = re.split(r"_|->", text)
    if len(parts) != 3:
        raise raw.error(f"dim_labels={text} does not name input, kernel and output")
    for name, labels, leading in zip(
        ("input_dims", "kernel_dims", "output_dims"), parts, ("bf", "io", "bf"), strict=True
    ):
        spatial = "0123456789"[: len(labels) - 2]
        if sorted(labels) != sorted(leading + spatial):
            raise raw.error(f"dim_labels={text} must label each dimension once")
        raw.ints[name] = tuple(labels.index(label) for label in leading + spatial)


def finish(raw: RawInstruction) -> None:
    """Bring spellings that HLO text has for the same thing into one."""
    if "true" in raw.called:
        raw.called["branches"] = (*raw.called.pop("true"), *raw.called.pop("false", ()))
    if raw.opcode == "topk":
        raw.ints.setdefault("largest", (1,))
