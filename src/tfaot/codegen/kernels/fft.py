"""Fourier transforms of any length over the last dimensions.

Input: an `fft` and its operand. Output: a kernel that brings the operand into scratch arrays, with
real and imaginary parts apart, transforms their lines (`kernels.fft_lines`) dimension by dimension,
and brings them into the result. Real lines of even length are transformed as complex ones of half
the length. An inverse transform is a forward one with real and imaginary part exchanged.

Source: Cooley and Tukey (1965).
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from tfaot.codegen.expression import Leaf
from tfaot.codegen.index import Affine, Index, Number, as_value
from tfaot.codegen.kernels.butterfly import Pair, twiddled
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.fft_lines import Arrays, ComplexLines
from tfaot.codegen.kernels.fft_plan import (
    Axis,
    Plan,
    plan_fft,
    roots,
)
from tfaot.codegen.kernels.scratch import scratch_at
from tfaot.codegen.loops import for_range
from tfaot.ir.attributes import Fft
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import Shape
from tfaot.schedule.fusion import Kernel, storage_of
from tfaot.schedule.scratch import scratch_rule
from tfaot.schedule.sizes import NOTHING, Bytes


def _array_bytes(kernel: Kernel, plan: Plan) -> Bytes:
    assert kernel.anchor is not None
    itemsize = kernel.anchor.array.dtype.real.itemsize
    return Bytes.of((plan.capacity,), itemsize).aligned()


@scratch_rule("fft")
def _scratch(kernel: Kernel) -> Bytes:
    assert kernel.anchor is not None
    one = _array_bytes(kernel, plan_fft(kernel.anchor.attr(Fft)))
    return one + one + one + one


def emit_fft(context: KernelContext) -> None:
    """Emit a kernel that is built around an `fft`."""
    anchor = context.kernel.anchor
    assert anchor is not None
    if 0 not in anchor.attr(Fft).length:
        _Transform(context, anchor).emit()


class _Transform(ComplexLines):
    """All passes of a kernel.

    `source` and `target` are (real, imaginary) as the forward transform sees them; an inverse
    transform keeps the imaginary parts in the first and the real ones in the second.
    """

    def __init__(self, context: KernelContext, anchor: Instruction) -> None:
        self.anchor = anchor
        self.operand = anchor.operands[0]
        self.plan = plan_fft(anchor.attr(Fft))
        self.inverse = self.plan.kind in ("IFFT", "IRFFT")
        offset, places = NOTHING, []
        for _ in range(4):
            places.append(scratch_at(context, offset))
            offset = offset + _array_bytes(context.kernel, self.plan)
        super().__init__(
            context, anchor.array.dtype.real, (places[0], places[1]), (places[2], places[3])
        )

    def emit(self) -> None:
        """All batch elements."""
        outer = self.anchor.array.dims[: self.anchor.array.rank - len(self.plan.length)]
        self.context.loops(outer, self._one)

    def _one(self, outer: tuple[Index, ...]) -> None:
        first = self.source, self.target
        self._read(outer)
        for axis in self.plan.axes:
            along_last = axis.inner == 1 and axis is self._last_axis()
            if along_last and self.plan.kind == "IRFFT":
                self._before_real(axis.lines)
            self.transform(axis)
            if along_last and self.plan.kind == "RFFT" and self.plan.halved:
                self._after_real(axis.lines)
        self._write(outer)
        self.source, self.target = first

    def _last_axis(self) -> Axis:
        """The axis along the last dimension."""
        return self.plan.axes[-1 if self.plan.kind == "IRFFT" else 0]

    def _natural(self, arrays: Arrays) -> Arrays:
        """Arrays of real and imaginary parts as the user sees them."""
        return (arrays[1], arrays[0]) if self.inverse else arrays

    # Operand and result

    def _sizes(self) -> tuple[int, ...]:
        """The dimensions of the first array in the scratch."""
        *outer, last = self.plan.length
        if self.plan.kind == "IRFFT":
            return (*outer, last // 2 + 1)
        return (*outer, last // 2 if self.plan.halved else last)

    def _halved_view(self, array: Leaf, shape: Shape) -> Leaf:
        """A real array whose pairs of neighbours are seen as complex numbers."""
        dtype = DType.C64 if self.dtype is DType.F32 else DType.C128
        last = shape.dims[-1]
        assert isinstance(last, int)
        dims = (*shape.dims[:-1], last // 2)
        return Leaf(array.pointer, Shape(dtype, dims), array.pitch)

    def _scratch_leaf(self, array: ir.Value) -> Leaf:
        return Leaf(array, Shape(self.dtype, (self.plan.capacity + 1,)))

    def _read(self, outer: tuple[Index, ...]) -> None:
        """Bring the operand into the scratch."""
        context, sizes = self.context, self._sizes()
        pairs = self.plan.kind == "RFFT" and self.plan.halved
        stored = storage_of(self.operand)
        view = None
        if pairs:
            leaf = context.leaves[id(stored)]
            assert leaf.pitch is None or stored is self.operand, "a reshaped slice of the batch"
            view = self._halved_view(leaf, self.operand.array)
        real, imaginary = self._natural(self.source)

        def block(position: Index, mask: ir.Value | None) -> None:
            e = context.expression(mask)
            where = (*outer, *e.index.split(position, sizes))
            value = e.load(view, where) if view is not None else e.value(self.operand, where)
            v = e.vector
            if isinstance(value.type, ir.LiteralStructType):
                parts = v.parts(value)
            else:
                parts = value, v.const(value, 0.0)
            for array, part in zip((real, imaginary), parts, strict=True):
                e.store(self._scratch_leaf(array), (position,), part)

        context.vector_loop(math.prod(sizes), block)

    def _write(self, outer: tuple[Index, ...]) -> None:
        """Bring the scratch into the result, scaled where the transform is inverse."""
        context, plan = self.context, self.plan
        (result,) = context.results
        assert result is not None
        target = result
        sizes = plan.length
        if plan.kind == "IRFFT" and plan.halved:
            target = self._halved_view(result, self.anchor.array)
            sizes = (*plan.length[:-1], plan.length[-1] // 2)
        elif plan.kind == "RFFT":
            sizes = (*plan.length[:-1], plan.length[-1] // 2 + 1)
        real, imaginary = self._natural(self.source)
        scale = 1.0 / math.prod(sizes) if self.inverse else 1.0
        keep = self._kept_line()

        def block(lead: tuple[Index, ...], position: Index, mask: ir.Value | None) -> None:
            e = context.expression(mask)
            v = e.vector
            where = position
            if keep is not None:
                where = e.index.join((math.prod(sizes[:-1]), keep), (lead[0], position))
                at = (*outer, *e.index.split(lead[0], sizes[:-1]), position)
            else:
                at = (*outer, *e.index.split(position, sizes))
            parts = []
            for array in (real, imaginary):
                part = e.load(self._scratch_leaf(array), (where,))
                parts.append(v.mul(part, v.const(part, scale)) if scale != 1.0 else part)
            value = v.pair(*parts) if target.shape.dtype.is_complex else parts[0]
            e.store(target, at, value)

        if keep is None:
            context.vector_loop(math.prod(sizes), lambda p, mask: block((), p, mask))
            return
        with for_range(self.builder, 0, math.prod(sizes[:-1]), 1, "line") as line:
            context.vector_loop(sizes[-1], lambda p, mask: block((Affine(line),), p, mask))

    def _kept_line(self) -> int | None:
        """The line length in the scratch where the result takes the front of each line only."""
        plan = self.plan
        return plan.length[-1] if plan.kind == "RFFT" and not plan.halved else None

    # Real lines

    def _after_real(self, lines: int) -> None:
        """Spectra of real lines from those of half the length, whose elements are pairs."""
        n = self.plan.length[-1]
        half = n // 2
        v = self.context.vector
        with for_range(self.builder, 0, lines, 1, "line") as line:
            real, imaginary = self.load_pair(self.source, self.at(line, half, 0), 1)
            nothing = v.const(real, 0.0)
            start = self.at(line, half + 1, 0)
            self.store_pair(self.target, start, (v.add(real, imaginary), nothing))
            end = self.at(line, half + 1, half)
            self.store_pair(self.target, end, (v.sub(real, imaginary), nothing))
            if half > 1:
                table = self.table(f"real{n}", roots(n, np.arange(1, half)))

                def mirror(position: Number, width: int) -> None:
                    k = self.builder.add(as_value(position), as_value(1))
                    z = self.load_pair(self.source, self.at(line, half, k), width)
                    w = self.load_pair(table, position, width)
                    m = self._mirrored(line, half, half, k, width)
                    c = v.const(z[0], 0.5)
                    even = v.mul(c, v.add(z[0], m[0])), v.mul(c, v.sub(z[1], m[1]))
                    odd = v.mul(c, v.add(z[1], m[1])), v.mul(c, v.sub(m[0], z[0]))
                    odd = twiddled(v, odd, w)
                    result = v.add(even[0], odd[0]), v.add(even[1], odd[1])
                    self.store_pair(self.target, self.at(line, half + 1, k), result)

                self.spans(half - 1, mirror)
        self.exchange()

    def _mirrored(self, line: Number, stride: int, end: int, k: ir.Value, width: int) -> Pair:
        """The natural values at end - k, end - k - 1, ... of a line."""
        low = self.builder.sub(as_value(end - width + 1), k)
        pair = self.load_pair(self._natural(self.source), self.at(line, stride, low), width)
        return self.reversed(pair[0], width), self.reversed(pair[1], width)

    def _before_real(self, lines: int) -> None:
        """What to transform so that the result is real lines: of half the length, or whole."""
        if self.plan.halved:
            self._fold_spectrum(lines)
        else:
            self._extend_spectrum(lines)
        self.exchange()

    def _fold_spectrum(self, lines: int) -> None:
        n = self.plan.length[-1]
        half = n // 2
        v = self.context.vector
        source, target = self._natural(self.source), self._natural(self.target)
        with for_range(self.builder, 0, lines, 1, "line") as line:
            # The imaginary parts of the first and the last are taken as 0.
            first = self.load(source[0], self.at(line, half + 1, 0), 1)
            last = self.load(source[0], self.at(line, half + 1, half), 1)
            c = v.const(first, 0.5)
            both = v.mul(c, v.add(first, last)), v.mul(c, v.sub(first, last))
            self.store_pair(target, self.at(line, half, 0), both)
            if half > 1:
                table = self.table(f"folded{n}", np.conj(roots(n, np.arange(1, half))))

                def mirror(position: Number, width: int) -> None:
                    k = self.builder.add(as_value(position), as_value(1))
                    x = self.load_pair(source, self.at(line, half + 1, k), width)
                    w = self.load_pair(table, position, width)
                    m = self._mirrored(line, half + 1, half, k, width)
                    c = v.const(x[0], 0.5)
                    even = v.mul(c, v.add(x[0], m[0])), v.mul(c, v.sub(x[1], m[1]))
                    odd = v.mul(c, v.sub(x[0], m[0])), v.mul(c, v.add(x[1], m[1]))
                    odd = twiddled(v, odd, w)
                    result = v.sub(even[0], odd[1]), v.add(even[1], odd[0])
                    self.store_pair(target, self.at(line, half, k), result)

                self.spans(half - 1, mirror)

    def _extend_spectrum(self, lines: int) -> None:
        n = self.plan.length[-1]
        kept = n // 2 + 1
        v = self.context.vector
        source, target = self._natural(self.source), self._natural(self.target)
        with for_range(self.builder, 0, lines, 1, "line") as line:
            first = self.load(source[0], self.at(line, kept, 0), 1)
            self.store_pair(target, self.at(line, n, 0), (first, v.const(first, 0.0)))
            if kept > 1:

                def mirror(position: Number, width: int) -> None:
                    k = self.builder.add(as_value(position), as_value(1))
                    x = self.load_pair(source, self.at(line, kept, k), width)
                    self.store_pair(target, self.at(line, n, k), x)
                    turned = self.reversed(x[0], width), v.neg(self.reversed(x[1], width))
                    low = self.builder.sub(as_value(n - width + 1), k)
                    self.store_pair(target, self.at(line, n, low), turned)

                self.spans(kept - 1, mirror)


__all__ = ["emit_fft", "plan_fft"]
