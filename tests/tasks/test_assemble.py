from __future__ import annotations

import pytest

from constitution.schema import Principle
from tasks.generation.assemble import Step, examples, fault_of, faults_of, pairs
from tasks.generation.calls import Answer, Turn
from tasks.hygiene.rows import phrases
from tasks.prompts import Prompt


def answer(text: str, reason: str = "stop", name: str = "cmp_x") -> Answer:
    return Answer(name, text, reason, len(text.split()))


def prompt(text: str = "Why?") -> Prompt:
    return Prompt(({"role": "user", "content": text},), "factual", "test", 1)


CRITIQUE = "Point out sentences in the response that repeat or pad."
PRINCIPLE = Principle("brief", "brief", CRITIQUE, "Rewrite the response in fewer words.", "Which?")


def step(revision: Answer, round: int = 0, draft: str = "It is blue.", of: str = "Why?") -> Step:
    turn = Turn(prompt(of), answer(draft), (PRINCIPLE, PRINCIPLE))
    return Step(turn, round, "prn_1", answer("Too short."), revision)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Light is scattered by the air.", None),
        ("Sure, I can help: mix flour and water.", None),
        ("Here is a list of three birds: wren, owl, jay.", None),
        ("Sure, here is a revised response: it is blue.", "preamble"),
        ("Certainly! Here's the rewritten version.\nIt is blue.", "preamble"),
        ("**Revised response:** it is blue.", "preamble"),
        ("Revision: it is blue.", "preamble"),
        ("Below is an improved answer\nIt is blue.", "preamble"),
        ("The original response is fine as it is.", "critique"),
        ("You may point out sentences in the response that repeat.", "instructions"),
        ("Write only the new response to this conversation.", "instructions"),
        ("Critique: it lacks detail.", "critique"),
        ("The response does not say why.", "critique"),
        ("The user's statement is wrong.", None),
        ("The user asks for a recipe.", "critique"),
        ("   \n", "empty"),
    ],
)
def test_faults_of_a_revision(text: str, fault: str | None) -> None:
    assert fault_of(step(answer(text))) == fault


def test_a_revision_that_copies_a_worked_example_is_left_out() -> None:
    shown = phrases(["It is the other way round. The Earth travels around the Sun."])
    copied = answer("I think it is the other way round: the earth spins.")
    assert fault_of(step(copied), shown) == "copied_example"
    assert fault_of(step(answer("The Earth travels around the Sun.")), shown) is None  # six words
    assert fault_of(step(copied)) is None


def test_a_cut_revision_is_left_out() -> None:
    assert fault_of(step(answer("It is blue because", "length"))) == "truncated"
    assert fault_of(step(answer("", "too_long"))) == "too_long"


def test_the_prompt_and_the_draft_are_looked_at() -> None:
    said = answer("The response is slow at first.")
    assert fault_of(step(answer("The response lacks a reason."))) == "critique"
    assert fault_of(step(said, of="What is the response of the body to cold?")) is None


def test_a_pair_is_the_last_revision_over_the_draft() -> None:
    first, last = step(answer("One.")), step(answer(" Two. "), round=1, draft="One.")
    drafts, steps = {prompt().prompt_id: answer("It is blue.")}, [first, last]
    kept, left_out = pairs(drafts, steps, faults_of(steps))
    assert [(p.chosen.text, p.rejected.text) for p in kept.values()] == [("Two.", "It is blue.")]
    assert list(kept) == [last.revision_id]
    assert left_out == []


def test_every_row_that_gives_no_pair_has_a_reason() -> None:
    steps = [
        step(answer("It is blue."), of="a"),
        step(answer("cut", "length"), of="b"),
        step(answer("Fine."), of="c", draft=" "),
    ]
    drafts = {s.turn.prompt.prompt_id: s.turn.answer for s in steps}
    kept, left_out = pairs(drafts, steps, faults_of(steps))
    assert kept == {}
    assert [e.reason for e in left_out] == ["unchanged", "truncated", "empty_draft"]


def test_examples_of_all_rounds_or_of_the_last() -> None:
    steps = [step(answer("One.")), step(answer("Two."), round=1)]
    everything, _ = examples(steps, final_only=False, faults=faults_of(steps))
    last, _ = examples(steps, final_only=True, faults=faults_of(steps))
    assert [e.response for e in everything.values()] == ["One.", "Two."]
    assert [e.response for e in last.values()] == ["Two."]


def test_the_same_texts_are_the_same_rows_whoever_wrote_them() -> None:
    """Regeneration that brings the same texts back trains nothing."""
    one, other = step(answer("Two.", name="cmp_a")), step(answer("Two.", name="cmp_b"))
    drafts = {prompt().prompt_id: answer("It is blue.")}
    ids = [next(iter(pairs(drafts, [s], faults_of([s]))[0].values())).pair_id for s in (one, other)]
    assert ids[0] == ids[1]
    assert one.revision_id != other.revision_id
