from __future__ import annotations

import numpy as np
import pytest

from tfaot.engines import BoundCall
from tfaot.profiling.timing import SECONDS, Spread, Timing, calls_for, mismatch


def test_a_spread_has_the_median_and_the_percentiles_of_one_standard_deviation() -> None:
    spread = Spread.of([float(v) for v in range(101)])
    assert (spread.median, spread.low, spread.high, spread.least) == (50, 16, 84, 0)


def test_a_timing_lasts_about_as_long_for_fast_and_slow_calls() -> None:
    assert calls_for(SECONDS / 100) == 100
    assert calls_for(10 * SECONDS) == 1
    assert calls_for(0.0) > 1000


@pytest.mark.parametrize("cost", [1e-6, 1e-4, 1.0])
def test_a_timing_makes_as_many_calls_as_fit(cost: float) -> None:
    made = 0

    def loop(calls: int) -> float:
        nonlocal made
        made += calls
        return calls * cost

    timing = Timing(BoundCall(lambda: None, list, loop=loop))
    assert timing.calls == max(1, round(SECONDS / cost))
    made = 0
    assert timing.take() == pytest.approx(cost)
    assert made == timing.calls


def test_outputs_that_agree_are_no_mismatch() -> None:
    wanted = [np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3), np.array([1, 2])]
    assert mismatch([wanted[0] + np.float32(1e-6), wanted[1]], wanted) == ""
    assert mismatch([wanted[0].view(np.uint8).ravel(), wanted[1]], wanted) == ""


def test_what_is_undefined_is_so_in_both() -> None:
    wanted = np.array([np.nan, np.inf, 1.0], np.float32)
    assert mismatch([wanted.copy()], [wanted]) == ""
    for other in ([np.nan, np.inf, np.nan], [0.0, np.inf, 1.0], [np.nan, -np.inf, 1.0]):
        assert mismatch([np.array(other, np.float32)], [wanted]).startswith("output 0 is off by")


def test_a_mismatch_tells_what_is_wrong() -> None:
    wanted = [np.ones((2, 3), np.float32)]
    assert mismatch([], wanted) == "0 outputs instead of 1"
    assert mismatch([np.ones((3, 2), np.float32)], wanted).startswith("output 0 has the shape")
    assert mismatch([np.full((2, 3), 1.01, np.float32)], wanted).startswith("output 0 is off by")
    assert mismatch([np.full((2, 3), np.nan, np.float32)], wanted).startswith("output 0 is off")
    assert mismatch([np.array([2])], [np.array([1])]) == "output 0 differs"
