"""A teacher is shown rules and answers that keep all of them, the same to every prompt."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from constitution.checks import complies
from constitution.errors import ConstitutionError
from constitution.load import load, resolve
from constitution.schema import Check, Principle, WorkedAnswer
from constitution.teacher import N_SHOWN, teacher_prefix, teacher_turns

CHECKABLE = load(resolve("checkable"))
PROSE = [p for p in CHECKABLE.principles if not p.slug.endswith("-when-asked")]


def of(slug: str, *responses: str, check: Check | None = None) -> Principle:
    answers = tuple(WorkedAnswer(f"{slug} {n}?", text) for n, text in enumerate(responses))
    return Principle(slug, slug.upper(), "c", "r", "q?", check=check, examples=answers)


def shown(*principles: Principle) -> list[str]:
    return [m["content"] for m in teacher_prefix(principles) if m["role"] == "assistant"]


def test_the_rules_come_first_and_then_the_answers() -> None:
    assert teacher_prefix([of("b", "B1"), of("a", "A1")], " Be true. ") == [
        {
            "role": "system",
            "content": "Be true.\n\nFollow these rules in every answer:\n- A\n- B",
        },
        {"role": "user", "content": "a 0?"},
        {"role": "assistant", "content": "A1"},
        {"role": "user", "content": "b 0?"},
        {"role": "assistant", "content": "B1"},
    ]


def test_without_principles_a_teacher_is_shown_what_a_student_is() -> None:
    assert teacher_prefix([]) == []
    assert teacher_prefix([], "Be true.") == [{"role": "system", "content": "Be true."}]


def test_the_order_of_principles_and_their_requests_do_not_count() -> None:
    rows = [of("a", "A1", "A2"), of("b", "B1"), of("c")]
    prefixes = [teacher_prefix(order) for order in permutations(rows)]
    assert all(prefix == prefixes[0] for prefix in prefixes)
    reworded = [replace(p, critique="x", revision="y", comparison="z?", weight=2.0) for p in rows]
    assert teacher_prefix(reworded) == prefixes[0]
    assert teacher_prefix([replace(rows[0], title="New"), *rows[1:]]) != prefixes[0]


def test_answers_are_spread_over_the_principles() -> None:
    a, b = of("a", *(f"A{n}" for n in range(8))), of("b", "B0", "B1")
    assert shown(a, b) == ["A0", "B0", "A1", "B1"]
    assert shown(a, of("b")) == ["A0", "A1", "A2", "A3"]
    assert len(shown(a)) == N_SHOWN
    assert shown(of("a", "A0")) == ["A0"]


def test_an_answer_that_breaks_a_rule_beside_it_is_left_out() -> None:
    calm = of("calm", "Yes.", check=("no_character", "!"))
    loud = of("loud", "Yes!", "No.")
    assert shown(loud) == ["Yes!", "No."]
    assert shown(loud, calm) == ["Yes.", "No."]
    assert shown(replace(loud, check=("no_character", "!"))) == ["No."]


def test_a_prompt_is_answered_once() -> None:
    a, b = of("a", "A0"), of("b", "B0")
    assert shown(a, replace(b, examples=(WorkedAnswer("a 0?", "B0"),))) == ["A0"]


def test_the_turns_that_follow_have_no_second_system_message() -> None:
    talk = [{"role": "user", "content": "Hi"}]
    assert teacher_turns(talk) == talk
    longer = [*talk, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "?"}]
    whole = teacher_turns([{"role": "system", "content": "Rhyme. "}, *longer])
    assert whole == [{"role": "user", "content": "Rhyme.\n\nHi"}, *longer[1:]]
    roles = [m["role"] for m in (*teacher_prefix(CHECKABLE.principles), *whole)]
    assert roles == ["system", *["user", "assistant"] * (N_SHOWN + 1), "user"]
    with pytest.raises(ConstitutionError, match="ends with the user's message"):
        teacher_turns(longer[:2])


def test_the_checkable_constitution_shows_answers_that_keep_all_its_rules() -> None:
    for p in CHECKABLE.principles:
        assert len(p.examples) >= 3
        for answer in p.examples:
            kept = [complies(q, answer.prompt, answer.response) for q in CHECKABLE.principles]
            assert False not in kept
            assert complies(p, answer.prompt, answer.response) is True
    assert len(shown(*PROSE)) == N_SHOWN
    prompts = {answer.prompt for p in CHECKABLE.principles for answer in p.examples}
    assert len(prompts) == 30
