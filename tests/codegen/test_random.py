"""Random bits: exactly those of the interpreter, for any shape and state."""

import numpy as np
import pytest
from compiled import compile_module
from guard_pages import run_between_guard_pages

from tfaot.errors import UnsupportedError
from tfaot.interpreter import evaluate
from tfaot.ir.dtypes import DType
from tfaot.testing.build import ModuleBuilder
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import B
from tfaot.testing.cases.random import STATE_WORDS, build_bits

WORDS = [(a, d) for a in STATE_WORDS for d in (DType.U8, DType.U32, DType.U64)]


def bits_module(algorithm, dtype, dims):
    b = ModuleBuilder("bits")
    return b.module(*build_bits(b, algorithm, dtype, dims))


def check(run, module, state, batch=1):
    found = run([state], batch)
    for actual, wanted in zip(found, evaluate(module, [state], batch=batch), strict=True):
        assert actual.shape == wanted.shape
        assert (actual == wanted).all()


@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3"])
def test_op_cases(target):
    for case in op_cases(["random"]):
        if target == "x86-64-v3" or case.dtype is DType.U32:
            run = compile_module(case.module(), target)
            check(run, case.module(), case.inputs(0)[0])


@pytest.mark.parametrize(("algorithm", "dtype"), WORDS)
def test_counters_that_overflow(algorithm, dtype):
    module = bits_module(algorithm, dtype, (50,))
    run = compile_module(module)
    for last in (2**64 - 1, 2**64 - 7, 2**32 - 3):
        state = np.full(STATE_WORDS[algorithm], 2**64 - 1, np.uint64)
        state[1] = last
        check(run, module, state)


@pytest.mark.parametrize(("algorithm", "dtype"), WORDS)
def test_symbolic_batch(algorithm, dtype):
    module = bits_module(algorithm, dtype, (B,))
    run = compile_module(module)
    for batch in (1, 2, 31, 64, 101):
        check(run, module, np.arange(STATE_WORDS[algorithm]).astype(np.uint64), batch)


def test_an_order_that_depends_on_the_batch_is_refused():
    with pytest.raises(UnsupportedError, match="rng-bit-generator"):
        compile_module(bits_module("RNG_THREE_FRY", DType.U32, (B, 3)))
    module = bits_module("RNG_THREE_FRY", DType.U32, (4, B))
    run = compile_module(module)
    for batch in (2, 5):
        check(run, module, np.array([3, 4], np.uint64), batch)


@pytest.mark.parametrize("at_end", [True, False])
def test_no_memory_outside(at_end):
    for algorithm, dtype in WORDS:
        module = bits_module(algorithm, dtype, (3, 7))
        state = np.arange(STATE_WORDS[algorithm]).astype(np.uint64)
        found = run_between_guard_pages(compile_module(module), [state], 1, at_end=at_end)
        assert (found[1] == evaluate(module, [state])[1]).all()
