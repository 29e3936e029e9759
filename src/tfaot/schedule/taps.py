"""Taps: which elements of its input a convolution meets, dimension by dimension.

A tap is an element of the window. Input: a window over a dimension. Output: `Axis`, affine in the
output position and in the number of the tap. With a dilated base (a transposed convolution) the
taps that fall between the input's elements differ from one output position to the next, with a
period: each phase of that period is an ordinary convolution of its own, with fewer taps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tfaot.ir.attributes import WindowDimension
from tfaot.ir.shapes import fixed


@dataclass(frozen=True)
class Axis:
    """One phase of a windowed dimension.

    Position q of the phase is output `start + step * q`; its tap t meets the input's element
    `stride * q + first + spacing * t` (padding where that lies outside), and is the window's
    element `weight + weight_step * t`.

    Attributes:
        size: elements of the input.
        positions: of this phase.
        start: see above.
        step: see above.
        stride: see above.
        taps: of this phase, maybe none.
        first: see above.
        spacing: see above.
        weight: see above.
        weight_step: see above.
    """

    size: int
    positions: int
    start: int
    step: int
    stride: int
    taps: int
    first: int
    spacing: int
    weight: int
    weight_step: int

    @property
    def lowest(self) -> int:
        """The first element met, negative in padding."""
        return self.first

    @property
    def highest(self) -> int:
        """The last element met, `size` or more in padding."""
        return self.stride * (self.positions - 1) + self.first + self.spacing * (self.taps - 1)

    @property
    def is_inside(self) -> bool:
        """Whether no tap falls into padding."""
        return self.lowest >= 0 and self.highest < self.size

    @property
    def is_run(self) -> bool:
        """Whether taps meet neighbouring elements with neighbouring weights."""
        return self.spacing == 1 and self.weight_step == 1


def phases(size: int, outputs: int, window: WindowDimension) -> list[Axis]:
    """The phases of a dimension of `size` elements with `outputs` window positions."""
    base, dilation = window.base_dilation, window.window_dilation
    period = base // math.gcd(window.stride, base)
    found = []
    for phase in range(min(period, outputs)):
        origin = phase * window.stride - fixed(window.padding_low)
        hits = [k for k in range(fixed(window.size)) if (origin + k * dilation) % base == 0]
        first = hits[0] if hits else 0
        between = base // math.gcd(dilation, base)
        found.append(
            Axis(
                size=size,
                positions=-(-(outputs - phase) // period),
                start=phase,
                step=period,
                stride=window.stride * period // base,
                taps=len(hits),
                first=(origin + first * dilation) // base,
                spacing=dilation * between // base,
                weight=fixed(window.size) - 1 - first if window.reversal else first,
                weight_step=-between if window.reversal else between,
            )
        )
    return found
