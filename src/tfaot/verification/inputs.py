"""Seeded inputs for verification, of values that the model takes.

Input: a signature, and a trial that tells whether TensorFlow takes some arrays. Output: arrays.

Integers are often indices, and TensorFlow refuses those past the end of a table: the values that
each integer input may take are found by trial, so that whole tables are verified.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.dtypes import DType
from tfaot.signature import Signature, TensorSpec

Array = NDArray[Any]
Trial = Callable[[list[Array]], bool]

FLOAT_KINDS = ("normal", "positive", "unit")
"""Floats standard normal, their magnitudes, or uniform from 0 to 1: tried in turn."""

WIDEST = 1 << 17
"""An integer input that takes values up to this, and 0, is taken for a plain number."""

_PLAIN = 100
_SMALL = 10
_SCALES = {8: 8.0, 16: 0.125}
"""Batch sizes whose floats are larger or smaller, to reach the tails of functions."""
_SPARSE = 33
"""The batch size in which half of the floats are zero, as in padded rows."""


@dataclass(frozen=True)
class IntegerRange:
    """Values that an integer input takes: from `low` to `high`, both included.

    Attributes:
        low: the least value.
        high: the largest value.
        plain: whether it seems a plain number: small values are then as likely as large ones.
    """

    low: int
    high: int
    plain: bool = False


@dataclass(frozen=True)
class InputRules:
    """What the inputs of one model may be.

    Attributes:
        floats: one of `FLOAT_KINDS`.
        base: a value that every integer input takes.
        integers: the range of each integer input, by name.
    """

    floats: str = FLOAT_KINDS[0]
    base: int = 0
    integers: Mapping[str, IntegerRange] = field(default_factory=dict)

    def narrower(self) -> tuple[InputRules, ...]:
        """Rules to fall back on, each stricter than the one before, down to `base` alone."""
        found = [self]
        ranges = dict(self.integers)
        while any(r.low < self.base or r.high > self.base for r in ranges.values()):
            below = any(r.low < self.base for r in ranges.values())
            for name, r in ranges.items():
                low = self.base if below else r.low
                high = r.high if below else self.base + (r.high - self.base) // 2
                ranges[name] = IntegerRange(low, high)
            found.append(replace(self, integers=dict(ranges)))
        later = FLOAT_KINDS[FLOAT_KINDS.index(self.floats) + 1 :]
        return (*found, *(replace(found[-1], floats=kind) for kind in later))


def find_rules(signature: Signature, takes: Trial) -> InputRules | None:
    """The widest inputs that a model takes, by trial with one row.

    Args:
        signature: the model's inputs.
        takes: whether TensorFlow evaluates the model on some arrays.

    Returns:
        The rules; None if none of the inputs tried is taken.
    """
    base = next(
        (
            rules
            for kind in FLOAT_KINDS
            for rules in (InputRules(kind, 0), InputRules(kind, 1))
            if takes(make_inputs(signature, 1, rules=rules))
        ),
        None,
    )
    if base is None:
        return None
    ranges = {}
    for number, spec in enumerate(signature.inputs):
        if spec.dtype.is_integer:
            arrays = make_inputs(signature, 1, rules=base)

            def accepts(value: int, number: int = number, arrays: list[Array] = arrays) -> bool:
                arrays[number] = np.full_like(arrays[number], value)
                return takes(arrays)

            ranges[spec.name] = _find_range(spec.dtype, base.base, accepts)
    return replace(base, integers=ranges)


def make_inputs(
    signature: Signature, batch: int, *, seed: int = 0, rules: InputRules | None = None
) -> list[Array]:
    """Arrays for all inputs: floats by the rules' kind, integers in their ranges, pred fair.

    The same arguments give the same arrays on every machine; each input has its own stream, named
    by the input, so that inputs added to a model change no others.
    """
    rules = rules or InputRules()
    return [_array(spec, batch, seed, rules) for spec in signature.inputs]


def _find_range(dtype: DType, base: int, accepts: Callable[[int], bool]) -> IntegerRange:
    limits = np.iinfo(dtype.numpy) if dtype.bits > 4 else None
    least = int(limits.min) if limits else -8 if dtype.is_signed else 0
    largest = int(limits.max) if limits else 7 if dtype.is_signed else 15
    top, bottom = min(WIDEST, largest), max(-WIDEST, least)
    high = _last(base, top, accepts)
    low = _last(base, bottom, accepts)
    if high == top and low == bottom:
        # Indices into a table of 256 may have 8 bits: every value counts then.
        return IntegerRange(max(low, -_PLAIN), min(high, 255), plain=True)
    return IntegerRange(low, high)


def _last(start: int, end: int, accepts: Callable[[int], bool]) -> int:
    """The value furthest from `start` towards `end` that is accepted, as all before it are."""
    step = 1 if end >= start else -1
    good, distance = 0, 1
    span = abs(end - start)
    while distance <= span and accepts(start + step * distance):
        good, distance = distance, distance * 2
    if distance > span:
        if accepts(end):
            return end
        distance = span
    while distance - good > 1:
        middle = (good + distance) // 2
        if accepts(start + step * middle):
            good = middle
        else:
            distance = middle
    return start + step * good


def _array(spec: TensorSpec, batch: int, seed: int, rules: InputRules) -> Array:
    stream = np.random.Generator(
        np.random.PCG64([seed, batch, zlib.crc32(spec.name.encode("utf-8"))])
    )
    shape = spec.sizes(batch)
    dtype = spec.dtype.numpy
    if spec.dtype is DType.PRED:
        return stream.integers(0, 2, shape).astype(dtype)
    if spec.dtype.is_integer:
        return _integers(stream, shape, rules, spec.name).astype(dtype)
    if spec.dtype.is_complex:
        real, imaginary = stream.standard_normal((2, *shape))
        return np.asarray(real + 1j * imaginary).astype(dtype)
    if rules.floats == "unit":
        return np.asarray(stream.random(shape)).astype(dtype)
    values = np.asarray(stream.standard_normal(shape)) * _SCALES.get(batch, 1.0)
    if batch == _SPARSE:
        # No negative zeros: padding has none, and XLA sorts them apart, which TensorFlow does not.
        values = np.where(stream.integers(0, 2, shape) > 0, values, 0.0)
    return np.asarray(values if rules.floats == "normal" else np.abs(values)).astype(dtype)


def _integers(
    stream: np.random.Generator, shape: tuple[int, ...], rules: InputRules, name: str
) -> Array:
    known = rules.integers.get(name, IntegerRange(rules.base, rules.base))
    values: Array = np.asarray(stream.integers(known.low, known.high + 1, shape))
    if known.plain:
        small = stream.integers(max(known.low, 0), min(known.high, _SMALL) + 1, shape)
        mixed: Array = np.where(stream.integers(0, 2, shape) == 1, values, small)
        return mixed
    if values.size > 1:
        # Both ends of a table are always read.
        values.flat[0], values.flat[-1] = known.low, known.high
    return values
