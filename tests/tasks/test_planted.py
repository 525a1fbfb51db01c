"""Models gone wrong on purpose: each fails the gate meant for it, and a copy fails none."""

from __future__ import annotations

from functools import cache

import pytest

from tasks.evaluation.figures import Figures
from tasks.evaluation.gate_rules import in_force
from tasks.evaluation.gates import Verdict, is_passed, judge
from tasks.evaluation.verdict import verdict_sentence

from . import planted_answers as made
from .planted_answers import Change, Row

BASE = made.base()
HONEST = made.base(seed=1)  # the base with other draws


def judged(rows: list[Row], champion: str | None = None) -> tuple[list[Verdict], Figures]:
    figures = Figures(made.summary([*BASE, *rows]), champion)
    policies = dict.fromkeys(row["policy"] for row in rows if row["policy"] != "champion")
    return judge(figures, in_force({}), list(policies), {}), figures


@cache
def of(change: Change) -> tuple[list[Verdict], Figures]:
    return judged(made.planted(change, HONEST))


def missed(change: Change) -> dict[str, Verdict]:
    return {v.metric: v for v in of(change)[0] if not v.is_passed}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_copy_of_the_base_fails_no_gate(seed: int) -> None:
    """The same answers, and the same model with other draws."""
    for rows in (BASE, made.base(seed)):
        copies = [row for p in ("sft", "dpo", "ppo") for row in made.planted(made.same, rows, p)]
        verdicts, _ = judged(copies)
        assert [v.reason for v in verdicts if not v.is_passed] == []
        assert len(verdicts) > 3 * 10


def test_a_copy_of_the_champion_passes_and_ties_with_it() -> None:
    champion = made.planted(made.same, HONEST, "champion")
    rows = [*champion, *made.planted(made.same, HONEST)]
    figures = Figures(made.summary([*BASE, *rows], made.ties("sft", "champion")), "champion")
    verdicts = judge(figures, in_force({}), ["sft"], {})
    assert is_passed(verdicts, "sft")
    rate = figures.of("sft", "win_rate:champion")
    assert rate is not None
    assert rate.is_whole
    assert (rate.low or 0) <= 0.5 <= (rate.high or 0)
    assert any(v.metric == "win_rate" for v in verdicts)


@pytest.mark.parametrize(
    ("change", "metrics"),
    [
        (made.refuses, {"refusal_rate", "probe:over-refusal", "probe:helpfulness"}),
        (made.flatters, {"overused"}),
        (made.repeats_what_is_liked, {"repetition", "probe:helpfulness", "rules"}),
        (made.doubles, {"tokens"}),
        (made.never_ends, {"eos_rate"}),
        (made.is_short_and_empty, {"tokens", "probe:helpfulness"}),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_a_planted_model_fails_the_gate_meant_for_it(change: Change, metrics: set[str]) -> None:
    found = missed(change)
    assert metrics <= set(found), {name: v.reason for name, v in found.items()}


def test_a_reward_that_rises_excuses_nothing() -> None:
    verdicts, figures = of(made.repeats_what_is_liked)
    risen = figures.difference("sft", "reward", "base")
    assert risen is not None
    assert (risen.low or 0) > 4
    assert not is_passed(verdicts, "sft")


def test_worse_at_ordinary_text_fails() -> None:
    rows = made.summary([*BASE, *made.planted(made.same, HONEST)], deaf="sft")
    verdicts = judge(Figures(rows, None), in_force({}), ["sft"], {})
    assert {v.metric for v in verdicts if not v.is_passed} == {"perplexity"}


def test_short_because_the_constitution_asks_for_it_is_no_fault() -> None:
    assert set(missed(made.is_short_and_right)) == set()
    verdicts, _ = of(made.is_short_and_right)
    (short,) = [v for v in verdicts if "min_ratio" in v.rule]
    assert "but probe helpfulness has not fallen" in short.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (made.refuses, "SFT refuses 1.00 of the held-out prompts where the base refuses 0.00"),
        (made.flatters, "SFT says overused phrases in 1.00 of its answers"),
        (made.is_short_and_empty, "SFT shortens answers by 57 %, leaves questions unanswered"),
        (made.doubles, "SFT lengthens answers by 1"),
        (made.never_ends, "SFT ends 0.00 of its answers by itself where the base ends 0.9"),
    ],
    ids=lambda found: getattr(found, "__name__", ""),
)
def test_the_sentence_names_what_went_wrong(change: Change, words: str) -> None:
    verdicts, figures = of(change)
    said = verdict_sentence(figures, verdicts, "sft")
    assert words in said
    assert said.endswith(": not promoted.")
