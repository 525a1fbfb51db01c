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

WIDTH = 400
LEFT, RIGHT = 72, 352  # of the plot, between names and numbers
ROW, HEAD, FOOT = 20, 22, 34
HEIGHT, TOP, BOTTOM = 250, 14, 212  # of charts with two axes
SIDE = 46  # where their plot begins
LABEL_CHARS = 52
TICKS = 5
Place = tuple[float, float, float, float]  # of a line: from x, y to x, y
GAP = 13  # between two labels, one above the other
SERIES = ("base", "sft", "dpo", "ppo", "champion")


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
    weight: float = 0.1


@dataclass(frozen=True)
class Line:
    """A curve by its name; a dashed one is told apart without colour."""

    name: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False


@dataclass(frozen=True)
class Scale:
    """From values to places on the paper."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values between both ends."""
        rough = (self.high - self.low) / TICKS
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= rough)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


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
    x = Scale(*(ends or _bounds(values)), LEFT, RIGHT)
    y, parts = 6.0, []
    for title, rows in groups:
        if title:
            parts.append(_word(0, y + 12, one_line(title, LABEL_CHARS)))
            y += HEAD
        for bar in rows:
            parts.extend(_bar(bar, x, y + ROW / 2))
            y += ROW
        y += 4
    grid = "".join(_vertical(x(tick), 4, y, "grid") for tick in x.ticks())
    ruled = "" if rule is None else _vertical(x(rule), 4, y, "rule")
    feet = "".join(_word(x(t), y + 14, _tick(t, x), "soft", "middle") for t in x.ticks())
    label = _word((LEFT + RIGHT) / 2, y + 29, axis, "soft", "middle") if axis else ""
    inside = f"{grid}{ruled}{''.join(parts)}{feet}{label}"
    return _picture(name, text, inside, y + (FOOT if axis else 20))


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
    x = Scale(*(ends[0] or _bounds(xs)), SIDE, WIDTH - 12)
    y = Scale(*(ends[1] or _bounds(ys)), BOTTOM, TOP)
    parts = [_frame(x, y, axes)]
    if has_diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        parts.append(_line(x(low), y(low), x(high), y(high), "rule"))
    parts.extend(_point(point, x, y) for point in points)
    parts.extend(_labels([point for point in points if point.series], x, y))
    return _picture(name, text, "".join(parts), HEIGHT)


def lines(name: str, text: str, series: str, curves: Sequence[Line], axis: str) -> Picture:
    """Curves over one axis, the name of each in a line above them."""
    points = [point for curve in curves for point in curve.points]
    x = Scale(*_bounds([p[0] for p in points], 0.0), SIDE, WIDTH - 12)
    y = Scale(*_bounds([p[1] for p in points]), BOTTOM, TOP + 16)
    parts = [_frame(x, y, (axis, ""))]
    place = float(SIDE)
    for curve in curves:
        look = f"bar {_series(series)}{' dashed' if curve.is_dashed else ''}"
        path = " ".join(f"{x(a)},{y(b)}" for a, b in curve.points)
        parts.append(f'<polyline class="{look}" points="{path}"/>')
        if len(curve.points) < 12:
            parts.extend(_dot(x(a), y(b), 2.5, series) for a, b in curve.points)
        parts.append(_line(place, 10, place + 22, 10, look))
        parts.append(_word(place + 27, 14, curve.name))
        place += 45 + 7 * len(curve.name)
    return _picture(name, text, "".join(parts), HEIGHT)


def _reach(bar: Bar) -> list[float]:
    return [bar.value, *_known(bar.low), *_known(bar.high), *(bar.wide or ())]


def _known(value: float | None) -> list[float]:
    return [] if value is None else [value]


