"""Prefix sums taken apart by TensorFlow's `where` are found at every size, and nothing else is."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.verifier import verify
from tfaot.passes.prefix_sums import RestorePrefixSums
from tfaot.testing.build import ModuleBuilder

RADIX = 4


def pad(b: ModuleBuilder, x: Instruction, low: int, high: int, interior: int = 0) -> Instruction:
    return b.pad(x, b.constant(0, x.array.dtype), [low], [high], [interior])


def tree(b: ModuleBuilder, x: Instruction, wrong: bool = False) -> Instruction:
    """Prefix sums of blocks, from those of the blocks' sums: what each block holds, taken back."""
    (size,) = x.array.static_dims
    if size <= 2:
        shifted = b.slice(pad(b, x, 1, 0), [0], [size])
        return b.binary("add", x, shifted)
    whole = -(-size // RADIX) * RADIX
    padded = pad(b, x, 0, whole - size) if whole > size else x
    columns = [b.slice(padded, [n], [whole], [RADIX]) for n in range(RADIX)]
    total = columns[0]
    for column in columns[1:]:
        total = b.binary("add", total, column)
    ends = [tree(b, total)]
    for column in reversed(columns[1:]):
        ends.insert(0, b.binary("subtract", ends[0], column))
    result = None
    for n, end in enumerate(ends if not wrong else [ends[1], ends[0], *ends[2:]]):
        spread = pad(b, end, n, RADIX - 1 - n, RADIX - 1)
        result = spread if result is None else b.binary("add", result, spread)
    return b.slice(result, [0], [size]) if whole > size else result


def restored(size: int, dtype: DType = DType.S32, wrong: bool = False):
    b = ModuleBuilder("tree")
    x = b.parameter(dtype, (size,))
    module = b.module(tree(b, x, wrong))
    found = RestorePrefixSums().run(module)
    verify(found)
    limits = np.iinfo(dtype.numpy)
    values = np.random.default_rng(size).integers(
        limits.min, limits.max, size, dtype.numpy, endpoint=True
    )
    for a, c in zip(evaluate(module, [values]), evaluate(found, [values]), strict=True):
        np.testing.assert_array_equal(a, c)
    return [i.opcode for i in found.entry.instructions]


@pytest.mark.parametrize("size", [9, 16, 31, 37, 41, 64, 124, 148, 1000])
def test_found_at_every_size(size):
    assert restored(size) == ["parameter", "constant", "reduce-window"]


@pytest.mark.parametrize("dtype", [DType.S64, DType.U32, DType.U64])
def test_integers_of_other_types(dtype):
    assert "reduce-window" in restored(41, dtype)


@pytest.mark.parametrize("size", [16, 41, 124])
def test_what_is_no_prefix_sum_stays(size):
    assert "reduce-window" not in restored(size, wrong=True)


def test_padding_with_anything_but_zero_stays():
    b = ModuleBuilder("ones")
    x = b.parameter(DType.S32, (40,))
    value = x
    for _ in range(9):
        value = b.slice(b.pad(value, b.constant(1, DType.S32), [1], [0]), [1], [41])
    module = b.module(value)
    assert RestorePrefixSums().run(module) is module
