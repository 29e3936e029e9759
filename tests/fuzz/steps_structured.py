"""Steps of random modules: reductions, windows, dots, indexing, sorting, control flow, cases."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from module_graph import WHOLE, B, Graph, step

from tfaot.ir.attributes import CustomCall, Gather, Scatter, WindowDimension
from tfaot.ir.dtypes import DType
from tfaot.ir.module import Computation, Instruction, post_order
from tfaot.ir.shapes import BatchDim, Dim, Shape, TupleShape
from tfaot.testing.build import (
    ModuleBuilder,
    binary_computation,
    canonical_convolution,
    comparator,
)
from tfaot.testing.cases import OpCase, op_cases
from tfaot.testing.cases.case import ANY, FINITE, FLOATS, INTEGERS, Limits
from tfaot.testing.cases.gather import replace_combiner
from tfaot.testing.cases.reduce import argmax_reducer

Made = Instruction | Sequence[Instruction] | None
_REAL = (*FLOATS, *INTEGERS)
_SUMMED = (*_REAL, DType.F32, DType.F32, DType.C64, DType.C128)


def _reducer_opcode(g: Graph, dtype: DType) -> str:
    if dtype is DType.PRED:
        return g.choice(("and", "or", "add", "multiply", "maximum", "minimum"))
    if dtype.is_complex:
        return "add"
    if dtype.is_integer:
        return g.choice(("add", "maximum", "minimum", "multiply", "and", "or", "xor"))
    return g.choice(("add", "add", "maximum", "minimum"))


@step(7)
def reduce(g: Graph) -> Made:
    x = g.value((*_SUMMED, DType.PRED), rank=1)
    axes = [] if x is None else [d for d in g.free_dims(x) if g.flag()]
    if x is None or not axes:
        return None
    dtype = x.array.dtype
    opcode = _reducer_opcode(g, dtype)
    limits = WHOLE if id(x) in g.whole else FINITE
    initial = g.constant(dtype, limits=limits)
    if opcode == "add" and g.flag():
        initial = g.builder.constant(0, dtype)
        g.whole.add(id(initial))
    made = g.builder.reduce([x], [initial], axes, binary_computation(opcode, dtype))
    return g.exact(made, x, initial) if opcode == "add" else made


@step(2)
def argmax(g: Graph) -> Made:
    x = g.value((DType.F32, DType.F64, DType.S32, DType.U8), rank=1)
    if x is None or not g.free_dims(x):
        return None
    axis, dtype = g.choice(g.free_dims(x)), x.array.dtype
    index = g.builder.iota(DType.S32, x.array.dims, axis)
    lowest = float("-inf") if dtype.is_float else 0
    initial = [g.builder.constant(lowest, dtype), g.builder.constant(0, DType.S32)]
    pair = g.builder.reduce([x, index], initial, (axis,), argmax_reducer(dtype))
    return g.builder.get(pair, 0), g.builder.get(pair, 1)


@step(4)
def reduce_window(g: Graph) -> Made:
    x = g.value((*_REAL, DType.F32, DType.F32), rank=1, most=4)
    if x is None:
        return None
    window = []
    for size in x.array.dims:
        if not isinstance(size, int) or size == 0 or g.flag():
            window.append(WindowDimension(1))
            continue
        low, high = g.integer(0, 2), g.integer(0, 2)
        width = g.integer(1, min(size, 5))
        dilation = g.integer(1, 2) if width > 1 and (width - 1) * 2 + 1 <= size else 1
        base = g.choice((1, 1, 1, 2))
        window.append(WindowDimension(width, g.integer(1, 3), low, high, dilation, base))
    dtype = x.array.dtype
    opcode = g.choice(("add", "maximum", "minimum"))
    initial = g.builder.constant(0 if opcode == "add" else g.integer(0, 3), dtype)
    g.whole.add(id(initial))
    made = g.builder.reduce_window([x], [initial], window, binary_computation(opcode, dtype))
    return g.exact(made, x, initial) if opcode == "add" else made


@step(1)
def select_and_scatter(g: Graph) -> Made:
    dtype = g.choice((DType.F32, DType.F64, DType.S32))
    width, stride = g.integer(1, 4), g.integer(1, 3)
    size = g.integer(width, 17)
    x = g.parameter(dtype, (B, size), FINITE)
    window = [WindowDimension(1), WindowDimension(width, stride)]
    initial, add = g.builder.constant(0, dtype), binary_computation("add", dtype)
    source = g.parameter(dtype, (B, (size - width) // stride + 1), FINITE)
    select = comparator("GE", dtype)
    return (
        None if g.static else g.builder.select_and_scatter(x, source, initial, window, select, add)
    )


@step(7)
def dense(g: Graph) -> Made:
    """A dot with constant or given weights, contracted along any static dimension."""
    x = g.value((*_SUMMED, DType.PRED), rank=1, most=4)
    sizes = [] if x is None else [d for d, n in enumerate(x.array.dims) if isinstance(n, int)]
    if x is None or not sizes:
        return None
    d, dtype = g.choice(sizes), x.array.dtype
    limits = WHOLE if id(x) in g.whole and dtype.is_float else FINITE
    dims = (x.array.dims[d], g.choice((1, 3, 7, 15, 16, 17, 33)))
    weights = g.constant(dtype, *dims, limits=limits)  # type: ignore[arg-type]
    if g.integer(0, 3) == 0:
        weights = g.parameter(dtype, dims, limits)
    made = g.exact(g.builder.dot(x, weights, (d,), (0,)), x, weights)
    if g.flag() and dtype.is_float:
        bias = g.builder.broadcast(
            g.constant(dtype, dims[1], limits=limits),  # type: ignore[arg-type]
            made.array.dims,
            (made.array.rank - 1,),
        )
        made = g.exact(g.builder.binary("add", made, bias), x, weights, bias)
        if g.flag():
            made = g.builder.binary("maximum", made, g.builder.splat(0, made))
    return made


@step(3)
def batched_dot(g: Graph) -> Made:
    x = g.value(_SUMMED, rank=3, most=4)
    if x is None or not all(isinstance(n, int) for n in x.array.dims[-2:]):
        return None
    rank, y = x.array.rank, g.like(x)
    batch = tuple(range(rank - 2))
    return g.exact(g.builder.dot(x, y, (rank - 1,), (rank - 1,), batch, batch), x, y)


@step(4)
def convolution(g: Graph) -> Made:
    x = g.value((DType.F32, DType.F32, DType.F64, DType.F16, DType.BF16, DType.S32), rank=3, most=4)
    if x is None or not all(isinstance(n, int) and n for n in x.array.dims[1:]):
        return None
    spatial, inputs, dtype = x.array.dims[1:-1], x.array.dims[-1], x.array.dtype
    window = []
    for size in spatial:
        width = g.integer(1, min(int(size), 4))  # type: ignore[arg-type]
        window.append(
            WindowDimension(
                width,
                g.integer(1, 2),
                g.integer(0, width - 1),
                g.integer(0, width - 1),
                base_dilation=g.choice((1, 1, 1, 2)),
                reversal=g.integer(0, 5) == 0,
            )
        )
    groups = g.choice([n for n in (1, 1, inputs) if inputs % n == 0])  # type: ignore[operator]
    outputs = groups * g.choice((1, 2)) if groups > 1 else g.choice((1, 4, 8, 17))
    limits = WHOLE if id(x) in g.whole else FINITE
    dims = (*(w.size for w in window), inputs // groups, outputs)  # type: ignore[operator]
    if groups * outputs > 200:
        return None
    kernel = g.constant(dtype, *dims, limits=limits)  # type: ignore[arg-type]
    if g.integer(0, 4) == 0:
        kernel = g.parameter(dtype, dims, limits)
    made = g.builder.convolution(x, kernel, canonical_convolution(window, groups))
    return g.exact(made, x, kernel)


@step(3)
def gather_rows(g: Graph) -> Made:
    """Rows of a table, by indices that may lie outside of it."""
    indices = g.value((DType.S32, DType.S64, DType.U8, DType.U32, DType.S8), most=2)
    if indices is None:
        return None
    dtype = g.choice((DType.F32, DType.F32, DType.S8, DType.BF16, DType.F64, DType.PRED))
    table = g.constant(dtype, g.integer(1, 6), g.choice((1, 3, 16, 17)))
    return g.builder.take_rows(table, indices)


@step(2)
def gather_windows(g: Graph) -> Made:
    dtype, (height, width) = g.choice((DType.F32, DType.S32, DType.C64)), (g.size(), g.size())
    if not height or not width:
        return None
    sizes = g.integer(1, height), g.integer(1, width)
    table = g.parameter(dtype, (height, width), ANY)
    count: Dim = 3 if g.static else B
    where = g.parameter(DType.S32, (count, 2), Limits(-3, 20))
    order = g.choice(((0, 1), (1, 0)))
    if g.flag():
        return g.builder.gather(table, where, Gather((1, 2), (), order, 1, sizes))
    return g.builder.gather(table, where, Gather((1,), (0,), order, 1, (1, sizes[1])))


@step(3)
def scatter_rows(g: Graph) -> Made:
    dtype = g.choice((DType.F32, DType.F32, DType.F64, DType.S32, DType.U8, DType.F16))
    kind = g.choice(("add", "maximum", "minimum", "replace", "multiply"))
    if kind == "multiply" and dtype.is_float:
        kind = "replace"
    combiner = replace_combiner(dtype) if kind == "replace" else binary_computation(kind, dtype)
    height, width, count = g.integer(1, 9), g.choice((1, 5, 16, 17)), g.choice((1, 4, 9))
    limits = WHOLE if dtype.is_float and g.flag() else FINITE
    if not g.static and g.flag():
        # Of one table for each row, by batching dimensions.
        attrs = Scatter((2,), (1,), (1,), 2, combiner, (0,), (0,))
        table = g.parameter(dtype, (B, height, width), limits)
        where = g.parameter(DType.S32, (B, count, 1), Limits(-3, 12))
        updates = g.parameter(dtype, (B, count, width), limits)
    else:
        attrs = Scatter((1,), (0,), (0,), 1, combiner)
        table = g.parameter(dtype, (height, width), limits)
        where = g.parameter(DType.S32, (count, 1), Limits(-3, 12))
        updates = g.parameter(dtype, (count, width), limits)
    return g.exact(g.builder.scatter([table], where, [updates], attrs), table, updates)


@step(3)
def dynamic_slice(g: Graph) -> Made:
    x = g.value(rank=1, most=4)
    if x is None:
        return None
    free = set(g.free_dims(x))
    start_type = g.choice((DType.S32, DType.S32, DType.S64, DType.U8))
    limits = Limits(0 if start_type.is_unsigned else -4, 40)
    starts = [g.parameter(start_type, (), limits) for _ in x.array.dims]
    sizes = [
        g.integer(1, n) if d in free and isinstance(n, int) and n else n
        for d, n in enumerate(x.array.dims)
    ]
    if g.flag():
        return g.keep_whole(g.builder.dynamic_slice(x, starts, sizes), x)
    limits = WHOLE if id(x) in g.whole else ANY
    update = g.parameter(x.array.dtype, sizes, limits)
    return g.keep_whole(g.builder.dynamic_update_slice(x, update, starts), x, update)


@step(3)
def sort(g: Graph) -> Made:
    x = g.value(_REAL, rank=1, most=3)
    if x is None or not g.free_dims(x):
        return None
    axis, dtype = g.choice(g.free_dims(x)), x.array.dtype
    order = "TOTALORDER" if dtype.is_float else None
    x = g.one_zero(g.one_sign_of_nan(x))
    direction = g.choice(("LT", "GT"))
    if g.flag():
        return g.builder.sort([x], axis, comparator(direction, dtype, order=order))
    index = g.builder.iota(DType.S32, x.array.dims, axis)
    compare = comparator(direction, dtype, DType.S32, order=order)
    pair = g.builder.sort([x, index], axis, compare)
    return g.builder.get(pair, 0), g.builder.get(pair, 1)


@step(1)
def top_k(g: Graph) -> Made:
    x = g.value(_REAL, rank=1, most=3)
    if x is None or not isinstance(x.array.dims[-1], int) or x.array.dims[-1] == 0:
        return None
    x = g.one_zero(g.one_sign_of_nan(x))
    dims = (*x.array.dims[:-1], g.integer(1, x.array.dims[-1]))  # type: ignore[arg-type]
    shape = TupleShape((Shape(x.array.dtype, dims), Shape(DType.S32, dims)))
    pair = g.builder.custom_call("TopK", shape, [x])
    return g.builder.get(pair, 0), g.builder.get(pair, 1)


def _function(g: Graph, shape: Shape, name: str) -> Computation:
    """A computation of one parameter: some exact ops on values of its type."""
    b = ModuleBuilder(name)
    parameter = b.shaped_parameter(shape)
    x = parameter
    for _ in range(g.integer(1, 3)):
        if shape.dtype is DType.PRED:
            x = b.unary("not", x)
        elif shape.dtype.is_complex:
            x = b.binary(g.choice(("add", "subtract")), b.unary("negate", x), parameter)
        else:
            y = b.splat(g.integer(1, 3), x) if g.flag() else parameter
            x = b.binary(g.choice(("add", "subtract", "maximum", "minimum")), x, y)
    return b.computation(x)


@step(2)
def call(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    if g.integer(0, 2) == 0:
        return g.builder.map(_function(g, Shape(x.array.dtype), "mapped"), x)
    if g.flag():
        function = _function(g, x.array, "fused")
        return g.builder.instruction("fusion", x.shape, (x,), g.builder.call(function, x).attrs)
    return g.builder.call(_function(g, x.array, "called"), x)


@step(2)
def conditional(g: Graph) -> Made:
    x = g.value()
    if x is None:
        return None
    count = g.integer(2, 3)
    branches = [_function(g, x.array, f"branch{n}") for n in range(count)]
    kind = DType.PRED if count == 2 and g.flag() else DType.S32
    chosen = g.parameter(kind, (), Limits(-1, 4, special=False))
    return g.builder.conditional(chosen, branches, [x] * count)


@step(2)
def while_loop(g: Graph) -> Made:
    """As many rounds as an input says."""
    x = g.value()
    if x is None:
        return None
    carried = TupleShape((Shape(DType.S32), x.array))
    test = ModuleBuilder("positive")
    state = test.shaped_parameter(carried)
    condition = test.computation(
        test.compare("GT", test.get(state, 0), test.constant(0, DType.S32))
    )
    body = ModuleBuilder("round")
    state = body.shaped_parameter(carried)
    fewer = body.binary("subtract", body.get(state, 0), body.constant(1, DType.S32))
    inside = body.call(_function(g, x.array, "step"), body.get(state, 1))
    function = body.computation(body.tuple(fewer, inside))
    initial = g.builder.tuple(g.parameter(DType.S32, (), Limits(0, 5, special=False)), x)
    return g.builder.get(g.builder.while_loop(condition, function, initial), 1)


@functools.cache
def _cases() -> dict[str, list[OpCase]]:
    """The op cases by opcode, those that are no error."""
    found: dict[str, list[OpCase]] = {}
    for case in op_cases():
        if case.error is None and case.name != "convolution/convolution/c64/1d":
            found.setdefault(case.opcode, []).append(case)
    return found


_RARE = (
    "fft",
    "cholesky",
    "triangular-solve",
    "rng-bit-generator",
    "custom-call",
    "convolution",
    "reduce-window",
    "select-and-scatter",
    "gather",
    "scatter",
    "sort",
    "complex",
    "map",
    "while",
    "conditional",
)


@step(9)
def op_case(g: Graph) -> Made:
    """An op as its own test has it, on inputs of its own or on what fits."""
    case = g.choice(_cases()[g.choice(_RARE if g.flag() else list(_cases()))])
    module = case.module()
    if (module.batch and g.static) or (g.rows_apart and not _leads(module.entry)):
        return None
    if case.dtype.is_complex and case.opcode == "convolution":
        return None
    limits = case.limits * len(module.entry.parameters) if len(case.limits) == 1 else case.limits
    new: dict[int, Instruction] = {}
    for parameter, limit in zip(module.entry.parameters, limits, strict=True):
        fitting = [v for v in g.values if v.shape == parameter.shape] if limit == ANY else []
        shape = parameter.array
        new[id(parameter)] = (
            g.choice(fitting)
            if fitting and g.flag()
            else g.parameter(shape.dtype, shape.dims, limit)
        )
    for node in post_order(module.entry.root):
        if id(node) not in new and not (node is module.entry.root and node.opcode == "tuple"):
            operands = tuple(new[id(o)] for o in node.operands)
            new[id(node)] = g.builder.instruction(node.opcode, node.shape, operands, node.attrs)
    return [new[id(o)] for o in module.outputs if not isinstance(o.attrs, CustomCall)]


def _leads(computation: Computation) -> bool:
    shapes = [p.array for p in computation.parameters]
    return all(not any(isinstance(d, BatchDim) for d in s.dims[1:]) for s in shapes)
