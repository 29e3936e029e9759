"""Verification of whole artifacts: what passes, what is refused, and what the report says."""

import json
import re

import numpy as np
import pytest

from tfaot.errors import ModelError, VerificationError

WEIGHTS = "{{0.5, -1.25, 2}, {0.3, 0.7, -0.1}, {-1.1, 0.9, 0.2}, {1.7, -0.4, 0.6}}"
DENSE = """
x = f32[B,4] parameter(0)
w = f32[4,3] constant({weights})
d = f32[B,3] dot(x, w), lhs_contracting_dims={{1}}, rhs_contracting_dims={{0}}
b = f32[3] constant({bias})
bb = f32[B,3] broadcast(b), dimensions={{1}}
ROOT y = f32[B,3] add(d, bb)
"""


def dense(bias):
    return DENSE.format(weights=WEIGHTS, bias=bias)


def test_a_correct_model_passes_at_all_batch_sizes(hlo, verified):
    report = verified(hlo(dense("{1, 2, 3}")))
    assert report.batch_sizes == (0, 1, 2, 3, 7, 8, 16, 33, 100, 1000)
    (output,) = report.outputs
    assert output.name == "y0"
    assert 0 < output.worst_ulp <= output.bound_ulp
    assert output.excused == 0
    assert output.finite == 1.0
    json.dumps(report.to_json())


@pytest.mark.parametrize(
    "bias", ["{1, 2.0001, 3}", "{1, 2, 4}", "{nan, 2, 3}", "{inf, 2, 3}"], ids=str
)
def test_a_wrong_bias_is_found(hlo, verified, bias):
    with pytest.raises(VerificationError) as caught:
        verified(hlo(dense(bias)), hlo(dense("{1, 2, 3}")))
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert re.search(r"output 'y0' at batch \d+, row \d+, element \[\d+, \d\]: ", message)
    assert "\n" not in message


def test_an_error_of_a_small_feature_beside_large_ones_is_found(hlo, verified):
    def scaled(third):
        return (
            dense("{0, 0, 0}").replace("ROOT y", "y")
            + f"s = f32[3] constant({{1e6, 1e6, {third}}})\n"
            + "sb = f32[B,3] broadcast(s), dimensions={1}\nROOT z = f32[B,3] multiply(y, sb)"
        )

    verified(hlo(scaled("1e-6")))
    with pytest.raises(VerificationError, match=r"element \[\d+, 2\]"):
        verified(hlo(scaled("1.0001e-6")), hlo(scaled("1e-6")))


def test_an_error_behind_relu_is_found(hlo, verified):
    def relu(bias):
        return (
            dense(bias).replace("ROOT y", "y") + "z = f32[] constant(0)\n"
            "zb = f32[B,3] broadcast(z), dimensions={}\nROOT r = f32[B,3] maximum(y, zb)"
        )

    with pytest.raises(VerificationError):
        verified(hlo(relu("{-1, -2, -3.0001}")), hlo(relu("{-1, -2, -3}")))


def test_one_integer_off_by_one_is_found(hlo, verified):
    def integers(offset):
        return (
            "x = s32[B,2] parameter(0)\n"
            f"o = s32[2] constant({{0, {offset}}})\nob = s32[B,2] broadcast(o), dimensions={{1}}\n"
            "ROOT y = s32[B,2] add(x, ob)"
        )

    verified(hlo(integers(0)))
    with pytest.raises(VerificationError, match=r"element \[0, 1\]: -?\d+ where float64 gives"):
        verified(hlo(integers(1)), hlo(integers(0)))


def test_values_at_a_threshold_are_excused(hlo, verified):
    # A sum that is one half but for rounding, then rounded to an integer: either is right.
    body = """
    x = f32[B,2] parameter(0)
    c = f32[] constant(100000)
    cb = f32[B,2] broadcast(c), dimensions={}
    s = f32[B,2] multiply(x, cb)
    k = f32[] constant(0.1)
    kb = f32[B,2] broadcast(k), dimensions={}
    m = f32[B,2] multiply(s, kb)
    f = f32[B,2] floor(m)
    ROOT y = s32[B,2] convert(f)
    """
    verified(hlo(body))


def test_what_cancels_is_held_to_what_rounding_does(hlo, verified):
    # x * k - (x * k - b): the bits that are left differ between fused and separate operations.
    body = """
    x = f32[B,3] parameter(0)
    k = f32[] constant(31.7)
    kb = f32[B,3] broadcast(k), dimensions={}
    m = f32[B,3] multiply(x, kb)
    n = f32[B,3] negate(m)
    b = f32[3] constant({0.117, 0.0716, -0.2})
    bb = f32[B,3] broadcast(b), dimensions={1}
    a = f32[B,3] add(n, bb)
    ROOT y = f32[B,3] add(m, a)
    """
    verified(hlo(body))
    with pytest.raises(VerificationError):
        verified(hlo(body.replace("0.117", "0.118")), hlo(body))


