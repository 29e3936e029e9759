"""LLVM's work in a process of its own, for targets that leave traces in LLVM's global state.

After code for PowerPC, LLVM generates other code for x86-64 in the same process (it duplicates
shorter tails of blocks). The same input must give the same bytes, whatever came before it.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any


def is_needed(triple: str) -> bool:
    """Whether code for a target is generated in a process of its own."""
    return triple.startswith("powerpc")


def call(function: str, *arguments: object) -> Any:
    """The result of a function of `tfaot.codegen.llvm`, called in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=pickle.dumps((sys.path, function, arguments)),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"LLVM ended with {done.returncode}")
    return pickle.loads(done.stdout)


_PROGRAM = """
import pickle, sys
path, function, arguments = pickle.load(sys.stdin.buffer)
sys.path[:] = path
from tfaot.codegen import llvm
sys.stdout.buffer.write(pickle.dumps(getattr(llvm, function)(*arguments)))
"""
