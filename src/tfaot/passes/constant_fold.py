"""Constant folding through the reference interpreter.

Broadcasts and iotas stay as they are, since kernels make their elements from an index. Anything
else whose operands are constants (or broadcasts and iotas of bounded size) becomes a constant, as
long as the constants of the module do not grow: weights that something else still needs in their
old form are never stored a second time in another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tfaot.interpreter.evaluate import fold, supported_opcodes
from tfaot.ir.attributes import Constant
from tfaot.ir.module import Computation, Instruction, Module, Rewriter, users
from tfaot.ir.shapes import Shape
from tfaot.passes import build
from tfaot.passes.origins import origin_of

_LAZY = frozenset({"broadcast", "iota"})
_NEVER = frozenset({"parameter", "constant", "tuple", "get-tuple-element", "custom-call"}) | _LAZY


@dataclass(frozen=True)
class ConstantFold:
    """Evaluate what depends on constants alone.

    Attributes:
        growth_bytes: by how much a single folding may always grow the constants.
        growth_share: the same, as a share of the constants of the computation.
        lazy_bytes: largest broadcast or iota that is evaluated as an operand.
    """

    growth_bytes: int = 64
    growth_share: float = 1 / 1024
    lazy_bytes: int = 1 << 24

    @property
    def name(self) -> str:
        """Name in dumps."""
        return "constant-fold"

    def run(self, module: Module) -> Module:
        """The folded module; `module` itself where there is nothing to fold."""
        return build.rewrite_module(module, self._computation)

    def _computation(self, computation: Computation) -> Computation:
        while True:
            folded = _Sweep(self, computation).run()
            if folded is computation:
                return computation
            computation = folded


class _Sweep:
    """One pass over a computation, folding what its present constants allow."""

    def __init__(self, options: ConstantFold, computation: Computation) -> None:
        self._options = options
        self._computation = computation
        self._users = users(computation)
        self._supported = supported_opcodes()
        self._changed = False
        total = sum(_bytes(i) for i in computation.instructions if i.opcode == "constant")
        self._allowance = max(options.growth_bytes, int(total * options.growth_share))

    def run(self) -> Computation:
        folded = Rewriter(self._change).run(self._computation)
        return folded if self._changed else self._computation

    def _change(self, old: Instruction, operands: tuple[Instruction, ...]) -> Instruction | None:
        # Decisions are made on the old computation, whose uses are known; chains of foldable
        # instructions take one sweep per link.
        if not self._foldable(old):
            return None
        freed = sum(self._freed(o, old) for o in _distinct(old.operands))
        if _bytes(old) > freed + self._allowance:
            return None
        self._changed = True
        value = fold(old, [self._value(o) for o in old.operands])
        return build.constant(old, value, old.array.dtype, origin_of(old))

    def _foldable(self, node: Instruction) -> bool:
        if node.opcode in _NEVER or node.opcode not in self._supported or not node.operands:
            return False
        if not isinstance(node.shape, Shape) or not node.shape.is_static:
            return False
        return all(self._is_known(o) for o in node.operands)

    def _is_known(self, node: Instruction) -> bool:
        if node.opcode == "constant":
            return True
        if node.opcode not in _LAZY or not isinstance(node.shape, Shape):
            return False
        if not node.shape.is_static or _bytes(node) > self._options.lazy_bytes:
            return False
        return all(o.opcode == "constant" for o in node.operands)

    def _value(self, node: Instruction) -> NDArray[Any]:
        if isinstance(node.attrs, Constant):
            return node.attrs.value
        return fold(node, [self._value(o) for o in node.operands])

    def _freed(self, node: Instruction, user: Instruction) -> int:
        """Bytes of constants that nothing needs once `user` is folded, or its share of them."""
        if node is self._computation.root:
            return 0
        takers = self._users[id(node)]
        if node.opcode != "constant":
            if any(t is not user for t in takers):
                return 0
            return sum(self._freed(o, node) for o in _distinct(node.operands))
        if all(t is user for t in takers):
            return _bytes(node)
        if user.opcode in _LAZY or not all(self._foldable(t) for t in takers):
            return 0
        return _bytes(user) if sum(_bytes(t) for t in takers) <= _bytes(node) else 0


def _bytes(node: Instruction) -> int:
    """Bytes of an array of static shape."""
    size = node.array.size
    assert isinstance(size, int)
    return size * node.array.dtype.itemsize


def _distinct(nodes: tuple[Instruction, ...]) -> tuple[Instruction, ...]:
    return tuple({id(n): n for n in nodes}.values())
