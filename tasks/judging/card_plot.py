"""The plot of a judge's report card. matplotlib is imported inside: it costs a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def plot_reliability(path: Path, bins: Sequence[Mapping[str, Any]]) -> None:
    """Share of right answers over a judge's confidence; bins as `card` makes them.

    A point a bin, its size the share of the pairs. No display is used.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    axes.plot([0.5, 1.0], [0.5, 1.0], linestyle=":", color="grey", label="well calibrated")
    total = sum(own["n"] for own in bins)
    for own in bins:
        if own["n"]:
            size = 20 + 200 * own["n"] / total
            axes.scatter(own["confidence"], own["accuracy"], s=size, color="C0")
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0.48, 1.02), ylim=(-0.02, 1.02))
    axes.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
