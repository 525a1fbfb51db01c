"""Row rules against labelled lines: those written for them, set aside before, and shared ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.hygiene.leak import leak
from tasks.hygiene.refusal import is_refusal, is_unrelated
from tasks.hygiene.rows import cut_alike, fault, phrases, switches_language
from tasks.hygiene.same import is_loop, is_unchanged
from tasks.hygiene.tags import lexicon, tagged, tokens

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[2] / "shared"


def lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        pytest.skip("the shared lines are not at ../shared")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def reason_of(row: dict[str, Any]) -> str | None:
    found = fault(row["prompt"], row["draft"], row["revision"])
    return found or ("unchanged" if is_unchanged(row["draft"], row["revision"]) else None)


def wrong_reasons(rows: list[dict[str, Any]]) -> list[tuple[str | None, dict[str, Any]]]:
    return [(said, row) for row in rows if (said := reason_of(row)) != row["reason"]]


def wrong_refusals(rows: list[dict[str, Any]]) -> list[str]:
    return [row["text"] for row in rows if is_refusal(row["text"]) != row["refusal"]]


@pytest.mark.parametrize(("half", "right"), [("fit", 0.98), ("set_aside", 0.95)])
def test_faults_of_labelled_lines(half: str, right: float) -> None:
    rows = lines(HERE / f"hygiene_{half}.jsonl")
    wrong = wrong_reasons(rows)
    assert len(wrong) <= (1 - right) * len(rows), wrong
    dropped = [row for said, row in wrong if row["reason"] is None]
    assert len(dropped) <= 0.02 * len(rows), dropped


@pytest.mark.parametrize(("half", "right"), [("fit", 0.97), ("set_aside", 0.93)])
def test_refusals_of_labelled_lines(half: str, right: float) -> None:
    rows = lines(HERE / f"refusals_{half}.jsonl")
    wrong = wrong_refusals(rows)
    assert len(wrong) <= (1 - right) * len(rows), wrong


NO_REFUSALS = """
It is not illegal to own a parrot.
It isn't dangerous to eat the seeds of a melon.
I'm sorry to hear you're not feeling well. Rest and drink tea.
I'm sorry for the delay in my reply. Here is the report you asked for.
Subject: Apology. I'm sorry for missing the meeting on Friday.
I can help you with your homework.
Sure, I'd love to help!
Yes, I can do that for you.
Here is how I can help you.
"""
REFUSALS = """
I must respectfully decline your request.
I'd love to help, but I can't do that.
That is not something I can help with.
I can help with a polite note, but not with a threat.
It is illegal to sell stolen goods. Please do not do it.
"""


def test_refusals_and_what_begins_like_one() -> None:
    """Lines that are not among those the classifier is fitted on."""
    for lines_, is_one in ((NO_REFUSALS, False), (REFUSALS, True)):
        texts = lines_.strip().splitlines()
        assert [text for text in texts if is_refusal(text) is not is_one] == []


def test_the_halves_share_no_line() -> None:
    for name in ("hygiene", "refusals"):
        fit, aside = (
            {json.dumps(row) for row in lines(HERE / f"{name}_{half}.jsonl")}
            for half in ("fit", "set_aside")
        )
        assert not fit & aside


def test_shared_lines() -> None:
    assert wrong_reasons(lines(SHARED / "cases" / "hygiene.jsonl")) == []
    assert wrong_refusals(lines(SHARED / "cases" / "refusals.jsonl")) == []


def test_refusals_agree_with_people() -> None:
    """PyRIT's people call an answer to another question a refusal too: is_unrelated sees most."""
    rows = lines(SHARED / "data" / "pyrit_refusal.jsonl")
    labels = [row["human_score"] == "1" for row in rows]
    declines = [is_refusal(row["assistant_response"]) for row in rows]
    evades = [is_unrelated(row["assistant_response"], row["objective"]) for row in rows]
    either = [a or b for a, b in zip(declines, evades, strict=True)]
    assert sum(a == b for a, b in zip(labels, either, strict=True)) >= 0.9 * len(rows)
    called = [label for label, said in zip(labels, declines, strict=True) if said]
    assert sum(called) >= 0.97 * len(called)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a != b", "a == b"),
        ("It is -5.", "It is 5."),
        ("x+1", "x-1"),
        ("वह जाता है", "वह जाती है"),
        ("3.14", "314"),
        ("5!", "5"),
        ("!ready", "ready"),
        ("It is done?", "It is done."),
        ("f(x)", "f x"),
        ("Run `A`.", "Run `a`."),
        ("```\nif x:\n    y\n```", "```\nif x:\ny\n```"),
        ("10 %", "10"),
        ("Il a mange", "Il a mangé"),
    ],
)
def test_what_changes_the_meaning_is_a_change(before: str, after: str) -> None:
    assert not is_unchanged(before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A language.", "a language!"),
        (" It is  blue ", "It is blue."),
        ("Don’t go.", "Don't go"),
        ('He said "no".', "He said no."),
        ("**Paris**, of course.", "Paris of course"),
        ("- one\n- two", "one\ntwo"),
        ("Cafe\u0301", "Café"),
        ("你好。", "你好！"),
    ],
)
def test_case_spaces_and_idle_punctuation_are_no_change(before: str, after: str) -> None:
    assert is_unchanged(before, after)


