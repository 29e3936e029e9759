"""Common subexpressions: instructions that compute the same value become one.

Constants are the same when their bytes are (weights outside of the code: when their origin is),
called computations when their structure is.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tfaot.ir.attributes import Attributes, Constant
from tfaot.ir.module import Computation, Instruction, Module, Rewriter, post_order
from tfaot.ir.opcodes import STATEFUL
from tfaot.passes import build

# Two of these with equal operands need not give equal results, or act beyond their result.
_NEVER_MERGED = frozenset({"parameter", "custom-call"} | STATEFUL.keys())


@dataclass(frozen=True)
class CommonSubexpressions:
    """Merge equal instructions within each computation; dead ones disappear."""

    @property
    def name(self) -> str:
        """Name in dumps."""
        return "cse"

    def run(self, module: Module) -> Module:
        """The module without duplicates; `module` itself where there are none."""
        keys = _Keys()
        return build.rewrite_module(module, lambda c: _merge(c, keys))


def _merge(computation: Computation, keys: _Keys) -> Computation:
    found: dict[Hashable, Instruction] = {}
    live = {id(i) for i in post_order(computation.root)}
    dead = any(id(i) not in live and i.opcode != "parameter" for i in computation.instructions)
    merged = False

    def change(old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        nonlocal merged
        new = build.rebuild(old, operands)
        if old.opcode in _NEVER_MERGED:
            return new
        key = (
            new.opcode,
            new.shape,
            tuple(id(o) for o in new.operands),
            keys.attributes(new.attrs),
        )
        first = found.setdefault(key, new)
        merged |= first is not new
        return first

    result = Rewriter(change).run(computation)
    return result if merged or dead else computation


class _Keys:
    """Structural keys of attributes and computations, each computed once."""

    def __init__(self) -> None:
        self._computations: dict[int, tuple[Computation, int]] = {}
        self._interned: dict[Hashable, int] = {}
        self._constants: dict[int, tuple[Constant, int]] = {}
        self._samples: dict[Hashable, list[tuple[int, NDArray[np.uint8]]]] = {}

    def attributes(self, attrs: Attributes) -> Hashable:
        """Equal for attributes that mean the same."""
        if attrs is None:
            return None
        if isinstance(attrs, Constant):
            return self._constant(attrs)
        parts: list[Hashable] = [type(attrs).__name__]
        for f in fields(attrs):
            value = getattr(attrs, f.name)
            if isinstance(value, Computation):
                value = self.computation(value)
            elif isinstance(value, tuple):
                value = tuple(
                    self.computation(v) if isinstance(v, Computation) else v for v in value
                )
            parts.append(value)
        return tuple(parts)

    def computation(self, computation: Computation) -> int:
        """Equal for computations that differ in names alone."""
        if id(computation) in self._computations:
            return self._computations[id(computation)][1]
        position: dict[int, int] = {}
        parts: list[Hashable] = [tuple(p.shape for p in computation.parameters)]
        for index, node in enumerate(post_order(computation.root)):
            position[id(node)] = index
            operands = tuple(position[id(o)] for o in node.operands)
            # An op that must not merge keeps its computation apart from every other.
            unique = id(node) if node.opcode in _NEVER_MERGED and node.opcode != "parameter" else 0
            parts.append((node.opcode, node.shape, operands, self.attributes(node.attrs), unique))
        number = self._interned.setdefault(tuple(parts), len(self._interned))
        # The computation is kept so that its id stays its own.
        self._computations[id(computation)] = (computation, number)
        return number

    def _constant(self, attrs: Constant) -> Hashable:
        if attrs.origin:
            return attrs.origin
        known = self._constants.get(id(attrs))
        if known is None:
            value = np.ascontiguousarray(attrs.value)
            raw = value.reshape(-1).view(np.uint8)
            # Few constants are equal: a sample tells most apart without reading all of them.
            sample = raw[:: max(1, raw.size // 64)].tobytes()
            alike = self._samples.setdefault((str(value.dtype), value.shape, sample), [])
            number = next((n for n, other in alike if np.array_equal(raw, other)), None)
            if number is None:
                number = len(self._constants)
                alike.append((number, raw))
            known = (attrs, number)
            self._constants[id(attrs)] = known
        return known[1]
