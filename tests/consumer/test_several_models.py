"""Several models in one program, called from several threads."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from consumer_models import compile_to

HERE = Path(__file__).parent


def check(program):
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_models_share_a_program_and_threads(artifacts, standard, build_program, tmp_path):
    objects = [artifacts[name].object for name in ("dense", "several", "mixing")]

    program = build_program(
        tmp_path / "program", HERE / "both.cpp", standard, *objects, flags=("-pthread",)
    )

    check(program)


def test_one_model_under_two_names(artifacts, models, build_program, tmp_path):
    twin = compile_to(tmp_path, models["dense"], name="dense_twin")
    objects = [artifacts["dense"].object, twin.object, artifacts["several"].object]

    check(build_program(tmp_path / "program", HERE / "both.c", "c11", *objects))


@pytest.mark.parametrize("target", ["x86-64-v3", "portable"])
def test_batch_rules_from_cpp(models, target, build_program, tmp_path):
    objects = [compile_to(tmp_path, models[name], target).object for name in ("dense", "stitched")]

    check(build_program(tmp_path / "program", HERE / "rules.cpp", "c++17", *objects))
