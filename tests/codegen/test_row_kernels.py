"""Row kernels: chains of reductions over short rows in registers, and long sums in blocks."""

import numpy as np
import pytest
from compiled import compile_module

from tfaot.interpreter import evaluate
from tfaot.ir.text import parse_module
from tfaot.schedule.control import schedule

NORMALISED = """
HloModule normalised
max { a = f32[] parameter(0)
 b = f32[] parameter(1)
 ROOT r = f32[] maximum(a,b) }
add { a = f32[] parameter(0)
 b = f32[] parameter(1)
 ROOT r = f32[] add(a,b) }
ENTRY e {
 x = f32[B,3,N] parameter(0)
 g = f32[N] parameter(1)
 z = f32[] constant(0)
 n = f32[] constant(#)
 s = f32[B,3] reduce(x,z), dimensions={2}, to_apply=add
 nb = f32[B,3] broadcast(n), dimensions={}
 m = f32[B,3] divide(s,nb)
 mb = f32[B,3,N] broadcast(m), dimensions={0,1}
 d = f32[B,3,N] subtract(x,mb)
 sq = f32[B,3,N] multiply(d,d)
 v = f32[B,3] reduce(sq,z), dimensions={2}, to_apply=add
 vv = f32[B,3] divide(v,nb)
 r = f32[B,3] rsqrt(vv)
 rb = f32[B,3,N] broadcast(r), dimensions={0,1}
 y = f32[B,3,N] multiply(d,rb)
 gb = f32[B,3,N] broadcast(g), dimensions={2}
 yy = f32[B,3,N] multiply(y,gb)
 t = f32[B,N,3] transpose(yy), dimensions={0,2,1}
 ninf = f32[] constant(-inf)
 mx = f32[B,3] reduce(yy,ninf), dimensions={2}, to_apply=max
 ROOT o = (f32[B,N,3], f32[B,3], f32[B,3]) tuple(t,mx,m)
}
"""

LONG_SUMS = """
HloModule sums
add { a = f32[] parameter(0)
 b = f32[] parameter(1)
 ROOT r = f32[] add(a,b) }
ENTRY e {
 x = f32[B,70,5,20] parameter(0)
 z = f32[] constant(0)
 m = f32[20] reduce(x,z), dimensions={0,1,2}, to_apply=add
 n = f32[B,20] reduce(x,z), dimensions={1,2}, to_apply=add
 k = f32[B,5] reduce(x,z), dimensions={1,3}, to_apply=add
 ROOT o = (f32[20], f32[B,20], f32[B,5]) tuple(m,n,k)
}
"""


def _normalised(length):
    return parse_module(
        NORMALISED.replace("N]", f"{length}]")
        .replace("N,3", f"{length},3")
        .replace("[N", f"[{length}")
        .replace("#", str(length))
    )


@pytest.mark.parametrize("length", [2, 8, 16, 17, 33, 64, 65])
@pytest.mark.parametrize("target", ["x86-64-v2", "x86-64-v3"])
def test_layer_normalisation_of_short_rows(length, target):
    module = _normalised(length)
    compiled = compile_module(module, target)
    for batch in (0, 1, 5, 33):
        random = np.random.default_rng(batch)
        x = random.standard_normal((batch, 3, length)).astype(np.float32)
        inputs = [x, random.standard_normal(length).astype(np.float32)]
        expected = evaluate(module, inputs, batch=batch, float64=True)
        for ours, wanted in zip(compiled(inputs, batch), expected, strict=True):
            np.testing.assert_allclose(ours, wanted, rtol=2e-4, atol=2e-5)


def test_short_rows_are_one_kernel_and_long_ones_are_not():
    kinds = [k.kind for k in schedule(_normalised(64).entry).kernels]
    assert kinds[0] == "rows"
    assert "rows" not in [k.kind for k in schedule(_normalised(65).entry).kernels]


@pytest.mark.parametrize("batch", [1, 31, 32, 33, 100])
def test_long_sums_lose_little(batch):
    module = parse_module(LONG_SUMS)
    x = np.random.default_rng(batch).standard_normal((batch, 70, 5, 20)).astype(np.float32) + 1
    expected = evaluate(module, [x], float64=True)
    for ours, wanted in zip(compile_module(module)([x], batch), expected, strict=True):
        # One chain of additions would be several times worse.
        assert np.abs((ours - wanted) / wanted).max() < 16 * 2.0**-24
