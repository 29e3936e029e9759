"""The generators against the known answers published with them."""

import numpy as np

from tfaot.interpreter import evaluate
from tfaot.interpreter.random import philox, threefry
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases.random import build_bits


def words(*values):
    return tuple(np.array([v], np.uint64) for v in values)


def test_philox_known_answers():
    zero = philox(words(0, 0, 0, 0), words(0, 0))
    assert [int(w[0]) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = philox(words(*[0xFFFFFFFF] * 4), words(*[0xFFFFFFFF] * 2))
    assert [int(w[0]) for w in ones] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_threefry_known_answers():
    zero = threefry(words(0, 0), words(0, 0))
    assert [int(w[0]) for w in zero] == [0x6B200159, 0x99BA4EFE]
    ones = threefry(words(*[0xFFFFFFFF] * 2), words(*[0xFFFFFFFF] * 2))
    assert [int(w[0]) for w in ones] == [0x1CB996FC, 0xBB002BE7]


def test_the_state_carries_over():
    """Two calls of 8 words give what one call of 16 gives, across the counter's overflow."""
    state = np.array([7, 2**64 - 1, 4], np.uint64)

    def draw(state, count):
        b = ModuleBuilder("draw")
        return evaluate(b.module(*build_bits(b, "RNG_PHILOX", DType.U32, (count,))), [state])

    middle, first = draw(state, 8)
    _, second = draw(middle, 8)
    np.testing.assert_array_equal(np.concatenate([first, second]), draw(state, 16)[1])