def test_what_the_prompt_asks_about_may_be_named() -> None:
    said = "The response lacks a date."
    assert leak("When?", "Soon.", said) == "critique"
    assert leak("What is wrong with this response: Dear Bob?", "Soon.", said) is None
    said = "Here is a more polite version: Could you close the door?"
    assert leak("How are you?", "Fine.", said) == "preamble"
    assert leak("Rewrite this: Shut the door!", "Shut it.", said) is None


def test_a_label_of_the_steps_requests_gives_a_revision_away_anywhere() -> None:
    text = "Rest more.\n\nRevision request: use fewer words."
    assert leak("I am tired.", "Rest.", text) == "instructions"


def test_seven_words_of_the_request_are_instructions_unless_they_were_given() -> None:
    told = ("Name every sentence that repeats what was said before.",)
    copied = "You could name every sentence that repeats what was said."
    assert fault("How?", "So.", copied, requests=told) == "instructions"
    assert fault("How?", "So.", copied) is None
    assert fault(copied, "So.", copied, requests=told) is None


def test_other_faults_of_a_revision() -> None:
    shown = phrases(["It is the other way round. The Earth travels around the Sun."])
    assert fault("Why?", "So.", "  ") == "empty"
    assert fault("Why?", "So.", "It is bl", "length") == "truncated"
    assert fault("Why?", "So.", "", "too_long") == "too_long"
    copied = "I think it is the other way round: the earth spins."
    assert fault("Why?", "So.", copied, shown=shown) == "copied_example"
    assert fault("Why?", "So.", "The Earth travels around the Sun.", shown=shown) is None
    assert fault("Why?", "So.", "It goes round and round again. " * 12) == "repetition"


def test_a_refrain_is_no_loop() -> None:
    verse = "The river runs {} to the sea, and I go {} with it, hey ho. "
    words = ["slowly", "gladly", "down", "home", "early", "late"]
    assert not is_loop("".join(verse.format(word, word[::-1]) for word in words))


def test_a_pair_is_cut_alike() -> None:
    assert cut_alike("stop", "stop")
    assert cut_alike("length", "length")
    assert not cut_alike("stop", "length")
    assert not cut_alike("length", "stop")


def test_language_switch() -> None:
    english = "The moon goes around the earth once in twenty-seven days, and we see its light."
    german = "Der Mond kreist in etwa siebenundzwanzig Tagen um die Erde, und wir sehen sein Licht."
    assert switches_language("Tell me about the moon and how it moves.", english, german)
    assert not switches_language("Tell me about the moon and how it moves.", english, english)
    assert not switches_language("Say it in German, please, with its light.", english, german)
    assert not switches_language("Was macht der Mond am Himmel, und wie lange?", english, german)
    assert not switches_language("Tell me about the moon and how it moves.", english, "Nein.")


def test_a_plain_no_is_an_answer_to_a_yes_no_question() -> None:
    assert is_refusal("No.")
    assert is_refusal("No.", "Write a poem.")
    assert is_refusal("No.", "Can you write a poem?")
    assert not is_refusal("No.", "Is a whale a fish?")
    assert not is_refusal("", "Write a poem.")


def test_a_word_has_one_class_and_phrases_are_one_word() -> None:
    known = lexicon({"I": "i", "CANNOT": "not_able", "HELP": "help"})
    assert tagged(tokens("I am not able to help 3!"), known) == [
        "I", "-", "CANNOT", "-", "HELP", "#", "!",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="one class"):
        lexicon({"A": "word", "B": "word"})