def _bounds(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * margin or (0.0 if high > low else max(abs(high), 1.0) * 0.1)
    return low - room, high + room


def _bar(bar: Bar, x: Scale, y: float) -> Iterator[str]:
    yield _word(LEFT - 8, y + 4, bar.series, _own(bar.series), "end")
    if bar.wide:
        low, high = map(x, bar.wide)
        yield (
            f'<rect class="span {_series(bar.series)}" x="{low}" y="{y - 6}"'
            f' width="{round(high - low, 1)}" height="12" rx="2"/>'
        )
    if bar.low is not None and bar.high is not None:
        yield _line(x(bar.low), y, x(bar.high), y, f"bar {_series(bar.series)}")
    yield _dot(x(bar.value), y, 4, bar.series)
    yield _word(WIDTH - 2, y + 4, bar.shown, "", "end")


def _point(point: Point, x: Scale, y: Scale) -> str:
    look, px, py = f"bar {_series(point.series)}", x(point.x), y(point.y)
    across = _line(*_both(x, point.x_ends, py), look) if point.x_ends else ""
    up = _line(*_turned(_both(y, point.y_ends, px)), look) if point.y_ends else ""
    return f"{across}{up}{_dot(px, py, round(3 + 9 * math.sqrt(point.weight), 1), point.series)}"


def _both(scale: Scale, ends: tuple[float, float], other: float) -> Place:
    return scale(ends[0]), other, scale(ends[1]), other


def _turned(place: Place) -> Place:
    return place[1], place[0], place[3], place[2]


def _labels(points: Sequence[Point], x: Scale, y: Scale) -> Iterator[str]:
    """Beside their points, none over another: from the top down, moved as far as needed."""
    last = -math.inf
    for point in sorted(points, key=lambda own: y(own.y)):
        last = max(y(point.y) - 6, last + GAP)
        is_left = x(point.x) > WIDTH * 0.75
        place = x(point.x) + (-9 if is_left else 9)
        anchor = "end" if is_left else "start"
        yield _word(place, min(last, BOTTOM), point.series, _own(point.series), anchor)


def _frame(x: Scale, y: Scale, axes: tuple[str, str]) -> str:
    """Grid, ticks and the names of both axes; that of y stands above it."""
    across = "".join(_line(SIDE, y(t), WIDTH - 12, y(t), "grid") for t in y.ticks())
    rising = "".join(_word(SIDE - 6, y(t) + 4, _tick(t, y), "soft", "end") for t in y.ticks())
    feet = "".join(_word(x(t), BOTTOM + 15, _tick(t, x), "soft", "middle") for t in x.ticks())
    names = _word((SIDE + WIDTH) / 2, HEIGHT - 5, axes[0], "soft", "middle")
    middle = (TOP + BOTTOM) / 2
    turned = (
        f'<text class="soft" text-anchor="middle" transform="translate(10 {middle}) rotate(-90)">'
        f"{html.escape(axes[1])}</text>"
    )
    return f"{across}{rising}{feet}{names}{turned}"


def _tick(value: float, scale: Scale) -> str:
    steps = scale.ticks()
    step = steps[1] - steps[0] if len(steps) > 1 else 1.0
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _series(name: str) -> str:
    return name if name in SERIES else "ink"


def _own(name: str) -> str:
    return f"own {_series(name)}"


def _dot(x: float, y: float, radius: float, series: str) -> str:
    return f'<circle class="mark {_series(series)}" cx="{x}" cy="{y}" r="{radius}"/>'


def _vertical(x: float, top: float, bottom: float, look: str) -> str:
    return _line(x, top, x, bottom, look)


def _line(x: float, y: float, to_x: float, to_y: float, look: str) -> str:
    return f'<line class="{look}" x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}"/>'


def _word(x: float, y: float, text: str, look: str = "", anchor: str = "start") -> str:
    kind = f' class="{look}"' if look else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{kind}{place} x="{x}" y="{y}">{html.escape(text)}</text>' if text else ""


def _picture(name: str, text: str, inside: str, height: float) -> Picture:
    said = html.escape(one_line(text, 400))
    svg = (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{said}"'
        f' viewBox="0 0 {WIDTH} {height:g}">{inside}</svg>\n'
    )
    return Picture(name, text, svg, is_chart=True)
