"""Which form a prompt asks for, and whether an answer has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from constitution.checks import complies
from constitution.form_asked import Demand, asked_form
from constitution.load import load, resolve
from constitution.schema import Principle
from constitution.teacher import teacher_prefix

CHECKABLE = load(resolve("checkable"))
FORM = Principle("form", "Form", "c", "r", "q?", check=("form_when_asked", True))
EVERYDAY = Path(__file__).resolve().parents[2] / "constitution" / "everyday.jsonl"


@pytest.mark.parametrize(
    ("prompt", "demands"),
    [
        ("Name three tools as bullet points.", [Demand("bullets")]),
        ("Answer with exactly 4 bullet points.", [Demand("bullets", 4, True)]),
        ("Give three reasons in a bulleted list.", [Demand("bullets")]),
        ("Make a numbered list of the planets.", [Demand("numbered")]),
        ("Highlight at least two phrases with asterisks.", [Demand("marked", 2)]),
        ("Put the names in bold.", [Demand("marked")]),
        ("Use 3 sections. Use no commas.", [Demand("sections", 3), Demand("no commas")]),
        ("Highlight at least 3 sections in your answer.", [Demand("marked", 3)]),
        ("Write 2 stanzas separated by ***.", [Demand("divided", 2)]),
        ("Refrain from using any commas.", [Demand("no commas")]),
        ("Reply in all lowercase letters.", [Demand("lower case")]),
        ("It must not contain any capital letters.", [Demand("lower case")]),
        ("Write it in all capital letters.", [Demand("capitals")]),
        ("Add a title in angular brackets like <<title>>.", [Demand("title")]),
        ("Wrap your whole answer in double quotation marks.", [Demand("quoted")]),
        ("Close with a postscript.", [Demand("postscript")]),
        ("Use at least 5 placeholders such as [name].", [Demand("placeholders", 5)]),
        ("Do not use bullet points.", []),
        ("Use paragraphs instead of bullet points.", []),
        ("What is a bullet point?", []),
        ("How do I write in all capital letters?", []),
        ("Write a script that prints a bulleted list.", []),
        ("Rewrite the text written in all capital letters.", []),
        ("What is the title of the book?", []),
        ("Explain how a comma is used.", []),
        ("Why is the sky blue?", []),
    ],
)  # fmt: skip
def test_what_a_prompt_asks_of_the_form(prompt: str, demands: list[Demand]) -> None:
    assert list(asked_form(prompt)) == demands


@pytest.mark.parametrize(
    ("prompt", "kept", "broken"),
    [
        ("Exactly 2 bullet points.", "Two:\n* a\n* b", "* a\n* b\n* c"),
        ("Three bullet points, please.", "- a\n- b\n- c", "- a\n- b"),
        ("A numbered list of two.", "1. a\n2. b", "1. a and b"),
        ("Highlight at least two words.", "*One* and **two**.", "*One* and two * three."),
        ("Write 2 sections.", "Section 1\na\nSECTION 2\nb", "Section 1 is short."),
        ("Two stories separated by ***.", "One.\n***\nTwo.", "One.\n***\n"),
        ("Use no commas.", "One and two.", "One, two."),
        ("In lowercase letters.", "one.", "One."),
        ("Answer in capital letters.", "ONE.", "One."),
        ("A title like <<title>>.", "<<The sea>>\nBlue.", "<<>>\nBlue."),
        ("Put it in quotation marks.", '"Snow."', '"Snow." said he'),
        ("With a postscript.", "Dear Ann.\nP.S. Come.", "Dear Ann.\nPS Come."),
        ("Use 2 placeholders such as [name].", "[name], [date]", "[name], []"),
        ("Bullet points without any commas.", "* a\n* b", "* a, b"),
    ],
)
def test_what_keeps_it(prompt: str, kept: str, broken: str) -> None:
    assert complies(FORM, prompt, kept) is True
    assert complies(FORM, prompt, broken) is False


@pytest.mark.parametrize(
    "check",
    [("begins_with", "In short"), ("no_lists", True), ("ends_with_question", True),
     ("min_sentences", 2), ("ends_with", "Bye.")],
)  # fmt: skip
def test_rules_about_form_give_way_to_what_is_asked(check: Any) -> None:
    rule = Principle("rule", "Rule", "c", "r", "q?", check=check)
    assert complies(rule, "Answer in bullet points.", "* a") is None
    assert complies(rule, "Why?", "* a") is False
    assert complies(FORM, "Why?", "* a") is None


def test_a_teacher_is_shown_the_form_before_other_examples() -> None:
    order = ("no-exclamation", "form-when-asked")
    told = sorted(
        (p for p in CHECKABLE.principles if p.slug in order), key=lambda p: order.index(p.slug)
    )
    prompts = [m["content"] for m in teacher_prefix(told) if m["role"] == "user"]
    assert len(prompts) == 4
    assert all(map(asked_form, prompts))
    others = [m["content"] for m in teacher_prefix(told[:1]) if m["role"] == "user"]
    assert not any(map(asked_form, others))


def test_the_prompts_of_our_own_ask_for_a_form_where_they_say_so() -> None:
    prompts = [json.loads(line) for line in EVERYDAY.read_text("utf-8").splitlines()]
    wrong = [p for p in prompts if bool(asked_form(p["prompt"])) is not (p["category"] == "form")]
    assert wrong == []


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", ["a ", "two ", "highlight ", "title ", "*** ", "put ", "[", "<<"])
def test_long_prompts_take_little_time(piece: str) -> None:
    asked_form(piece * 20_000)
    complies(FORM, "Bullet points, in bold, with a title <<x>> and 2 placeholders.", piece * 20_000)
