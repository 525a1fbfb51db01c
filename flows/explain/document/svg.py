"""The parts of a chart in SVG, 400 units wide: a scale, lines, dots and words.

A series is a class, which gives it its colour (see `style`).
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from flows.explain.compare.text import one_line
from flows.explain.document.parts import Picture

WIDTH = 400
TICKS = 5
SERIES = ("base", "sft", "dpo", "ppo", "champion")


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


def bounds(values: Sequence[float], margin: float = 0.06) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * margin or (0.0 if high > low else max(abs(high), 1.0) * 0.1)
    return low - room, high + room


def tick(value: float, scale: Scale) -> str:
    steps = scale.ticks()
    step = steps[1] - steps[0] if len(steps) > 1 else 1.0
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def ink(name: str) -> str:
    """The class of a series."""
    return name if name in SERIES else "ink"


def own_ink(name: str) -> str:
    """The class of a word in the colour of its series."""
    return f"own {ink(name)}"


def dot(x: float, y: float, radius: float, series: str) -> str:
    return f'<circle class="mark {ink(series)}" cx="{x}" cy="{y}" r="{radius}"/>'


def line(x: float, y: float, to_x: float, to_y: float, look: str) -> str:
    return f'<line class="{look}" x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}"/>'


def word(x: float, y: float, text: str, look: str = "", anchor: str = "start") -> str:
    kind = f' class="{look}"' if look else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text{kind}{place} x="{x}" y="{y}">{html.escape(text)}</text>' if text else ""


def picture(name: str, text: str, inside: str, height: float) -> Picture:
    said = html.escape(one_line(text, 400))
    svg = (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{said}"'
        f' viewBox="0 0 {WIDTH} {height:g}">{inside}</svg>\n'
    )
    return Picture(name, text, svg, is_chart=True)
