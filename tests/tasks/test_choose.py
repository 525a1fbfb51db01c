"""From steps and pools to examples and pairs: who says which is better, and why others are out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from constitution.schema import Constitution, Principle
from tasks.generation.assemble import Step
from tasks.generation.calls import Answer, Turn
from tasks.generation.choose import Chooser, Standards
from tasks.generation.decisions import Decision, pairs
from tasks.generation.labels import Contest, Label
from tasks.generation.sources import Pool, Source, source_of
from tasks.generation.teaching import Teaching
from tasks.prompts import Prompt


def principle(slug: str, **check: Any) -> Principle:
    (found,) = check.items() or (None,)
    return Principle(slug, slug.title(), "Is it?", "Make it so.", "Which is?", check=found)


SHORT = principle("short", max_words=5)
OPENING = principle("opening", begins_with="In short")
KIND = Principle("kind", "Kind", "Is it kind?", "Be kind.", "Which is kinder?")
RULES = Constitution("rules", (SHORT, OPENING, KIND))
LOOSE = Standards(needs_evidence=False, whole=False)


def answer(text: str, reason: str = "stop") -> Answer:
    return Answer(f"cmp_{text}", text, reason, len(text.split()))


def prompt(text: str = "Why?") -> Prompt:
    return Prompt(({"role": "user", "content": text},), "factual", "test", 1)


def pool(
    better: Sequence[str | Answer],
    worse: Sequence[str | Answer],
    *principles: Principle,
    source: Source = "distilled",
) -> Pool:
    sides = [
        tuple(a if isinstance(a, Answer) else answer(a) for a in side) for side in (better, worse)
    ]
    revision_id = "rev_1" if source == "revision" else None
    return Pool(prompt(), source, principles, sides[0], sides[1], revision_id)


def decided(pool: Pool, opinion: Contest | None = None, **standards: Any) -> Decision:
    return Chooser(RULES, Standards(**standards)).decide(pool, opinion)


def texts(decision: Decision) -> tuple[str, str] | None:
    found = decision.contest
    return (found.chosen.text, found.rejected.text) if found else None


LONG = "It is blue since the air scatters light."
KEEPS, BREAKS = "It is blue.", LONG


def test_the_answer_that_keeps_the_rule_is_chosen() -> None:
    found = decided(pool([KEEPS], [BREAKS], SHORT))
    assert texts(found) == (KEEPS, BREAKS)
    assert found.contest
    assert found.contest.labels == (Label("program", "short", 1.0),)
    assert not found.contest.is_turned


@pytest.mark.parametrize("source", ["revision", "distilled"])
def test_a_pair_that_is_the_wrong_way_round_is_turned(source: Source) -> None:
    found = decided(pool([BREAKS], [KEEPS], SHORT, source=source))
    assert texts(found) == (KEEPS, BREAKS)
    assert found.contest
    assert found.contest.is_turned


def test_candidates_are_turned_by_nothing() -> None:
    both = [BREAKS, KEEPS]
    found = decided(pool(both, both, SHORT, source="candidates"))
    assert texts(found) == (KEEPS, BREAKS)
    assert found.contest
    assert not found.contest.is_turned


@pytest.mark.parametrize(
    ("better", "worse", "detail"),
    [
        (KEEPS, "It is red.", "all keep short"),
        (BREAKS, "It is red since the air scatters light.", "all break short"),
    ],
)
def test_where_nothing_tells_them_apart_there_is_no_evidence(
    better: str, worse: str, detail: str
) -> None:
    found = decided(pool([better], [worse], SHORT))
    assert (found.contest, found.reason, found.detail) == (None, "no_evidence", detail)
    assert found.is_open


def test_a_rule_for_a_rule_is_no_evidence() -> None:
    """Each keeps one of the two rules it is about: no program says which is better."""
    found = decided(pool(["In short, it is blue since light scatters."], [KEEPS], SHORT, OPENING))
    assert (texts(found), found.reason) == (None, "no_evidence")


def test_what_its_own_rules_do_not_tell_the_others_may() -> None:
    found = decided(pool(["In short, it is blue."], [KEEPS], SHORT))
    assert texts(found) == ("In short, it is blue.", KEEPS)
    assert found.contest
    assert found.contest.labels == (Label("program", "opening", 1.0),)
    assert decided(pool(["In short, it is blue."], [KEEPS], KIND)).reason == "no_evidence"


def test_what_no_program_checks_is_for_the_judge() -> None:
    asked = pool([KEEPS], [BREAKS], KIND)
    assert decided(asked).detail == "no check of kind"
    said = Contest(asked.worse[0], asked.better[0], (Label("judge", "kind", 0.8),), True, 0.8)
    found = decided(asked, said)
    assert texts(found) == (BREAKS, KEEPS)
    assert found.contest
    assert found.contest.preference == 0.8


def test_a_program_outranks_the_judge() -> None:
    asked = pool([KEEPS], [BREAKS], SHORT)
    said = Contest(asked.worse[0], asked.better[0], (Label("judge", "short", 0.9),), True)
    assert texts(decided(asked, said)) == (KEEPS, BREAKS)


def test_without_need_of_evidence_the_source_is_believed() -> None:
    found = decided(pool([KEEPS], [BREAKS], KIND), needs_evidence=False)
    assert texts(found) == (KEEPS, BREAKS)
    assert found.contest
    assert found.contest.labels == ()
    candidates = pool([KEEPS, BREAKS], [KEEPS, BREAKS], KIND, source="candidates")
    assert texts(decided(candidates, needs_evidence=False)) is None


def test_the_best_of_many_keeps_the_most_rules() -> None:
    best = "In short, it is blue."
    found = decided(pool([KEEPS, best], [BREAKS, LONG + " Very."], SHORT))
    assert texts(found) == (best, BREAKS)


def test_the_opponent_differs_in_little_else() -> None:
    near = "In short, it is blue since air scatters."
    found = decided(pool(["In short, it is blue."], [LONG, near], SHORT))
    assert texts(found) == ("In short, it is blue.", near)


def test_an_answer_with_a_fault_does_not_win_and_one_that_was_cut_does_not_lose() -> None:
    cut = answer(LONG, "length")
    assert decided(pool([KEEPS], [cut], SHORT)).reason == "no_evidence"
    assert texts(decided(pool([KEEPS], [cut], SHORT), whole=False)) == (KEEPS, LONG)
    assert decided(pool([answer(KEEPS, "length")], [BREAKS], SHORT)).reason == "no_evidence"
    assert decided(pool([answer("", "stop")], [" "], SHORT)).reason == "faulty"


def revised(revision: str | Answer, draft: str | Answer = BREAKS) -> Pool:
    return pool([revision], [draft], SHORT, source="revision")


@pytest.mark.parametrize(
    ("revision", "draft", "reason"),
    [
        (answer("It is", "length"), BREAKS, "truncated"),
        (KEEPS, " ", "empty_draft"),
        ("It is BLUE!", KEEPS, "unchanged"),
        (KEEPS, answer(LONG, "length"), "cut_draft"),
    ],
)
def test_why_a_revision_gives_no_pair(
    revision: str | Answer, draft: str | Answer, reason: str
) -> None:
    kept, (left_out,) = pairs([decided(revised(revision, draft))])
    assert kept == []
    assert (left_out.row_id, left_out.step, left_out.reason) == ("rev_1", "pairs", reason)


def step(revision: str, round: int = 0, rule: Principle = SHORT) -> Step:
    turn = Turn(prompt(), answer(BREAKS), (rule,) * (round + 1))
    return Step(turn, round, "prn_1", answer("Too long."), answer(revision))


def responses(chooser: Chooser, steps: Sequence[Step] = (), of: Sequence[Pool] = ()) -> list[str]:
    return [e.response for e in chooser.examples(steps, [chooser.decide(p) for p in of])[0]]


def test_examples_of_all_rounds_or_of_the_last() -> None:
    steps = [step("One."), step("Two.", round=1)]
    assert responses(Chooser(RULES, LOOSE), steps) == ["One.", "Two."]
    assert responses(Chooser(RULES, replace(LOOSE, final_only=True)), steps) == ["Two."]


def test_a_revision_that_breaks_its_rule_is_no_example() -> None:
    kept, left_out = Chooser(RULES, Standards()).examples([step(BREAKS), step(KEEPS)], [])
    assert [e.response for e in kept] == [KEEPS]
    assert [e.reason for e in left_out] == ["breaks_its_rule"]
    assert responses(Chooser(RULES, LOOSE), [step(BREAKS)]) == [BREAKS]


def test_a_teachers_best_answers_are_learned() -> None:
    chooser = Chooser(RULES, Standards(examples_each=2))
    taught = pool([KEEPS, BREAKS, "In short, blue.", "It is so."], [BREAKS], SHORT)
    assert responses(chooser, of=[taught]) == ["In short, blue.", KEEPS]
    _, left_out = chooser.examples([], [chooser.decide(pool([BREAKS], [BREAKS], SHORT))])
    assert [e.reason for e in left_out] == ["none_keeps_the_rules"]


def test_where_no_program_checks_what_was_chosen_is_learned() -> None:
    chooser, asked = Chooser(RULES, Standards()), pool([KEEPS, "It is so."], [BREAKS], KIND)
    assert responses(chooser, of=[asked]) == []
    said = Contest(asked.better[1], asked.worse[0], (Label("judge", "kind", 0.7),))
    examples, _ = chooser.examples([], [chooser.decide(asked, said)])
    assert [e.response for e in examples] == ["It is so."]


def test_what_a_principle_had_a_hand_in_can_be_left_out() -> None:
    chooser = Chooser(RULES, LOOSE, without="short")
    asked = [pool([KEEPS], [BREAKS], SHORT), revised(KEEPS), pool([KEEPS], [BREAKS], KIND)]
    decisions = [chooser.decide(p) for p in asked]
    assert [d.reason for d in decisions] == ["ablated", "ablated", ""]
    examples, _ = chooser.examples([step(KEEPS), step(KEEPS, rule=KIND)], decisions[:2])
    assert len(examples) == 1


def test_the_same_texts_are_the_same_rows_whoever_wrote_them() -> None:
    """Regeneration that brings the same texts back trains nothing."""
    other = replace(answer(KEEPS), completion_id="cmp_other")
    kept, _ = pairs([decided(revised(KEEPS)), decided(revised(other))])
    assert kept[0].pair_id == kept[1].pair_id


def test_what_the_pairs_teach_is_counted_by_principle() -> None:
    teaching = Teaching()
    chooser = Chooser(RULES, LOOSE)
    asked = [
        pool([KEEPS], [BREAKS], SHORT),
        pool([BREAKS], [KEEPS], SHORT),
        pool([KEEPS], ["So it is."], SHORT),
        pool([KEEPS], [BREAKS], KIND),
    ]
    teaching.add(chooser.decide(p) for p in asked)
    found = teaching.to_json()
    assert (found["pairs"], found["share_with_evidence"], found["turned"]) == (4, 0.5, 1)
    assert found["by_evidence"] == {"program": 2, "none": 2}
    short = found["principles"]["short"]
    assert (short["prompts"], short["with_evidence"], short["agreed"]) == (3, 2, 1)
    assert (short["all_keep"], short["all_break"]) == (1, 0)
    assert Teaching().share is None


def test_sources_share_the_prompts_and_another_share_moves_few() -> None:
    ids = [f"prm_{n}" for n in range(4000)]
    even = [source_of(i, {"revision": 1.0, "distilled": 1.0, "candidates": 0.0}) for i in ids]
    assert 1850 < even.count("distilled") < 2150
    assert "candidates" not in even
    more = [source_of(i, {"revision": 1.0, "distilled": 1.0, "candidates": 1.0}) for i in ids]
    moved = [(a, b) for a, b in zip(even, more, strict=True) if a != b]
    assert 1200 < len(moved) < 1470
    assert {b for _, b in moved} == {"candidates"}


def test_what_is_presumed_has_no_fault_is_whole_and_differs() -> None:
    better: list[str | Answer] = ["", "It is", "It is blue."]
    worse: list[str | Answer] = [answer("It is", "length"), "It is", "It is red."]
    found = decided(pool(better, worse, KIND), needs_evidence=False)
    assert texts(found) == ("It is", "It is red.")
    assert decided(pool(["So."], ["So!"], KIND), needs_evidence=False).contest is None


def test_people_are_not_overruled_where_what_they_prefer_has_a_fault() -> None:
    asked = pool([answer(KEEPS, "length")], [BREAKS], SHORT, source="people")
    verdicts = {(asked.prompt.prompt_id, KEEPS, BREAKS): ""}
    found = Chooser(RULES, Standards(), verdicts=verdicts).decide(asked)
    assert (found.contest, found.reason) == (None, "spoilt_for_people")
    said = {(asked.prompt.prompt_id, BREAKS, KEEPS): "kind"}
    other = pool([KEEPS], [BREAKS], SHORT)
    turned = Chooser(RULES, Standards(), verdicts=said).decide(other)
    assert texts(turned) == (BREAKS, KEEPS)
    assert turned.contest
    assert turned.contest.labels == (Label("people", "kind", 1.0),)
