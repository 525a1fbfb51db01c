"""Compliance by hand: shares, what does not count, intervals, and the shape of metrics' rows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from constitution.load import load, resolve
from constitution.schema import Check, Constitution, Principle
from tasks.evaluation.metrics import bootstrap, rules, summarise
from tasks.intervals import wilson


def principle(slug: str, check: Check | None) -> Principle:
    return Principle(slug, slug, "Criticise.", "Revise.", "Which?", check=check)


RULES = Constitution(
    "rules",
    (
        principle("calm", ("no_character", "!")),
        principle("asks", ("ends_with_question", True)),
        principle("json", ("json_when_asked", True)),
        principle("unchecked", None),
        replace(principle("off", ("max_words", 1)), enabled=False),
    ),
)


def answer(policy: str, text: str, prompt: str = "Hi", **fields: Any) -> dict[str, Any]:
    row = {"policy": policy, "question_id": "1", "category": "c", "prompt": prompt, "text": text}
    more = {"probe": "held-out", "sample": 0, "finish_reason": "stop", "tokens": 2}
    return row | more | {"reward": None, "kl": None} | fields


ANSWERS = [
    answer("sft", "Fine. You?"),
    answer("sft", "Fine! You?"),
    answer("sft", "Fine!", finish_reason="length"),
    answer("sft", '{"a": 1}', "Answer in JSON."),
    answer("sft", "", finish_reason="too_long"),
    answer("ppo", "Fine."),
]


def compliance(constitution: Constitution, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the rules alone."""
    numbered = [row | {"question_id": str(n)} for n, row in enumerate(answers)]
    found = summarise(numbered, rules(constitution))
    return [row for row in found if row["metric"].startswith("rule")]


def test_shares_by_hand() -> None:
    rows = {(r["policy"], r["metric"]): r for r in compliance(RULES, ANSWERS)}
    assert list(rows) == [
        ("sft", "rule:calm"),
        ("sft", "rule:asks"),
        ("sft", "rule:json"),
        ("sft", "rules"),
        ("ppo", "rule:calm"),
        ("ppo", "rule:asks"),
        ("ppo", "rules"),
    ]
    values = {key: (row["value"], row["n"]) for key, row in rows.items()}
    assert values["sft", "rule:calm"] == (2 / 4, 4)
    assert values["sft", "rule:asks"] == (2 / 3, 3)
    assert values["sft", "rule:json"] == (1.0, 1)
    assert values["sft", "rules"] == (pytest.approx((1 + 0.5 + 0 + 1) / 4), 4)
    assert values["ppo", "rules"] == (0.5, 1)


def test_intervals_of_rates_are_wilsons_and_left_out_for_one_answer() -> None:
    rows = {(r["policy"], r["metric"]): r for r in compliance(RULES, ANSWERS)}
    calm, single = rows["sft", "rule:calm"], rows["ppo", "rules"]
    assert (calm["low"], calm["high"]) == wilson(2, 4)
    assert (single["low"], single["high"]) == (None, None)
    total = rows["sft", "rules"]
    assert (total["low"], total["high"]) == bootstrap([1, 0.5, 0, 1])


def test_rows_look_like_those_of_summarise() -> None:
    rows = compliance(RULES, ANSWERS)
    assert {tuple(row) for row in rows} == {tuple(row) for row in summarise(ANSWERS)}
    json.dumps(rows, allow_nan=False)


def test_without_answers_or_checks_there_are_no_rows() -> None:
    assert compliance(RULES, []) == []
    assert compliance(RULES, [answer("sft", "", finish_reason="too_long")]) == []
    assert compliance(load(resolve("default")), ANSWERS) == []


def test_an_answer_no_check_applies_to_does_not_count() -> None:
    only = replace(RULES, principles=RULES.principles[2:3])
    (one,) = compliance(only, ANSWERS[:1] + ANSWERS[3:4])[:1]
    assert (one["metric"], one["n"]) == ("rule:json", 1)
    assert compliance(only, ANSWERS[:1]) == []
