"""What a stage reports about its course: metrics.jsonl, loss.png and the ends of the loss curve."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

Panels = Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]
"""Label of the y axis -> name of a curve -> its (step, value) points."""


def write_lines(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per line."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    Path(path).write_text(text, encoding="utf-8")


def write_metrics(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per logged step, `step` first; NaN and infinities become null."""
    rows = [{name: _finite(value) for name, value in record.items()} for record in records]
    write_lines(path, [{"step": row["step"], **row} for row in rows])


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def loss_summary(losses: Sequence[float]) -> dict[str, float]:
    """Means over the first and last tenth of the logged losses, at least one; empty if none."""
    if not losses:
        return {}
    tenth = max(1, len(losses) // 10)
    return {
        "loss_first": math.fsum(losses[:tenth]) / tenth,
        "loss_last": math.fsum(losses[-tenth:]) / tenth,
    }


def write_curves(path: str | Path, panels: Panels, xlabel: str, title: str = "") -> None:
    """Draw curves into a PNG, panel beside panel; empty curves are left out.

    Marked with dots below 50 points, so that a single evaluation is visible too.
    """
    count = len(panels)
    figure, row = plt.subplots(1, count, figsize=(3 + 4 * count, 4), dpi=120, squeeze=False)
    try:
        for axes, (ylabel, curves) in zip(row[0], panels.items(), strict=True):
            for label, points in curves.items():
                if points:
                    marker = "o" if len(points) < 50 else None
                    axes.plot(*zip(*points, strict=True), label=label, marker=marker, ms=3)
            axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend()
        figure.tight_layout()
        figure.savefig(path, metadata={"Software": None})
    finally:
        plt.close(figure)
