"""rng-bit-generator: the counter-based generators Philox 4x32-10 and Threefry 2x32-20.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011); the
order in which words reach the output is XLA's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tfaot.interpreter.context import Array, Context, Value, rule, unsupported
from tfaot.ir.attributes import RngBitGenerator
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import TupleShape

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def _words(x: Array) -> tuple[Array, Array]:
    """Low and high 32 bits of 64-bit numbers, each held in 64 bits."""
    return x & _MASK, x >> _HALF


def philox(counter: tuple[Array, ...], key: tuple[Array, Array]) -> tuple[Array, ...]:
    """Ten rounds of Philox 4x32; words are 32-bit numbers held in 64 bits."""
    multipliers = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
    weyl = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        low0, high0 = _words(c0 * multipliers[0])
        low1, high1 = _words(c2 * multipliers[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + weyl[0]) & _MASK, (k1 + weyl[1]) & _MASK
    return c0, c1, c2, c3


_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry(counter: tuple[Array, Array], key: tuple[Array, Array]) -> tuple[Array, Array]:
    """Twenty rounds of Threefry 2x32; words are 32-bit numbers held in 64 bits."""
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint64(0x1BD11BDA))
    x, y = (counter[0] + keys[0]) & _MASK, (counter[1] + keys[1]) & _MASK
    for block in range(5):
        for distance in _ROTATIONS[block % 2]:
            x = (x + y) & _MASK
            y = ((y << np.uint64(distance)) | (y >> np.uint64(32 - distance))) & _MASK
            y = y ^ x
        x = (x + keys[(block + 1) % 3]) & _MASK
        y = (y + keys[(block + 2) % 3] + np.uint64(block + 1)) & _MASK
    return x, y


def _philox_bits(state: Array, count: int, wide: bool) -> tuple[Array, Array]:
    """`count` flat words of 64 (wide) or 32 bits, and the state after them."""
    blocks = -(-count * (2 if wide else 1) // 4)
    low = state[1] + np.arange(blocks, dtype=np.uint64)
    high = state[2] + (low < state[1]).astype(np.uint64)
    words = philox((*_words(low), *_words(high)), _words(state[0]))
    flat = np.stack(words, axis=1).reshape(-1)
    if wide:
        flat = flat[0::2] | (flat[1::2] << _HALF)
    after = state[1] + np.uint64(blocks)
    new = np.array([state[0], after, state[2] + np.uint64(after < state[1])], np.uint64)
    return flat[:count], new


def _threefry_bits(state: Array, dims: tuple[int, ...], wide: bool) -> tuple[Array, Array]:
    """Words of 64 (wide) or 32 bits of shape `dims`, and the state after them."""
    count = math.prod(dims)
    if wide:
        counter = state[1] + np.arange(count, dtype=np.uint64)
        x, y = threefry(_words(counter), _words(state[0]))
        return (x | (y << _HALF)).reshape(dims), _advanced(state, count)
    # Both words of a block become neighbours along the first even dimension, or the largest.
    axis = next((d for d, n in enumerate(dims) if n % 2 == 0), None)
    shape = dims or (1,)
    axis = int(np.argmax(shape)) if axis is None else axis
    half = (*shape[:axis], -(-shape[axis] // 2), *shape[axis + 1 :])
    blocks = math.prod(half)
    counter = state[1] + np.arange(blocks, dtype=np.uint64).reshape(half)
    pair = threefry(_words(counter), _words(state[0]))
    doubled = (*shape[:axis], 2 * half[axis], *shape[axis + 1 :])
    joined = np.stack(pair, axis=axis + 1).reshape(doubled)
    trimmed = np.take(joined, np.arange(shape[axis]), axis=axis)
    return trimmed.reshape(dims), _advanced(state, blocks)


def _advanced(state: Array, blocks: int) -> Array:
    return np.array([state[0], state[1] + np.uint64(blocks)], np.uint64)


@rule("rng-bit-generator")
def _rng_bit_generator(node: Instruction, operands: Sequence[Array], ctx: Context) -> Value:
    assert isinstance(node.shape, TupleShape), node
    shape = node.shape.elements[1]
    assert not isinstance(shape, TupleShape), node
    if not shape.dtype.is_integer or shape.dtype.bits < 8:
        raise unsupported(node, "gives integers of 8 to 64 bits only")
    state = operands[0].astype(np.uint64)
    dims, wide = ctx.dims(shape), shape.dtype.bits == 64
    algorithm = node.attr(RngBitGenerator).algorithm
    if algorithm == "RNG_THREE_FRY":
        bits, after = _threefry_bits(state, dims, wide)
    elif algorithm in ("RNG_PHILOX", "RNG_DEFAULT") and state.size == 3:
        flat, after = _philox_bits(state, math.prod(dims), wide)
        bits = flat.reshape(dims)
    else:
        raise unsupported(node, f"has the algorithm {algorithm} with a state of {state.size} words")
    return after, bits.astype(shape.dtype.numpy)
