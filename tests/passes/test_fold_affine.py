from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hlo_text import counts, errors, inputs, literal, module, optimised
from hypothesis import given, settings

from tfaot.interpreter import evaluate
from tfaot.ir.module import Module

RNG = np.random.default_rng(3)


def weights(name: str, *shape: int) -> str:
    values = RNG.normal(size=shape).astype(np.float32)
    return f"{name} = f32[{','.join(map(str, shape))}] constant({literal(values)})"


def per_channel(name: str, dims: str, values: np.ndarray, axis: int = 1) -> str:
    return (
        f"{name}v = f32[{len(values)}] constant({literal(values.astype(np.float32))})\n"
        f"{name} = f32[{dims}] broadcast({name}v), dimensions={{{axis}}}"
    )


def dot(name: str, x: str, w: str, dims: str) -> str:
    dimensions = "lhs_contracting_dims={1}, rhs_contracting_dims={0}"
    return f"{name} = f32[{dims}] dot({x}, {w}), {dimensions}"


def assert_accurate(before: Module, after: Module, factor: float = 2.0) -> None:
    old, new = errors(before, after)
    assert new <= factor * old + 1e-12, (old, new)


def test_normalisation_after_a_dot_folds_into_weights_and_bias() -> None:
    before = module(
        "\n".join(
            [
                "x = f32[B,8] parameter(0)",
                weights("w", 8, 6),
                dot("d", "x", "w", "B,6"),
                per_channel("b", "B,6", RNG.normal(size=6)),
                "h = f32[B,6] add(d, b)",
                per_channel("mean", "B,6", RNG.normal(size=6)),
                "c = f32[B,6] subtract(h, mean)",
                per_channel("std", "B,6", RNG.uniform(0.5, 2, size=6)),
                "n = f32[B,6] divide(c, std)",
                per_channel("gamma", "B,6", RNG.uniform(0.5, 2, size=6)),
                "g = f32[B,6] multiply(n, gamma)",
                per_channel("beta", "B,6", RNG.normal(size=6)),
                "ROOT y = f32[B,6] add(g, beta)",
            ]
        )
    )
    after = optimised(before)
    assert counts(after.entry) == {"dot": 1, "add": 1, "broadcast": 1}
    assert_accurate(before, after)


@pytest.mark.parametrize("activation", ["tanh", "exponential-minus-one"])
def test_normalisation_before_a_dot_folds_into_weights_and_bias(activation: str) -> None:
    before = module(
        "\n".join(
            [
                "x = f32[B,8] parameter(0)",
                f"a = f32[B,8] {activation}(x)",
                per_channel("s", "B,8", RNG.uniform(0.5, 2, size=8)),
                "m = f32[B,8] multiply(a, s)",
                per_channel("t", "B,8", RNG.normal(size=8)),
                "n = f32[B,8] add(m, t)",
                weights("w", 8, 6),
                dot("d", "n", "w", "B,6"),
                per_channel("b", "B,6", RNG.normal(size=6)),
                "ROOT y = f32[B,6] add(d, b)",
            ]
        )
    )
    after = optimised(before)
    assert counts(after.entry) == {activation: 1, "dot": 1, "add": 1, "broadcast": 1}
    assert_accurate(before, after)


def test_normalisation_folds_through_flattening() -> None:
    before = module(
        "\n".join(
            [
                "x = f32[B,2,3] parameter(0)",
                "a = f32[B,2,3] tanh(x)",
                per_channel("s", "B,2,3", RNG.uniform(0.5, 2, size=3), axis=2),
                "m = f32[B,2,3] multiply(a, s)",
                "f = f32[B,6] reshape(m)",
                weights("w", 6, 4),
                dot("y", "f", "w", "B,4").replace("y =", "ROOT y ="),
            ]
        )
    )
    after = optimised(before)
    assert counts(after.entry) == {"tanh": 1, "reshape": 1, "dot": 1}
    assert_accurate(before, after)


