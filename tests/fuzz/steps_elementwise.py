"""Steps of random modules: arithmetic, comparisons, conversions, data movement."""

from __future__ import annotations

from collections.abc import Sequence

from module_graph import B, Graph, step

from tfaot.ir.dtypes import DType
from tfaot.ir.module import Instruction
from tfaot.ir.shapes import BatchDim, Dim
from tfaot.testing.cases.case import ALL_TYPES, FLOATS, INTEGERS, Limits
from tfaot.testing.cases.elementwise import BINARY, UNARY

Made = Instruction | Sequence[Instruction] | None
_KEEPS_WHOLE = frozenset({"negate", "abs", "sign", "maximum", "minimum"})
_SMALL = (DType.S4, DType.U4, DType.F8E4M3FN, DType.F8E5M2)


@step(14)
def unary(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    opcode = g.choice([op for op, types in UNARY.items() if x.array.dtype in types] or ["copy"])
    if opcode in ("rsqrt", "log", "cbrt") or x.array.dtype.is_complex:
        x = g.one_zero(x)
    made = g.builder.unary(opcode, x)
    return g.keep_whole(made, x) if opcode in _KEEPS_WHOLE | {"copy"} else made


@step(16)
def binary(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    dtype = x.array.dtype
    opcode = g.choice([op for op, types in BINARY.items() if dtype in types])
    y = g.like(x)
    if opcode == "power" and dtype.is_integer:
        # XLA:CPU reads six bits of the exponent.
        limits = Limits(0 if dtype.is_unsigned else -3, 63)
        y = g.parameter(dtype, x.array.dims, limits)
    if opcode in ("divide", "atan2", "power", "complex"):
        x, y = g.one_zero(x), g.one_zero(y)
    if g.flag() and opcode != "power":
        x, y = y, x
    made = g.builder.binary(opcode, x, y)
    if opcode in ("add", "subtract", "multiply"):
        return g.exact(made, x, y)
    return g.keep_whole(made, x, y) if opcode in _KEEPS_WHOLE else made


@step(4)
def dense_arithmetic(g: Graph) -> Made:
    """Several floating-point ops in a row, as activations and normalisations are."""
    x = g.value((DType.F32, DType.F64))
    for _ in range(g.integer(2, 4)):
        if x is None:
            return None
        opcode = g.choice(("add", "subtract", "multiply", "maximum", "minimum", "divide"))
        y = g.one_zero(g.like(x)) if opcode == "divide" else g.like(x)
        x = g.builder.binary(opcode, x, y)
    return x


@step(5)
def compare(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    y, dtype = g.like(x), x.array.dtype
    order = None
    directions = ("EQ", "NE") if dtype.is_complex else ("EQ", "NE", "GE", "GT", "LE", "LT")
    if dtype.is_float and g.integer(0, 3) == 0:
        order = "TOTALORDER"
        x, y = (g.one_zero(g.one_sign_of_nan(v)) for v in (x, y))
    return g.builder.compare(g.choice(directions), x, y, order)


@step(6)
def select(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    y = g.like(x)
    chosen = g.builder.compare(g.choice(("EQ", "NE")), x, y)
    masks = [
        v for v in g.values if v.array.dtype is DType.PRED and v.array.dims in (x.array.dims, ())
    ]
    if masks and g.flag():
        chosen = g.choice(masks)
    return g.keep_whole(g.builder.select(chosen, x, y), x, y)


@step(3)
def clamp(g: Graph) -> Made:
    x = g.value((*FLOATS, *INTEGERS))
    if x is None:
        return None
    dtype, scalar = x.array.dtype, g.flag()
    low, high = (
        g.constant(dtype, limits=Limits(a, c, special=False))
        for a, c in ((0 if dtype.is_unsigned else -9, 1), (1, 100))
    )
    if scalar:
        return g.builder.clamp(low, x, high)
    dims = x.array.dims
    return g.builder.clamp(g.builder.broadcast(low, dims), x, g.builder.broadcast(high, dims))


@step(6)
def convert(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    targets = (DType.C64, DType.C128) if x.array.dtype.is_complex else ALL_TYPES
    if g.integer(0, 4) == 0 and not x.array.dtype.is_complex:
        x = g.builder.convert(x, g.choice(_SMALL))
    return g.keep_whole(g.builder.convert(x, g.choice(targets)), x)


@step(3)
def bitcast_convert(g: Graph) -> Made:
    x = g.value((*FLOATS, *INTEGERS))
    if x is None:
        return None
    source = x.array.dtype
    targets = [t for t in (*FLOATS, *INTEGERS) if t.itemsize <= source.itemsize]
    last = x.array.dims[-1] if x.array.rank else None
    targets += [t for t in (*FLOATS, *INTEGERS) if last == t.itemsize // source.itemsize > 1]
    x = g.one_zero(g.one_sign_of_nan(x))
    return g.builder.bitcast_convert(x, g.choice(targets))


@step(2)
def reduce_precision(g: Graph) -> Made:
    x = g.value(FLOATS)
    if x is None:
        return None
    exponent, mantissa = g.choice(((8, 7), (5, 10), (5, 2), (4, 3), (8, 23), (2, 0), (3, 5)))
    return g.builder.reduce_precision(x, exponent, mantissa)


@step(3)
def iota(g: Graph) -> Made:
    x = g.value((*FLOATS, *INTEGERS, DType.C64), rank=1)
    if x is None or not g.free_dims(x):
        return None
    counted = g.builder.iota(x.array.dtype, x.array.dims, g.choice(g.free_dims(x)))
    return g.builder.binary(g.choice(("add", "multiply", "subtract")), x, counted)


@step(2)
def dimension_size(g: Graph) -> Made:
    x = g.value(rank=1)
    if x is None:
        return None
    size = g.builder.get_dimension_size(x, g.integer(0, x.array.rank - 1))
    if g.rows_apart and not x.array.is_static:
        return g.builder.get_dimension_size(x, x.array.rank - 1) if x.array.rank > 1 else None
    return g.builder.binary("multiply", size, g.builder.constant(3, DType.S32))


@step(5)
def broadcast(g: Graph) -> Made:
    x = g.value(most=3)
    if x is None:
        return None
    size: Dim = g.size()
    if x.array.is_static and not g.static and g.flag():
        size = B
    first = 1 if g.rows_apart and not x.array.is_static else 0
    at = 0 if g.rows_apart and not isinstance(size, int) else g.integer(first, x.array.rank)
    dims = (*x.array.dims[:at], size, *x.array.dims[at:])
    mapping = [d for d in range(len(dims)) if d != at]
    return g.keep_whole(g.builder.broadcast(x, dims, mapping), x)


@step(4)
def reshape(g: Graph) -> Made:
    """Two dimensions merged, or one split; `bitcast` is the same."""
    x = g.value(rank=1, most=4)
    if x is None:
        return None
    dims = x.array.dims
    d = g.integer(0, len(dims) - 1)
    if g.flag() and d + 1 < len(dims):
        a, c = dims[d], dims[d + 1]
        merged: Dim = a * c if isinstance(a, int) else c * a  # type: ignore[operator]
        if isinstance(merged, int) and not (isinstance(a, int) and isinstance(c, int)):
            return None
        new = (*dims[:d], merged, *dims[d + 2 :])
    else:
        size = dims[d]
        whole = size if isinstance(size, int) else size.scale
        factors = [f for f in (1, 2, 3, 4, 5, 8, 16) if whole and whole % f == 0]
        if not factors or (isinstance(size, BatchDim) and size.offset):
            return None
        factor = g.choice(factors)
        new = (*dims[:d], size // factor, factor, *dims[d + 1 :])
    if g.integer(0, 4) == 0:
        return g.builder.instruction("bitcast", x.array.with_dims(new), (x,))
    return g.keep_whole(g.builder.reshape(x, new), x)


@step(4)
def transpose(g: Graph) -> Made:
    x = g.value(rank=2)
    if x is None:
        return None
    order = list(range(x.array.rank))
    free = g.free_dims(x)
    for place, d in zip(free, g.generator.permutation(free).tolist(), strict=True):
        order[place] = d
    return g.keep_whole(g.builder.transpose(x, order), x)


@step(4)
def slice_(g: Graph) -> Made:
    x = g.value(rank=1)
    if x is None:
        return None
    starts: list[Dim] = [0] * x.array.rank
    limits = list(x.array.dims)
    strides = [1] * x.array.rank
    for d, size in enumerate(x.array.dims):
        if isinstance(size, int) and g.flag():
            start = g.integer(0, size)
            starts[d], limits[d] = start, g.integer(start, size)
            strides[d] = g.integer(1, 3)
    return g.keep_whole(g.builder.slice(x, starts, limits, strides), x)


@step(3)
def reverse(g: Graph) -> Made:
    x = g.value(rank=1)
    if x is None:
        return None
    return g.keep_whole(g.builder.reverse(x, [d for d in g.free_dims(x) if g.flag()]), x)


@step(4)
def concatenate(g: Graph) -> Made:
    x = g.value(rank=1)
    if x is None or not g.free_dims(x):
        return None
    d = g.choice(g.free_dims(x))

    def joins(v: Instruction) -> bool:
        a, c = v.array, x.array
        same = a.dtype is c.dtype and a.rank == c.rank
        return same and a.dims[:d] == c.dims[:d] and a.dims[d + 1 :] == c.dims[d + 1 :]

    others = [v for v in g.values if joins(v)]
    parts = [x, *(g.choice(others) for _ in range(g.integer(0, 2)))]
    return g.keep_whole(g.builder.concatenate(parts, d), *parts)


@step(4)
def pad(g: Graph) -> Made:
    x = g.value(rank=1)
    if x is None:
        return None
    low, high, interior = ([0] * x.array.rank for _ in range(3))
    for d, size in enumerate(x.array.dims):
        if isinstance(size, int) and g.flag():
            interior[d] = g.integer(0, 2)
            wide = size + max(size - 1, 0) * interior[d]
            low[d] = g.integer(-min(wide, 3), 2)
            high[d] = g.integer(-min(wide + low[d], 3), 3)
        elif not g.rows_apart and g.flag():
            low[d], high[d] = g.integer(0, 2), g.integer(0, 2)
    return g.builder.pad(x, g.constant(x.array.dtype), low, high, interior)


@step(1)
def barrier(g: Graph) -> Made:
    x = g.value()
    return None if x is None else g.builder.instruction("opt-barrier", x.shape, (x,))


@step(1)
def through_tuple(g: Graph) -> Made:
    x, y = g.value(), g.value()
    if x is None or y is None:
        return None
    pair = g.builder.tuple(x, y)
    return g.builder.get(pair, 1), g.builder.get(pair, 0)
