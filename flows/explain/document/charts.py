"""Charts as plain SVG, 400 units wide, so that a phone shows their words in nearly full size.

A page holds them as they are and gives them its colours (see `style`); a series is a class, and its
name stands beside its marks, so that nothing is told by colour alone.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flows.explain.compare.text import one_line
from flows.explain.document.parts import Picture
from flows.explain.document.svg import (
    WIDTH,
    Scale,
    bounds,
    dot,
    ink,
    line,
    own_ink,
    picture,
    tick,
    word,
)

LEFT, RIGHT = 72, 352  # of the plot, between names and numbers
ROW, HEAD, FOOT = 20, 22, 34
HEIGHT, TOP, BOTTOM = 250, 14, 212  # of charts with two axes
SIDE = 46  # where their plot begins
LABEL_CHARS = 52
GAP = 13  # between two labels, one above the other
RING, BESIDE = 9.0, 2.5  # dots so near are rings, by so much wider; so far are their lines apart
LABEL = 14  # from a point to its name


@dataclass(frozen=True)
class Bar:
    """A value with its interval, in the row of a series. `wide`: a lighter, wider span."""

    series: str
    value: float
    low: float | None = None
    high: float | None = None
    shown: str = ""
    wide: tuple[float, float] | None = None


@dataclass(frozen=True)
class Point:
    """A point with its intervals (x, then y); `weight` in [0, 1] makes it larger."""

    series: str
    x: float
    y: float
    x_ends: tuple[float, float] | None = None
    y_ends: tuple[float, float] | None = None
    weight: float = 0.02

    @property
    def radius(self) -> float:
        return round(3 + 9 * math.sqrt(self.weight), 1)


@dataclass(frozen=True)
class Line:
    """A curve by its name; a dashed one is told apart without colour."""

    name: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False


def bars(
    name: str,
    text: str,
    groups: Sequence[tuple[str, Sequence[Bar]]],
    ends: tuple[float, float] | None = None,
    rule: float | None = None,
    axis: str = "",
) -> Picture:
    """Values side by side, a row each, under the names of their groups. `rule`: a line at a value
    that means nothing happened; `ends`: of the axis, where they are known.
    """
    values = [v for _, rows in groups for bar in rows for v in _reach(bar)] + _known(rule)
    x = Scale(*(ends or bounds(values)), LEFT, RIGHT)
    y, parts = 6.0, []
    for title, rows in groups:
        if title:
            parts.append(word(0, y + 12, one_line(title, LABEL_CHARS)))
            y += HEAD
        for bar in rows:
            parts.extend(_bar(bar, x, y + ROW / 2))
            y += ROW
        y += 4
    grid = "".join(line(x(t), 4, x(t), y, "grid") for t in x.ticks())
    ruled = "" if rule is None else line(x(rule), 4, x(rule), y, "rule")
    feet = "".join(word(x(t), y + 14, tick(t, x), "soft", "middle") for t in x.ticks())
    label = word((LEFT + RIGHT) / 2, y + 29, axis, "soft", "middle") if axis else ""
    inside = f"{grid}{ruled}{''.join(parts)}{feet}{label}"
    return picture(name, text, inside, y + (FOOT if axis else 20))


def scatter(
    name: str,
    text: str,
    points: Sequence[Point],
    axes: tuple[str, str],
    ends: tuple[tuple[float, float] | None, tuple[float, float] | None] = (None, None),
    has_diagonal: bool = False,
) -> Picture:
    """Points over two axes, each with its name; `has_diagonal`: a line where both are equal."""
    xs = [v for p in points for v in (p.x, *(p.x_ends or ()))]
    ys = [v for p in points for v in (p.y, *(p.y_ends or ()))]
    x = Scale(*(ends[0] or bounds(xs)), SIDE, WIDTH - 12)
    y = Scale(*(ends[1] or bounds(ys)), BOTTOM, TOP)
    parts = [_frame(x, y, axes)]
    if has_diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        parts.append(line(x(low), y(low), x(high), y(high), "rule"))
    near = _near(points, x, y)
    for point, (below, _) in zip(points, near, strict=True):
        parts.extend(_intervals(point, below * BESIDE, x, y))
    for point, (_, above) in zip(points, near, strict=True):
        radius = round(point.radius + above * BESIDE, 1)
        parts.append(dot(x(point.x), y(point.y), radius, point.series))
    parts.extend(_labels([point for point in points if point.series], x, y))
    return picture(name, text, "".join(parts), HEIGHT)


def lines(name: str, text: str, series: str, curves: Sequence[Line], axis: str) -> Picture:
    """Curves over one axis, the name of each in a line above them."""
    points = [point for curve in curves for point in curve.points]
    x = Scale(*bounds([p[0] for p in points], 0.0), SIDE, WIDTH - 12)
    y = Scale(*bounds([p[1] for p in points]), BOTTOM, TOP + 16)
    parts = [_frame(x, y, (axis, ""))]
    place = float(SIDE)
    for curve in curves:
        look = f"bar {ink(series)}{' dashed' if curve.is_dashed else ''}"
        path = " ".join(f"{x(a)},{y(b)}" for a, b in curve.points)
        parts.append(f'<polyline class="{look}" points="{path}"/>')
        if len(curve.points) < 12:
            parts.extend(dot(x(a), y(b), 2.5, series) for a, b in curve.points)
        parts.append(line(place, 10, place + 22, 10, look))
        parts.append(word(place + 27, 14, curve.name))
        place += 45 + 7 * len(curve.name)
    return picture(name, text, "".join(parts), HEIGHT)


def _reach(bar: Bar) -> list[float]:
    return [bar.value, *_known(bar.low), *_known(bar.high), *(bar.wide or ())]


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _bar(bar: Bar, x: Scale, y: float) -> Iterator[str]:
    yield word(LEFT - 8, y + 4, bar.series, own_ink(bar.series), "end")
    if bar.wide:
        low, high = map(x, bar.wide)
        yield (
            f'<rect class="span {ink(bar.series)}" x="{low}" y="{y - 6}"'
            f' width="{round(high - low, 1)}" height="12" rx="2"/>'
        )
    if bar.low is not None and bar.high is not None:
        yield line(x(bar.low), y, x(bar.high), y, f"bar {ink(bar.series)}")
    yield dot(x(bar.value), y, 4, bar.series)
    yield word(WIDTH - 2, y + 4, bar.shown, "", "end")


def _near(points: Sequence[Point], x: Scale, y: Scale) -> list[tuple[int, int]]:
    """How many dots lie under each, and how many on it, of the points of other series."""
    places = [(x(point.x), y(point.y)) for point in points]
    near = [
        [k for k, other in enumerate(places) if points[n].series and math.dist(own, other) < RING]
        for n, own in enumerate(places)
    ]
    return [(sum(k < n for k in own), sum(k > n for k in own)) for n, own in enumerate(near)]


def _intervals(point: Point, aside: float, x: Scale, y: Scale) -> Iterator[str]:
    """A line across and one up at the point's values, beside those of the dots below it."""
    px, py, look = x(point.x) + aside, y(point.y) + aside, f"bar {ink(point.series)}"
    if point.x_ends:
        yield line(x(point.x_ends[0]), py, x(point.x_ends[1]), py, look)
    if point.y_ends:
        yield line(px, y(point.y_ends[0]), px, y(point.y_ends[1]), look)


