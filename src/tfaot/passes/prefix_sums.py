"""Prefix sums that were taken apart are put together again.

TensorFlow's `where` (and with it `boolean_mask`) counts the elements chosen so far by a tree of
paddings, slices, additions and subtractions, whose depth and sizes depend on the number of
elements: no two batch sizes have the same tree. One reduce-window over all elements before is the
same sum at any size, and runs as one loop.

Input: a valid module, of one batch size. Output: the same with each such tree replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tfaot.interpreter import fold
from tfaot.ir.attributes import Constant, Parameter, ReduceWindow, WindowDimension
from tfaot.ir.module import Computation, Instruction, Module, Rewriter, known_value
from tfaot.ir.shapes import Shape
from tfaot.passes import build

_LEAST_STEPS = 8
"""Instructions of the smallest tree that is looked at."""

_TRIALS = 4
"""Vectors of which a tree must give the prefix sums. Trees are linear and their coefficients small:
one vector of random 32-bit integers lets a wrong one pass about once in 2^32."""

_Vectors = tuple[NDArray[np.generic], ...]


@dataclass(frozen=True)
class RestorePrefixSums:
    """Replace trees that compute the prefix sums of an array of integers by one reduce-window."""

    @property
    def name(self) -> str:
        """Name in dumps."""
        return "restore-prefix-sums"

    def run(self, module: Module) -> Module:
        """The module with its prefix sums whole; `module` itself where it has none in parts."""
        return build.rewrite_module(module, _restored)


@dataclass(frozen=True)
class _Linear:
    """An array that is a linear function of another one, the source.

    Attributes:
        source: the other array.
        images: what the function makes of the trial vectors.
        steps: the instructions on the longest way from the source to here.
    """

    source: Instruction
    images: _Vectors
    steps: int


def _restored(computation: Computation) -> Computation:
    known: dict[int, _Linear] = {}
    sums: dict[int, Instruction] = {}
    for node in computation.instructions:
        found = _linear(node, known)
        if found is None:
            continue
        known[id(node)] = found
        if found.steps >= _LEAST_STEPS and node.shape == found.source.shape:
            vectors = _trial_vectors(found.source.array)
            wanted = (np.cumsum(v, dtype=v.dtype) for v in vectors)
            if all(map(np.array_equal, found.images, wanted)):
                sums[id(node)] = found.source
    if not sums:
        return computation

    new: dict[int, Instruction] = {}

    def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        if id(old) in sums:
            result = _prefix_sum(old, new[id(sums[id(old)])])
        else:
            same = all(a is b for a, b in zip(operands, old.operands, strict=True))
            result = old if same else replace(old, operands=operands)
        new[id(old)] = result
        return result

    return Rewriter(change).run(computation)


def _linear(node: Instruction, known: dict[int, _Linear]) -> _Linear | None:
    """`node` as a function of its source: the array that all arithmetic leads back to."""
    if node.opcode not in ("pad", "slice", "add", "subtract") or not _is_vector(node):
        return None
    arrays = node.operands
    if node.opcode == "pad":
        filler = arrays[1]
        value = known_value(filler)
        if value is None or value.any():
            return None
        arrays = arrays[:1]
    first = known[id(arrays[0])].source if id(arrays[0]) in known else arrays[0]
    parts = [known.get(id(a)) or _Linear(a, _trial_vectors(a.array), 0) for a in arrays]
    if any(p.source is not first for p in parts):
        return None
    fillers = [o.attr(Constant).value for o in node.operands[len(arrays) :]]
    images = tuple(fold(node, [*(p.images[n] for p in parts), *fillers]) for n in range(_TRIALS))
    return _Linear(first, images, max(p.steps for p in parts) + 1)


def _is_vector(node: Instruction) -> bool:
    shape = node.shape
    if not isinstance(shape, Shape) or shape.rank != 1 or not shape.is_static:
        return False
    return shape.dtype.is_integer and shape.dtype.bits >= 32


def _trial_vectors(shape: Shape) -> _Vectors:
    random = np.random.default_rng(shape.static_dims[0])
    numpy = shape.dtype.numpy
    limits = np.iinfo(numpy)
    return tuple(
        random.integers(limits.min, limits.max, shape.static_dims, numpy, endpoint=True)
        for _ in range(_TRIALS)
    )


def _prefix_sum(like: Instruction, x: Instruction) -> Instruction:
    """The sums of all elements of `x` up to each."""
    scalar = Shape(x.array.dtype)
    parameters = tuple(
        Instruction(name, "parameter", scalar, attrs=Parameter(n)) for n, name in enumerate("xy")
    )
    total = Instruction("sum", "add", scalar, parameters)
    add = Computation("add", (*parameters, total), total)
    (size,) = x.array.static_dims
    window = WindowDimension(size, padding_low=size - 1)
    zero = build.constant(like, np.zeros(()), x.array.dtype)
    return build.make(like, "reduce-window", x.shape, (x, zero), ReduceWindow((window,), add))
