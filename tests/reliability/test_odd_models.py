"""Models at the edges of what there is: they compile, build as C and C++, and are right."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from classes import program_of
from consumer_models import compile_to, make_model, poster
from odd_models import BUILDABLE, ODD, odd_model
from zoo import write_list

from tfaot.interpreter import evaluate
from tfaot.packaging.manifest import read_manifest
from tfaot.runtime.model import load

HERE = Path(__file__).parent
BATCHES = (0, 1, 5, 17)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """All odd models; headers are read by both languages, with all warnings."""
    place = tmp_path_factory.mktemp("odd")
    for name in ODD:
        compile_to(place, odd_model(name))
    write_list(place, BUILDABLE)
    return place


def arrays_of(model, batch: int) -> list[np.ndarray]:
    generator = np.random.default_rng(batch)
    shapes = [(s.shape.at(batch).static_dims, s.dtype.numpy) for s in model.signature.inputs]
    return [np.asarray(generator.normal(size=s) * 3).astype(t) for s, t in shapes]


@pytest.mark.parametrize("name", ODD)
def test_values(name, folder):
    model = odd_model(name)
    loaded = load(folder / f"{model.name}.json")
    for batch in BATCHES if model.module.batch else (1,):
        inputs = arrays_of(model, batch)
        result = loaded(*inputs)
        found = list(result.values()) if isinstance(result, dict) else [result]
        wanted = evaluate(model.module, inputs, batch=batch if model.module.batch else None)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert (one.shape, one.dtype) == (other.shape, other.dtype)
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_names_reach_the_user_as_they_are(folder):
    manifest = read_manifest(folder / "zoo_odd_names.json")
    model = odd_model("names")

    assert [t.name for t in manifest.inputs] == [s.name for s in model.signature.inputs]
    assert [t.name for t in manifest.outputs] == [s.name for s in model.signature.outputs]
    c_names = [t.c_name for t in manifest.tensors]
    assert len(set(c_names)) == len(c_names)


def test_long_names_have_short_counterparts(folder):
    manifest = read_manifest(folder / "zoo_odd_long_name.json")

    assert all(len(t.name) == 3000 for t in manifest.tensors)
    assert all(len(t.c_name) <= 100 for t in manifest.tensors)


def test_c_programs_run_them_between_guard_pages(folder, build_zoo, run_program):
    program = build_zoo(folder, HERE / "memory.c")

    run_program(program, "guard", *map(str, BATCHES))


def test_their_classes_compile_and_agree(folder, build_zoo, run_program):
    source = folder / "classes.cpp"
    source.write_text(program_of(read_manifest(folder / f"{name}.json") for name in BUILDABLE))

    assert run_program(build_zoo(folder, source)) == "done\n"


def test_many_tensors_in_c_and_cpp(folder, tool, tmp_path):
    source = tmp_path / "many.c"
    source.write_text('#include "many_tensors.h"\n')
    for command in ([tool("cc"), "-std=c11"], [tool("c++"), "-std=c++17", "-x", "c++"]):
        flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{folder}", "-fsyntax-only"]
        subprocess.run([*command, *flags, source], check=True)


# Deep ones


def residual(layers: int):
    """Elementwise layers, each added to what goes in: one expression of twice as many ops."""
    lines = ["x = f32[B,5] parameter(0)", "zero = f32[B,5] negate(x)"]
    for n in range(layers):
        x = f"s{n - 1}" if n else "x"
        lines += [f"t{n} = f32[B,5] tanh({x})", f"s{n} = f32[B,5] add(t{n}, {x})"]
    return make_model("deep", "\n".join(lines), ("x",), ("y",))


def doubling(levels: int):
    """Each value is used twice, along two ways: as many paths as a power of two."""
    lines = ["x0 = f32[B,5] parameter(0)"]
    for n, m in pairwise(range(levels + 1)):
        lines += [
            f"a{n} = f32[B,5] negate(x{n})",
            f"b{n} = f32[B,5] abs(x{n})",
            f"x{m} = f32[B,5] maximum(a{n}, b{n})",
        ]
    return make_model("doubling", "\n".join(lines), ("x",), ("y",))


DEEP = {
    "elementwise": lambda: residual(300),
    "doubling": lambda: doubling(250),
    "dense": lambda: poster("deep", (4,) * 101),
}
SLOW_DEEP = {
    "elementwise": lambda: residual(1000),
    "doubling": lambda: doubling(1000),
    "dense": lambda: poster("deep", (4,) * 1001),
}


def check_deep(model, folder: Path) -> None:
    loaded = compile_to(folder, model).load()
    (inputs,) = arrays_of(model, 5)
    (wanted,) = evaluate(model.module, [inputs], batch=5, float64=True)
    np.testing.assert_allclose(loaded(inputs), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", DEEP)
def test_deep_models(kind, tmp_path):
    check_deep(DEEP[kind](), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SLOW_DEEP)
def test_models_of_a_thousand_layers(kind, tmp_path):
    check_deep(SLOW_DEEP[kind](), tmp_path)
