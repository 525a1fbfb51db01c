"""What a principle bought: the measures of two evaluations side by side, paired by prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard

from constitution.checks import complies
from constitution.schema import Constitution, Principle
from storage.errors import InputError
from tasks.evaluation.escape import markdown_cell
from tasks.evaluation.metrics import PER_ANSWER, bootstrap
from tasks.generation.snapshots import Rows

Answer = Mapping[str, Any]
Measure = Callable[[Answer], float | None]
POLICIES = ("sft", "dpo", "ppo")


def compared(
    constitution: Constitution, with_it: Sequence[Answer], without: Sequence[Answer], seed: int = 0
) -> list[dict[str, Any]]:
    """{"policy", "metric", "with", "without", "difference", "low", "high", "n"} per policy, metric.

    Means over the prompts for which both have a finite value; difference: with minus without, and
    its 95 % percentile bootstrap interval over prompts (None where n < 2).
    """
    rows = []
    for policy in POLICIES:
        before, after = _by_prompt(with_it, policy), _by_prompt(without, policy)
        for metric, measure in _measures(constitution).items():
            found = [(measure(before[p]), measure(after[p])) for p in before if p in after]
            pairs = [(a, b) for a, b in found if _is_finite(a) and _is_finite(b)]
            if pairs:
                rows.append({"policy": policy, "metric": metric, **_numbers(pairs, seed)})
    return rows


def _by_prompt(answers: Sequence[Answer], policy: str) -> dict[str, Answer]:
    return {
        answer["prompt_id"]: answer
        for answer in answers
        if answer["policy"] == policy and answer["finish_reason"] != "too_long"
    }


def _measures(constitution: Constitution) -> dict[str, Measure]:
    measures = dict(PER_ANSWER)
    for principle in constitution.enabled:
        if principle.check is not None:
            measures[f"rule:{principle.slug}"] = partial(_kept, principle)
    return measures


def _kept(principle: Principle, answer: Answer) -> float | None:
    kept = complies(principle, answer["prompt"], answer["text"])
    return None if kept is None else float(kept)


def _is_finite(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _numbers(pairs: Sequence[tuple[float, float]], seed: int) -> dict[str, Any]:
    differences = [a - b for a, b in pairs]
    low, high = bootstrap(differences, seed) if len(pairs) > 1 else (None, None)
    return {
        "with": math.fsum(a for a, _ in pairs) / len(pairs),
        "without": math.fsum(b for _, b in pairs) / len(pairs),
        "difference": math.fsum(differences) / len(pairs),
        "low": low,
        "high": high,
        "n": len(pairs),
    }


def markdown(result: Mapping[str, Any]) -> str:
    """The comparison as Markdown."""
    slug = markdown_cell(result["slug"])
    lines = [
        f"# What {slug} bought",
        "",
        f"{left_out_line(result)} Evaluations: {result['evaluations']['with']} (with),"
        f" {result['evaluations']['without']} (without).",
        "",
        "| policy | metric | with | without | difference (95 %) | prompts |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["metrics"]:
        cells = (row["policy"], row["metric"], *numbers(row), str(row["n"]))
        lines.append("| " + " | ".join(markdown_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def left_out_line(result: Mapping[str, Any]) -> str:
    """How many rows the trial did without, and who judged."""
    counts = result["left_out"]
    return (
        f"Rows left out: {counts['pairs']} pairs, {counts['sft']} SFT examples."
        " Both sides are scored by the reward model trained with them."
    )


def check_without(slug: str, rows: Rows, without: Rows) -> None:
    """Raise InputError where the trial would train on the same rows, or on none."""
    if without.preferences == rows.preferences and without.sft == rows.sft:
        raise InputError(slug, "no row of this recipe is owed to the principle", "try another")
    if not (without.preferences.training and without.sft.training):
        rule = "the principle had a hand in every row: nothing is left to train on"
        raise InputError(slug, rule, "take more prompts, or fewer rounds")


def left_out(rows: Rows, without: Rows) -> dict[str, int]:
    """How many rows of each snapshot the principle had a hand in."""
    return {
        "pairs": rows.preferences.row_count - without.preferences.row_count,
        "sft": rows.sft.row_count - without.sft.row_count,
    }


def numbers(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """With, without and difference as text."""
    spread = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
    return f"{row['with']:.2f}", f"{row['without']:.2f}", f"{row['difference']:+.2f}{spread}"
