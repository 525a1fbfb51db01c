"""Charts in SVG: no mark covers another."""

from __future__ import annotations

import re
from itertools import pairwise

from flows.explain.document.charts import Point, scatter
from flows.explain.document.svg import SERIES

DOT = re.compile(r'<circle class="mark (\w+)" cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"/>')
LINE = re.compile(r'<line class="bar \w+" x1="([\d.]+)" y1="([\d.]+)"')


def test_points_at_one_place_are_rings_with_lines_of_their_own() -> None:
    same = [Point(name, 1.0, 2.0, (0.5, 1.5), (1.5, 2.5)) for name in SERIES]
    svg = scatter("a.svg", "a", [*same, Point("", 1.0, 2.0), Point("", 0.6, 1.6)], ("x", "y")).svg
    dots = [(name, float(radius)) for name, _, _, radius in DOT.findall(svg)]
    assert [name for name, _ in dots[: len(SERIES)]] == list(SERIES)
    radii = [radius for _, radius in dots[: len(SERIES)]]
    assert all(outer - inner > 2 for outer, inner in pairwise(radii))
    assert len({(x, y) for _, x, y, _ in DOT.findall(svg)[: len(SERIES)]}) == 1
    assert dots[-1][1] == Point("", 0, 0).radius
    assert len(set(LINE.findall(svg))) == 2 * len(SERIES)
