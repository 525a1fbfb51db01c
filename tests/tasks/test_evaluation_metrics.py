"""Measures worked by hand, intervals against theory."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.metrics import (
    PER_ANSWER,
    answered,
    bootstrap,
    distinct,
    paired,
    repetition,
    summarise,
    wilson,
)

REFUSALS = Path(__file__).resolve().parents[3] / "shared" / "data" / "pyrit_refusal.jsonl"


def answer(policy: str, prompt: str, **fields: object) -> dict:
    row = {"policy": policy, "prompt_id": prompt, "category": "c", "prompt": "p", "text": "a b"}
    return row | {"finish_reason": "stop", "tokens": 2, "reward": 1.0, "kl": 0.0} | fields


def test_word_measures_by_hand():
    assert distinct("a b a A", 1) == 2 / 4
    assert distinct("a b a b", 2) == 2 / 3
    assert distinct("one", 2) is None
    assert distinct("", 1) is None
    assert repetition("a b c d a b c d") == pytest.approx(1 / 5)
    assert repetition("a b c d") == 0.0
    assert repetition("a b c") is None


def test_a_summary_by_hand():
    rows = summarise(
        [
            answer("sft", "1", reward=1.0, tokens=2),
            answer("sft", "2", reward=3.0, tokens=4, finish_reason="length"),
            answer("ppo", "2", reward=4.0, kl=2.0, text="I can't help with that."),
            answer("ppo", "1", reward=3.0, kl=4.0),
            answer("ppo", "3", reward=None, kl=None, finish_reason="too_long", text=""),
        ]
    )
    values = {(row["policy"], row["metric"]): (row["value"], row["n"]) for row in rows}
    assert values["sft", "reward"] == (2.0, 2)
    assert values["sft", "tokens"] == (3.0, 2)
    assert values["sft", "eos_rate"] == (0.5, 2)
    assert values["ppo", "kl"] == (3.0, 2)
    assert values["ppo", "refusal_rate"] == (0.5, 2)
    assert values["ppo", "reward_minus_sft"] == (1.5, 2)
    assert ("sft", "reward_minus_sft") not in values
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["n"] > 1)
    json.dumps(rows, allow_nan=False)


def test_the_paired_difference_is_surer_than_the_two_means():
    draws = np.random.default_rng(0).normal(0, 10, 60)
    own = [answer("dpo", str(i), reward=float(x) + 1) for i, x in enumerate(draws)]
    base = [answer("sft", str(i), reward=float(x)) for i, x in enumerate(draws)]
    rows = {(row["policy"], row["metric"]): row for row in summarise(own + base)}
    assert rows["dpo", "reward"]["low"] < rows["sft", "reward"]["high"]
    assert rows["dpo", "reward_minus_sft"]["low"] == pytest.approx(1.0)
    by_policy = answered(own + base[:5])
    pairs = paired(by_policy["dpo"], by_policy["sft"], PER_ANSWER["reward"])
    assert [value - old for value, old in pairs] == pytest.approx([1.0] * 5)


def test_without_rewards_or_with_one_answer_nothing_is_made_up():
    rows = summarise([answer("base", "1", reward=None, kl=None)])
    assert {row["metric"] for row in rows}.isdisjoint({"reward", "kl", "reward_minus_sft"})
    assert all(row["low"] is None and row["high"] is None for row in rows)
    assert summarise([]) == []


def test_bootstrap_is_seeded_and_covers_as_often_as_it_says():
    generator = np.random.default_rng(3)
    samples = [generator.normal(5, 2, 50) for _ in range(200)]
    intervals = [bootstrap(list(sample), seed, 500) for seed, sample in enumerate(samples)]
    covered = sum(low <= 5 <= high for low, high in intervals)
    assert 178 <= covered <= 199
    assert bootstrap(list(samples[0]), 1) == bootstrap(list(samples[0]), 1)
    assert bootstrap(list(samples[0]), 1) != bootstrap(list(samples[0]), 2)
    width = np.diff(bootstrap(list(samples[0])))[0]
    assert width == pytest.approx(2 * 1.96 * samples[0].std() / 50**0.5, rel=0.1)


def test_bootstrap_of_many_values_in_pieces_has_the_right_width():
    values = np.random.default_rng(0).normal(0, 1, 30_000)
    low, high = bootstrap(list(values))
    assert high - low == pytest.approx(2 * 1.96 / 30_000**0.5, rel=0.1)


def test_wilson_by_hand_and_never_without_width():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@given(st.text())
def test_any_text_can_be_measured(text):
    rows = summarise([answer("sft", "1", text=text), answer("sft", "2", text=text)])
    for row in rows:
        if row["metric"] in ("distinct_1", "distinct_2", "repetition", "refusal_rate"):
            assert 0 <= row["value"] <= 1
