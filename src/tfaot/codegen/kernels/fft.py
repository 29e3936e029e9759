"""Fourier transforms of any length over the last dimensions.

Real and imaginary parts are kept apart in four scratch arrays, two to read and two to write. A line
is transformed by Stockham's algorithm, whose passes put results in order by themselves: radix 4,
2, 3 and 5 with unrolled butterflies, other primes up to `LARGEST_PRIME` with a loop, and lengths
with larger primes by Bluestein's convolution of a length that has none. Passes work on as many
lanes as the target's registers hold; where a dimension is not the last, the lines that lie side by
side are the lanes. Real lines of even length are transformed as complex ones of half the length.

An inverse transform is a forward one with real and imaginary part exchanged. Twiddle factors are
computed in float64 when the kernel is emitted.

Sources: Cooley and Tukey (1965); Stockham (1966), as in Van Loan, "Computational Frameworks for the
Fast Fourier Transform" (1992); Bluestein (1970).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from llvmlite import ir

from tfaot.codegen.expression import Leaf
from tfaot.codegen.index import Affine, Index, Number, as_value
from tfaot.codegen.kernels.butterfly import Pair, butterfly, twiddled
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.fft_plan import (
    UNROLLED,
    Axis,
    Complexes,
    Plan,
    factors_of,
    plan_fft,
    roots,
)
from tfaot.codegen.kernels.scratch import scratch_at
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.types import I32, LiteralConstant, lane_count, register_element
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


class _Transform:
    """Passes over the scratch arrays.

    `source` and `target` are (real, imaginary) as the forward transform sees them; an inverse
    transform keeps the imaginary parts in the first and the real ones in the second.
    """

    def __init__(self, context: KernelContext, anchor: Instruction) -> None:
        self.context = context
        self.builder = context.builder
        self.anchor = anchor
        self.operand = anchor.operands[0]
        self.plan = plan_fft(anchor.attr(Fft))
        self.dtype = anchor.array.dtype.real
        self.element = register_element(self.dtype)
        self.width = context.target.vector_bytes // self.dtype.itemsize
        self.inverse = self.plan.kind in ("IFFT", "IRFFT")
        offset, places = NOTHING, []
        for _ in range(4):
            places.append(scratch_at(context, offset))
            offset = offset + _array_bytes(context.kernel, self.plan)
        self.source, self.target = (places[0], places[1]), (places[2], places[3])

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
            self._axis(axis)
            if along_last and self.plan.kind == "RFFT" and self.plan.halved:
                self._after_real(axis.lines)
        self._write(outer)
        self.source, self.target = first

    def _last_axis(self) -> Axis:
        """The axis along the last dimension."""
        return self.plan.axes[-1 if self.plan.kind == "IRFFT" else 0]

    def _exchange(self) -> None:
        self.source, self.target = self.target, self.source

    def _natural(self, arrays: tuple[ir.Value, ir.Value]) -> tuple[ir.Value, ir.Value]:
        """Arrays of real and imaginary parts as the user sees them."""
        return (arrays[1], arrays[0]) if self.inverse else arrays

    # Memory

    def _load(self, array: ir.Value, position: Number, width: int) -> ir.Value:
        place = self.builder.gep(array, [as_value(position)], source_etype=self.element)
        type_ = self.element if width == 1 else ir.VectorType(self.element, width)
        return self.builder.load(place, typ=type_, align=self.dtype.itemsize)

    def _store(self, array: ir.Value, position: Number, value: ir.Value) -> None:
        place = self.builder.gep(array, [as_value(position)], source_etype=self.element)
        self.builder.store(value, place, align=self.dtype.itemsize)

    def _load_pair(self, arrays: tuple[ir.Value, ir.Value], position: Number, width: int) -> Pair:
        return self._load(arrays[0], position, width), self._load(arrays[1], position, width)

    def _store_pair(self, arrays: tuple[ir.Value, ir.Value], position: Number, value: Pair) -> None:
        for array, part in zip(arrays, value, strict=True):
            self._store(array, position, part)

    def _table(self, name: str, values: Complexes) -> tuple[ir.Value, ir.Value]:
        """Constant arrays of real and imaginary parts."""
        v = self.context.vector
        flat = values.reshape(-1)
        return (
            v.table(f"fft.{self.dtype}.{name}.real", self.element, flat.real.tolist()),
            v.table(f"fft.{self.dtype}.{name}.imag", self.element, flat.imag.tolist()),
        )

    def _spread(self, value: ir.Value, width: int) -> ir.Value:
        return value if width == 1 else self.context.vector.splat(value, width)

    def _spans(self, total: int, body: Callable[[Number, int], None]) -> None:
        """Cover range(total) by vectors; the last overlaps the one before, which does no harm."""
        width = min(self.width, total)
        whole = total - total % width
        with for_range(self.builder, 0, whole, width, "span") as position:
            body(position, width)
        if total > whole:
            body(total - width, width)

    def _reversed(self, value: ir.Value, width: int) -> ir.Value:
        if width == 1:
            return value
        mask = ir.Constant(ir.VectorType(I32, width), list(range(width))[::-1])
        return self.builder.shuffle_vector(value, LiteralConstant(value.type, "poison"), mask)

    def _at(self, line: Number, stride: int, position: Number) -> ir.Value:
        start = self.builder.mul(as_value(line), as_value(stride))
        return self.builder.add(start, as_value(position))

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
            real, imaginary = self._load_pair(self.source, self._at(line, half, 0), 1)
            nothing = v.const(real, 0.0)
            start = self._at(line, half + 1, 0)
            self._store_pair(self.target, start, (v.add(real, imaginary), nothing))
            end = self._at(line, half + 1, half)
            self._store_pair(self.target, end, (v.sub(real, imaginary), nothing))
            if half > 1:
                table = self._table(f"real{n}", roots(n, np.arange(1, half)))

                def mirror(position: Number, width: int) -> None:
                    k = self.builder.add(as_value(position), as_value(1))
                    z = self._load_pair(self.source, self._at(line, half, k), width)
                    w = self._load_pair(table, position, width)
                    m = self._mirrored(line, half, half, k, width)
                    c = v.const(z[0], 0.5)
                    even = v.mul(c, v.add(z[0], m[0])), v.mul(c, v.sub(z[1], m[1]))
                    odd = v.mul(c, v.add(z[1], m[1])), v.mul(c, v.sub(m[0], z[0]))
                    odd = twiddled(v, odd, w)
                    result = v.add(even[0], odd[0]), v.add(even[1], odd[1])
                    self._store_pair(self.target, self._at(line, half + 1, k), result)

                self._spans(half - 1, mirror)
        self._exchange()

    def _mirrored(self, line: Number, stride: int, end: int, k: ir.Value, width: int) -> Pair:
        """The natural values at end - k, end - k - 1, ... of a line."""
        low = self.builder.sub(as_value(end - width + 1), k)
        pair = self._load_pair(self._natural(self.source), self._at(line, stride, low), width)
        return self._reversed(pair[0], width), self._reversed(pair[1], width)

    def _before_real(self, lines: int) -> None:
        """What to transform so that the result is real lines: of half the length, or whole."""
        if self.plan.halved:
            self._fold_spectrum(lines)
        else:
            self._extend_spectrum(lines)
        self._exchange()

    def _fold_spectrum(self, lines: int) -> None:
        n = self.plan.length[-1]
        half = n // 2
        v = self.context.vector
        source, target = self._natural(self.source), self._natural(self.target)
        with for_range(self.builder, 0, lines, 1, "line") as line:
            # The imaginary parts of the first and the last are taken as 0.
            first = self._load(source[0], self._at(line, half + 1, 0), 1)
            last = self._load(source[0], self._at(line, half + 1, half), 1)
            c = v.const(first, 0.5)
            both = v.mul(c, v.add(first, last)), v.mul(c, v.sub(first, last))
            self._store_pair(target, self._at(line, half, 0), both)
            if half > 1:
                table = self._table(f"folded{n}", np.conj(roots(n, np.arange(1, half))))

                def mirror(position: Number, width: int) -> None:
                    k = self.builder.add(as_value(position), as_value(1))
                    x = self._load_pair(source, self._at(line, half + 1, k), width)
                    w = self._load_pair(table, position, width)
                    m = self._mirrored(line, half + 1, half, k, width)
                    c = v.const(x[0], 0.5)
                    even = v.mul(c, v.add(x[0], m[0])), v.mul(c, v.sub(x[1], m[1]))
                    odd = v.mul(c, v.sub(x[0], m[0])), v.mul(c, v.add(x[1], m[1]))
                    odd = twiddled(v, odd, w)
                    result = v.sub(even[0], odd[1]), v.add(even[1], odd[0])
                    self._store_pair(target, self._at(line, half, k), result)

                self._spans(half - 1, mirror)

    def _extend_spectrum(self, lines: int) -> None:
        n = self.plan.length[-1]
        kept = n // 2 + 1
        v = self.context.vector
        source, target = self._natural(self.source), self._natural(self.target)
        with for_range(self.builder, 0, lines, 1, "line") as line:
            first = self._load(source[0], self._at(line, kept, 0), 1)
            self._store_pair(target, self._at(line, n, 0), (first, v.const(first, 0.0)))
            if kept > 1:

                def mirror(position: Number, width: int) -> None:
                    k = self.builder.add(as_value(position), as_value(1))
                    x = self._load_pair(source, self._at(line, kept, k), width)
                    self._store_pair(target, self._at(line, n, k), x)
                    turned = self._reversed(x[0], width), v.neg(self._reversed(x[1], width))
                    low = self.builder.sub(as_value(n - width + 1), k)
                    self._store_pair(target, self._at(line, n, low), turned)

                self._spans(kept - 1, mirror)

    # Complex lines

    def _axis(self, axis: Axis) -> None:
        if axis.padded is None:
            self._stockham(axis)
        else:
            self._bluestein(axis, axis.padded)

    def _stockham(self, axis: Axis) -> None:
        length, stride = axis.length, axis.inner
        for radix in factors_of(axis.length):
            size = axis.length * axis.inner
            with for_range(self.builder, 0, axis.lines, 1, "line") as line:
                base = self._at(line, size, 0)
                if stride >= self.width:
                    self._wide_pass(base, length, radix, stride)
                else:
                    self._narrow_pass(base, length, radix, stride)
            self._exchange()
            length, stride = length // radix, stride * radix

    def _wide_pass(self, base: ir.Value, length: int, radix: int, stride: int) -> None:
        """One pass whose lanes share their twiddle factors."""
        count = length // radix
        powers = np.outer(np.arange(count), np.arange(1, radix))
        table = self._table(f"wide{length}.{radix}", roots(length, powers)) if count > 1 else None
        with for_range(self.builder, 0, count, 1, "p") as p:

            def span(q: Number, width: int) -> None:
                builder = self.builder
                here = builder.add(builder.mul(as_value(p), as_value(stride)), as_value(q))
                first = builder.add(base, here)
                there = builder.mul(as_value(p), as_value(stride * radix))
                last = builder.add(base, builder.add(there, as_value(q)))

                def twiddle(k: Number) -> Pair | None:
                    if table is None:
                        return None
                    row = builder.mul(as_value(p), as_value(radix - 1))
                    place = builder.add(row, builder.sub(as_value(k), as_value(1)))
                    real, imaginary = self._load_pair(table, place, 1)
                    return self._spread(real, width), self._spread(imaginary, width)

                def put(k: Number, value: Pair) -> None:
                    place = builder.add(last, builder.mul(as_value(k), as_value(stride)))
                    self._store_pair(self.target, place, value)

                if radix in UNROLLED:
                    outputs = self._butterfly(first, radix, count * stride, width)
                    for k, value in enumerate(outputs):
                        put(k, self._turned(value, twiddle(k) if k else None))
                else:
                    self._any_radix(first, radix, count * stride, width, twiddle, put)

            self._spans(stride, span)

    def _narrow_pass(self, base: ir.Value, length: int, radix: int, stride: int) -> None:
        """One pass whose lanes belong to several positions, each with its own factors."""
        count = length // radix
        total = count * stride
        group = min(max(self.width // stride, 1), count)
        width = group * stride
        powers = np.outer(np.arange(1, radix), np.repeat(np.arange(count), stride))
        name = f"narrow{length}.{radix}.{stride}"
        table = self._table(name, roots(length, powers)) if count > 1 else None

        def chunk(p: Number) -> None:
            builder = self.builder
            t = builder.mul(as_value(p), as_value(stride))
            first = builder.add(base, t)
            last = builder.add(base, builder.mul(as_value(p), as_value(stride * radix)))

            def twiddle(k: Number) -> Pair | None:
                if table is None:
                    return None
                row = builder.mul(builder.sub(as_value(k), as_value(1)), as_value(total))
                return self._load_pair(table, builder.add(row, t), width)

            def put(k: Number, value: Pair) -> None:
                place = builder.add(last, builder.mul(as_value(k), as_value(stride)))
                for number in range(group):
                    lanes = range(number * stride, (number + 1) * stride)
                    spot = builder.add(place, as_value(number * stride * radix))
                    part = self._lanes(value[0], lanes), self._lanes(value[1], lanes)
                    self._store_pair(self.target, spot, part)

            if radix in UNROLLED:
                outputs = self._butterfly(first, radix, total, width)
                turned = [
                    self._turned(value, twiddle(k) if k else None)
                    for k, value in enumerate(outputs)
                ]
                real = self._interleaved([x[0] for x in turned], stride, width)
                imaginary = self._interleaved([x[1] for x in turned], stride, width)
                self._store_pair(self.target, last, (real, imaginary))
            else:
                self._any_radix(first, radix, total, width, twiddle, put)

        whole = count - count % group
        with for_range(self.builder, 0, whole, group, "p") as p:
            chunk(p)
        if count > whole:
            chunk(count - group)

    def _turned(self, value: Pair, factor: Pair | None) -> Pair:
        return value if factor is None else twiddled(self.context.vector, value, factor)

    def _lanes(self, value: ir.Value, chosen: range) -> ir.Value:
        """Some lanes of a vector, one of them as a scalar."""
        if not isinstance(value.type, ir.VectorType):
            return value
        if len(chosen) == 1:
            return self.builder.extract_element(value, ir.Constant(I32, chosen[0]))
        if len(chosen) == lane_count(value.type):
            return value
        mask = ir.Constant(ir.VectorType(I32, len(chosen)), list(chosen))
        return self.builder.shuffle_vector(value, LiteralConstant(value.type, "poison"), mask)

    def _interleaved(self, values: list[ir.Value], stride: int, width: int) -> ir.Value:
        """Vectors k = 0, 1, ... as one: for each group of `stride` lanes those of all k in turn."""
        builder = self.builder
        if width == 1:
            type_ = ir.VectorType(self.element, len(values))
            whole: ir.Value = LiteralConstant(type_, "poison")
            for k, value in enumerate(values):
                whole = builder.insert_element(whole, value, ir.Constant(I32, k))
            return whole
        order = [
            k * width + group * stride + q
            for group in range(width // stride)
            for k in range(len(values))
            for q in range(stride)
        ]
        joined = self._concatenated(values)
        mask = ir.Constant(ir.VectorType(I32, len(order)), order)
        return builder.shuffle_vector(joined, LiteralConstant(joined.type, "poison"), mask)

    def _concatenated(self, values: list[ir.Value]) -> ir.Value:
        """All lanes of vectors of one type, one after the other."""
        builder = self.builder
        while len(values) > 1:
            joined = []
            for n in range(0, len(values), 2):
                a = values[n]
                b = values[n + 1] if n + 1 < len(values) else LiteralConstant(a.type, "poison")
                lanes = list(range(2 * (lane_count(a.type) or 1)))
                mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
                joined.append(builder.shuffle_vector(a, b, mask))
            values = joined
        return values[0]

    def _butterfly(self, first: ir.Value, radix: int, step: int, width: int) -> list[Pair]:
        """The transform of `radix` elements that lie `step` apart."""
        inputs = [
            self._load_pair(self.source, self.builder.add(first, as_value(i * step)), width)
            for i in range(radix)
        ]
        return butterfly(self.context.vector, inputs)

    def _any_radix(
        self,
        first: ir.Value,
        radix: int,
        step: int,
        width: int,
        twiddle: Callable[[Number], Pair | None],
        put: Callable[[Number, Pair], None],
    ) -> None:
        """The transform of an odd number of elements, two results at once, by sums over pairs."""
        builder, v = self.builder, self.context.vector
        half = radix // 2
        numbers = np.outer(np.arange(1, half + 1), np.arange(1, half + 1))
        table = self._table(f"radix{radix}", np.conj(roots(radix, numbers)))
        zero = self._load_pair(self.source, first, width)

        def sums_and_differences(j: ir.Value) -> tuple[Pair, Pair]:
            near = builder.add(first, builder.mul(j, as_value(step)))
            other = builder.sub(as_value(radix), j)
            far = builder.add(first, builder.mul(other, as_value(step)))
            a = self._load_pair(self.source, near, width)
            b = self._load_pair(self.source, far, width)
            return (v.add(a[0], b[0]), v.add(a[1], b[1])), (v.sub(a[0], b[0]), v.sub(a[1], b[1]))

        with Loop(builder, 1, half + 1, 1, list(zero), "j") as loop:
            total, _ = sums_and_differences(loop.index)
            loop.update([v.add(c, t) for c, t in zip(loop.carried, total, strict=True)])
        put(0, (loop.results[0], loop.results[1]))
        nothing = v.const(zero[0], 0.0)
        with for_range(builder, 1, half + 1, 1, "k") as k:
            row = builder.mul(builder.sub(as_value(k), as_value(1)), as_value(half))
            with Loop(builder, 1, half + 1, 1, [*zero, nothing, nothing], "j") as loop:
                sums, differences = sums_and_differences(loop.index)
                place = builder.add(row, builder.sub(loop.index, as_value(1)))
                cosine, sine = (self._spread(x, width) for x in self._load_pair(table, place, 1))
                loop.update(
                    [
                        v.fma(cosine, sums[0], loop.carried[0]),
                        v.fma(cosine, sums[1], loop.carried[1]),
                        v.fma(sine, differences[0], loop.carried[2]),
                        v.fma(sine, differences[1], loop.carried[3]),
                    ]
                )
            a, b, c, d = loop.results
            mirrored = builder.sub(as_value(radix), as_value(k))
            put(k, self._turned((v.add(a, d), v.sub(b, c)), twiddle(k)))
            put(mirrored, self._turned((v.sub(a, d), v.add(b, c)), twiddle(mirrored)))

    # Bluestein

    def _bluestein(self, axis: Axis, padded: int) -> None:
        """A transform as a convolution with a chirp, by transforms of a kinder length."""
        n = axis.length
        squares = np.array([k * k % (2 * n) for k in range(n)], np.int64)
        chirp = roots(2 * n, squares)
        response = np.zeros(padded, np.complex128)
        response[:n] = np.conj(chirp)
        response[padded - n + 1 :] = np.conj(chirp[1:])[::-1]
        spectrum = np.fft.fft(response) / padded
        inner = Axis(axis.lines, padded, axis.inner)
        self._pointwise(axis, n, padded, f"chirp{n}", chirp, turn=False)
        self._stockham(inner)
        # With both parts exchanged the next forward transform is the inverse one.
        self._pointwise(axis, padded, padded, f"response{n}.{padded}", spectrum, turn=True)
        self._stockham(inner)
        self.source = self.source[1], self.source[0]
        self._pointwise(axis, n, n, f"chirp{n}", chirp, turn=False, line=padded)
        # Both pairs of arrays keep their roles for the passes that follow.
        self.target = self.target[1], self.target[0]

    def _pointwise(
        self,
        axis: Axis,
        count: int,
        room: int,
        name: str,
        factors: Complexes,
        *,
        turn: bool,
        line: int | None = None,
    ) -> None:
        """Multiply `count` elements of each line by factors; zeros up to `room`.

        Args:
            axis: lines and inner elements.
            count: elements per line to read.
            room: elements per line to write.
            name: of the table of factors.
            factors: one for each element.
            turn: whether to exchange real and imaginary parts of the results.
            line: the line length of the source, by default `count`.
        """
        v, builder, inner = self.context.vector, self.builder, axis.inner
        target = (self.target[1], self.target[0]) if turn else self.target
        shared = inner >= self.width
        spread = factors if shared else np.repeat(factors, inner)
        table = self._table(name if shared or inner == 1 else f"{name}.by{inner}", spread)
        source_line, target_line = (line or count) * inner, room * inner
        with for_range(builder, 0, axis.lines, 1, "line") as number:
            start, end = self._at(number, source_line, 0), self._at(number, target_line, 0)

            def multiply(position: Number, width: int, factor: Pair) -> None:
                value = self._load_pair(self.source, builder.add(start, as_value(position)), width)
                place = builder.add(end, as_value(position))
                self._store_pair(target, place, twiddled(v, value, factor))

            if shared:
                with for_range(builder, 0, count, 1, "j") as j:
                    real, imaginary = self._load_pair(table, j, 1)

                    def span(q: Number, width: int) -> None:
                        factor = self._spread(real, width), self._spread(imaginary, width)
                        here = builder.mul(as_value(j), as_value(inner))
                        multiply(builder.add(here, as_value(q)), width, factor)

                    self._spans(inner, span)
            else:
                self._spans(
                    count * inner,
                    lambda t, width: multiply(t, width, self._load_pair(table, t, width)),
                )
            if room > count:

                def clear(t: Number, width: int) -> None:
                    type_ = self.element if width == 1 else ir.VectorType(self.element, width)
                    nothing = v.const(type_, 0.0)
                    place = builder.add(as_value(t), as_value(count * inner))
                    self._store_pair(target, builder.add(end, place), (nothing, nothing))

                self._spans((room - count) * inner, clear)
        self._exchange()


__all__ = ["emit_fft", "plan_fft"]
