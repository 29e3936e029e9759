"""rng-bit-generator: Philox 4x32-10 and Threefry 2x32-20, 16 blocks at once.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011); the
order in which words reach the output is XLA's.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from tfaot.codegen.expression import LANES, Leaf, unsupported
from tfaot.codegen.index import Affine, Index, Lanes, as_value
from tfaot.codegen.kernels.common import KernelContext
from tfaot.codegen.types import I64
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.attributes import RngBitGenerator
from tfaot.ir.shapes import BatchDim, Dim, Shape, TupleShape, product

Words = list[ir.Value]
"""32-bit words, each in an i64 lane."""

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_PARITY = 0x1BD11BDA
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_MASK = 0xFFFFFFFF


def _low(v: VectorBuilder, x: ir.Value) -> ir.Value:
    return v.and_(x, v.const(x, _MASK))


def _high(v: VectorBuilder, x: ir.Value) -> ir.Value:
    return v.ir.lshr(x, v.const(x, 32))


def philox(v: VectorBuilder, counter: Words, key: Words) -> Words:
    """Ten rounds: four words of random bits for a counter of four words and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # The products of 32-bit words fill the 64 bits.
        first = v.mul(c0, v.const(c0, _MULTIPLIERS[0]))
        second = v.mul(c2, v.const(c2, _MULTIPLIERS[1]))
        c0, c1, c2, c3 = (
            v.xor(v.xor(_high(v, second), c1), k0),
            _low(v, second),
            v.xor(v.xor(_high(v, first), c3), k1),
            _low(v, first),
        )
        k0 = _low(v, v.add(k0, v.const(k0, _WEYL[0])))
        k1 = _low(v, v.add(k1, v.const(k1, _WEYL[1])))
    return [c0, c1, c2, c3]


def threefry(v: VectorBuilder, counter: Words, key: Words) -> Words:
    """Twenty rounds: two words of random bits for a counter and a key of two words each."""
    parity = v.xor(v.xor(key[0], key[1]), v.const(key[0], _PARITY))
    keys = [key[0], key[1], parity]
    x, y = _low(v, v.add(counter[0], keys[0])), _low(v, v.add(counter[1], keys[1]))
    for block in range(5):
        for distance in _ROTATIONS[block % 2]:
            x = _low(v, v.add(x, y))
            left = v.ir.shl(y, v.const(y, distance))
            y = v.xor(_low(v, v.or_(left, v.ir.lshr(y, v.const(y, 32 - distance)))), x)
        x = _low(v, v.add(x, keys[(block + 1) % 3]))
        injected = v.add(keys[(block + 2) % 3], v.const(y, block + 1))
        y = _low(v, v.add(y, injected))
    return [x, y]


def emit_rng_bit_generator(context: KernelContext) -> None:
    """Emit a kernel that is built around an `rng-bit-generator`.

    Raises:
        UnsupportedError: the algorithm does not go with the state, the type of the bits has fewer
            than 8 bits, or their order would depend on whether the batch size is even.
    """
    anchor = context.kernel.anchor
    assert anchor is not None
    assert isinstance(anchor.shape, TupleShape)
    bits = anchor.shape.elements[1]
    assert isinstance(bits, Shape)
    words = anchor.operands[0].array.dims[0]
    algorithm = anchor.attr(RngBitGenerator).algorithm
    if not bits.dtype.is_integer or bits.dtype.bits < 8:
        raise unsupported(anchor)
    if algorithm == "RNG_THREE_FRY" and words == 2:
        _Generator(context, bits).threefry()
    elif algorithm in ("RNG_PHILOX", "RNG_DEFAULT") and words == 3:
        _Generator(context, bits).philox()
    else:
        raise unsupported(anchor)


