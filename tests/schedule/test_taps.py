"""Taps: every meeting of a window's element with an input's element, and no hole."""

import itertools

import pytest

from tfaot.ir.attributes import WindowDimension as W
from tfaot.schedule.taps import phases

OPTIONS = list(itertools.product((1, 2, 5), (1, 2, 3), (-1, 0, 2), (1, 2), (1, 2, 3, 4), (0, 1)))


def _expected(size, outputs, w):
    """(output, weight, input) by definition, holes of the dilated base left out."""
    for position, tap in itertools.product(range(outputs), range(w.size)):
        place = position * w.stride + tap * w.window_dilation - w.padding_low
        if place % w.base_dilation == 0:
            weight = w.size - 1 - tap if w.reversal else tap
            yield position, weight, place // w.base_dilation


def _found(axes):
    for a in axes:
        for q, t in itertools.product(range(a.positions), range(a.taps)):
            weight = a.weight + t * a.weight_step
            yield a.start + a.step * q, weight, a.stride * q + a.first + a.spacing * t


@pytest.mark.parametrize("window_size", [1, 2, 4])
def test_phases_cover_all_taps_in_order(window_size):
    for stride, low_step, low, dilation, base, reversal in OPTIONS:
        w = W(window_size, stride, low * low_step, 3, dilation, base, bool(reversal))
        size = 7
        room = (size - 1) * base + 1 + w.padding_low + w.padding_high
        outputs = max((room - (window_size - 1) * dilation - 1) // stride + 1, 0)
        axes = phases(size, outputs, w)
        assert sum(a.positions for a in axes) == outputs
        assert sorted(_found(axes)) == sorted(_expected(size, outputs, w))
        for a in axes:
            met = [i for _, _, i in _found([a])]
            if met:
                assert a.is_inside == all(0 <= i < size for i in met)
                assert (min(met), max(met)) == (a.lowest, a.highest)
