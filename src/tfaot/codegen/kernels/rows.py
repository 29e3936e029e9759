"""Row kernels: several stages on one short row, with all that lies between them in registers.

A row of up to 64 elements is one to four vectors. Each stage is an elementwise op on them, a
reduction of them to one value (16 lanes folded in a fixed order, as in `kernels.reduce`), or an op
on such values. Values that other kernels read are stored as they are made.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.elementwise import BINARY
from tfaot.codegen.expression import LANES, Override
from tfaot.codegen.index import Affine, Index
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.reduce import EXTREMA, fold, identity
from tfaot.codegen.types import register_element
from tfaot.ir.attributes import Reduce
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Dim
from tfaot.schedule.fusion import Kernel
from tfaot.schedule.rows import monoid_of


def emit_rows(context: KernelContext) -> None:
    """Emit a kernel that has stages."""
    rows, length = _row_dims(context.kernel)

    def row(indices: tuple[Index, ...]) -> None:
        _Row(context, indices, length).emit()

    context.loops(rows, row)


def _row_dims(kernel: Kernel) -> tuple[tuple[Dim, ...], int]:
    anchor = next(s.anchor for s in kernel.stages if s.anchor is not None)
    *rows, length = anchor.operands[0].array.dims
    assert isinstance(length, int)
    return tuple(rows), length


class _Row:
    """One row: its indices, and the values of the stages so far."""

    def __init__(self, context: KernelContext, indices: tuple[Index, ...], length: int) -> None:
        self.context = context
        self.indices = indices
        self.starts = range(0, length, LANES)
        self.length = length
        self.vectors: dict[int, Sequence[ir.Value]] = {}
        self.scalars: dict[int, ir.Value] = {}

    def emit(self) -> None:
        for stage, result in zip(self.context.kernel.stages, self.context.results, strict=True):
            root = stage.root
            if stage.anchor is not None:
                total = self._reduce(stage.anchor)
                self.scalars[id(stage.anchor)] = total
                self.scalars[id(root)] = self._at_row(root)
            elif root.array.rank == len(self.indices):
                self.scalars[id(root)] = self._at_row(root)
            else:
                self.vectors[id(root)] = [self._chunk(root, start) for start in self.starts]
            if result is None:
                continue
            if id(root) in self.vectors:
                for start, value in zip(self.starts, self.vectors[id(root)], strict=True):
                    e = self.context.expression(self._mask(start))
                    e.store(result, (*self.indices, Affine(start, 1)), value)
            else:
                self.context.expression().store(result, self.indices, self.scalars[id(root)])

    def _mask(self, start: int) -> ir.Value | None:
        left = self.length - start
        return None if left >= LANES else self.context.tail_mask(left)

    def _overrides(self, start: int) -> dict[int, Override]:
        number = start // LANES
        known = {key: _given(values[number]) for key, values in self.vectors.items()}
        known.update({key: _given(value) for key, value in self.scalars.items()})
        return known

    def _chunk(self, node: Instruction, start: int) -> ir.Value:
        e = self.context.expression(self._mask(start), self._overrides(start))
        return e.widen(e.value(node, (*self.indices, Affine(start, 1))))

    def _at_row(self, node: Instruction) -> ir.Value:
        known = {key: _given(value) for key, value in self.scalars.items()}
        return self.context.expression(None, known).value(node, self.indices)

    def _reduce(self, anchor: Instruction) -> ir.Value:
        operand, initial = anchor.operands
        dtype = operand.array.dtype
        monoid = monoid_of(anchor.attr(Reduce).to_apply)
        assert monoid is not None
        vector = self.context.vector
        type_ = ir.VectorType(register_element(dtype), LANES)
        neutral = vector.const(type_, identity(monoid, dtype))
        total: ir.Value | None = None
        for start in self.starts:
            value = self._chunk(operand, start)
            mask = self._mask(start)
            if mask is not None:
                value = vector.select(mask, value, neutral)
            if total is None:
                total = value
            else:
                pair = (value, total) if monoid in EXTREMA else (total, value)
                total = vector.round_to(BINARY[monoid](vector, dtype, *pair), dtype)
        assert total is not None
        folded = fold(vector, monoid, dtype, total)
        e = self.context.expression()
        return e.apply(anchor.attr(Reduce).to_apply, [e.value(initial, ()), folded])


def _given(value: ir.Value) -> Override:
    """A value that is there already, whatever the index."""
    return lambda _: value
