"""The library's results as figures: a value with its 95 % interval, by task and metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.intervals import Z_95, wilson

PREFIX = "standard:"  # of their names in the table metrics
NO_FILTER = "none"
STDERR = "_stderr"


@dataclass(frozen=True)
class Figure:
    """A metric of a task. low, high: None where the library gives no standard error.

    metric: as `acc`; of a task that reads answers in several ways `exact_match,strict-match`.
    is_higher_better: None where the library does not say.
    """

    task: str
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    shots: int
    version: str
    is_higher_better: bool | None

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.task}/{self.metric}"


def figures(results: Mapping[str, Any]) -> list[Figure]:
    """Every metric of `lm_eval.evaluator.evaluate`'s results, groups of tasks after their tasks."""
    found = {**results["results"], **results.get("groups", {})}
    return [figure for task, own in found.items() for figure in _of_task(results, task, own)]


def _of_task(results: Mapping[str, Any], task: str, own: Mapping[str, Any]) -> Iterator[Figure]:
    n = _count(results, task)
    for key, value in own.items():
        metric, comma, kind = key.partition(",")
        if not comma or metric.endswith(STDERR) or not isinstance(value, int | float):
            continue
        error = own.get(f"{metric}{STDERR},{kind}")
        low = high = None
        if isinstance(error, int | float) and math.isfinite(error):
            low, high = interval(float(value), float(error), n)
        yield Figure(
            task=task,
            metric=metric if kind == NO_FILTER else key,
            value=float(value),
            low=low,
            high=high,
            n=n,
            shots=results.get("n-shot", {}).get(task) or 0,
            version=str(results.get("versions", {}).get(task) or ""),
            is_higher_better=results.get("higher_is_better", {}).get(task, {}).get(metric),
        )


def _count(results: Mapping[str, Any], task: str) -> int:
    """Questions that were asked; of a group those of its tasks."""
    counts = results["n-samples"]
    if task in counts:
        return int(counts[task]["effective"])
    return sum(_count(results, part) for part in results.get("group_subtasks", {}).get(task, ()))


def interval(value: float, error: float, n: int) -> tuple[float, float]:
    """95 % interval: of a share of right answers Wilson's, which says something of 0 and 1 too;
    else value ± 1.96 standard errors.

    It is a share of n where the standard error is that of a mean of zeros and ones.
    """
    if 0 <= value <= 1 and n > 1:
        expected = math.sqrt(value * (1 - value) / (n - 1))
        if math.isclose(error, expected, rel_tol=1e-6, abs_tol=1e-9):
            return wilson(value * n, n)
    return value - Z_95 * error, value + Z_95 * error
