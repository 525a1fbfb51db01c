from __future__ import annotations

import pytest

from tasks.generation.assemble import fault_of, is_unchanged, phrases
from tasks.generation.calls import Answer


def answer(text: str, reason: str = "stop", name: str = "cmp_x") -> Answer:
    return Answer(name, text, reason, len(text.split()))


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
        ("The original response is fine as it is.", "instructions"),
        ("Critique: it lacks detail.", "preamble"),
        ("The response does not say why.", "critique"),
        ("The user's statement is wrong.", None),
        ("The user asks for a recipe.", "critique"),
        ("   \n", "empty"),
    ],
)
def test_faults_of_a_revision(text: str, fault: str | None) -> None:
    assert fault_of(answer(text)) == fault


def test_a_revision_that_copies_a_worked_example_is_left_out() -> None:
    shown = phrases(["It is the other way round. The Earth travels around the Sun."])
    copied = answer("I think it is the other way round: the earth spins.")
    assert fault_of(copied, shown) == "copied_example"
    assert fault_of(answer("The Earth travels around the Sun."), shown) is None  # six words
    assert fault_of(copied) is None


def test_a_cut_revision_is_left_out() -> None:
    assert fault_of(answer("It is blue because", "length")) == "truncated"
    assert fault_of(answer("", "too_long")) == "too_long"


def test_case_spaces_and_punctuation_are_no_change() -> None:
    assert is_unchanged(answer("It is  Blue."), answer("it is blue!"))
    assert not is_unchanged(answer("It is blue."), answer("It is green."))
