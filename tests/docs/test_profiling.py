"""The commands of docs/profiling.md run, on the model that they speak of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from consumer_models import compile_to, poster

from tfaot.engines.native import find_compiler

PAGE = Path(__file__).parents[2] / "docs" / "profiling.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """out/tagger.json, rows.npz, events.root, profile.yaml, and a program `tfaot`."""
    uproot = pytest.importorskip("uproot", reason="pip install 'tfaot[profile]'")
    awkward = pytest.importorskip("awkward")
    folder = tmp_path_factory.mktemp("profiling")
    compile_to(folder / "out", poster("tagger", (4, 16, 2)))
    np.savez(folder / "rows.npz", features=np.ones((5, 4), np.float32))
    with uproot.recreate(folder / "events.root") as file:
        met = np.arange(3.0)
        jets = awkward.Array([[1.0], [], [2.0, 3.0, 4.0]])
        file["Events"] = {"MET_pt": met, "MET_phi": met, "Jet_pt": jets}
    (settings,) = blocks("yaml")
    (folder / "profile.yaml").write_text(settings)
    program = folder / "bin" / "tfaot"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tfaot "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler: apt-get install gcc")
def test_commands_run(folder: Path) -> None:
    pytest.importorskip("matplotlib", reason="pip install 'tfaot[profile]'")
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    for block in blocks("sh"):
        done = subprocess.run(
            ["sh", "-e", "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert done.stderr == "", block
    for name in ("profile", "both", "from-npz", "from-root"):
        assert (folder / name / "profile.json").exists()
    for name in ("plots/runtime.png", "plots/memory-parts.pdf", "compared/runtime.pdf"):
        assert (folder / name).exists()
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("tfaot 1 ")


def test_every_engine_is_listed() -> None:
    from tfaot.profiling.config import all_engines

    text = PAGE.read_text(encoding="utf-8")
    for name in all_engines():
        assert f"`{name}`" in text, name


def test_every_key_of_a_model_is_listed() -> None:
    from dataclasses import fields

    from tfaot.profiling.config import ModelSettings, Settings

    (settings,) = blocks("yaml")
    for field in fields(ModelSettings):
        assert re.search(rf"\b{field.name}\b", settings), field.name
    for field in fields(Settings):
        assert re.search(rf"^{field.name}:", settings, re.M) or field.name == "work", field.name
