"""Several instruction sets in one object: one is chosen, the others can be."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to, poster
from test_rows import make_inputs

from tfaot.errors import InputError
from tfaot.packaging.manifest import Symbols, read_manifest
from tfaot.runtime.cpu import LEVELS, cpu_flags

SOURCE = Path(__file__).with_name("levels.cpp")
PORTABLE = ("x86-64-v2", "x86-64-v3", "x86-64-v4")
ROWS = 33


def runs(level: str) -> bool:
    return (cpu_flags() or frozenset()).issuperset(LEVELS[level])


HERE = [level for level in PORTABLE if runs(level)]


@pytest.fixture(scope="module")
def portable(tmp_path_factory, models):
    """Every model for all levels."""
    folder = tmp_path_factory.mktemp("portable")
    return {name: compile_to(folder, model, "portable") for name, model in models.items()}


@pytest.fixture(scope="module")
def program(portable, build_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    return build_program(folder / "program", SOURCE, "c++17", portable["dense"].object)


def outputs_of(loaded, model) -> list[bytes]:
    result = loaded(*make_inputs(model, ROWS))
    return [a.tobytes() for a in (result.values() if isinstance(result, dict) else [result])]


def call(*command: str | Path, **environment: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_api_and_dispatch_are_all_there_is(model, portable, tool):
    lines = subprocess.run(
        [tool("nm"), "-g", portable[model.name].object], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    symbols = Symbols.of(model.name, dispatches=True, composes=bool(model.static))
    assert {line.split()[-1] for line in lines} == set(symbols.names)
    assert len(symbols.names) == 4 + bool(model.static)


def test_weights_are_stored_once(tmp_path):
    model = poster("weights", (128, 128, 128, 3))

    manifest = read_manifest(compile_to(tmp_path, model, "portable").manifest)

    assert manifest.weights_bytes <= 1.02 * model.parameter_bytes
    assert (tmp_path / "weights.o").stat().st_size < manifest.weights_bytes + 300_000


def test_the_choice_is_all_that_is_ever_written(portable, tool):
    listing = subprocess.run(
        [tool("size"), "-A", portable["dense"].object], capture_output=True, text=True, check=True
    ).stdout
    sizes = {line.split()[0]: int(line.split()[1]) for line in listing.splitlines()[2:-2] if line}

    assert sizes.get(".bss") == 4
    assert sizes.get(".data", 0) == 0


@pytest.mark.parametrize("level", PORTABLE)
def test_each_level_is_the_code_for_that_level_alone(level, model, portable, tmp_path):
    if not runs(level):
        pytest.skip(f"needs a CPU with {level}")
    alone = compile_to(tmp_path, model, level).load()
    loaded = portable[model.name].load()

    loaded.set_max_isa(level)

    assert loaded.isa == level
    assert alone.isa == level
    assert outputs_of(loaded, model) == outputs_of(alone, model)


def test_levels_with_fma_give_the_same_bits(model, portable):
    if "x86-64-v4" not in HERE:
        pytest.skip("needs a CPU with x86-64-v4")
    loaded = portable[model.name].load()
    best = outputs_of(loaded, model)

    loaded.set_max_isa("x86-64-v3")

    assert outputs_of(loaded, model) == best


def test_best_level_is_chosen_and_comes_back(portable):
    loaded = portable["dense"].load()
    assert loaded.isa == HERE[-1]

    loaded.set_max_isa("x86-64-v2")
    assert loaded.isa == "x86-64-v2"
    loaded.set_max_isa(None)

    assert loaded.isa == HERE[-1]


def test_limit_below_all_levels_is_the_lowest(tmp_path, models):
    if "x86-64-v3" not in HERE:
        pytest.skip("needs a CPU with x86-64-v3")
    loaded = compile_to(tmp_path, models["dense"], "x86-64-v3,x86-64-v4").load()

    loaded.set_max_isa("x86-64-v2")

    assert loaded.isa == "x86-64-v3"


def test_environment_limits_python(portable, monkeypatch):
    monkeypatch.setenv("TFAOT_MAX_ISA", "x86-64-v2")
    assert portable["dense"].load().isa == "x86-64-v2"

    monkeypatch.setenv("TFAOT_MAX_ISA", "avx2")
    with pytest.raises(InputError, match=r"'avx2' is not known: use x86-64-v2, .*TFAOT_MAX_ISA"):
        portable["dense"].load()


def test_environment_limits_cpp(program):
    best = int(HERE[-1][-1])
    _, free = call(program)
    code, limited = call(program, TFAOT_MAX_ISA="x86-64-v2")

    assert free[0] == f"level {best}, status 0"
    assert (code, limited[0]) == (0, "level 2, status 0")
    values = [[float.fromhex(x) for x in lines[1].split()] for lines in (free, limited)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


@pytest.mark.parametrize("wrong", ["avx2", "x86-64-v5", "x86-64-v33", "x86-64-v"])
def test_unknown_level_in_the_environment_is_a_status(program, wrong):
    code, lines = call(program, TFAOT_MAX_ISA=wrong)

    assert code == 9
    assert lines[1] == "TFAOT_MAX_ISA is none of x86-64-v2, x86-64-v3, x86-64-v4"


def test_a_call_limits_cpp(program):
    code, lines = call(program, "2")

    assert (code, lines[:2]) == (0, ["limited to 2", "level 2, status 0"])


EMULATED = {
    "core2duo": (8, 0),  # no SSE4
    "Nehalem": (0, 2),
    "SandyBridge": (0, 2),  # AVX, but neither AVX2 nor FMA
    "max": (0, 3),
}


@pytest.mark.parametrize("cpu", EMULATED)
def test_other_cpus_choose_what_they_have(cpu, portable, tool, build_program, tmp_path):
    emulator = tool("qemu-x86_64")
    flags = ("-static",)
    program = build_program(
        tmp_path / "program", SOURCE, "c++17", portable["dense"].object, flags=flags
    )

    done = subprocess.run([emulator, "-cpu", cpu, program], capture_output=True, text=True)

    status, level = EMULATED[cpu]
    assert done.returncode == status, done.stderr
    assert done.stdout.splitlines()[0] == f"level {level}, status {status}"
    if status == 8:
        assert "none of the instruction sets" in done.stdout