def test_large_mean_is_subtracted_before_the_dot() -> None:
    mean, std = np.full(4, 1000.0), np.full(4, 0.1)
    before = module(
        "\n".join(
            [
                "x = f32[B,4] parameter(0)",
                per_channel("m", "B,4", mean + np.arange(4)),
                "c = f32[B,4] subtract(x, m)",
                per_channel("s", "B,4", std + 0.01 * np.arange(4)),
                "n = f32[B,4] divide(c, s)",
                weights("w", 4, 3),
                dot("y", "n", "w", "B,3").replace("y =", "ROOT y ="),
            ]
        )
    )
    after = optimised(before)
    # The division folds, the subtraction does not.
    assert "divide" not in counts(after.entry)
    assert counts(after.entry)["dot"] == 1
    rng = np.random.default_rng(0)
    x = (mean + np.arange(4) + std * rng.normal(size=(500, 4))).astype(np.float32)
    exact = evaluate(before, [x], float64=True)[0]
    old, new = (
        np.sqrt(np.mean((evaluate(m, [x])[0].astype(np.float64) - exact) ** 2))
        for m in (before, after)
    )
    assert new <= 2 * old


def test_zero_scale_and_overflow_are_left_alone() -> None:
    for scale in ([0.0, 1.0, 2.0], [1e38, 1e38, 1.0]):
        before = module(
            "\n".join(
                [
                    "x = f32[B,3] parameter(0)",
                    per_channel("s", "B,3", np.array(scale)),
                    "m = f32[B,3] multiply(x, s)",
                    "w = f32[3,2] constant({{1e10,2},{3,4},{5,6}})",
                    dot("y", "m", "w", "B,2").replace("y =", "ROOT y ="),
                ]
            )
        )
        assert counts(optimised(before).entry)["multiply"] == 1


def test_values_and_weights_that_others_use_are_left_alone() -> None:
    shared_value = module(
        "\n".join(
            [
                "x = f32[B,3] parameter(0)",
                weights("w", 3, 3),
                dot("d", "x", "w", "B,3"),
                per_channel("s", "B,3", np.array([1.5, 2.5, 3.5])),
                "m = f32[B,3] multiply(d, s)",
                "ROOT y = (f32[B,3], f32[B,3]) tuple(d, m)",
            ]
        )
    )
    assert counts(optimised(shared_value).entry)["multiply"] == 1
    shared_weights = module(
        "\n".join(
            [
                "x = f32[B,3] parameter(0)",
                weights("w", 3, 3),
                dot("d", "x", "w", "B,3"),
                per_channel("s", "B,3", np.array([1.5, 2.5, 3.5])),
                "m = f32[B,3] multiply(d, s)",
                "a = f32[B,3] tanh(m)",
                dot("y", "a", "w", "B,3").replace("y =", "ROOT y ="),
            ]
        )
    )
    assert counts(optimised(shared_weights).entry)["multiply"] == 1


def convolution(pad: str, groups: int, size: int) -> Module:
    return module(
        "\n".join(
            [
                "x = f32[B,5,5,4] parameter(0)",
                "a = f32[B,5,5,4] tanh(x)",
                per_channel("s", "B,5,5,4", RNG.uniform(0.5, 2, size=4), axis=3),
                "m = f32[B,5,5,4] multiply(a, s)",
                per_channel("t", "B,5,5,4", RNG.normal(size=4), axis=3),
                "n = f32[B,5,5,4] add(m, t)",
                weights("w", 3, 3, 4 // groups, 6),
                f"c = f32[B,{size},{size},6] convolution(n, w), window={{size=3x3{pad}}}, "
                f"dim_labels=b01f_01io->b01f, feature_group_count={groups}",
                per_channel("g", f"B,{size},{size},6", RNG.uniform(0.5, 2, size=6), axis=3),
                f"h = f32[B,{size},{size},6] multiply(c, g)",
                per_channel("b", f"B,{size},{size},6", RNG.normal(size=6), axis=3),
                f"ROOT y = f32[B,{size},{size},6] add(h, b)",
            ]
        )
    )


def accurate_convolution(before: Module, after: Module) -> None:
    (x,) = inputs(before, 2)
    exact = evaluate(before, [x], float64=True)[0]
    new = evaluate(after, [x])[0]
    assert np.abs(new - exact).max() <= 1e-6 * np.abs(exact).max()


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_without_padding_takes_both_sides(groups: int) -> None:
    before = convolution("", groups, 3)
    after = optimised(before)
    assert counts(after.entry) == {"tanh": 1, "convolution": 1, "add": 1, "broadcast": 1}
    accurate_convolution(before, after)


def test_convolution_with_padding_keeps_a_shift_before_it() -> None:
    before = convolution(" pad=1_1x1_1", 1, 5)
    after = optimised(before)
    assert counts(after.entry) == {
        "tanh": 1,
        "multiply": 1,
        "convolution": 1,
        "add": 2,
        "broadcast": 3,
    }
    accurate_convolution(before, after)


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "subtract", "multiply", "divide", "rsubtract", "negate"]),
        st.lists(st.floats(0.25, 2.0, width=32), min_size=3, max_size=3),
    ),
    max_size=6,
)


