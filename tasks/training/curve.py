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


def write_metrics(path: str | Path, records: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object per logged step, `step` first; NaN and infinities become null."""
    with Path(path).open("w", encoding="utf-8") as stream:
        for record in records:
            row = {
                "step": record["step"],
                **{k: _finite(v) for k, v in record.items() if k != "step"},
            }
            stream.write(json.dumps(row) + "\n")


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


def write_curve(
    path: str | Path,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str = "",
    ylabel: str = "loss",
) -> None:
    """Draw named curves of (step, value) points into a PNG; empty curves are left out.

    Marked with dots below 50 points, so that a single evaluation is visible too.
    """
    figure, axes = plt.subplots(figsize=(7, 4), dpi=120)
    try:
        for label, points in curves.items():
            if points:
                steps, values = zip(*points, strict=True)
                axes.plot(
                    steps, values, label=label, marker="o" if len(points) < 50 else None, ms=3
                )
        axes.set(xlabel="optimizer step", ylabel=ylabel, title=title)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        figure.tight_layout()
        figure.savefig(path, metadata={"Software": None})
    finally:
        plt.close(figure)