def _labels(points: Sequence[Point], x: Scale, y: Scale) -> Iterator[str]:
    """Beside their points and those near these, none over another: from the top down, moved as far
    as needed.
    """
    last = -math.inf
    places = [(x(point.x), y(point.y)) for point in points]
    for own, point in sorted(zip(places, points, strict=True), key=lambda pair: pair[0][1]):
        last = max(own[1] - 6, last + GAP)
        near = [other[0] for other in places if math.dist(own, other) < 3 * RING]
        is_left = own[0] > WIDTH * 0.75
        place = min(near) - LABEL if is_left else max(near) + LABEL
        anchor = "end" if is_left else "start"
        yield word(place, min(last, BOTTOM), point.series, own_ink(point.series), anchor)


def _frame(x: Scale, y: Scale, axes: tuple[str, str]) -> str:
    """Grid, ticks and the names of both axes; that of y stands above it."""
    across = "".join(line(SIDE, y(t), WIDTH - 12, y(t), "grid") for t in y.ticks())
    rising = "".join(word(SIDE - 6, y(t) + 4, tick(t, y), "soft", "end") for t in y.ticks())
    feet = "".join(word(x(t), BOTTOM + 15, tick(t, x), "soft", "middle") for t in x.ticks())
    names = word((SIDE + WIDTH) / 2, HEIGHT - 5, axes[0], "soft", "middle")
    middle = (TOP + BOTTOM) / 2
    turned = (
        f'<text class="soft" text-anchor="middle" transform="translate(10 {middle}) rotate(-90)">'
        f"{html.escape(axes[1])}</text>"
    )
    return f"{across}{rising}{feet}{names}{turned}"
