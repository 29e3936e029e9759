"""One worker for all checks, and TensorFlow in this process to make models with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tfaot.frontend.session import TensorFlowSession


@pytest.fixture(scope="session")
def session() -> Iterator[TensorFlowSession]:
    pytest.importorskip("tensorflow")
    with TensorFlowSession() as running:
        yield running


@pytest.fixture(scope="session")
def tf() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def keras(tf: Any) -> Any:
    module = pytest.importorskip("keras")
    module.utils.set_random_seed(1)
    return module
