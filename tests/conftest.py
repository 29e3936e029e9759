"""What all tests share: the modules of `tests/support` can be imported by their names."""

import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "support"))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell's background jobs ignore Ctrl-C, and so would all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def compile_and_run():
    """`compile_and_run(module, inputs, target="x86-64-v3")`: outputs of the compiled module."""
    from compiled import compile_module

    def run(module, inputs, target="x86-64-v3", batch=None):
        return compile_module(module, target)(inputs, batch)

    return run