def chain(prefix: str, source: str, moves: list[tuple[str, list[float]]]) -> tuple[list[str], str]:
    lines, here = [], source
    for i, (opcode, values) in enumerate(moves):
        name = f"{prefix}{i}"
        if opcode == "negate":
            lines.append(f"{name} = f32[B,3] negate({here})")
        else:
            lines.append(per_channel(f"{name}c", "B,3", np.array(values)))
            operands = (f"{name}c", here) if opcode == "rsubtract" else (here, f"{name}c")
            kind = opcode.removeprefix("r")
            lines.append(f"{name} = f32[B,3] {kind}({', '.join(operands)})")
        here = name
    return lines, here


@settings(max_examples=40, deadline=None)
@given(steps, steps)
def test_any_chain_around_a_dot_stays_accurate(
    first: list[tuple[str, list[float]]], second: list[tuple[str, list[float]]]
) -> None:
    before_lines, x = chain("p", "a", first)
    after_lines, y = chain("q", "d", second)
    before = module(
        "\n".join(
            [
                "x = f32[B,3] parameter(0)",
                "a = f32[B,3] tanh(x)",
                *before_lines,
                "w = f32[3,3] constant({{0.5,-1,2},{1.5,0.25,-0.75},{-2,1,3}})",
                dot("d", x, "w", "B,3"),
                *after_lines,
                f"ROOT y = f32[B,3] copy({y})",
            ]
        )
    )
    after = optimised(before)
    found = counts(after.entry)
    assert found["add"] + found["subtract"] <= 1 + len(first)
    (value,) = inputs(before, 50)
    exact = evaluate(before, [value], float64=True)[0]
    new = evaluate(after, [value])[0]
    scale = max(1.0, float(np.abs(exact).max()))
    assert np.abs(new - exact).max() <= 1e-5 * scale


def test_chain_without_a_dot_becomes_one_product_and_one_sum() -> None:
    lines, y = chain(
        "p",
        "x",
        [
            ("multiply", [0.5, 1.5, 1.25]),
            ("add", [0.5, 0.25, 1.0]),
            ("multiply", [1.5, 0.75, 1.25]),
            ("subtract", [0.25, 0.5, 1.0]),
        ],
    )
    before = module(
        "\n".join(["x = f32[B,3] parameter(0)", *lines, f"ROOT y = f32[B,3] copy({y})"])
    )
    after = optimised(before)
    assert counts(after.entry) == {"multiply": 1, "add": 1, "broadcast": 2}
    assert_accurate(before, after)


def test_sums_that_cancel_stay_apart() -> None:
    before = module(
        "\n".join(
            [
                "x = f32[B,3] parameter(0)",
                per_channel("m", "B,3", np.array([1000.25, 999.75, 1001.5])),
                "c = f32[B,3] subtract(x, m)",
                per_channel("b", "B,3", np.array([0.1, 0.2, 0.3])),
                "ROOT y = f32[B,3] add(c, b)",
            ]
        )
    )
    assert counts(optimised(before).entry) == {"subtract": 1, "add": 1, "broadcast": 2}
