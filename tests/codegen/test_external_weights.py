"""Code does not depend on the values of weights that are outside of it.

Each model is compiled with some weights; the file made of another model, equal but for the weights,
then makes the first object compute the second model.
"""

import numpy as np
import pytest
from compiled import NAME, compile_module, signature_of
from external import with_all_weights, with_weights
from hypothesis import HealthCheck, given, settings
from random_modules import RandomGraph, graphs, inputs_of

from tfaot.codegen.module import GeneratedModule
from tfaot.codegen.target import resolve_targets
from tfaot.compiler import Lowered, generate_code
from tfaot.interpreter import evaluate
from tfaot.ir.module import Module
from tfaot.ir.printer import print_module
from tfaot.ir.text import parse_module
from tfaot.options import CompileOptions
from tfaot.symbolic.specialise import specialise
from tfaot.testing.ulp import assert_within_ulp
from tfaot.weights_file import weights_file

BATCHES = (0, 1, 2, 5)
_CHECKS = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
FAST = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=_CHECKS)
SLOW = settings(max_examples=200, deadline=None, suppress_health_check=_CHECKS)

COMPUTATIONS = """
add_f32 { a = f32[] parameter(0)
  b = f32[] parameter(1)
  ROOT r = f32[] add(a, b) }
"""


def generated(*modules: Module, target="x86-64-v3") -> GeneratedModule:
    """The code of a model with external weights: for any batch size, or 2 and 5."""
    batches = (None,) if len(modules) == 1 else (2, 5)
    options = CompileOptions(".", name=NAME, weights="external")
    signature = signature_of(modules[0])
    lowered = Lowered(modules, batches)
    return generate_code(NAME, signature, lowered, resolve_targets(target), options)[0]


def file_of(module: Module, target="x86-64-v3") -> bytes:
    code = generated(module, target=target)
    return bytes(weights_file(code.weights, code.structure))


def hlo(body: str, **weights) -> Module:
    """A model whose weights are written `@name`; those of one element too."""
    lines = body
    for name, value in weights.items():
        array = np.asarray(value, np.float32)
        shape = ",".join(map(str, array.shape))
        text = np.array2string(array, separator=",", threshold=10**9, max_line_width=10**9)
        text = text.replace("[", "{").replace("]", "}").replace("\n", "")
        lines = lines.replace(f"@{name}", f"{name} = f32[{shape}] constant({text})")
    module = parse_module(f"HloModule m\n{COMPUTATIONS}\nENTRY e {{\n{lines}\n}}\n")
    return with_weights(module, scalars=set(weights))


def random(*shape: int, seed: int = 0):
    return np.random.default_rng([seed, *shape]).uniform(0.5, 1.5, shape).astype(np.float32)