class _Generator:
    def __init__(self, context: KernelContext, bits: Shape) -> None:
        self.context = context
        self.builder = context.builder
        self.bits = bits
        anchor = context.kernel.anchor
        assert anchor is not None
        self.anchor = anchor
        self.new_state, self.target = context.results
        e = context.expression()
        words = anchor.operands[0].array.dims[0]
        assert isinstance(words, int)
        self.state = [e.value(anchor.operands[0], (Affine(n),)) for n in range(words)]

    def _finish(self, state: Sequence[ir.Value]) -> None:
        if self.new_state is None:
            return
        e = self.context.expression()
        for number, word in enumerate(state):
            e.store(self.new_state, (Affine(number),), word)

    def _spread(self, words: Sequence[ir.Value]) -> Words:
        return [self.context.vector.splat(w, LANES) for w in words]

    def _halves(self, x: ir.Value) -> Words:
        v = self.context.vector
        return [_low(v, x), _high(v, x)]

    def _joined(self, low: ir.Value, high: ir.Value) -> ir.Value:
        v = self.context.vector
        return v.or_(low, v.ir.shl(high, v.const(high, 32)))

    def philox(self) -> None:
        """Words of consecutive blocks, one after the other."""
        builder = self.builder
        count = as_value(self.context.size(product(self.bits.dims)))
        per_block = 2 if self.bits.dtype.bits == 64 else 4
        blocks = builder.udiv(builder.add(count, as_value(per_block - 1)), as_value(per_block))
        key = self._halves(self.state[0])

        def block(position: Index, _: ir.Value | None) -> None:
            assert isinstance(position, Affine)
            assert self.target is not None
            v = self.context.vector
            e = self.context.expression()
            number = e.index.lane_values(Affine(position.base, 1))
            low, high = self._spread(self.state[1:])
            start = v.add(low, number)
            carry = builder.zext(v.lt(start, low, signed=False), high.type)
            counter = [*self._halves(start), *self._halves(v.add(high, carry))]
            words = philox(v, counter, self._spread(key))
            if per_block == 2:
                words = [self._joined(words[0], words[1]), self._joined(words[2], words[3])]
            flat = _flat(self.target)
            for n, word in enumerate(words):
                place = v.add(v.mul(number, v.const(number, per_block)), v.const(number, n))
                inside = v.lt(place, v.splat(count, LANES))
                masked = self.context.expression(inside)
                value = v.int_to_int(word, ir.IntType(self.bits.dtype.bits))
                masked.store(flat, (Lanes(place),), value)

        if self.target is not None:
            assert self.target.pitch is None, "random bits of a tile of rows"
            self.context.vector_loop(blocks, block)
        v = self.context.vector
        after = v.add(self.state[1], blocks)
        carry = builder.zext(v.lt(after, self.state[1], signed=False), I64)
        self._finish([self.state[0], after, v.add(self.state[2], carry)])

    def threefry(self) -> None:
        """Both words of a block are one element, or neighbours along one dimension."""
        target, dims = self.target, self.bits.dims
        if sum(size != 1 for size in dims) <= 1:
            # One row of elements, of any length: an odd one leaves a word out.
            dims = (product(dims),)
            target = None if target is None else _flat(target)
        if self.bits.dtype.bits == 64:
            axis, shape = None, dims
            blocks = as_value(self.context.size(product(shape)))
        elif len(dims) == 1:
            axis, shape = 0, dims
            size = as_value(self.context.size(dims[0]))
            blocks = self.builder.lshr(self.builder.add(size, as_value(1)), as_value(1))
        else:
            axis = self._paired_dimension()
            shape = (*dims[:axis], _half(dims[axis]), *dims[axis + 1 :])
            blocks = as_value(self.context.size(product(shape)))
        if target is not None:
            self._threefry_blocks(target, blocks, dims, shape, axis)
        v = self.context.vector
        self._finish([self.state[0], v.add(self.state[1], blocks)])

    def _threefry_blocks(
        self,
        target: Leaf,
        blocks: ir.Value,
        dims: tuple[Dim, ...],
        shape: tuple[Dim, ...],
        axis: int | None,
    ) -> None:
        """Write the words of `blocks` blocks.

        Args:
            target: where to.
            blocks: how many.
            dims: of the target.
            shape: of the blocks, which are counted in row-major order.
            axis: the dimension along which the two words of a block are neighbours.
        """
        key = self._halves(self.state[0])

        def block(position: Index, mask: ir.Value | None) -> None:
            assert isinstance(position, Affine)
            v = self.context.vector
            e = self.context.expression(mask)
            number = e.index.lane_values(Affine(position.base, 1))
            (start,) = self._spread(self.state[1:2])
            words = threefry(v, self._halves(v.add(start, number)), self._spread(key))
            if self.bits.dtype.bits == 64:
                words = [self._joined(*words)]
            values = [v.int_to_int(w, ir.IntType(self.bits.dtype.bits)) for w in words]
            where = [Lanes(number)] if len(shape) == 1 else e.index.split(Lanes(number), shape)
            if axis is None:
                e.store(target, where, values[0])
                return
            size = e.index.splat(e.index.size(dims[axis]))
            for n, value in enumerate(values):
                place = v.mul(e.index.lane_values(where[axis]), v.const(number, 2))
                place = v.add(place, v.const(number, n))
                inside = v.lt(place, size)
                inside = inside if mask is None else v.and_(inside, mask)
                at = (*where[:axis], Lanes(place), *where[axis + 1 :])
                self.context.expression(inside).store(target, at, value)

        self.context.vector_loop(blocks, block)

    def _paired_dimension(self) -> int:
        """The first even dimension, or the largest; it has to be the same for every batch size."""
        for d, size in enumerate(self.bits.dims):
            if isinstance(size, int):
                if size % 2 == 0:
                    return d
            elif size.scale % 2 == 0:
                if size.offset % 2 == 0:
                    return d
            else:
                raise unsupported(self.anchor)
        if any(isinstance(size, BatchDim) for size in self.bits.dims):
            raise unsupported(self.anchor)
        sizes = [size for size in self.bits.dims if isinstance(size, int)]
        return sizes.index(max(sizes))


def _flat(leaf: Leaf) -> Leaf:
    """An array seen as one row, whose length does not matter."""
    return Leaf(leaf.pointer, Shape(leaf.shape.dtype, (2**31,)))


def _half(size: Dim) -> Dim:
    return -(-size // 2) if isinstance(size, int) else size // 2


__all__ = ["emit_rng_bit_generator"]
