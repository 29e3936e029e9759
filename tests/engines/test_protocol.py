"""What another project's code raises reaches the user as one line that names the engine."""

from __future__ import annotations

import pytest

from tfaot.engines import EngineError
from tfaot.engines.protocol import reported


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("no kernel"), "Engine: no kernel"),
        (ValueError("first\n\n   second\n"), "Engine: first second"),
        (TypeError(), "Engine: TypeError"),
    ],
)
def test_a_foreign_error_is_one_line_that_names_the_engine(error: Exception, text: str) -> None:
    with pytest.raises(EngineError) as caught, reported("Engine"):
        raise error
    assert str(caught.value) == text
    assert caught.value.__cause__ is error


def test_a_long_error_is_cut() -> None:
    with pytest.raises(EngineError) as caught, reported("Engine"):
        raise RuntimeError("x" * 100_000)
    assert len(str(caught.value)) <= 320
    assert str(caught.value).endswith("x...")


def test_an_error_of_an_engine_stays_what_it_is() -> None:
    error = EngineError("Inner: no batch 3")
    with pytest.raises(EngineError) as caught, reported("Engine"):
        raise error
    assert caught.value is error
    assert str(error) == "Inner: no batch 3"


def test_an_interruption_is_no_error_of_the_engine() -> None:
    with pytest.raises(KeyboardInterrupt), reported("Engine"):
        raise KeyboardInterrupt


def test_without_an_error_nothing_happens() -> None:
    with reported("Engine"):
        result = 7
    assert result == 7
