"""Models at the edges: the smallest, the emptiest, and with interfaces and names that trip."""

from __future__ import annotations

from dataclasses import replace

from consumer_models import Model, make_model

_BODIES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "one_by_one": (
        """
x = f32[B,1] parameter(0)
w = f32[1,1] constant({{1.5}})
d = f32[B,1] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
b = f32[1] constant({-0.25})
bb = f32[B,1] broadcast(b), dimensions={1}
ROOT y = f32[B,1] add(d, bb)
""",
        ("x",),
        ("y",),
    ),
    "no_columns": (
        """
x = f32[B,0] parameter(0)
w = f32[0,3] constant({})
d = f32[B,3] dot(x, w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
b = f32[3] constant({1,2,3})
bb = f32[B,3] broadcast(b), dimensions={1}
y = f32[B,3] add(d, bb)
none = f32[B,0] negate(x)
zero = f32[] constant(0)
sum = f32[B] reduce(x, zero), dimensions={1}, to_apply=add_f32
low = f32[] constant(-inf)
most = f32[B] reduce(x, low), dimensions={1}, to_apply=max_f32
ROOT all = (f32[B,3], f32[B,0], f32[B], f32[B]) tuple(y, none, sum, most)
""",
        ("x",),
        ("y", "none", "sum", "most"),
    ),
    "nothing_at_all": (
        """
x = f32[0,4] parameter(0)
e = f32[0,4] exponential(x)
zero = f32[] constant(0)
s = f32[4] reduce(e, zero), dimensions={0}, to_apply=add_f32
ROOT r = (f32[0,4], f32[4]) tuple(e, s)
""",
        ("x",),
        ("empty", "sums"),
    ),
    "unused_inputs": (
        """
a = f32[B,3] parameter(0)
b = f64[7] parameter(1)
c = s32[] parameter(2)
d = f32[B,2] parameter(3)
ROOT y = f32[B,2] negate(d)
""",
        ("a", "b", "c", "d"),
        ("y",),
    ),
    "all_unused": (
        """
a = f32[B,3] parameter(0)
ROOT y = f32[2] constant({1,2})
""",
        ("a",),
        ("y",),
    ),
    "passed_on": (
        """
x = f32[B,3] parameter(0)
i = s64[] parameter(1)
k = f32[2,2] constant({{1,2},{3,4}})
y = f32[B,3] tanh(x)
flat = f32[B,3,1] reshape(x)
ROOT r = (f32[B,3], f32[2,2], f32[B,3], f32[B,3], s64[], f32[2,2], f32[B,3,1], f32[B,3])
  tuple(x, k, y, y, i, k, flat, x)
""",
        ("x", "i"),
        ("same", "constant", "y", "y_again", "number", "constant_again", "reshaped", "same_again"),
    ),
    "identity": ("ROOT x = f32[B,3] parameter(0)", ("x",), ("y",)),
    "scalar": (
        """
x = f32[] parameter(0)
ROOT y = f32[] exponential(x)
""",
        ("x",),
        ("y",),
    ),
    "names": (
        """
a = f32[B,2] parameter(0)
b = f32[B,2] parameter(1)
c = f32[B,2] parameter(2)
d = f32[B,2] parameter(3)
e = f32[B,2] parameter(4)
f = f32[B,2] parameter(5)
s = f32[B,2] add(a, b)
t = f32[B,2] subtract(c, d)
u = f32[B,2] multiply(e, f)
ROOT r = (f32[B,2], f32[B,2], f32[B,2], f32[B,2], f32[B,2]) tuple(s, t, u, s, t)
""",
        ("int", "with space", "a/b:0", "größe 日本", 'quo"te\\n', "*/ #if 0"),
        ("class", "a.b", "a b", "batch", "%s ${x} {{ y }}"),
    ),
    "long_name": (
        """
x = f32[B,2] parameter(0)
ROOT y = f32[B,2] negate(x)
""",
        ("x" * 3000,),
        ("y/" * 1500,),
    ),
    "many_tensors": (
        "\n".join(f"p{i} = f32[B] parameter({i})" for i in range(200))
        + "\n"
        + "\n".join(f"n{i} = f32[B] negate(p{199 - i})" for i in range(200))
        + "\nROOT r = ("
        + ", ".join(["f32[B]"] * 200)
        + ") tuple("
        + ", ".join(f"n{i}" for i in range(200))
        + ")",
        tuple(f"in{i}" for i in range(200)),
        tuple(f"out{i}" for i in range(200)),
    ),
}

ODD = tuple(_BODIES)
BUILDABLE = tuple(f"zoo_odd_{name}" for name in ODD if name != "many_tensors")
"""What the programs can run, which have room for sixteen tensors."""


def odd_model(name: str) -> Model:
    """One of `ODD`, under the name `zoo_odd_NAME` where the programs can run it."""
    full = f"zoo_odd_{name}" if f"zoo_odd_{name}" in BUILDABLE else name
    return replace(make_model(name, *_BODIES[name]), name=full)
