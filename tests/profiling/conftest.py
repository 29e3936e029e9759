from __future__ import annotations

from pathlib import Path

import pytest
from consumer_models import compile_to, fixed, poster, several

from tfaot.profiling.config import Settings, make_settings


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the artifacts of three small models, made without TensorFlow."""
    folder = tmp_path_factory.mktemp("compiled")
    for model in (poster("dense", (9, 20, 33, 3)), several(), fixed()):
        compile_to(folder, model)
    return folder


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folder that all tests share."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def settings(compiled: Path, work: Path, tmp_path: Path):
    """Makes settings for the dense model, with few repetitions of runtimes alone."""

    def make(models=None, **options) -> Settings:
        given = {
            "engines": ["tfaot"],
            "batch_sizes": [1, 3],
            "repetitions": 4,
            "measure": ["runtime"],
            "work": work,
            "output": tmp_path / "out",
            **options,
        }
        return make_settings(models or compiled / "dense.json", **given)

    return make
