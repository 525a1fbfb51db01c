"""Requests hold what the method needs, and share their beginning."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from constitution.errors import ConstitutionError
from constitution.load import load, resolve
from constitution.render import (
    COMPARISON_ANSWERS,
    comparison_messages,
    critique_message,
    few_shot_comparison,
    few_shot_critique,
    few_shot_reasoning,
    few_shot_revision,
    reasoning_messages,
    revision_message,
    transcript,
    verdict_messages,
)

DEFAULT = load(resolve("default"))
ASK = [{"role": "user", "content": "Is the Earth <flat>?\n"}]


def test_every_request_begins_with_the_same_messages() -> None:
    critiques = [critique_message(p, ASK, "Yes.") for p in DEFAULT.principles]
    shared = str([*few_shot_critique(DEFAULT), *few_shot_revision(DEFAULT)])
    assert not any(p.critique in shared or p.revision in shared for p in DEFAULT.principles)
    assert len({c["content"] for c in critiques}) == len(DEFAULT.principles)


def test_editing_a_principle_changes_no_other_principles_requests() -> None:
    slug = DEFAULT.examples[0].principle
    edited = replace(
        DEFAULT,
        principles=tuple(
            replace(p, critique="New.", revision="New.", comparison="New?") if p.slug == slug else p
            for p in DEFAULT.principles
        ),
    )
    for old, new in zip(DEFAULT.principles, edited.principles, strict=True):
        is_other = old.slug != slug
        critique, revision = (
            critique_message(old, ASK, "Yes."),
            revision_message(old, ASK, "a", "b"),
        )
        assert (critique == critique_message(new, ASK, "Yes.")) is is_other
        assert (revision == revision_message(new, ASK, "a", "b")) is is_other
    assert few_shot_critique(edited) == few_shot_critique(DEFAULT)
    assert few_shot_revision(edited) == few_shot_revision(DEFAULT)


def test_a_request_for_an_example_is_that_example() -> None:
    e = DEFAULT.examples[1]
    conversation = [{"role": "user", "content": e.prompt}]
    p = replace(DEFAULT.principles[0], critique=e.critique_request, revision=e.revision_request)
    assert critique_message(p, conversation, e.response) in few_shot_critique(DEFAULT)
    asked = revision_message(p, conversation, e.response, e.critique)
    assert asked in few_shot_revision(DEFAULT)


def test_a_revision_request_holds_the_whole_chain() -> None:
    p = DEFAULT.principle("be-concise")
    last = revision_message(p, ASK, "Yes.", "That is false.")
    assert last["role"] == "user"
    for part in ("Is the Earth <flat>?", "Yes.", p.critique, "That is false.", p.revision):
        assert part in last["content"]
    assert "Write only the new response" in last["content"]
    assert last["content"].endswith("\n\nUser: Is the Earth <flat>?")


def test_a_critique_request_holds_conversation_response_and_request() -> None:
    p = DEFAULT.principle("be-concise")
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        *ASK,
    ]
    content = critique_message(p, talk, " Yes.\n")["content"]
    assert content == (
        f"Critique request: {p.critique}\n\n"
        "Conversation:\nSystem: Be brief.\n\nUser: Hi\n\nAssistant: Hello\n\n"
        "User: Is the Earth <flat>?\n\nResponse:\nYes.\n\n"
        "Write only the critique, in one to three sentences."
    )


def test_roles_alternate_and_all_is_json() -> None:
    p = DEFAULT.principles[0]
    for messages in (
        [*few_shot_critique(DEFAULT), critique_message(p, ASK, "Yes.")],
        [*few_shot_revision(DEFAULT), revision_message(p, ASK, "Yes.", "No.")],
        comparison_messages(p, ASK, "Yes.", "No."),
    ):
        roles = [m["role"] for m in messages]
        assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
        assert roles[-1] == "user"
        assert json.loads(json.dumps(messages)) == messages


def test_a_comparison_names_both_responses_in_order() -> None:
    p = DEFAULT.principles[0]
    (message,) = comparison_messages(p, ASK, "First one.", "Second one.")
    assert "Response A:\nFirst one.\n\nResponse B:\nSecond one.\n\n" in message["content"]
    assert p.comparison in message["content"]
    assert COMPARISON_ANSWERS == ("A", "B")
    assert message["content"].endswith("A or B.")


def test_worked_comparisons_have_each_answer_as_often_and_no_principles_words() -> None:
    plain, reasoned = few_shot_comparison(), few_shot_reasoning()
    answers = [message["content"] for message in plain[1::2]]
    assert sorted(answers) == ["A"] * 3 + ["B"] * 3
    assert [message["content"] for message in reasoned[3::4]] == answers
    assert not any(p.comparison in str([*plain, *reasoned]) for p in DEFAULT.principles)
    assert not any("Response" in text for text in answers)


def test_reasoning_is_asked_for_first_and_the_letter_after_it() -> None:
    asked = reasoning_messages(DEFAULT.principles[0], ASK, "One.", "Two.")
    (compared,) = comparison_messages(DEFAULT.principles[0], ASK, "One.", "Two.")
    assert "A or B" not in asked[0]["content"]
    assert asked[0]["content"].startswith(compared["content"].rpartition("\n\n")[0])
    after = verdict_messages(" Both are short.\n")
    assert after[0] == {"role": "assistant", "content": "Both are short."}
    assert after[1]["content"] == compared["content"].rpartition("\n\n")[2]
    shown = few_shot_reasoning()
    assert [m["role"] for m in shown] == ["user", "assistant"] * (len(shown) // 2)
    assert shown[2] == after[1]


def test_a_constitution_without_examples_asks_at_once() -> None:
    bare = replace(DEFAULT, examples=())
    assert few_shot_critique(bare) == few_shot_revision(bare) == []


@pytest.mark.parametrize(
    ("conversation", "rule"),
    [
        ([], "ends with the user's message"),
        ([*ASK, {"role": "assistant", "content": "Yes."}], "ends with the user's message"),
        ([{"role": "narrator", "content": "Once"}, *ASK], "is no role; use one of: system, user"),
    ],
)
def test_conversations_that_cannot_be_answered(
    conversation: list[dict[str, str]], rule: str
) -> None:
    with pytest.raises(ConstitutionError, match=rule):
        transcript(conversation)
