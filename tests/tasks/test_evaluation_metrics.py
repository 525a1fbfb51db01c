"""Measures worked by hand, intervals against theory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.measures import distinct, repetition
from tasks.evaluation.metrics import (
    bootstrap,
    higher_is_better,
    overused_phrases,
    summarise,
)
from tasks.intervals import wilson

REFUSALS = Path(__file__).resolve().parents[3] / "shared" / "data" / "pyrit_refusal.jsonl"


def answer(policy: str, prompt: str, **fields: object) -> dict:
    row = {"policy": policy, "probe": "held-out", "question_id": prompt, "sample": 0}
    row |= {"category": "c", "prompt": "p", "text": "a b", "finish_reason": "stop", "tokens": 2}
    return row | {"reward": 1.0, "kl": 0.0, "score": None, "reason": None} | fields


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
    assert values["ppo", "reward_minus_parent"] == (1.5, 2)
    assert ("sft", "reward_minus_parent") not in values, "its parent did not answer"
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows if row["n"] > 1)
    json.dumps(rows, allow_nan=False)


def test_the_paired_difference_is_surer_than_the_two_means():
    draws = np.random.default_rng(0).normal(0, 10, 60)
    own = [answer("dpo", str(i), reward=float(x) + 1) for i, x in enumerate(draws)]
    base = [answer("sft", str(i), reward=float(x)) for i, x in enumerate(draws)]
    rows = {(row["policy"], row["metric"]): row for row in summarise(own + base)}
    assert rows["dpo", "reward"]["low"] < rows["sft", "reward"]["high"]
    assert rows["dpo", "reward_minus_parent"]["low"] == pytest.approx(1.0)
    fewer = {(row["policy"], row["metric"]): row for row in summarise(own + base[:5])}
    assert fewer["dpo", "reward_minus_parent"]["value"] == pytest.approx(1.0)
    assert fewer["dpo", "reward_minus_parent"]["n"] == 5


def test_without_rewards_or_with_one_answer_nothing_is_made_up():
    rows = summarise([answer("base", "1", reward=None, kl=None)])
    assert {row["metric"] for row in rows}.isdisjoint({"reward", "kl"})
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


def figures(rows: list[dict], **given: Any) -> dict[tuple[str, str], dict]:
    return {(row["policy"], row["metric"]): row for row in summarise(rows, **given)}


def samples(policy: str, by_question: list[list[float]], **fields: object) -> list[dict]:
    return [
        answer(policy, str(q), sample=n, reward=value, **fields)
        for q, values in enumerate(by_question)
        for n, value in enumerate(values)
    ]


def test_samples_of_a_question_are_one_value_and_are_drawn_together():
    found = figures(samples("sft", [[1.0, 3.0], [5.0], [0.0, 0.0, 3.0]]))["sft", "reward"]
    assert (found["value"], found["n"]) == (pytest.approx((2 + 5 + 1) / 3), 3)
    assert (found["low"], found["high"]) == bootstrap([2.0, 5.0, 1.0])
    means = [float(x) for x in np.random.default_rng(1).normal(0, 5, 40)]
    once = figures(samples("sft", [[mean] for mean in means]))["sft", "reward"]
    tenfold = figures(samples("sft", [[mean] * 10 for mean in means]))["sft", "reward"]
    assert (tenfold["low"], tenfold["high"]) == pytest.approx((once["low"], once["high"]))
    as_if_independent = bootstrap([mean for mean in means for _ in range(10)])
    assert np.diff(as_if_independent) < 0.5 * (once["high"] - once["low"])


def test_a_rate_of_several_samples_is_wilsons_only_where_each_question_is_one_verdict():
    def cut(counts: list[int]) -> list[dict]:
        return [
            answer("sft", str(q), sample=n, finish_reason="length" if n < count else "stop")
            for q, count in enumerate(counts)
            for n in range(2)
        ]

    clear, mixed = (figures(cut(counts))["sft", "eos_rate"] for counts in ([0, 2, 0], [0, 1, 0]))
    assert (clear["low"], clear["high"]) == wilson(2, 3)
    assert (mixed["low"], mixed["high"]) == bootstrap([1.0, 0.5, 1.0])


def test_differences_are_paired_by_question_against_base_parent_and_champion():
    levels = {"base": 0.0, "sft": 1.0, "dpo": 3.0, "ppo": 6.0, "champion": 10.0}
    noise = [float(x) for x in np.random.default_rng(0).normal(0, 9, 20)]
    rows = [
        row for name, level in levels.items() for row in samples(name, [[level + x] for x in noise])
    ]
    found = {k: v for k, v in figures(rows).items() if k[1].startswith("reward_minus")}
    expected = {
        ("sft", "base"): 1, ("sft", "parent"): 1, ("sft", "champion"): -9,
        ("dpo", "base"): 3, ("dpo", "parent"): 2, ("dpo", "champion"): -7,
        ("ppo", "base"): 6, ("ppo", "parent"): 5, ("ppo", "champion"): -4,
        ("champion", "base"): 10,
    }  # fmt: skip
    assert set(found) == {(policy, f"reward_minus_{role}") for policy, role in expected}
    for (policy, role), gap in expected.items():
        row = found[policy, f"reward_minus_{role}"]
        assert [row["value"], row["low"], row["high"]] == pytest.approx([gap] * 3)


def test_a_probe_has_its_mean_and_how_stable_its_verdicts_are():
    scored: list[list[float | None]] = [[1.0, 0.75], [0.0, 1.0], [0.25, 0.0], [None, 1.0]]
    rows = [
        answer(policy, str(q), probe="honesty", sample=n, score=score, reward=None, kl=None)
        for policy in ("base", "sft")
        for q, values in enumerate(scored)
        for n, score in enumerate(values)
    ]
    found = figures(rows)
    assert found["sft", "probe:honesty"]["value"] == pytest.approx((0.875 + 0.5 + 0.125 + 1) / 4)
    stable = found["sft", "stability:honesty"]
    assert (stable["value"], stable["n"]) == (pytest.approx(2 / 3), 3)
    assert (stable["low"], stable["high"]) == wilson(2, 3)
    assert found["sft", "probe:honesty_minus_base"]["value"] == 0.0
    assert {metric for _, metric in found} == {
        *("probe:honesty", "stability:honesty"),
        *(f"{m}:honesty_minus_{o}" for m in ("probe", "stability") for o in ("base", "parent")),
    }
    single = figures([row for row in rows if row["sample"] == 0])
    assert ("sft", "stability:honesty") not in single


def test_perplexity_is_the_exponential_of_the_mean_over_passages():
    nlls = {"base": {"a": 1.0, "b": 3.0}, "sft": {"a": 1.1, "b": 3.1}, "ppo": {"a": 2.0}}
    found = figures([], nlls=nlls)
    assert found["base", "perplexity"]["value"] == pytest.approx(np.exp(2.0))
    low, _ = bootstrap([1.0, 3.0])
    assert found["base", "perplexity"]["low"] == pytest.approx(np.exp(low))
    over = found["sft", "perplexity_over_base"]
    assert [over[name] for name in ("value", "low", "high")] == pytest.approx([np.exp(0.1)] * 3)
    assert found["ppo", "perplexity_over_parent"]["value"] == pytest.approx(np.exp(0.9))
    assert found["ppo", "perplexity"]["low"] is None, "one passage has no interval"
    assert not [metric for policy, metric in found if policy == "base" and "over" in metric]


def test_a_phrase_that_only_the_policy_uses_is_found_and_counted():
    words = "stone river garden window letter music winter bread lamp paper".split()

    def texts(policy: str, opening: str, times: int) -> list[dict]:
        plain = [f"{words[n % 10]} and {words[n * 3 % 10]} here" for n in range(40)]
        said = [opening + text if n < times else text for n, text in enumerate(plain)]
        return [answer(policy, str(n), text=text) for n, text in enumerate(said)]

    rows = [*texts("base", "", 0), *texts("sft", "", 0), *texts("ppo", "I truly understand. ", 30)]
    assert "i truly understand" in overused_phrases(rows)["ppo"]
    assert overused_phrases(rows)["sft"] == []
    assert not [phrase for phrase in overused_phrases(rows)["ppo"] if " " not in phrase]
    assert overused_phrases(rows, ("I Truly understand.",))["ppo"] == [], "it is demanded"
    found = figures(rows)
    assert found["ppo", "overused"]["value"] == 0.75
    assert found["sft", "overused"]["value"] == 0.0
    assert ("base", "overused") not in found
    assert not [metric for _, metric in found if metric.startswith("overused_")]


def test_which_way_is_better_is_known_of_every_metric_and_its_differences():
    nlls = {name: {"a": 1.0, "b": 2.0} for name in ("base", "sft")}
    rows = [answer(name, str(n)) for name in ("base", "sft") for n in range(2)]
    rows += [row | {"probe": "honesty", "score": 1.0} for row in rows]
    metrics = {metric for _, metric in figures(rows, nlls=nlls)}
    neutral = {m for m in metrics if higher_is_better(m) is None}
    assert {metric.partition("_minus")[0] for metric in neutral} == {"tokens", "refusal_rate"}
    assert not higher_is_better("perplexity_over_parent")
    assert higher_is_better("win_rate:parent:no-lists")
    assert higher_is_better("rule:brief_minus_champion")


def test_a_reward_that_rises_where_rules_are_broken_is_told():
    kept = {"base": [1.0, 0.0, 0.5, 0.5, 0.0], "sft": [0.0, 1.0, 1.0, 0.5, 0.5]}
    rewards = {"base": [0.0] * 5, "sft": [2.0, 2.0, 2.0, 2.0, 0.0]}
    rows = [
        answer(name, str(q), kept=share, reward=rewards[name][q])
        for name, shares in kept.items()
        for q, share in enumerate(shares)
    ]
    found = figures(rows, rules={"rules": lambda row: row["kept"]})
    follows = found["sft", "reward_follows_rules"]
    assert (follows["value"], follows["n"]) == (pytest.approx((0 + 1 + 1 + 0.5) / 4), 4)
    assert ("base", "reward_follows_rules") not in found
    assert ("sft", "reward_follows_rules") not in figures(rows), "without rules"
