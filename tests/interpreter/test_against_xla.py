"""Special values against XLA itself, through TensorFlow, all in one process."""

import numpy as np
import pytest

from tfaot.interpreter import evaluate
from tfaot.ir.attributes import Scatter
from tfaot.ir.dtypes import DType
from tfaot.ir.shapes import Shape, TupleShape
from tfaot.testing.build import ModuleBuilder, binary_computation
from tfaot.testing.cases import op_cases
from tfaot.testing.cases.case import special_values
from tfaot.testing.cases.gather import replace_combiner
from tfaot.testing.cases.random import STATE_WORDS, build_bits
from tfaot.testing.ulp import assert_within_ulp, ulp_distance

tf = pytest.importorskip("tensorflow", reason="needs TensorFlow")
gen_xla_ops = pytest.importorskip("tensorflow.compiler.tf2xla.ops.gen_xla_ops")
pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

# XLA:CPU's own error in ULP, where its result is not the correctly rounded one.
OPS = {
    "add": (tf.raw_ops.AddV2, 0.5),
    "subtract": (tf.raw_ops.Sub, 0.5),
    "multiply": (tf.raw_ops.Mul, 0.5),
    "divide": (tf.raw_ops.RealDiv, 0.5),
    "maximum": (tf.raw_ops.Maximum, 0),
    "minimum": (tf.raw_ops.Minimum, 0),
    "power": (tf.raw_ops.Pow, 4),
    "atan2": (tf.raw_ops.Atan2, 4),
    "remainder": (tf.raw_ops.TruncateMod, 0),
    "and": (tf.raw_ops.BitwiseAnd, 0),
    "xor": (tf.raw_ops.BitwiseXor, 0),
    "shift-left": (tf.raw_ops.LeftShift, 0),
    "abs": (tf.raw_ops.Abs, 0),
    "negate": (tf.raw_ops.Neg, 0),
    "sign": (tf.raw_ops.Sign, 0),
    "floor": (tf.raw_ops.Floor, 0),
    "ceil": (tf.raw_ops.Ceil, 0),
    "round-nearest-even": (tf.raw_ops.Rint, 0),
    "popcnt": (tf.raw_ops.PopulationCount, 0),
    "is-finite": (tf.raw_ops.IsFinite, 0),
    "sqrt": (tf.raw_ops.Sqrt, 0.5),
    "rsqrt": (tf.raw_ops.Rsqrt, 2),
    "exponential": (tf.raw_ops.Exp, 4),
    "exponential-minus-one": (tf.raw_ops.Expm1, 4),
    "log": (tf.raw_ops.Log, 4),
    "log-plus-one": (tf.raw_ops.Log1p, 4),
    "logistic": (tf.raw_ops.Sigmoid, 8),
    "tanh": (tf.raw_ops.Tanh, 8),
    "sine": (tf.raw_ops.Sin, 4),
    "cosine": (tf.raw_ops.Cos, 4),
    "tan": (tf.raw_ops.Tan, 8),
    "erf": (tf.raw_ops.Erf, 8),
}
CASES = [
    case
    for case in op_cases(["elementwise"])
    if case.opcode in OPS
    and case.name.endswith("/64")
    and case.dtype in (DType.F32, DType.F64, DType.S32, DType.U8, DType.S64)
]
_BINARY_ARGUMENTS = {"atan2": ("y", "x")}


def run_xla(opcode, inputs):
    op = OPS[opcode][0]
    if opcode == "divide" and inputs[0].dtype.kind in "iu":
        op = tf.raw_ops.TruncateDiv
    names = ("x",) if len(inputs) == 1 else _BINARY_ARGUMENTS.get(opcode, ("x", "y"))
    compiled = tf.function(lambda *a: op(**dict(zip(names, a, strict=True))), jit_compile=True)
    return compiled(*map(tf.constant, inputs)).numpy()


def without_denormals(x):
    """XLA:CPU flushes denormals to zero in TensorFlow's threads; the interpreter does not."""
    if x.dtype.kind != "f":
        return x
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(x.dtype.type(0), x), x)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_elementwise(case):
    inputs = [without_denormals(x) for x in case.inputs(7)]
    actual = without_denormals(evaluate(case.module(), inputs)[0])
    try:
        expected = run_xla(case.opcode, inputs)
    except (tf.errors.InvalidArgumentError, TypeError) as error:
        pytest.skip(f"TensorFlow has no such kernel: {str(error)[:80]}")
    expected = without_denormals(np.asarray(expected)).astype(actual.dtype)
    distance = ulp_distance(expected, actual)
    if case.opcode in ("maximum", "minimum") and inputs[1].dtype.kind == "f":
        # XLA:CPU's fast comparison loses a NaN on the right; the specification propagates it.
        distance[np.isnan(inputs[1])] = 0
    limit = OPS[case.opcode][1]
    wrong = np.flatnonzero(distance > limit)
    assert wrong.size == 0, [
        (*(x.flat[i] for x in inputs), actual.flat[i], expected.flat[i], distance.flat[i])
        for i in wrong[:8]
    ]


