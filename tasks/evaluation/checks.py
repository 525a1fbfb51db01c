"""How often answers keep the principles that a program can check: rows for the report.

| metric | of one answer |
|---|---|
| rule:<slug> | keeps the principle's check (1) or not (0); see constitution/checks.py |
| rules | share of the checks that apply to it which it keeps |

Only enabled principles count. Prompts too long to be answered, and answers to which no check
applies, do not: `n` says how many did. An answer that was cut counts as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from constitution.checks import complies
from constitution.schema import Constitution
from tasks.evaluation.metrics import wilson

Answer = Mapping[str, Any]


def compliance(constitution: Constitution, answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """{"policy", "metric", "value", "low", "high", "n"} per policy and metric, in order of answers.

    answers: rows of answers.jsonl. low, high: Wilson's 95 % interval over answers, None where
    n < 2; for `rules`, whose values lie between 0 and 1, it is if anything too wide.
    """
    by_policy: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer["finish_reason"] != "too_long":
            by_policy.setdefault(answer["policy"], []).append(answer)
    return [
        {"policy": policy, "metric": metric, **_share(values)}
        for policy, own in by_policy.items()
        for metric, values in _columns(constitution, own).items()
        if values
    ]


def _columns(constitution: Constitution, answers: Sequence[Answer]) -> dict[str, list[float]]:
    """The values of each metric, those that do not apply left out."""
    checked = [p for p in constitution.enabled if p.check is not None]
    metrics = [*(f"rule:{p.slug}" for p in checked), "rules"]
    columns: dict[str, list[float]] = {metric: [] for metric in metrics}
    for answer in answers:
        kept = {p.slug: complies(p, answer["prompt"], answer["text"]) for p in checked}
        known = {slug: float(value) for slug, value in kept.items() if value is not None}
        for slug, value in known.items():
            columns[f"rule:{slug}"].append(value)
        if known:
            columns["rules"].append(math.fsum(known.values()) / len(known))
    return columns


def _share(values: Sequence[float]) -> dict[str, Any]:
    total, n = math.fsum(values), len(values)
    low, high = wilson(total, n) if n > 1 else (None, None)
    return {"value": total / n, "low": low, "high": high, "n": n}
