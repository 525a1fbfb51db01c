"""The report's figures. matplotlib is imported inside: it costs a second. No display is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
Curve = Sequence[tuple[float, float]]
CURVES = ("loss", "eval_loss", "objective/scores", "objective/kl")


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The curves worth drawing in a metrics.jsonl: {measure: [(step, value), ...]}, none empty.

    They are the losses, or PPO's score and KL. A line that cannot be read is passed over (the
    file may end in the middle of one), and so is a missing file.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        for name in CURVES:
            if isinstance(row.get(name), int | float):
                curves.setdefault(name, []).append((row["step"], row[name]))
    return {name: curves[name] for name in CURVES if name in curves}


def plot_rewards(path: Path, rewards: Sequence[Row]) -> None:
    """Mean reward of each policy with its interval; rows as `metrics.summarise` makes them."""
    figure, axes = _figure(1)
    for place, row in enumerate(rewards):
        axes[0].errorbar(
            place, row["value"], yerr=_bars(row), fmt="o", capsize=5, color=f"C{place}"
        )
    axes[0].set_xticks(range(len(rewards)), [row["policy"] for row in rewards])
    axes[0].set(ylabel="mean reward, 95 % interval", xlim=(-0.5, len(rewards) - 0.5))
    _save(figure, path)


def plot_kl(path: Path, pairs: Sequence[tuple[Row, Row]]) -> None:
    """Mean reward over mean KL to sft, one point per policy: (kl row, reward row)."""
    figure, axes = _figure(1)
    for number, (kl, reward) in enumerate(pairs):
        axes[0].errorbar(
            kl["value"],
            reward["value"],
            xerr=_bars(kl),
            yerr=_bars(reward),
            fmt="o",
            capsize=4,
            color=f"C{number}",
            label=kl["policy"],
        )
    axes[0].set(xlabel="KL to sft (nats per answer)", ylabel="mean reward")
    axes[0].legend()
    _save(figure, path)


def plot_training(path: Path, curves: Mapping[str, Mapping[str, Curve]]) -> None:
    """One panel per stage: {stage: {"loss" or another measure: [(step, value), ...]}}."""
    figure, axes = _figure(len(curves))
    for panel, (stage, lines) in zip(axes, curves.items(), strict=True):
        for name, points in lines.items():
            steps, values = zip(*points, strict=True)
            panel.plot(steps, values, marker="o" if len(points) < 50 else None, ms=3, label=name)
        panel.set(title=stage, xlabel="step")
        panel.legend()
    _save(figure, path)


def plot_reliability(path: Path, bins: Sequence[Row]) -> None:
    """Share of right answers over a judge's confidence; bins as `judging.card` makes them.

    A point a bin, its size the share of the pairs.
    """
    figure, (axes,) = _figure(1)
    axes.plot([0.5, 1.0], [0.5, 1.0], linestyle=":", color="grey", label="well calibrated")
    total = sum(own["n"] for own in bins)
    for own in bins:
        if own["n"]:
            size = 20 + 200 * own["n"] / total
            axes.scatter(own["confidence"], own["accuracy"], s=size, color="C0")
    axes.set(xlabel="confidence", ylabel="share right", xlim=(0.48, 1.02), ylim=(-0.02, 1.02))
    axes.legend()
    _save(figure, path)


def _bars(row: Row) -> list[list[float]] | None:
    """Distances from the value to both ends of its interval, as errorbar wants them."""
    if row["low"] is None:
        return None
    return [[max(0.0, row["value"] - row["low"])], [max(0.0, row["high"] - row["value"])]]


def _figure(panels: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(panels, 2)
    rows = -(-panels // columns)
    figure = Figure(figsize=(6.4 if columns == 1 else 10, 3.8 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, number + 1) for number in range(panels)]
    for panel in axes:
        panel.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120, metadata={"Software": None})
