from __future__ import annotations

import pytest

from constitution.schema import Principle
from tasks.generation.assemble import Step, fault_of
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