TWO_LAYERS = """
x = f32[B,6] parameter(0)
@w1
@b1
@w2
@b2
d1 = f32[B,6] dot(x, w1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
v1 = f32[B,6] broadcast(b1), dimensions={1}
h = f32[B,6] add(d1, v1)
t = f32[B,6] tanh(h)
d2 = f32[B,6] dot(t, w2), lhs_contracting_dims={1}, rhs_contracting_dims={1}
v2 = f32[B,6] broadcast(b2), dimensions={1}
ROOT y = f32[B,6] add(d2, v2)
"""
SCALARS = """
x = f32[B,6] parameter(0)
@alpha
@beta
zero = f32[] constant(0)
z = f32[B,6] broadcast(zero), dimensions={}
a = f32[B,6] broadcast(alpha), dimensions={}
t = f32[B,6] broadcast(beta), dimensions={}
p = pred[B,6] compare(x, z), direction=GT
n = f32[B,6] multiply(x, a)
s = f32[B,6] select(p, x, n)
d = f32[B,6] divide(s, t)
q = f32[B,6] add(d, t)
ROOT y = f32[B,6] power(q, a)
"""
NORMALISED = """
x = f32[B,6] parameter(0)
@w
@mean
@variance
@gamma
@beta
eps = f32[] constant(0.001)
e = f32[6] broadcast(eps), dimensions={}
v = f32[6] add(variance, e)
r = f32[6] rsqrt(v)
s = f32[6] multiply(r, gamma)
m = f32[6] multiply(mean, s)
t = f32[6] subtract(beta, m)
d = f32[B,6] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
sb = f32[B,6] broadcast(s), dimensions={1}
tb = f32[B,6] broadcast(t), dimensions={1}
p = f32[B,6] multiply(d, sb)
ROOT y = f32[B,6] add(p, tb)
"""
EMBEDDING = """
x = s32[B,1] parameter(0)
@table
@row
g = f32[B,4] gather(table, x), GATHER
rb = f32[B,4] broadcast(row), dimensions={1}
ROOT y = f32[B,4] multiply(g, rb)
""".replace(
    "GATHER",
    "offset_dims={1}, collapsed_slice_dims={0}, start_index_map={0}, index_vector_dim=1, "
    "slice_sizes={1,4}",
)
LAYER_NORM = """
x = f32[B,6] parameter(0)
@gamma
@beta
zero = f32[] constant(0)
sixth = f32[] constant(0.166666672)
eps = f32[] constant(0.001)
sum = f32[B] reduce(x, zero), dimensions={1}, to_apply=add_f32
six = f32[B] broadcast(sixth), dimensions={}
mean = f32[B] multiply(sum, six)
mb = f32[B,6] broadcast(mean), dimensions={0}
c = f32[B,6] subtract(x, mb)
q = f32[B,6] multiply(c, c)
qs = f32[B] reduce(q, zero), dimensions={1}, to_apply=add_f32
var = f32[B] multiply(qs, six)
ep = f32[B] broadcast(eps), dimensions={}
ve = f32[B] add(var, ep)
r = f32[B] rsqrt(ve)
rb = f32[B,6] broadcast(r), dimensions={0}
n = f32[B,6] multiply(c, rb)
gb = f32[B,6] broadcast(gamma), dimensions={1}
bb = f32[B,6] broadcast(beta), dimensions={1}
g = f32[B,6] multiply(n, gb)
ROOT y = f32[B,6] add(g, bb)
"""
ONES, ZEROS = np.ones(6), np.zeros(6)
SQUARE, OTHER = random(6, 6), random(6, 6, seed=1)
NASTY = {
    "biases of zero": (
        TWO_LAYERS,
        {"w1": SQUARE, "b1": ZEROS, "w2": OTHER, "b2": random(6)},
        {"w1": SQUARE, "b1": random(6), "w2": OTHER, "b2": random(6, seed=1)},
    ),
    "two layers of equal weights": (
        TWO_LAYERS,
        {"w1": SQUARE, "b1": ZEROS, "w2": SQUARE, "b2": ZEROS},
        {"w1": SQUARE, "b1": random(6), "w2": OTHER, "b2": random(6, seed=1)},
    ),
    "weights of zero, one and the identity": (
        TWO_LAYERS,
        {"w1": np.zeros((6, 6)), "b1": ONES, "w2": np.eye(6), "b2": -ONES},
        {"w1": SQUARE, "b1": random(6), "w2": OTHER, "b2": random(6, seed=1)},
    ),
    "learned scalars": (SCALARS, {"alpha": 1, "beta": 1}, {"alpha": 0.25, "beta": 1.5}),
    "learned scalars that are equal or two": (
        SCALARS,
        {"alpha": 2, "beta": 2},
        {"alpha": 0.5, "beta": 0.75},
    ),
    "a fresh normalisation": (
        NORMALISED,
        {"w": SQUARE, "mean": ZEROS, "variance": ONES, "gamma": ONES, "beta": ZEROS},
        {
            "w": OTHER,
            "mean": random(6),
            "variance": random(6, seed=1),
            "gamma": random(6, seed=2),
            "beta": random(6, seed=3),
        },
    ),
    "a dead channel of a normalisation": (
        NORMALISED,
        {
            "w": SQUARE,
            "mean": random(6),
            "variance": random(6),
            "gamma": np.arange(6),
            "beta": ZEROS,
        },
        {"w": OTHER, "mean": ZEROS, "variance": ONES, "gamma": ONES, "beta": random(6, seed=3)},
    ),
    "a fresh layer normalisation": (
        LAYER_NORM,
        {"gamma": ONES, "beta": ZEROS},
        {"gamma": random(6), "beta": random(6, seed=1)},
    ),
    "an embedding": (
        EMBEDDING,
        {"table": np.zeros((3, 4)), "row": np.ones(4)},
        {"table": random(3, 4), "row": random(4)},
    ),
}


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v2"])
@pytest.mark.parametrize("case", NASTY)
def test_the_other_models_file_makes_the_other_model(case, target):
    body, first, second = NASTY[case]
    for own, new in ((first, second), (second, first)):
        run = compile_module(hlo(body, **own), target, weights="external")
        other = hlo(body, **new)
        inputs = [
            np.arange(p.array.at(5).size).reshape(p.array.at(5).static_dims) % 3
            for p in other.entry.parameters
        ]
        inputs = [
            x.astype(p.array.dtype.numpy)
            for x, p in zip(inputs, other.entry.parameters, strict=True)
        ]
        before = run(inputs)

        assert run.attach(file_of(other, target)) == 0

        after = run(inputs)
        fresh = compile_module(other, target, weights="external")(inputs)
        for found, wanted, expected in zip(
            after, fresh, evaluate(other, inputs, batch=5), strict=True
        ):
            assert found.tobytes() == wanted.tobytes()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        assert any(a.tobytes() != b.tobytes() for a, b in zip(after, before, strict=True))


