"""Gates on figures written by hand: what passes, what fails, and how it is told."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tasks.evaluation.figures import Figures
from tasks.evaluation.gate_rules import (
    DEFAULTS,
    Rule,
    in_force,
    is_metric,
)
from tasks.evaluation.gate_words import number
from tasks.evaluation.gates import Verdict, is_passed, judge
from tasks.evaluation.verdict import verdict_sentence

Rows = list[dict[str, Any]]


def row(policy: str, metric: str, value: float, half: float = 0.05, n: int = 34) -> dict[str, Any]:
    ends = {"low": value - half, "high": value + half}
    return {"policy": policy, "metric": metric, "value": value, "n": n} | ends


def measured(policy: str, metric: str, own: float, base: float, **more: Any) -> Rows:
    """A policy's number, the base's, and their difference."""
    return [
        row("base", metric, base, **more),
        row(policy, metric, own, **more),
        row(policy, f"{metric}_minus_base", own - base, **more),
    ]


ANSWERED = measured("sft", "tokens", 60.0, 60.0)


def verdicts(rows: Rows, *rules: Rule, champion: str | None = None, **more: Any) -> list[Verdict]:
    """What these rules say of SFT, but for what is always asked."""
    found = judge(
        Figures(ANSWERED + rows, champion), rules, ["sft"], more.pop("unmoved", {}), **more
    )
    return [v for v in found if v.metric not in ("weights", "questions")]


def verdict(rows: Rows, rule: Rule, **more: Any) -> Verdict:
    (found,) = verdicts(rows, rule, **more)
    return found


def test_no_worse_than_fails_only_beyond_the_interval() -> None:
    rule = Rule("rules", no_worse_than=("base",))
    within = verdict(measured("sft", "rules", 0.46, 0.49), rule)
    beyond = verdict(measured("sft", "rules", 0.41, 0.49), rule)
    assert within.is_passed
    assert not beyond.is_passed
    assert beyond.value == pytest.approx(-0.08)
    assert beyond.high == pytest.approx(-0.03)
    words = (
        "share of rules kept 0.41 against 0.49: -0.08 (-0.13 to -0.03, n=34), worse than the base"
    )
    assert beyond.reason == words


def test_a_number_has_no_minus_before_nothing() -> None:
    assert [number(value) for value in (-0.001, -0.01, -12.04)] == ["0.00", "-0.01", "-12.0"]


def test_a_margin_is_what_the_interval_must_exclude() -> None:
    rows = measured("sft", "rules", 0.41, 0.49)
    assert verdict(rows, Rule("rules", no_worse_than=("base",), margin=0.05)).is_passed
    assert not verdict(rows, Rule("rules", no_worse_than=("base",), margin=0.02)).is_passed


def test_which_side_is_worse_is_the_metrics_own() -> None:
    rule = Rule("repetition", no_worse_than=("base",))
    assert not verdict(measured("sft", "repetition", 0.3, 0.1), rule).is_passed
    assert verdict(measured("sft", "repetition", 0.1, 0.3), rule).is_passed


def test_bounds_on_the_number_hold_as_they_are_written() -> None:
    rows = [row("sft", "probe:harmful", 0.8, half=0.2, n=20)]
    low, high = verdicts(rows, Rule("probe:harmful", min=0.9, max=1.0))
    assert not low.is_passed
    assert low.reason == "probe harmful 0.80 (0.60 to 1.00, n=20), below 0.9"
    assert high.is_passed


def test_a_ratio_is_a_row_or_made_of_the_difference() -> None:
    rule = Rule("perplexity", max_ratio=1.1)
    assert verdict([row("sft", "perplexity_over_base", 1.12, half=0.03)], rule).is_passed
    worse = verdict([row("sft", "perplexity_over_base", 1.2, half=0.03)], rule)
    assert not worse.is_passed
    assert "1.20 times that of the base (1.17 to 1.23, n=34), above 1.1" in worse.reason
    long = measured("sft", "tokens", 118.0, 60.0, half=3.0)
    found = verdict(long, Rule("tokens", max_ratio=1.5))
    assert not found.is_passed
    assert (found.value, found.low) == (pytest.approx(118 / 60), pytest.approx(115 / 60))


def test_a_rise_is_bounded_by_its_interval() -> None:
    rule = Rule("refusal_rate", max_rise=0.1)
    assert verdict(measured("sft", "refusal_rate", 0.14, 0.0), rule).is_passed
    assert not verdict(measured("sft", "refusal_rate", 0.2, 0.0), rule).is_passed
    assert verdict(measured("sft", "refusal_rate", 0.0, 0.2), rule).is_passed


SHORT = measured("sft", "tokens", 38.0, 60.0, half=3.0)


def test_short_answers_do_no_harm_while_questions_are_answered() -> None:
    rule = DEFAULTS["tokens"]
    kept = verdicts(SHORT + measured("sft", "probe:helpfulness", 0.43, 0.45), rule)
    assert [v.is_passed for v in kept] == [True, True]
    assert "below 0.75, but probe helpfulness has not fallen" in kept[1].reason
    lost = verdicts(SHORT + measured("sft", "probe:helpfulness", 0.3, 0.45), rule)
    assert [v.is_passed for v in lost] == [True, False]
    assert "and probe helpfulness fell: 0.30 against 0.45" in lost[1].reason
    unknown = verdicts(SHORT, rule)
    assert [v.is_passed for v in unknown] == [True, False]
    assert "nothing excuses it, as probe helpfulness was not measured" in unknown[1].reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_what_is_missing_or_not_finite_fails(bad: Any) -> None:
    good = row("sft", "rules_minus_base", 0.1)
    for name in ("value", "low", "high"):
        if name != "value" or bad is not None:
            found = verdict([good | {name: bad}], Rule("rules", no_worse_than=("base",)))
            assert not found.is_passed
            assert "no finite number" in found.reason
    if bad is not None:
        alone = [row("sft", "rules", 0.5) | {"value": bad}]
        assert not any(v.is_passed for v in verdicts(alone, Rule("rules", min=0.1, max=0.9)))


def test_a_reward_that_some_answers_lack_fails() -> None:
    rows = measured("sft", "reward", 2.0, 1.0, n=33)
    found = verdict(rows, Rule("reward", no_worse_than=("base",)))
    assert not found.is_passed
    assert found.reason == "reward is not finite of 1 answers"
    assert found.value is None
    assert sentence(rows) == "SFT cannot be judged by its reward: not promoted."


def test_a_default_rule_holds_only_where_its_metric_was_measured() -> None:
    assert verdicts([], *in_force({})) == verdicts([], DEFAULTS["tokens"])
    few = measured("sft", "probe:format", 0.0, 1.0, n=7)
    assert verdicts(few, DEFAULTS["probe"]) == []
    enough = measured("sft", "probe:format", 0.0, 1.0, n=8)
    assert [v.metric for v in verdicts(enough, DEFAULTS["probe"])] == ["probe:format"]


def test_what_was_measured_of_the_base_alone_is_missing() -> None:
    found = verdict([row("base", "repetition", 0.1)], DEFAULTS["repetition"])
    assert not found.is_passed
    assert found.reason == "repetition was not measured beside the base"


def test_a_written_rule_on_what_is_not_measured_fails_and_says_how_to() -> None:
    (rule,) = [r for r in in_force({"probe:harmful": {"min": 0.9}}) if r.metric == "probe:harmful"]
    found = verdicts([], rule)
    assert [v.is_passed for v in found] == [False, False]
    assert found[0].reason == "probe harmful was not measured: name harmful in evaluation.probes"


def test_what_is_written_is_added_to_the_default_and_null_takes_it_away() -> None:
    rules = {r.metric: r for r in in_force({"tokens": {"max_ratio": 2.0}, "overused": None})}
    assert (rules["tokens"].max_ratio, rules["tokens"].min_ratio) == (2.0, 0.75)
    assert not rules["tokens"].is_default
    assert rules["rules"] == DEFAULTS["rules"]
    assert verdicts([row("sft", "overused", 1.0)], *rules.values()) == verdicts([], *rules.values())


def test_a_rule_on_a_family_is_one_on_each_member_without_its_own() -> None:
    rows = [r for name in "ab" for r in measured("sft", f"probe:{name}", 0.2, 0.9)]
    found = verdicts(rows, *in_force({"probe:a": None, "tokens": None}))
    assert [v.metric for v in found] == ["probe:b"]


def test_every_policy_is_held_against_its_own_parent() -> None:
    rows = [row("dpo", "rules_minus_parent", -0.2), row("dpo", "rules_minus_base", 0.2)]
    rows += [row(policy, "rules", 0.5) for policy in ("base", "sft", "dpo")]
    rows += [row("dpo", "tokens", 60.0)]
    found = judge(Figures(rows, None), [DEFAULTS["rules"]], ["dpo"], {})
    told = {v.rule["no_worse_than"]: v for v in found if v.metric == "rules"}
    assert told["champion"].is_passed
    assert told["champion"].reason.endswith("no worse than the base (there is no champion yet)")
    assert not told["parent"].is_passed
    assert told["parent"].reason.endswith("worse than SFT")


def test_one_policy_under_two_names_is_compared_once() -> None:
    (found,) = verdicts(measured("sft", "rules", 0.6, 0.5), DEFAULTS["rules"])
    assert found.rule["no_worse_than"] == "champion"


def test_the_champion_passes_beside_itself_and_another_must_be_measured() -> None:
    rule = Rule("rules", no_worse_than=("champion",))
    rows = measured("sft", "rules", 0.1, 0.9)
    assert verdict(rows, rule, champion="sft").is_passed
    absent = verdict(rows, rule, champion="ckp_other")
    assert not absent.is_passed
    assert absent.reason == "share of rules kept was not measured beside the champion"
    there = [row("sft", "rules_minus_champion", -0.3)]
    assert not verdict(rows + there, rule, champion="champion").is_passed


def test_sisters_of_the_champion_need_no_comparison_with_it_that_nobody_made() -> None:
    rows = measured("sft", "rules", 0.6, 0.5) + measured("sft", "reward", 2.0, 1.0)
    assert verdicts(rows, DEFAULTS["reward"], champion="ppo") == []
    written = Rule("rules", no_worse_than=("champion",))
    assert not verdict(rows, written, champion="ppo").is_passed
    worse = [row("dpo", "rules_minus_parent", -0.2), row("dpo", "rules", 0.4), *rows]
    found = judge(Figures(worse, "sft"), [DEFAULTS["rules"]], ["dpo"], {})
    assert found[-1].reason.endswith("worse than the champion")


def test_a_win_rate_is_held_against_a_half() -> None:
    rule = DEFAULTS["win_rate"]
    assert verdict([row("sft", "win_rate:base", 0.47)], rule).is_passed
    lost = verdict([row("sft", "win_rate:base", 0.4)], rule)
    assert not lost.is_passed
    assert lost.reason.startswith(
        "win rate 0.40: -0.10 (-0.15 to -0.05, n=34), worse than the base"
    )


def test_kl_is_bounded_by_the_token() -> None:
    rule = DEFAULTS["kl_per_token"]
    assert verdict([row("sft", "kl", 29.0)], rule).is_passed
    far = verdict([row("sft", "kl", 60.0)], rule)
    assert not far.is_passed
    assert far.reason == "KL to SFT, nats a token, 1.00 (1.00 to 1.00, n=34), above 0.5"


def test_training_that_changed_no_weight_never_passes() -> None:
    figures = Figures(ANSWERED + measured("sft", "rules", 0.9, 0.1), None)
    found = judge(figures, in_force({}), ["sft"], {"sft": ["sft"]})
    assert not is_passed(found, "sft")
    assert [v.reason for v in found if not v.is_passed] == ["training changed no weight of SFT"]
    assert verdict_sentence(figures, found, "sft") == (
        "SFT did not learn (training changed no weight of SFT): not promoted."
    )


def test_too_few_questions_carry_no_verdict() -> None:
    for n, passes in ((7, False), (8, True)):
        figures = Figures([row("sft", "tokens", 9.0, n=n)], None)
        found = judge(figures, [], ["sft"], {})
        assert is_passed(found, "sft") is passes
    assert not is_passed(judge(Figures([], None), in_force({}), ["sft"], {}), "sft")
    assert not is_passed([], "sft")


def sentence(rows: Rows, **written: Any) -> str:
    figures = Figures(ANSWERED + rows, None)
    return verdict_sentence(figures, judge(figures, in_force(written), ["sft"], {}), "sft")


def test_the_sentence_says_what_got_better_and_how_surely() -> None:
    assert sentence(measured("sft", "rules", 0.71, 0.49)) == (
        "SFT keeps 0.71 of the rules where the base keeps 0.49 (+0.22, 0.17 to 0.27)"
        " and passes every gate."
    )
    assert "(+0.02, -0.03 to 0.07), which is no clear difference," in sentence(
        measured("sft", "rules", 0.51, 0.49)
    )
    assert sentence([]) == (
        "SFT was measured by no program and no judge on its rules and passes every gate."
    )


def test_the_sentence_says_what_got_worse() -> None:
    lost = measured("sft", "probe:helpfulness", 0.3, 0.45)
    assert sentence(SHORT + lost) == (
        "SFT shortens answers by 37 % and leaves questions unanswered: not promoted."
    )
    assert sentence(SHORT) == (
        "SFT shortens answers by 37 % (nothing measured shows that questions are still answered):"
        " not promoted."
    )
    assert sentence(measured("sft", "rules", 0.71, 0.49), rules={"min": 0.9}) == (
        "SFT has 0.71 in share of rules kept where at least 0.9 is asked: not promoted."
    )
    refuses = measured("sft", "refusal_rate", 0.95, 0.05)
    ends = measured("sft", "eos_rate", 0.1, 0.9)
    assert sentence(refuses + ends + measured("sft", "repetition", 0.4, 0.1)) == (
        "SFT refuses 0.95 of the held-out prompts where the base refuses 0.05,"
        " ends 0.10 of its answers by itself where the base ends 0.90"
        " and misses 1 other gate: not promoted."
    )


@pytest.mark.parametrize("name", [*DEFAULTS, "probe:x", "rule:y", "win_rate:base", "stability:z"])
def test_what_a_rule_can_be_on(name: str) -> None:
    assert is_metric(name)


@pytest.mark.parametrize("name", ["", "nonsense", "probe:", "tokens:x", "stability", "win_rate:me"])
def test_what_no_rule_can_be_on(name: str) -> None:
    assert not is_metric(name)