@pytest.mark.parametrize("source", [DType.F32, DType.F64, DType.S32, DType.U8, DType.PRED], ids=str)
@pytest.mark.parametrize(
    "target",
    [DType.F32, DType.F16, DType.BF16, DType.S8, DType.U8, DType.S32, DType.U32, DType.S64],
)
def test_convert(source, target):
    case = next(
        c
        for c in op_cases(["conversion"])
        if c.name in {f"conversion/convert/{source}/{target}-{n}" for n in ("17", "64")}
    )
    values = np.concatenate([without_denormals(case.inputs(seed)[0]) for seed in range(8)])
    b = ModuleBuilder("convert")
    root = b.convert(b.parameter(source, values.shape), target)
    actual = evaluate(b.module(root), [values])[0]
    kind = tf.as_dtype(target.numpy)
    cast = tf.function(lambda x: tf.raw_ops.Cast(x=x, DstT=kind), jit_compile=True)
    expected = cast(tf.constant(values)).numpy()
    tiny = 2.0**-14 if target is DType.F16 else 2.0**-126
    wide = actual.astype(np.float64)
    kept = ~((wide != 0) & (np.abs(wide) < tiny)) if target.is_float else np.ones(wide.shape, bool)
    assert_within_ulp(expected[kept], actual[kept], 0)


@pytest.mark.parametrize("opcode", ["add", "replace"])
def test_scatter_out_of_bounds(opcode):
    x = np.arange(45, dtype=np.float32).reshape(9, 5)
    indices = np.array([[-1], [3], [8], [9], [100], [3]], np.int32)[: 6 if opcode == "add" else 5]
    updates = np.arange(indices.size * 5, dtype=np.float32).reshape(-1, 5) - 7
    op = tf.raw_ops.TensorScatterAdd if opcode == "add" else tf.raw_ops.TensorScatterUpdate
    run = tf.function(lambda *a: op(tensor=a[0], indices=a[1], updates=a[2]), jit_compile=True)
    combiner = (
        binary_computation("add", DType.F32) if opcode == "add" else replace_combiner(DType.F32)
    )
    b = ModuleBuilder("scatter")
    nodes = [b.parameter(DType.from_numpy(v.dtype), v.shape) for v in (x, indices, updates)]
    root = b.scatter([nodes[0]], nodes[1], [nodes[2]], Scatter((1,), (0,), (0,), 1, combiner))
    actual = evaluate(b.module(root), [x, indices, updates])[0]
    np.testing.assert_array_equal(actual, run(x, indices, updates).numpy())


@pytest.mark.parametrize("count", [1, 5, 64])
def test_top_k_orders_special_values(count):
    x = without_denormals(special_values(DType.F32))
    x = np.random.default_rng(0).permutation(np.concatenate([x] * 3))[None, :]
    top = tf.function(lambda v: tf.raw_ops.TopKV2(input=v, k=count), jit_compile=True)(x)
    b = ModuleBuilder("top_k")
    shape = TupleShape((Shape(DType.F32, (1, count)), Shape(DType.S32, (1, count))))
    pair = b.custom_call("TopK", shape, [b.parameter(DType.F32, x.shape)])
    value, index = evaluate(b.module(b.get(pair, 0), b.get(pair, 1)), [x])
    np.testing.assert_array_equal(value, top[0].numpy())
    np.testing.assert_array_equal(index, top[1].numpy())


@pytest.mark.parametrize("algorithm", STATE_WORDS)
@pytest.mark.parametrize("kind", ["uint8", "uint32", "uint64"])
def test_random_bits(algorithm, kind):
    generate = gen_xla_ops.xla_rng_bit_generator
    number = {"RNG_PHILOX": 1, "RNG_THREE_FRY": 2}[algorithm]
    state = np.array([0x123456789ABCDEF0, 2**64 - 3, 5][: STATE_WORDS[algorithm]], np.uint64)
    for dims in ((), (7,), (8,), (3, 5), (3, 4), (4, 3), (5, 1, 7)):
        run = tf.function(
            lambda s, n=dims: generate(number, s, np.array(n, np.int32), dtype=kind),
            jit_compile=True,
        )
        b = ModuleBuilder("bits")
        dtype = DType.from_numpy(np.dtype(kind))
        actual = evaluate(b.module(*build_bits(b, algorithm, dtype, dims)), [state])
        for mine, theirs in zip(actual, run(state), strict=True):
            np.testing.assert_array_equal(mine, theirs.numpy())
