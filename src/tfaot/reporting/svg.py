"""Charts: where their rectangles, lines and words go.

Input: what is shown, in its own units. Output: shapes in pixels, which `charts.svg.j2` writes as
inline SVG. Colours are the page's, so that charts follow dark and light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

COLOURS = 6
_CHARACTER = 6.3
"""Width of a character of 11 px in pixels, on average."""


@dataclass(frozen=True)
class Rect:
    """A rectangle with a title for hovering, and a label where it is large enough for one."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    title: str
    label: str = ""


@dataclass(frozen=True)
class Text:
    """Words at a point; `anchor` is SVG's: start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    link: str = ""
    title: str = ""


@dataclass(frozen=True)
class Line:
    """A path, drawn as the CSS class says; `title` for hovering."""

    path: str
    css: str = "grid"
    title: str = ""


@dataclass(frozen=True)
class Dot:
    """A measured point."""

    x: float
    y: float
    title: str


@dataclass
class Chart:
    """A picture of a size, with what it shows in one sentence."""

    name: str
    alt: str
    width: int
    height: int
    rects: list[Rect] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)


@dataclass(frozen=True)
class Span:
    """A buffer of a memory map: bytes from `offset` on, in use from kernel `first` to `last`."""

    offset: int
    size: int
    first: int
    last: int
    label: str
    title: str


def memory_map(name: str, alt: str, spans: Sequence[Span], total: int, kernels: int) -> Chart:
    """Buffers over kernels: time to the right, addresses upwards.

    Args:
        name: unique on the page.
        alt: the picture in one sentence.
        spans: the buffers; kernels count from 0.
        total: bytes of the workspace.
        kernels: how many there are.
    """
    chart = Chart(name, alt, 960, 330)
    left, right, top, bottom = 70.0, 950.0, 10.0, 290.0
    step = (right - left) / max(kernels, 1)
    unit = (bottom - top) / max(total, 1)
    for value in _ticks(total, 4):
        y = bottom - value * unit
        chart.lines.append(Line(f"M{_n(left)} {_n(y)}H{_n(right)}"))
        chart.texts.append(Text(left - 6, y + 4, _bytes(value), "end"))
    every = max(1, math.ceil(kernels / 20))
    for number in range(0, kernels, every):
        chart.texts.append(Text(left + (number + 0.5) * step, bottom + 16, str(number)))
    chart.texts.append(Text((left + right) / 2, bottom + 34, "kernel"))
    for number, span in enumerate(spans):
        x, width = left + span.first * step, (span.last - span.first + 1) * step
        height = span.size * unit
        fits = len(span.label) * _CHARACTER < width - 4 and height >= 13
        chart.rects.append(
            Rect(
                x + 0.5,
                bottom - (span.offset + span.size) * unit,
                max(width - 1, 0.5),
                height,
                number % COLOURS,
                span.title,
                span.label if fits else "",
            )
        )
    return chart


@dataclass(frozen=True)
class Point:
    """A measured value with its band."""

    x: float
    y: float
    low: float
    high: float
    title: str


def line_chart(
    name: str, alt: str, points: Sequence[Point], x_title: str, y_title: Callable[[float], str]
) -> Chart:
    """Points joined by a line, over a band; both axes logarithmic, all values positive.

    Args:
        name: unique on the page.
        alt: the picture in one sentence.
        points: by ascending x.
        x_title: under the axis.
        y_title: the text of a value at the axis.
    """
    chart = Chart(name, alt, 470, 300)
    left, right, top, bottom = 66.0, 456.0, 12.0, 248.0
    x_low, x_high = _log_range([p.x for p in points], 2.0)
    values = [v for p in points for v in (p.low, p.high, p.y)]
    y_low, y_high = _log_range(values, 10 ** (1 / 3))

    def x_of(value: float) -> float:
        return left + (right - left) * (math.log(value) - x_low) / (x_high - x_low)

    def y_of(value: float) -> float:
        return bottom - (bottom - top) * (math.log(value) - y_low) / (y_high - y_low)

    for value in _log_ticks(y_low, y_high):
        chart.lines.append(Line(f"M{_n(left)} {_n(y_of(value))}H{_n(right)}"))
        chart.texts.append(Text(left - 6, y_of(value) + 4, y_title(value), "end"))
    for point in points:
        chart.lines.append(Line(f"M{_n(x_of(point.x))} {_n(top)}V{_n(bottom)}"))
        chart.texts.append(Text(x_of(point.x), bottom + 16, f"{point.x:g}"))
    chart.texts.append(Text((left + right) / 2, bottom + 36, x_title))
    upper = [f"{_n(x_of(p.x))} {_n(y_of(p.high))}" for p in points]
    lower = [f"{_n(x_of(p.x))} {_n(y_of(p.low))}" for p in reversed(points)]
    chart.lines.append(Line("M" + "L".join([*upper, *lower]) + "Z", "band"))
    middle = [f"{_n(x_of(p.x))} {_n(y_of(p.y))}" for p in points]
    chart.lines.append(Line("M" + "L".join(middle), "line"))
    chart.dots += [Dot(x_of(p.x), y_of(p.y), p.title) for p in points]
    return chart


@dataclass(frozen=True)
class Node:
    """A row of a flow chart: `reads` are rows above it."""

    label: str
    title: str
    reads: tuple[int, ...]
    link: str = ""
    colour: int = 0


def flow_chart(name: str, alt: str, nodes: Sequence[Node]) -> Chart:
    """Who reads whose results: one row each, arcs on the left from the writer down to the reader.

    Args:
        name: unique on the page.
        alt: the picture in one sentence.
        nodes: in the order in which they run.
    """
    row, left = 22.0, 100.0
    chart = Chart(name, alt, 960, int(row * max(len(nodes), 1) + 8))

    def middle(number: int) -> float:
        return 4 + row * (number + 0.5)

    for number, node in enumerate(nodes):
        y = middle(number)
        for source in node.reads:
            above, hops = middle(source), number - source
            title = f"{node.title} reads {nodes[source].title}"
            if hops == 1:
                path = f"M{_n(left)} {_n(above + 5)}V{_n(y - 5)}"
            else:
                reach = left - min(left - 8, 14 + 11 * math.sqrt(hops))
                path = (
                    f"M{_n(left - 6)} {_n(above)}C{_n(reach)} {_n(above)} "
                    f"{_n(reach)} {_n(y)} {_n(left - 6)} {_n(y)}"
                )
            chart.lines.append(Line(path, "arc", title))
        chart.rects.append(Rect(left - 5, y - 5, 10, 10, node.colour, node.title))
        chart.texts.append(Text(left + 16, y + 4, node.label, "start", node.link))
    return chart


def _n(value: float) -> str:
    """A coordinate with one digit behind the point."""
    return f"{value:.1f}".removesuffix(".0")


def _ticks(most: float, count: int) -> list[float]:
    """Round values from 0 up to `most`."""
    if most <= 0:
        return [0.0]
    rough = most / count
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * m for m in (1, 2, 5, 10) if size * m >= rough)
    return [n * step for n in range(int(most / step * 1.0001) + 1)]


def _bytes(count: float) -> str:
    from tfaot.reporting.text import byte_text

    return byte_text(count) if count else "0"


def _log_range(values: Sequence[float], margin: float) -> tuple[float, float]:
    low, high = math.log(min(values)), math.log(max(values))
    if high - low < 1e-9:
        return low - math.log(margin), high + math.log(margin)
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between two logarithms; powers of ten alone where many."""
    first, last = math.floor(low / math.log(10)), math.ceil(high / math.log(10))
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**e for e in range(first, last + 1) for f in factors]
        found = [v for v in found if low <= math.log(v) <= high]
        if len(found) <= 7:
            break
    if len(found) < 2:
        low, high = math.exp(low), math.exp(high)
        found = [v for v in _ticks(high, 8) if v >= low]
    return found