def test_folded_weights_are_stored_once_for_all_batch_sizes():
    # The second layer's weights are used transposed: what folding makes of them has one origin.
    module = hlo(TWO_LAYERS, w1=SQUARE, b1=ZEROS, w2=OTHER, b2=ZEROS)
    static = [specialise(module, size) for size in (2, 5)]

    assert len(generated(*static).weights) == len(generated(module).weights)


def test_a_model_without_weights_has_a_file_of_none():
    module = hlo("x = f32[B,2] parameter(0)\nROOT y = f32[B,2] tanh(x)")
    run = compile_module(module, weights="external")

    assert len(generated(module).weights) == 0
    x = np.ones((3, 2), np.float32)
    assert_within_ulp(run([x])[0], np.tanh(x), 1)


def test_another_structure_is_another_hash():
    body, weights, _ = NASTY["biases of zero"]
    module = hlo(body, **weights)
    changed = hlo(body.replace("tanh(h)", "sine(h)"), **weights)

    assert generated(module).structure == generated(hlo(body, **weights)).structure
    assert generated(module).structure != generated(changed).structure
    assert generated(module).structure != generated(module, target="x86-64-v2").structure


def test_object_holds_no_weights():
    module = hlo(TWO_LAYERS, w1=SQUARE, b1=random(6), w2=OTHER, b2=random(6, seed=1))
    data = compile_module(module, weights="external").compiled.object_bytes

    for value in (SQUARE, OTHER, random(6), random(6, seed=1)):
        assert value.tobytes()[:16] not in data
        assert value.reshape(-1)[:1].tobytes() not in data


def _nearer_zero(name, value):
    return value - np.sign(value)


def _zero_arrays(name, value):
    return np.zeros_like(value) if value.size > 1 else value


def _same(name, value):
    return value


def _check(graph: RandomGraph) -> None:
    """All constants, and all parameters but one, are weights: of whole numbers, so bits agree."""
    module = graph.build()
    static = [p for p in module.entry.parameters if p.array.is_static]
    if len(static) == len(module.entry.parameters):
        static = static[:-1]
    values = {
        p.name: v
        for p, v in zip(module.entry.parameters, inputs_of(module, 1), strict=True)
        if p in static
    }
    models = [with_all_weights(module, values, c) for c in (_same, _nearer_zero, _zero_arrays)]
    run = compile_module(models[0], weights="external")
    for model in models:
        assert run.attach(file_of(model)) == 0, f"values are in the code of\n{print_module(model)}"
        for batch in BATCHES:
            inputs = inputs_of(model, batch)
            expected = evaluate(model, inputs, batch=batch)
            for number, (found, wanted) in enumerate(
                zip(run(inputs, batch), expected, strict=True)
            ):
                try:
                    assert_within_ulp(found, wanted, 0)
                except AssertionError as error:
                    text = print_module(model)
                    message = f"output {number}, batch {batch}: {error}\n{text}"
                    raise AssertionError(message) from None


@FAST
@given(graphs())
def test_random_modules_of_weights(graph):
    _check(graph)


@FAST
@given(graphs(rows_apart=True))
def test_random_modules_of_weights_with_independent_rows(graph):
    _check(graph)


@pytest.mark.slow
@SLOW
@given(graphs())
def test_many_random_modules_of_weights(graph):
    _check(graph)
