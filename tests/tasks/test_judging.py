"""A judge's figures and their memo: worked by hand, and on a real ledger with planted judges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from constitution.assign import Assigner
from constitution.load import load, resolve
from constitution.render import few_shot_comparison, few_shot_reasoning
from storage.errors import InputError
from storage.ledger import Ledger
from storage.lineage import trace
from tasks.engines.engine import Batch, Continuation, Score
from tasks.generation import memo as completions
from tasks.generation.calls import Answer
from tasks.generation.record import record_constitution
from tasks.judging import memo
from tasks.judging.comparisons import Comparison, Judged, preference, questions
from tasks.judging.figures import (
    Orders,
    ensemble,
    normalised,
    parsed,
    settle,
    unparsed,
    vote,
)
from tasks.judging.judge import NO_CLAMP, Judge
from tasks.judging.strengths import PRIOR, ranking, strengths
from tasks.prompts import Prompt

from .planted_judges import PlantedJudge, always_first, longest, perfect

DEFAULT = load(resolve("default"))
PRINCIPLE = DEFAULT.principle("answer-the-question")
PROMPT = Prompt(({"role": "user", "content": "How deep is the sea?"},), "unspecified", "file", 1)
GOOD = Answer("cmp_" + "1" * 32, "A good answer.", "stop", 5)
WORSE = Answer("cmp_" + "2" * 32, "Why do you ask?", "length", 5, cut_at=5)
JUDGE = Judge("mdl_judge")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.duckdb")


def compare(judge: Judge = JUDGE, one: Answer = GOOD, other: Answer = WORSE) -> Comparison:
    return Comparison(judge, PROMPT, PRINCIPLE, one, other)


# Figures


def test_two_log_probabilities_are_normalised_over_the_two() -> None:
    assert normalised(math.log(0.3), math.log(0.1)) == pytest.approx(0.75)
    assert normalised(-2000.0, 0.0) == 0.0
    assert normalised(0.0, -2000.0) == 1.0


def test_orders_are_averaged_and_mirrored() -> None:
    """P(first) = 0.9 shown as A, 0.7 shown as B: 0.8; of the second 0.1 and 0.3, the other way."""
    orders = Orders(forward=0.9, backward=0.7)
    assert orders.preference == pytest.approx(0.8)
    assert orders.mirrored.forward == pytest.approx(0.3)
    assert orders.mirrored.backward == pytest.approx(0.1)
    assert orders.mirrored.preference == pytest.approx(0.2)
    assert orders.is_consistent


@pytest.mark.parametrize(
    ("forward", "backward", "margin", "expected"),
    [
        (0.9, 0.7, 0.0, 0.8),  # both name the first: they may differ by any margin
        (0.9, 0.2, 0.1, None),  # they name different ones
        (0.9, 0.2, 0.7, 0.55),  # exactly at the margin
        (0.54, 0.48, 0.1, 0.51),
        (1.0, 0.0, 0.1, None),  # A in both orders
        (1.0, 0.0, 1.0, 0.5),
        (None, 0.2, 1.0, None),
        (0.5, 0.9, 0.0, 0.7),
    ],
)
def test_orders_that_disagree_beyond_the_margin_abstain(
    forward: float | None, backward: float | None, margin: float, expected: float | None
) -> None:
    found = settle(Orders(forward, backward), NO_CLAMP, margin)
    assert found == (None if expected is None else pytest.approx(expected))


def test_clamping_is_by_order_and_comes_after_abstention() -> None:
    """0.99 and 0.45 become 0.6 and 0.45: their mean is 0.525; unclamped they differ by 0.54."""
    assert settle(Orders(0.99, 0.45), (0.4, 0.6), 0.6) == pytest.approx(0.525)
    assert settle(Orders(0.99, 0.45), (0.4, 0.6), 0.5) is None
    assert settle(Orders(0.99, 0.97), (0.4, 0.6), 0.1) == pytest.approx(0.6)
    assert Judge("mdl_x", chain_of_thought=True).limits == (0.4, 0.6)
    assert Judge("mdl_x").limits == (0.0, 1.0)
    assert Judge("mdl_x", clamp=(0.2, 0.8)).limits == (0.2, 0.8)


def test_an_ensemble_is_the_mean_probability_of_those_that_answered() -> None:
    assert ensemble([0.9, None, 0.6]) == pytest.approx(0.75)
    assert ensemble([None, None]) is None
    assert ensemble([]) is None
    assert ensemble([0.999, 0.4, 0.4]) == pytest.approx(0.5996667)  # log-odds would say 0.87


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("A", "A"),
        (" B.\n", "B"),
        ("\nA ", "A"),
        ("a", None),
        ("A and B", None),
        ("Answer: A", None),
        ("AB", None),
        ("A..", None),
        ("(A)", None),
        ("C", None),
        ("", None),
        ("А", None),  # Cyrillic
    ],
)
def test_a_sampled_verdict_is_a_letter_or_none(text: str, letter: str | None) -> None:
    assert parsed(text) == letter


def test_what_cannot_be_read_is_no_vote() -> None:
    texts = ["A", "A.", "B", "either", "A or B"]
    assert vote(texts) == pytest.approx(2 / 3)
    assert unparsed(texts) == 2
    assert vote(["maybe"]) is None


# Strengths


def test_three_responses_by_hand() -> None:
    """With the prior, wins are p + 0.1 of 1.2: 0.7 gives 2/3 and 0.86 gives 4/5, which are the
    probabilities of strengths 2 : 1 : 1/2 exactly."""
    assert PRIOR == 0.1
    found = strengths(3, {(0, 1): 0.7, (0, 2): 0.86, (2, 1): 0.3})
    assert found == pytest.approx([math.log(2), 0.0, -math.log(2)], abs=1e-7)


def test_strengths_are_finite_where_a_judge_is_sure_or_silent() -> None:
    sure = strengths(3, {(0, 1): 1.0, (1, 2): 1.0, (0, 2): 1.0})
    assert sure[0] > sure[1] > sure[2]
    assert all(map(math.isfinite, sure))
    assert strengths(3, {}) == pytest.approx([0.0] * 3)
    assert strengths(2, {(0, 1): 0.5}) == pytest.approx([0.0] * 2)
    one = strengths(3, {(0, 1): 1.0})
    assert one[0] > one[2] > one[1]
    assert strengths(1, {}) == [0.0]
    assert strengths(0, {}) == []


def test_equal_strengths_are_one_group_in_the_order_of_names() -> None:
    circle = strengths(3, {(0, 1): 0.9, (1, 2): 0.9, (2, 0): 0.9})
    assert ranking(circle, ["c", "a", "b"]) == [[1, 2, 0]]
    assert ranking([0.0, 1.0, 0.0], ["b", "x", "a"]) == [[1], [2, 0]]
    assert ranking([], []) == []


# What is asked


def test_both_ways_round_are_one_row_and_mirrored_figures(ledger: Ledger) -> None:
    there, back = compare(), compare(one=WORSE, other=GOOD)
    assert there.comparison_id == back.comparison_id
    judged = memo.complete(ledger, PlantedJudge(), "run_1", [there, back])
    assert len(judged) == 1
    assert preference([there], judged) == pytest.approx(0.9)
    assert preference([back], judged) == pytest.approx(0.1)
    assert judged[there.comparison_id].of(back) == judged[there.comparison_id].of(there).mirrored


def test_an_id_changes_with_what_changes_a_figure_and_nothing_else() -> None:
    known = compare().comparison_id
    sampled = replace(JUDGE, verdicts="sampled")
    for judge in (
        replace(JUDGE, model_id="mdl_other"),
        replace(JUDGE, few_shot=False),
        replace(JUDGE, chain_of_thought=True),
        sampled,
    ):
        assert compare(judge).comparison_id != known
    more = replace(sampled, samples=9)
    assert compare(more).comparison_id != compare(sampled).comparison_id
    for judge in (
        replace(JUDGE, clamp=(0.3, 0.7)),
        replace(JUDGE, abstain=0.5),
        replace(JUDGE, n_principles=4),
        replace(JUDGE, samples=9, temperature=0.5),
    ):
        assert compare(judge).comparison_id == known
    words = replace(PRINCIPLE, critique="Other.", revision="Other.", slug="other")
    assert replace(compare(), principle=words).comparison_id == known
    question = replace(PRINCIPLE, comparison="Which is shorter?")
    assert replace(compare(), principle=question).comparison_id != known


def test_a_pair_meets_its_principles_once_each_and_the_assigned_one_first() -> None:
    assigner = Assigner(DEFAULT)
    asked = questions(replace(JUDGE, n_principles=4), assigner, PROMPT, GOOD, WORSE)
    assert [c.principle for c in asked] == list(assigner.principles(PROMPT.prompt_id, 4))
    assert len({c.principle.slug for c in asked}) == 4
    few = replace(DEFAULT, principles=DEFAULT.principles[:2])
    assert len(questions(replace(JUDGE, n_principles=5), Assigner(few), PROMPT, GOOD, WORSE)) == 2


def test_requests_follow_the_worked_comparisons() -> None:
    forward, backward = compare().verdict_requests()
    assert forward[:-1] == backward[:-1] == few_shot_comparison()
    assert "Response A:\nA good answer.\n\nResponse B:\nWhy do you ask?" in forward[-1]["content"]
    assert "Response A:\nWhy do you ask?\n\nResponse B:\nA good answer." in backward[-1]["content"]
    assert len(compare(replace(JUDGE, few_shot=False)).verdict_requests()[0]) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_principles": 0},
        {"clamp": (0.6, 0.7)},
        {"abstain": 1.1},
        {"samples": 0},
        {"verdicts": "guess"},
        {"temperature": -1.0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(InputError, match=rf"^judge\.{name}: "):
        Judge("mdl_x", **wrong)  # type: ignore[arg-type]


# The memo


def test_a_judge_that_names_the_same_place_twice_gives_no_label(ledger: Ledger) -> None:
    judged = memo.complete(ledger, PlantedJudge(always_first), "run_1", [compare()])
    assert preference([compare()], judged) is None
    patient = replace(JUDGE, abstain=1.0)
    assert preference([compare(patient)], judged) == pytest.approx(0.5)
    sampled = compare(replace(JUDGE, verdicts="sampled"))
    judged = memo.complete(ledger, PlantedJudge(said=["A"]), "run_1", [sampled])
    assert judged[sampled.comparison_id].orders == Orders(1.0, 0.0)
    assert preference([sampled], judged) is None


def test_what_was_judged_is_found_again_and_asked_once(ledger: Ledger) -> None:
    engine = PlantedJudge()
    assert memo.look_up(ledger, [compare()]) == {}
    made = memo.complete(ledger, engine, "run_1", [compare(), compare()])
    assert len(engine.scored) == 4
    assert {asked.text for asked in engine.scored} == {"A", "B"}
    assert not any(asked.is_ended for asked in engine.scored)
    assert memo.look_up(ledger, [compare()]) == made
    assert memo.complete(ledger, engine, "run_2", []) == {}
    again = memo.complete(ledger, PlantedJudge(longest), "run_2", [compare()])
    assert again == made  # another run was first


def test_a_row_holds_what_was_said(ledger: Ledger) -> None:
    memo.complete(ledger, PlantedJudge(), "run_1", [compare()])
    (row,) = ledger.query("SELECT * FROM comparisons")
    assert (row["first_completion_id"], row["first_cut_at"]) == (GOOD.completion_id, 0)
    assert (row["second_completion_id"], row["second_cut_at"]) == (WORSE.completion_id, 5)
    assert row["forward"] == pytest.approx(0.9)
    assert row["backward"] == pytest.approx(0.9)
    assert row["preference"] == pytest.approx(0.9)
    assert (row["method"], row["unparsed"], row["forward_verdicts"]) == ("logprobs", 0, [])
    assert row["duration_s"] == pytest.approx(0.3 + 0.3)  # 3 of 3 items, then 1 of 1
    assert ledger.query("SELECT few_shot_id FROM few_shots") == [
        {"few_shot_id": row["few_shot_id"]}
    ]


def test_sampled_verdicts_are_kept_word_for_word(ledger: Ledger) -> None:
    asked = compare(replace(JUDGE, verdicts="sampled", samples=3))
    engine = PlantedJudge(said=["A", "A.", "Both are fine", "B", "A or B", "B "])
    judged = memo.complete(ledger, engine, "run_1", [asked])
    (found,) = judged.values()
    assert found.orders == Orders(1.0, 1.0)  # forward A A ?, backward B ? B
    assert (found.verdicts, found.unparsed) == (6, 2)
    assert memo.look_up(ledger, [asked]) == judged
    (row,) = ledger.query("SELECT forward_verdicts, backward_verdicts FROM comparisons")
    assert row["forward_verdicts"] == ["A", "A.", "Both are fine"]
    assert row["backward_verdicts"] == ["B", "A or B", "B "]
    assert len({request.seed for request in engine.generated}) == 6


def test_where_nothing_can_be_read_there_is_no_figure(ledger: Ledger) -> None:
    asked = compare(replace(JUDGE, verdicts="sampled", samples=2))
    judged = memo.complete(ledger, PlantedJudge(said=["Hm."]), "run_1", [asked])
    assert judged[asked.comparison_id].orders == Orders(None, None)
    assert preference([asked], judged) is None
    assert memo.look_up(ledger, [asked]) == judged


def test_reasoning_is_a_completion_that_the_verdict_follows(ledger: Ledger) -> None:
    judge = replace(JUDGE, chain_of_thought=True)
    engine = PlantedJudge()
    judged = memo.complete(ledger, engine, "run_1", [compare(judge)])
    assert preference([compare(judge)], judged) == pytest.approx(0.6)
    (row,) = ledger.query("SELECT * FROM comparisons")
    made = ledger.query("SELECT * FROM completions ORDER BY completion_id")
    ids = [row["forward_reasoning_id"], row["backward_reasoning_id"]]
    assert sorted(ids) == [completion["completion_id"] for completion in made]
    assert {completion["step"] for completion in made} == {"judgement"}
    texts = {completion["completion_id"]: completion["text"] for completion in made}
    forward, backward = (said_before(engine.scored, letter) for letter in ("A good", "Why do"))
    assert forward[-2]["content"] == texts[ids[0]]
    assert backward[-2]["content"] == texts[ids[1]]
    assert list(forward[:-3]) == few_shot_reasoning()
    memo.complete(ledger, engine, "run_2", [compare(judge)])
    assert len(engine.generated) == 2  # what was reasoned is not asked again


def said_before(scored: list[Continuation], start: str) -> list[dict[str, str]]:
    """The conversation in which the response that begins so is A."""
    (found, _) = [a for a in scored if f"Response A:\n{start}" in a.messages[-3]["content"]]
    return [dict(message) for message in found.messages]


@pytest.mark.parametrize("how", [{"chain_of_thought": True}, {"verdicts": "sampled"}])
def test_a_prompt_that_is_too_long_gets_no_figure(ledger: Ledger, how: dict[str, Any]) -> None:
    asked = compare(replace(JUDGE, max_prompt_tokens=3, **how))
    judged = memo.complete(ledger, PlantedJudge(), "run_1", [asked])
    assert judged == {asked.comparison_id: Judged(asked.comparison_id, Orders(None, None), 0, 0)}
    assert memo.look_up(ledger, [asked]) == judged


class CannotRead(PlantedJudge):
    """A server whose model cannot read so much."""

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        yield Batch([Score(n, float("-inf"), []) for n in range(len(continuations))], 0.1)


def test_what_the_judge_cannot_read_gets_no_figure(ledger: Ledger) -> None:
    asked = compare(JUDGE)
    judged = memo.complete(ledger, CannotRead(), "run_1", [asked])
    assert judged == {asked.comparison_id: Judged(asked.comparison_id, Orders(None, None), 0, 0)}
    assert memo.look_up(ledger, [asked]) == judged


def test_a_comparison_is_committed_when_all_of_it_has_come(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completions, "COMMIT_EVERY_S", 0.0)
    asked = [compare(), compare(one=replace(GOOD, text="Another good one."))]
    seen: list[int] = []
    made = memo.complete(
        ledger,
        PlantedJudge(),
        "run_1",
        asked,
        lambda done, _: seen.append(len(memo.look_up(ledger, asked))),
    )
    assert seen == [0, 0, 1, 2]  # nothing waits; then three batches of 3, 3 and 2 of 8 letters
    assert made == memo.look_up(ledger, asked)


def test_a_comparison_has_its_place_in_the_lineage(ledger: Ledger) -> None:
    record_constitution(ledger, DEFAULT, None)
    asked = compare(replace(JUDGE, chain_of_thought=True))
    memo.complete(ledger, PlantedJudge(perfect), "run_1", [asked])
    found = trace(ledger, asked.comparison_id, "up")
    roles = {edge["role"] for edge in found["edges"] if edge["child"] == asked.comparison_id}
    assert roles == {"first", "second", "reasoning", "prompt", "principle", "judge", "examples"}
    assert found["nodes"][asked.comparison_id]["preference"] == pytest.approx(0.9)
    down = trace(ledger, PRINCIPLE.slug, "down")
    assert down["counts"] == {"comparison": 1}
