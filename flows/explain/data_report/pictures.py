"""The report's drawings, as SVG that is readable on light and on dark paper.

matplotlib is imported inside: it costs a second. No display is used.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows.explain.data_report.report import DataReport, DataRow
from flows.explain.document.parts import Picture
from tasks.generation.teaching import AUTHORITY, NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 24
LONGEST = 0.98  # longer answers than this share of all are drawn in the last bin
COLOURS = {"people": "#8a63c9", "program": "#2f8f83", "judge": "#d98a2b", "none": "#8b9099"}
CHOSEN, REJECTED = "#2f8f83", "#d98a2b"
INK = "#010203"  # stands for the ink of the reader's paper
STYLE = (
    "<style>svg{color:#22252b}@media (prefers-color-scheme:dark){svg{color:#dfe1e5}}</style><defs>"
)


def pictures(report: DataReport) -> dict[str, list[Picture]]:
    """What there is to draw, by what it is about."""
    if not report.rows:
        return {}
    drawn = {"lengths": [_lengths(report.rows)]}
    if any(facts.by for facts in report.principles):
        drawn["evidence"] = [_evidence(report)]
    given = [label.preference for row in report.rows for label in row.labels]
    if any(0 < value < 1 for value in given):
        drawn["preferences"] = [_preferences(given)]
    return drawn


def _lengths(rows: Sequence[DataRow]) -> Picture:
    sides = {"response": [len(row.chosen.split()) for row in rows]}
    if rows[0].rejected is not None:
        sides = {"chosen": sides["response"]}
        sides["rejected"] = [len((row.rejected or "").split()) for row in rows]
    every = sorted(length for side in sides.values() for length in side)
    most = max(every[int(LONGEST * (len(every) - 1))], 1)
    figure, axes = _figure(len(sides))
    for panel, (name, found), colour in zip(axes, sides.items(), (CHOSEN, REJECTED), strict=False):
        shown = [min(length, most) for length in found]
        panel.hist(shown, bins=BINS, range=(0, most), color=colour)
        panel.axvline(_median(found), color=INK, linewidth=1.2, linestyle="--")
        panel.set(title=name, ylabel="rows")
    axes[-1].set_xlabel("words (dashed: median)")
    said = [f"{name} {_median(found):g} words" for name, found in sides.items()]
    return Picture("lengths.svg", f"Lengths; medians: {', '.join(said)}", _svg(figure))


def _evidence(report: DataReport) -> Picture:
    kinds = [by for by in (*AUTHORITY, NONE) if any(by in p.by for p in report.principles)]
    principles = sorted(report.principles, key=lambda facts: sum(facts.by.values()))
    figure, (axes,) = _figure(1, 0.9 + 0.32 * len(principles))
    left = [0] * len(principles)
    for kind in kinds:
        counts = [facts.by.get(kind, 0) for facts in principles]
        names = [facts.slug for facts in principles]
        axes.barh(names, counts, left=left, color=COLOURS[kind], label=kind)
        left = [a + b for a, b in zip(left, counts, strict=True)]
    axes.set_xlabel("pairs to train on")
    axes.locator_params(axis="x", integer=True)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=len(kinds), frameon=False, labelcolor=INK
    )
    said = [f"{kind} {sum(p.by.get(kind, 0) for p in principles)}" for kind in kinds]
    return Picture("evidence.svg", f"Evidence by principle: {', '.join(said)}", _svg(figure))


def _preferences(given: Sequence[float]) -> Picture:
    figure, (axes,) = _figure(1)
    axes.hist(given, bins=20, range=(0, 1), color=CHOSEN)
    axes.set(xlabel="probability that the chosen response is better", ylabel="labels")
    mean = sum(given) / len(given)
    return Picture("preferences.svg", f"Preferences of the labels, mean {mean:.2f}", _svg(figure))


def _median(values: Sequence[int]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _figure(panels: int, height: float = 2.6) -> tuple[Figure, list[Axes]]:
    """Panels one above the other, 5 inches wide so that a phone need not shrink them by much."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, height if panels == 1 else 2.0 * panels), layout="constrained")
    first: Axes | None = None
    axes = []
    for number in range(panels):
        panel = figure.add_subplot(panels, 1, number + 1, sharex=first, sharey=first)
        first = first or panel
        panel.tick_params(colors=INK)
        panel.title.set_color(INK)
        panel.xaxis.label.set_color(INK)
        panel.yaxis.label.set_color(INK)
        panel.patch.set_visible(False)
        panel.grid(alpha=0.3)
        panel.set_axisbelow(True)
        for spine in panel.spines.values():
            spine.set_visible(False)
        axes.append(panel)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The same for the same figure: no date, no random ids."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "solon"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue().replace(INK, "currentColor").replace("<defs>", STYLE, 1)
