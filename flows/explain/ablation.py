"""What a principle bought: the measures of two evaluations side by side, paired by question."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from constitution.schema import Constitution
from flows.explain.show import ABLATION_COLUMNS, ablation_rows, markdown_table
from flows.plan.answers import POLICIES
from storage.errors import InputError
from storage.ids import short
from tasks.evaluation.escape import markdown_cell
from tasks.evaluation.metrics import Answer, bootstrap, measured, rules
from tasks.generation.snapshots import Rows


def compared(
    constitution: Constitution, with_it: Sequence[Answer], without: Sequence[Answer], seed: int = 0
) -> list[dict[str, Any]]:
    """{"policy", "metric", "with", "without", "difference", "low", "high", "n"} per policy, metric.

    Means over the questions for which both have a finite value; difference: with minus without, and
    its 95 % percentile bootstrap interval over questions (None where n < 2).
    """
    checked = rules(constitution)
    before, after = measured(with_it, checked), measured(without, checked)
    rows = []
    for policy in POLICIES:
        others = after.get(policy, {})
        for metric, values in before.get(policy, {}).items():
            there = others.get(metric, {})
            pairs = [(value, there[q]) for q, value in values.items() if q in there]
            if pairs and metric not in ("rules", "overused"):  # each rule has a row of its own
                rows.append({"policy": policy, "metric": metric, **_numbers(pairs, seed)})
    return rows


def _numbers(pairs: Sequence[tuple[float, float]], seed: int) -> dict[str, Any]:
    count, differences = len(pairs), [a - b for a, b in pairs]
    low, high = bootstrap(differences, seed) if count > 1 else (None, None)
    return {
        "with": math.fsum(a for a, _ in pairs) / count,
        "without": math.fsum(b for _, b in pairs) / count,
        "difference": math.fsum(differences) / count,
        "low": low,
        "high": high,
        "n": count,
    }


def markdown(result: Mapping[str, Any]) -> str:
    evaluations = result["evaluations"]
    table = "\n".join(markdown_table(ABLATION_COLUMNS, ablation_rows(result["metrics"])))
    return (
        f"# What {markdown_cell(result['slug'])} bought\n\n"
        f"{left_out_line(result)} Evaluations: {short(evaluations['with'])} (with),"
        f" {short(evaluations['without'])} (without).\n\n{table}\n"
    )


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
