"""Artifacts of one name that differ in every file; and programs that write them over and over."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from consumer_models import compile_to, make_model

from tfaot.runtime.model import Model, load

NAME = "model"
FILES = ("model.h", "model.o", "model.json")
Contents = dict[str, bytes]

WRITER = """
import pickle, sys
from pathlib import Path
from tfaot.replacing import replace_files

folder, stored, *order = sys.argv[1:]
folder, variants = Path(folder), pickle.loads(Path(stored).read_bytes())
{before}
print("ready", flush=True)
while True:
    for which in order:
        replace_files(folder, variants[int(which)])
    {after}
"""
"""A program that writes variants in the given order, for ever or once."""


def make_variants(folder: Path, count: int) -> list[Contents]:
    """The files of models that multiply by 1, 2, ..., each with one input more than the last."""
    variants = []
    for number in range(1, count + 1):
        width = 4 + number
        values = ",".join([str(number)] * width)
        body = f"""
x = f32[B,{width}] parameter(0)
k = f32[{width}] constant({{{values}}})
ks = f32[B,{width}] broadcast(k), dimensions={{1}}
ROOT y = f32[B,{width}] multiply(x, ks)
"""
        place = folder / str(number)
        compile_to(place, make_model(NAME, body, ("x",), ("y",), 4 * width))
        variants.append({file: (place / file).read_bytes() for file in FILES})
    return variants


def factor_of(model: Model) -> int:
    """By which the loaded variant multiplies, after checking that its parts belong together."""
    width = model.inputs[0].shape(1)[1]
    result = model(np.ones((2, width), np.float32))
    assert result.shape == (2, width)
    assert (result == result[0, 0]).all()
    assert int(result[0, 0]) == width - 4
    return int(result[0, 0])


@contextmanager
def no_writer(folder: Path) -> Iterator[None]:
    """The folder while nobody writes to it: what a killed writer began is done."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def found(folder: Path, variants: list[Contents]) -> int:
    """The number of the variant that the folder holds, all of it; fails on any mixture."""
    contents = {file: (folder / file).read_bytes() for file in FILES}
    assert contents in variants, {f: [v[f] == contents[f] for v in variants] for f in FILES}
    number = variants.index(contents)
    assert factor_of(load(folder / "model.json")) == number + 1
    return number
