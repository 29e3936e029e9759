"""Fourier transforms of complex lines that lie in scratch arrays.

Input: four scratch arrays, real and imaginary parts apart, two to read and two to write; an axis of
a `Plan`. Output: the transform of every line along it, in the arrays to read next.

A line is transformed by Stockham's algorithm, whose passes put results in order by themselves:
radix 4, 2, 3 and 5 with unrolled butterflies, other primes up to `LARGEST_PRIME` with a loop, and
lengths with larger primes by Bluestein's convolution of a length that has none. Passes work on as
many lanes as the target's registers hold; where a dimension is not the last, the lines that lie
side by side are the lanes. Twiddle factors are computed in float64 when the kernel is emitted.

Sources: Stockham (1966), as in Van Loan, "Computational Frameworks for the Fast Fourier Transform"
(1992); Bluestein (1970).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir

from tfaot.codegen.index import Number, as_value
from tfaot.codegen.kernels.butterfly import Pair, butterfly, twiddled
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.kernels.fft_plan import UNROLLED, Axis, Complexes, factors_of, roots
from tfaot.codegen.loops import Loop, for_range
from tfaot.codegen.types import I32, LiteralConstant, lane_count, register_element
from tfaot.ir.dtypes import DType

Arrays = tuple[ir.Value, ir.Value]
"""Pointers to real and to imaginary parts."""


class ComplexLines:
    """Passes over the scratch arrays.

    Attributes:
        context: the kernel's.
        builder: the context's.
        dtype: of real and imaginary parts.
        element: of the registers that hold them.
        width: lanes of a register.
        source: the arrays that the next pass reads.
        target: the arrays that it writes.
    """

    def __init__(
        self, context: KernelContext, dtype: DType, source: Arrays, target: Arrays
    ) -> None:
        self.context = context
        self.builder = context.builder
        self.dtype = dtype
        self.element = register_element(dtype)
        self.width = context.target.vector_bytes // dtype.itemsize
        self.source, self.target = source, target

    def exchange(self) -> None:
        """What was written is read next."""
        self.source, self.target = self.target, self.source

    # Memory

    def load(self, array: ir.Value, position: Number, width: int) -> ir.Value:
        """`width` neighbouring elements; a scalar where `width` is 1."""
        place = self.builder.gep(array, [as_value(position)], source_etype=self.element)
        type_ = self.element if width == 1 else ir.VectorType(self.element, width)
        return self.builder.load(place, typ=type_, align=self.dtype.itemsize)

    def store(self, array: ir.Value, position: Number, value: ir.Value) -> None:
        """Writes all lanes of a value from a position on."""
        place = self.builder.gep(array, [as_value(position)], source_etype=self.element)
        self.builder.store(value, place, align=self.dtype.itemsize)

    def load_pair(self, arrays: Arrays, position: Number, width: int) -> Pair:
        """The same elements of both arrays."""
        return self.load(arrays[0], position, width), self.load(arrays[1], position, width)

    def store_pair(self, arrays: Arrays, position: Number, value: Pair) -> None:
        """Writes both parts from a position on."""
        for array, part in zip(arrays, value, strict=True):
            self.store(array, position, part)

    def table(self, name: str, values: Complexes) -> Arrays:
        """Constant arrays of real and imaginary parts."""
        v = self.context.vector
        flat = values.reshape(-1)
        return (
            v.table(f"fft.{self.dtype}.{name}.real", self.element, flat.real.tolist()),
            v.table(f"fft.{self.dtype}.{name}.imag", self.element, flat.imag.tolist()),
        )

    def _spread(self, value: ir.Value, width: int) -> ir.Value:
        return value if width == 1 else self.context.vector.splat(value, width)

    def spans(self, total: int, body: Callable[[Number, int], None]) -> None:
        """Cover range(total) by vectors; the last overlaps the one before, which does no harm."""
        width = min(self.width, total)
        whole = total - total % width
        with for_range(self.builder, 0, whole, width, "span") as position:
            body(position, width)
        if total > whole:
            body(total - width, width)

    def reversed(self, value: ir.Value, width: int) -> ir.Value:
        """The lanes of a value in reverse order."""
        if width == 1:
            return value
        mask = ir.Constant(ir.VectorType(I32, width), list(range(width))[::-1])
        return self.builder.shuffle_vector(value, LiteralConstant(value.type, "poison"), mask)

    def at(self, line: Number, stride: int, position: Number) -> ir.Value:
        """A position in a line; lines begin `stride` apart."""
        start = self.builder.mul(as_value(line), as_value(stride))
        return self.builder.add(start, as_value(position))

    # Stockham

    def transform(self, axis: Axis) -> None:
        """Emits the transform of every line along an axis."""
        if axis.padded is None:
            self._stockham(axis)
        else:
            self._bluestein(axis, axis.padded)

    def _stockham(self, axis: Axis) -> None:
        length, stride = axis.length, axis.inner
        for radix in factors_of(axis.length):
            size = axis.length * axis.inner
            with for_range(self.builder, 0, axis.lines, 1, "line") as line:
                base = self.at(line, size, 0)
                if stride >= self.width:
                    self._wide_pass(base, length, radix, stride)
                else:
                    self._narrow_pass(base, length, radix, stride)
            self.exchange()
            length, stride = length // radix, stride * radix

    def _wide_pass(self, base: ir.Value, length: int, radix: int, stride: int) -> None:
        """One pass whose lanes share their twiddle factors."""
        count = length // radix
        powers = np.outer(np.arange(count), np.arange(1, radix))
        table = self.table(f"wide{length}.{radix}", roots(length, powers)) if count > 1 else None
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
                    real, imaginary = self.load_pair(table, place, 1)
                    return self._spread(real, width), self._spread(imaginary, width)

                def put(k: Number, value: Pair) -> None:
                    place = builder.add(last, builder.mul(as_value(k), as_value(stride)))
                    self.store_pair(self.target, place, value)

                if radix in UNROLLED:
                    outputs = self._butterfly(first, radix, count * stride, width)
                    for k, value in enumerate(outputs):
                        put(k, self._turned(value, twiddle(k) if k else None))
                else:
                    self._any_radix(first, radix, count * stride, width, twiddle, put)

            self.spans(stride, span)

    def _narrow_pass(self, base: ir.Value, length: int, radix: int, stride: int) -> None:
        """One pass whose lanes belong to several positions, each with its own factors."""
        count = length // radix
        total = count * stride
        group = min(max(self.width // stride, 1), count)
        width = group * stride
        powers = np.outer(np.arange(1, radix), np.repeat(np.arange(count), stride))
        name = f"narrow{length}.{radix}.{stride}"
        table = self.table(name, roots(length, powers)) if count > 1 else None

        def chunk(p: Number) -> None:
            builder = self.builder
            t = builder.mul(as_value(p), as_value(stride))
            first = builder.add(base, t)
            last = builder.add(base, builder.mul(as_value(p), as_value(stride * radix)))

            def twiddle(k: Number) -> Pair | None:
                if table is None:
                    return None
                row = builder.mul(builder.sub(as_value(k), as_value(1)), as_value(total))
                return self.load_pair(table, builder.add(row, t), width)

            def put(k: Number, value: Pair) -> None:
                place = builder.add(last, builder.mul(as_value(k), as_value(stride)))
                for number in range(group):
                    lanes = range(number * stride, (number + 1) * stride)
                    spot = builder.add(place, as_value(number * stride * radix))
                    part = self._lanes(value[0], lanes), self._lanes(value[1], lanes)
                    self.store_pair(self.target, spot, part)

            if radix in UNROLLED:
                outputs = self._butterfly(first, radix, total, width)
                turned = [
                    self._turned(value, twiddle(k) if k else None)
                    for k, value in enumerate(outputs)
                ]
                real = self._interleaved([x[0] for x in turned], stride, width)
                imaginary = self._interleaved([x[1] for x in turned], stride, width)
                self.store_pair(self.target, last, (real, imaginary))
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
            self.load_pair(self.source, self.builder.add(first, as_value(i * step)), width)
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
        table = self.table(f"radix{radix}", np.conj(roots(radix, numbers)))
        zero = self.load_pair(self.source, first, width)

        def sums_and_differences(j: ir.Value) -> tuple[Pair, Pair]:
            near = builder.add(first, builder.mul(j, as_value(step)))
            other = builder.sub(as_value(radix), j)
            far = builder.add(first, builder.mul(other, as_value(step)))
            a = self.load_pair(self.source, near, width)
            b = self.load_pair(self.source, far, width)
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
                cosine, sine = (self._spread(x, width) for x in self.load_pair(table, place, 1))
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
        table = self.table(name if shared or inner == 1 else f"{name}.by{inner}", spread)
        source_line, target_line = (line or count) * inner, room * inner
        with for_range(builder, 0, axis.lines, 1, "line") as number:
            start, end = self.at(number, source_line, 0), self.at(number, target_line, 0)

            def multiply(position: Number, width: int, factor: Pair) -> None:
                value = self.load_pair(self.source, builder.add(start, as_value(position)), width)
                place = builder.add(end, as_value(position))
                self.store_pair(target, place, twiddled(v, value, factor))

            if shared:
                with for_range(builder, 0, count, 1, "j") as j:
                    real, imaginary = self.load_pair(table, j, 1)

                    def span(q: Number, width: int) -> None:
                        factor = self._spread(real, width), self._spread(imaginary, width)
                        here = builder.mul(as_value(j), as_value(inner))
                        multiply(builder.add(here, as_value(q)), width, factor)

                    self.spans(inner, span)
            else:
                self.spans(
                    count * inner,
                    lambda t, width: multiply(t, width, self.load_pair(table, t, width)),
                )
            if room > count:

                def clear(t: Number, width: int) -> None:
                    type_ = self.element if width == 1 else ir.VectorType(self.element, width)
                    nothing = v.const(type_, 0.0)
                    place = builder.add(as_value(t), as_value(count * inner))
                    self.store_pair(target, builder.add(end, place), (nothing, nothing))

                self.spans((room - count) * inner, clear)
        self.exchange()