def test_outputs_that_are_never_finite_are_reported(hlo, verified):
    report = verified(
        hlo(
            "x = f32[B,2] parameter(0)\nz = f32[B,2] subtract(x, x)\nROOT y = f32[B,2] divide(z, z)"
        )
    )
    assert report.outputs[0].finite == 0.0


def test_a_model_without_a_batch_is_verified_once(hlo, verified):
    report = verified(hlo("x = f32[3] parameter(0)\nROOT y = f32[3] exponential(x)"))
    assert report.batch_sizes == (1,)


def test_batch_sizes_that_tensorflow_refuses_are_left_out(hlo, verified, hlo_model):
    module = hlo("x = f32[B,2] parameter(0)\nROOT y = f32[B,2] add(x, x)")
    loaded = hlo_model(module, refuses=lambda inputs: len(inputs[0]) in (0, 7))
    assert verified(module, loaded=loaded).batch_sizes == (1, 2, 3, 8, 16, 33, 100, 1000)


def test_a_model_that_takes_nothing_says_so(hlo, verified, hlo_model):
    module = hlo("x = f32[B,2] parameter(0)\nROOT y = f32[B,2] add(x, x)")
    with pytest.raises(ModelError, match=r"indices\[0\] = 9 .*--no-verify"):
        verified(module, loaded=hlo_model(module, refuses=lambda inputs: True))


def test_an_artifact_of_another_model_is_refused(hlo, verified):
    one = hlo("x = f32[B,2] parameter(0)\nROOT y = f32[B,2] add(x, x)")
    two = hlo("x = f64[B,2] parameter(0)\nROOT y = f64[B,2] add(x, x)")
    with pytest.raises(ModelError, match="of another model"):
        verified(one, two)


def test_a_call_costs_few_evaluations(hlo, verified, hlo_model):
    module = hlo(dense("{1, 2, 3}"))
    loaded = hlo_model(module)
    verified(module, loaded=loaded)
    assert loaded.calls == 10


def test_the_whole_table_is_read(hlo, verified, hlo_model):
    def table(last):
        rows = ", ".join("{1, 2}" for _ in range(36))
        return hlo(f"""
        i = s32[B,1] parameter(0)
        t = f32[37,2] constant({{{rows}, {{3, {last}}}}})
        ROOT y = f32[B,2] gather(t, i), offset_dims={{1}}, collapsed_slice_dims={{0}}, \
start_index_map={{0}}, index_vector_dim=1, slice_sizes={{1,2}}""")

    loaded = hlo_model(
        table("4"), refuses=lambda inputs: bool(np.any((inputs[0] < 0) | (inputs[0] > 36)))
    )
    verified(table("4"), loaded=loaded)
    with pytest.raises(VerificationError):
        verified(table("5"), loaded=loaded)


def test_batches_that_float64_has_no_time_for_are_left_out(hlo, verified, monkeypatch):
    from tfaot.verification import verify

    # 100 x 100 elements a row, so about 60 us.
    monkeypatch.setattr(verify, "SECONDS", 3e-3)
    body = """
    x = f32[B,100,100] parameter(0)
    ROOT y = f32[B,100,100] add(x, x)
    """
    assert verified(hlo(body)).batch_sizes == (0, 1, 2, 3, 7, 8, 16)


def test_a_large_model_that_fails_for_later_rows_is_found(hlo, verified, monkeypatch):
    from tfaot.verification import verify

    monkeypatch.setattr(verify, "SECONDS", 0.0)
    real = verify.run_compiled

    def wrong(compiled, inputs):
        found = real(compiled, inputs)
        found[0][2:] += 1
        return found

    report = verified(hlo(dense("{1, 2, 3}")))
    assert report.batch_sizes == (0, 1, 2)
    monkeypatch.setattr(verify, "run_compiled", wrong)
    with pytest.raises(VerificationError, match="rows in a batch of 3 differ in their bits"):
        verified(hlo(dense("{1, 2, 3}")))


def test_composed_batch_sizes_are_verified_too(hlo, verified, monkeypatch):
    from tfaot.verification import verify

    report = verified(hlo(dense("{1, 2, 3}")), static=(2, 4))
    assert report.batch_sizes == (0, 1, 2, 3, 4, 7, 8, 16, 33, 100, 1000)

    real = verify.run_compiled

    def wrong(compiled, inputs):
        found = real(compiled, inputs)
        if len(inputs[0]) == 33:
            found[0][-1] += 1
        return found

    monkeypatch.setattr(verify, "run_compiled", wrong)
    with pytest.raises(VerificationError, match="at batch 33, row 32"):
        verified(hlo(dense("{1, 2, 3}")), static=(2, 4))
