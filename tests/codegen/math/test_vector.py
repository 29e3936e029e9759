"""VectorBuilder against NumPy, bit for bit: scalars and vectors, with and without FMA and F16C."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import pytest
from llvmlite import ir
from measure import (
    AARCH64,
    V2,
    V3,
    V4,
    Cpu,
    best_cpu,
    compile_elements,
    host_runs,
    module_of,
    undefined_symbols,
)
from samples import SPECIAL32, SPECIAL64, every_float32, padded, pairs

from tfaot.codegen.types import F32, F64, memory_element, register_element
from tfaot.codegen.vector import VectorBuilder
from tfaot.ir.dtypes import DType

CPUS = [cpu for cpu in dict.fromkeys((best_cpu(), V2)) if host_runs(cpu)]
WIDTHS = [None, 4, 16]
REAL = [d for d in DType if not d.is_complex]
INTEGERS = [d for d in REAL if d.is_integer and d.bits >= 8]
FLOATS = {"f32": (F32, np.float32, SPECIAL32), "f64": (F64, np.float64, SPECIAL64)}

pytestmark = [
    pytest.mark.skipif(not CPUS, reason="the machine runs no x86-64-v2 code"),
    # Signalling NaNs among the narrow codes raise the flag when they are widened.
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),
]


def run_everywhere(
    emit: Callable[..., ir.Value],
    inputs: list[ir.Type],
    output: ir.Type,
    result: type,
    args: tuple[np.ndarray, ...],
) -> np.ndarray:
    """The result, after checking that it is the same for every width and CPU."""
    runs = [
        compile_elements(emit, inputs, output, result, lanes=lanes, cpu=cpu)(*args)
        for lanes in WIDTHS
        for cpu in CPUS
    ]
    for other in runs[1:]:
        np.testing.assert_array_equal(other, runs[0])
    return runs[0]


def float_values(name: str) -> np.ndarray:
    _, dtype, specials = FLOATS[name]
    rng = np.random.default_rng(5)
    wide = rng.normal(size=600) * 10.0 ** rng.uniform(-12, 25, 600)
    halves = np.arange(-40, 40) / 2
    limits = [
        s * 2.0**k + d for k in (7, 8, 15, 16, 31, 32, 63, 64) for s in (1, -1) for d in (-1, 0, 1)
    ]
    return padded(np.concatenate([specials, wide, halves, limits]).astype(dtype))


def integer_pairs(dtype: DType) -> tuple[np.ndarray, np.ndarray]:
    info = np.iinfo(dtype.numpy)
    rng = np.random.default_rng(6)
    random = rng.integers(info.min, info.max, 20, dtype=dtype.numpy, endpoint=True)
    edges = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 3, 7]
    return pairs(
        np.concatenate([np.array(edges, dtype.numpy), random, -random[:3], random[:5] % 11])
    )


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integer_division_follows_hlo(dtype: DType) -> None:
    a, b = integer_pairs(dtype)
    element, signed = register_element(dtype), dtype.is_signed
    width = dtype.bits

    def wrap(value: int) -> int:
        value &= (1 << width) - 1
        return value - (1 << width) if signed and value >> (width - 1) else value

    def quotient(x: int, y: int) -> int:
        if y == 0:
            return wrap(-1)
        return wrap(abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1))

    expected = [quotient(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    rests = [
        int(x) if y == 0 else wrap(int(x) - q * int(y))
        for x, y, q in zip(a, b, expected, strict=True)
    ]
    kinds = [element, element]
    got = run_everywhere(
        lambda v, x, y: v.div(x, y, signed=signed), kinds, element, dtype.numpy, (a, b)
    )
    np.testing.assert_array_equal(got, np.array(expected, dtype.numpy))
    got = run_everywhere(
        lambda v, x, y: v.rem(x, y, signed=signed), kinds, element, dtype.numpy, (a, b)
    )
    np.testing.assert_array_equal(got, np.array(rests, dtype.numpy))


@pytest.mark.parametrize("divisor", [0, 1, -1, 7, -128])
def test_division_by_a_constant_follows_hlo(divisor: int) -> None:
    a = np.arange(-128, 128).astype(np.int8)
    i8 = ir.IntType(8)
    got = run_everywhere(lambda v, x: v.div(x, v.const(x, divisor)), [i8], i8, np.int8, (a,))
    general = run_everywhere(
        lambda v, x, y: v.div(x, y), [i8, i8], i8, np.int8, (a, np.full_like(a, divisor))
    )
    np.testing.assert_array_equal(got, general)
    got = run_everywhere(lambda v, x: v.rem(x, v.const(x, divisor)), [i8], i8, np.int8, (a,))
    expected = a if divisor == 0 else np.fmod(a.astype(int), divisor).astype(np.int8)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_shifts_past_the_width(dtype: DType) -> None:
    a, _ = integer_pairs(dtype)
    width = dtype.bits
    amounts = np.resize(np.array([0, 1, 3, width - 1, width, width + 1, -1]), a.size)
    b = amounts.astype(dtype.numpy)
    element = register_element(dtype)
    beyond = (amounts < 0) | (amounts >= width)
    safe = np.where(beyond, 0, amounts).astype(dtype.numpy)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    signed = np.dtype(f"i{dtype.itemsize}")
    cases = {
        "shift_left": np.where(beyond, 0, a << safe),
        "shift_right_logical": np.where(beyond, 0, a.view(unsigned) >> safe.view(unsigned))
        .astype(unsigned)
        .view(dtype.numpy),
        "shift_right_arithmetic": np.where(
            beyond, a.view(signed) >> (width - 1), a.view(signed) >> safe.view(signed)
        )
        .astype(signed)
        .view(dtype.numpy),
    }
    for name, expected in cases.items():
        got = run_everywhere(
            lambda v, x, y, name=name: getattr(v, name)(x, y),
            [element, element],
            element,
            dtype.numpy,
            (a, b),
        )
        np.testing.assert_array_equal(got, expected.astype(dtype.numpy), err_msg=name)


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_bit_counts_and_extrema(dtype: DType) -> None:
    a, b = integer_pairs(dtype)
    element, signed, width = register_element(dtype), dtype.is_signed, dtype.bits
    patterns = [int(x) & ((1 << width) - 1) for x in a]
    cases: dict[str, tuple[Callable[..., ir.Value], np.ndarray]] = {
        "popcount": (lambda v, x, y: v.popcount(x), np.array([p.bit_count() for p in patterns])),
        "clz": (
            lambda v, x, y: v.count_leading_zeros(x),
            np.array([width - p.bit_length() for p in patterns]),
        ),
        "max": (lambda v, x, y: v.max(x, y, signed=signed), np.maximum(a, b)),
        "min": (lambda v, x, y: v.min(x, y, signed=signed), np.minimum(a, b)),
    }
    for name, (emit, expected) in cases.items():
        got = run_everywhere(emit, [element, element], element, dtype.numpy, (a, b))
        np.testing.assert_array_equal(got, expected.astype(dtype.numpy), err_msg=name)


@pytest.mark.parametrize("name", FLOATS)
def test_extrema_propagate_nan(name: str) -> None:
    element, dtype, specials = FLOATS[name]
    a, b = pairs(specials)
    for method, expected in (("max", np.maximum(a, b)), ("min", np.minimum(a, b))):
        got = run_everywhere(
            lambda v, x, y, method=method: getattr(v, method)(x, y),
            [element, element],
            element,
            dtype,
            (a, b),
        )
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", FLOATS)
def test_extrema_with_a_constant_propagate_nan(name: str) -> None:
    element, dtype, _ = FLOATS[name]
    a = float_values(name)
    for emit in (lambda v, x: v.max(x, v.const(x, 0.0)), lambda v, x: v.max(v.const(x, 0.0), x)):
        np.testing.assert_array_equal(
            run_everywhere(emit, [element], element, dtype, (a,)), np.maximum(a, 0)
        )
    got = run_everywhere(
        lambda v, x: v.clamp(v.const(x, -1.0), x, v.const(x, 6.0)), [element], element, dtype, (a,)
    )
    np.testing.assert_array_equal(got, np.clip(a, -1, 6))


def away_from_zero(a: np.ndarray) -> np.ndarray:
    whole = np.trunc(a)
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(a - whole) >= 0.5, whole + np.copysign(1, a), whole)


ROUNDING = {
    "round_even": np.rint,
    "round_afz": away_from_zero,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "abs": np.abs,
    "neg": np.negative,
    "sign": lambda a: np.where(a == 0, a, np.sign(a)),
}


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("method", ROUNDING)
def test_rounding_and_signs(method: str, name: str) -> None:
    element, dtype, _ = FLOATS[name]
    a = float_values(name)
    got = run_everywhere(lambda v, x: getattr(v, method)(x), [element], element, dtype, (a,))
    expected = ROUNDING[method](a)
    np.testing.assert_array_equal(got, expected)
    number = ~np.isnan(a)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(expected[number]))


@pytest.mark.parametrize("target", [d for d in REAL if d.is_integer], ids=str)
@pytest.mark.parametrize("name", FLOATS)
def test_float_to_integer_saturates(name: str, target: DType) -> None:
    element, _, _ = FLOATS[name]
    a = float_values(name)
    source = DType.from_name(name)
    low, high = (-(2 ** (target.bits - 1)), 2 ** (target.bits - 1) - 1)
    if target.is_unsigned:
        low, high = 0, 2**target.bits - 1
    expected = [0 if np.isnan(x) else high if x >= high else low if x <= low else int(x) for x in a]
    storage = np.dtype(f"{'i' if target.is_signed else 'u'}{target.itemsize}")
    got = run_everywhere(
        lambda v, x: v.to_memory(v.convert(x, source, target), target),
        [element],
        memory_element(target),
        storage,
        (a,),
    )
    np.testing.assert_array_equal(got, np.array(expected, storage))


@pytest.mark.parametrize("source", INTEGERS, ids=str)
@pytest.mark.parametrize("name", FLOATS)
def test_integer_to_float_rounds_to_nearest(name: str, source: DType) -> None:
    element, dtype, _ = FLOATS[name]
    a, _ = integer_pairs(source)
    got = run_everywhere(
        lambda v, x: v.convert(x, source, DType.from_name(name)),
        [register_element(source)],
        element,
        dtype,
        (a,),
    )
    np.testing.assert_array_equal(got, a.astype(dtype))


@pytest.mark.parametrize("target", INTEGERS, ids=str)
@pytest.mark.parametrize("source", INTEGERS, ids=str)
def test_integers_wrap_and_extend(source: DType, target: DType) -> None:
    a, _ = integer_pairs(source)
    got = run_everywhere(
        lambda v, x: v.convert(x, source, target),
        [register_element(source)],
        register_element(target),
        target.numpy,
        (a,),
    )
    np.testing.assert_array_equal(got, a.astype(target.numpy))


NARROW = [DType.F16, DType.BF16, DType.F8E5M2, DType.F8E4M3FN]


def same_floats(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal values and signs of zeros; any NaN for a NaN."""
    a, b = got.astype(np.float64), expected.astype(np.float64)
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a[~np.isnan(b)]), np.signbit(b[~np.isnan(b)]))


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_every_narrow_float_widens_exactly(dtype: DType) -> None:
    codes = np.arange(2 ** (8 * dtype.itemsize)).astype(f"u{dtype.itemsize}")
    for cpu in CPUS:
        for lanes in WIDTHS:
            run = compile_elements(
                lambda v, x: v.from_memory(x, dtype),
                [memory_element(dtype)],
                F32,
                np.float32,
                lanes=lanes,
                cpu=cpu,
            )
            same_floats(run(codes), codes.view(dtype.numpy).astype(np.float32))


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_float32_rounds_once_to_a_narrow_float(dtype: DType) -> None:
    codes = np.arange(2 ** (8 * dtype.itemsize) // 2 - 1).astype(f"u{dtype.itemsize}")
    grid = codes.view(dtype.numpy).astype(np.float64)
    with np.errstate(invalid="ignore"):
        between = (grid[:-1] + grid[1:]) / 2
    finite = between[np.isfinite(between)]
    # Every tie, and its neighbours on both sides.
    ties = finite.astype(np.float32)
    around = [np.nextafter(ties, np.float32(s * np.inf)) for s in (1, -1)]
    x = padded(np.concatenate([ties, *around, -ties, every_float32(400_009)]))
    with np.errstate(all="ignore"):
        expected = x.astype(dtype.numpy)
    for cpu in CPUS:
        for lanes in WIDTHS:
            run = compile_elements(
                lambda v, a: v.to_memory(a, dtype),
                [F32],
                memory_element(dtype),
                np.dtype(f"u{dtype.itemsize}"),
                lanes=lanes,
                cpu=cpu,
            )
            same_floats(run(x).view(dtype.numpy), expected)


@pytest.mark.parametrize("dtype", [DType.F16, DType.BF16], ids=str)
def test_float64_rounds_once_to_a_narrow_float(dtype: DType) -> None:
    rng = np.random.default_rng(8)
    codes = rng.integers(0, 0x7BFF, 4000).astype(np.uint16)
    low = codes.view(dtype.numpy).astype(np.float64)
    high = (codes + 1).astype(np.uint16).view(dtype.numpy).astype(np.float64)
    tie = (low + high) / 2
    # Slightly off a tie, by less than a float32 can tell: rounding twice would go wrong.
    above, below = np.nextafter(tie, np.inf), np.nextafter(tie, 0)
    ok = np.isfinite(tie) & (low < high)
    run_x = padded(np.concatenate([above[ok], below[ok]]))
    expected = padded(np.concatenate([high[ok], low[ok]]))
    got = run_everywhere(
        lambda v, a: v.to_memory(v.convert(a, DType.F64, dtype), dtype),
        [F64],
        memory_element(dtype),
        np.dtype(np.uint16),
        (run_x,),
    )
    same_floats(got.view(dtype.numpy), expected)


def test_four_bit_integers_wrap() -> None:
    a = np.arange(-128, 128).astype(np.int8)
    for target, expected in ((DType.S4, ((a + 8) & 15) - 8), (DType.U4, a & 15)):
        got = run_everywhere(
            lambda v, x, target=target: v.convert(x, DType.S8, target),
            [ir.IntType(8)],
            ir.IntType(8),
            np.int8,
            (a,),
        )
        np.testing.assert_array_equal(got, expected.astype(np.int8))


@pytest.mark.parametrize("name", FLOATS)
def test_total_order(name: str) -> None:
    element, dtype, _ = FLOATS[name]
    nan = np.array([np.nan], dtype)[0]
    ordered = [-nan, -np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, nan]
    ordered_array = np.copysign(np.abs(np.array(ordered, dtype)), [-1, -1, -1, -1, 1, 1, 1, 1])
    a, b = pairs(ordered_array.astype(dtype))
    places = pairs(np.arange(8.0))
    got = run_everywhere(
        lambda v, x, y: v.to_memory(v.compare("LT", x, y, total=True), DType.PRED),
        [element, element],
        ir.IntType(8),
        np.uint8,
        (a, b),
    )
    np.testing.assert_array_equal(got, places[0] < places[1])


COMPARISONS = {
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "LE": np.less_equal,
    "GT": np.greater,
    "GE": np.greater_equal,
}


@pytest.mark.parametrize("direction", COMPARISONS)
def test_comparisons_with_nan(direction: str) -> None:
    a, b = pairs(SPECIAL32)
    got = run_everywhere(
        lambda v, x, y: v.to_memory(v.compare(direction, x, y), DType.PRED),
        [F32, F32],
        ir.IntType(8),
        np.uint8,
        (a, b),
    )
    np.testing.assert_array_equal(got, COMPARISONS[direction](a, b))


@pytest.mark.parametrize(
    "value", [0.1, -0.0, 1e-45, 3.4028234663852886e38, np.inf, -np.inf, np.nan]
)
def test_constants_are_exact(value: float) -> None:
    x = np.zeros(16, np.float32)
    got = run_everywhere(lambda v, a: v.const(a, value), [F32], F32, np.float32, (x,))
    expected = np.full(16, value, np.float32)
    assert (got.view(np.uint32) == expected.view(np.uint32)).all()


def test_fma_rounds_once_exactly_where_the_target_has_it() -> None:
    x = np.full(16, 1 + 2.0**-12, np.float32)
    y = np.full(16, -(1 + 2.0**-11), np.float32)
    for cpu in CPUS:
        run = compile_elements(
            lambda v, a, c: v.fma(a, a, c), [F32, F32], F32, np.float32, lanes=16, cpu=cpu
        )
        assert run(x, y)[0] == (2.0**-24 if cpu.has_fma else 0.0)


def every_operation(b: VectorBuilder, x: ir.Value) -> ir.Value:
    """All conversions there are, and the operations that targets lack, summed up."""
    total = b.const(x, 0.0)
    for source in REAL:
        for target in REAL:
            value = b.convert(b.convert(x, DType.F32, source), source, target)
            stored = b.from_memory(b.to_memory(value, target), target)
            total = b.add(total, b.convert(stored, target, DType.F32))
    for method in ROUNDING:
        total = b.add(total, getattr(b, method)(x))
    for dtype in INTEGERS:
        value = b.convert(x, DType.F32, dtype)
        signed = dtype.is_signed
        value = b.div(value, b.popcount(value), signed=signed)
        value = b.rem(value, b.count_leading_zeros(value), signed=signed)
        total = b.add(total, b.convert(value, dtype, DType.F32))
    return b.fma(total, x, b.sqrt(total))


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm (binutils)")
@pytest.mark.parametrize("lanes", [None, 4, 16])
@pytest.mark.parametrize("cpu", [V2, V3, V4, AARCH64], ids=lambda c: c.name)
def test_objects_have_no_undefined_symbols(cpu: Cpu, lanes: int | None) -> None:
    module = module_of(every_operation, [F32], F32, lanes, cpu)
    assert undefined_symbols(module, cpu) == []
