"""Each check on answers at its border: empty, other scripts, emoji, code, trailing signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from constitution.checks import CHECKS, complies
from constitution.counting import ends, sentences
from constitution.lint import lint
from constitution.load import load, resolve
from constitution.reading import read
from constitution.schema import Check, Example, Principle

CHECKABLE = load(resolve("checkable"))
ASK, ASK_JSON = "How are you?", "How are you? Answer in JSON."
ASKING = {"json-when-asked": ASK_JSON, "form-when-asked": "Answer in bullet points."}


def of(check: Check | None) -> Principle:
    return Principle("rule", "Rule", "Criticise.", "Revise.", "Which?", check=check)


def keeps(name: str, parameter: int | str | bool, response: str, prompt: str = ASK) -> bool | None:
    return complies(of((name, parameter)), prompt, response)


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ("one two three", True),
        ("one two three four", False),
        ("  one \n two\tthree \u00a0 ", True),
        ("one - two 😊 three … !", True),  # signs and emoji are no words
        ("it's well-known today", True),
        ("ثلاث كلمات فقط", True),
        ("أربع كلمات في الجواب", False),
        ("see `a b c d`", False),  # code counts here
    ],
)
def test_max_words(response: str, is_kept: bool) -> None:
    assert keeps("max_words", 3, response) is is_kept


@pytest.mark.parametrize(
    ("response", "count"),
    [
        ("", 0),
        ("...", 0),
        ("No end", 0),
        ("One.", 1),
        ("One. Two", 1),
        ("One. Two.", 2),
        ("One! Two? Three… Four.", 4),
        ("Wait... what?!", 1),
        ("It costs 3.50 euros. Dr. Smith paid, e.g. in Berlin.", 2),
        ("J. R. Smith met Mr. Jones in the U.S. Army. Then they left.", 2),
        ("So do I. You too.", 2),
        ('He said: "Go." She went. (Really.)', 3),
        ("**Bold.** *Slanted.* Good! 😊 More.", 4),
        ("Great!😊 Next one.", 2),
        ("first line.\nsecond line.", 2),
        ("1. Wash it.\n2. Dry it.", 2),
        ("1. Wash it\n2. Dry it", 0),
        ("你好。再见！", 2),
        ("هل أنت بخير؟ نعم.", 2),
        ("नमस्ते। फिर मिलेंगे।", 2),
    ],
)
def test_sentences(response: str, count: int) -> None:
    assert sum(map(ends, sentences(read(response)) or ())) == count


def test_code_is_no_sentence() -> None:
    assert keeps("min_sentences", 2, "Run `a. B. C.` now. Then stop.") is True
    assert keeps("min_sentences", 2, "Run this.\n```\nA. B. C.\n```\n") is False


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ("Fine. And you?", True),
        ("Fine. And you?  \n\n", True),
        ('He asked "And you?"', True),
        ('He asked "And you?".', False),
        ("**And you?** 😊", True),
        ("And you?!", True),
        ("And you?\u200f\ufe0f", True),
        ("وأنت؟", True),
        ("Και εσύ\u037e", True),
        ("你呢？」", True),
        ("And you", False),
        ("And you? Fine.", False),
        ("And you? A", False),
        ("?", True),
        ("And you?\n```\nx = 1\n```", False),
        ("And you?\n```\nwhy?", False),  # a fence that is not closed runs to the end
        ("Do you know `x?`", False),
        ("Do you know `x`?", True),
    ],
)
def test_ends_with_question(response: str, is_kept: bool) -> None:
    assert keeps("ends_with_question", True, response) is is_kept


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ("Fine.", True),
        ("Fine!", False),
        ("好！", False),  # the wide form
        ("Fine\u203c", False),  # two in one sign
        ("Use `a != b`.", True),
        ("Use a != b.", False),
        ("~~~\na != b\n~~~\nFine.", True),
        ("````\n```\n!\n````\nFine.", True),
        ("¡Bien.", True),
    ],
)
def test_no_character(response: str, is_kept: bool) -> None:
    assert keeps("no_character", "!", response) is is_kept


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ("It is. In Italy.", True),
        ("I am.", False),
        ("I'm", False),
        ("I’m", False),
        ("So do (I)", False),
        ("i am, like A.I. and AI", True),
        ("Use `I`.", True),
    ],
)
def test_no_word(response: str, is_kept: bool) -> None:
    assert keeps("no_word", "I", response) is is_kept


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ("One - two * three.", True),
        ("- one", False),
        ("Text:\n  * one", False),
        ("• واحد", False),
        ("1. one", False),
        ("12) one", False),
        ("2024. That was it.", True),
        ("## Heading", False),
        ("#hashtag and -5 degrees", True),
        ("**Bold** start", True),
        ("```\n- one\n# two\n```", True),
        ("> - one", False),
    ],
)
def test_no_lists(response: str, is_kept: bool) -> None:
    assert keeps("no_lists", True, response) is is_kept


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ("In short, yes.", True),
        ('\n "**In short**, yes."', True),
        ("\u200fIn short", True),
        ("In shorts", False),
        ("in short, yes.", False),
        ("Well, In short", False),
        ("In", False),
        ("`In short`", False),
    ],
)
def test_begins_with(response: str, is_kept: bool) -> None:
    assert keeps("begins_with", "In short", response) is is_kept


@pytest.mark.parametrize(
    ("response", "is_kept"),
    [
        ('{"a": 1}', True),
        (' {"a": "ä 😊"}\n', True),
        ('```json\n{"a": 1}\n```', True),
        ('```\n{"a": 1}\n```\n', True),
        ('```json\n{"a": 1}\n```\nDone.', False),
        ('Here: {"a": 1}', False),
        ('{"a": 1} {"b": 2}', False),
        ("[1]", False),
        ("null", False),
        ("{'a': 1}", False),
        ('{"a": NaN}', False),
        ('{"a": 1', False),
        ('{"a": ' + "9" * 5000 + "}", False),
        ("[" * 100_000, False),
    ],
)
def test_json_when_asked(response: str, is_kept: bool) -> None:
    assert keeps("json_when_asked", True, response, ASK_JSON) is is_kept
    assert keeps("json_when_asked", True, response, ASK) is None


@pytest.mark.parametrize("name", ["min_sentences", "begins_with", "ends_with_question"])
def test_rules_that_no_json_could_keep_do_not_apply_to_json(name: str) -> None:
    parameter = 2 if CHECKS[name] == "number" else "In short"
    assert keeps(name, parameter, '{"a": 1}', ASK_JSON) is None
    assert keeps(name, parameter, '{"a": 1}', ASK) is False


@pytest.mark.parametrize("empty", ["", " \n\t", "\u200b\u200f", "\u00a0"])
def test_an_answer_without_a_visible_character_keeps_nothing(empty: str) -> None:
    for principle in CHECKABLE.principles:
        prompt = ASKING.get(principle.slug, ASK)
        assert complies(principle, prompt, empty) is False


def test_a_principle_without_a_check_does_not_apply() -> None:
    assert complies(of(None), ASK, "Fine.") is None


@given(st.text(), st.text() | st.text('`~ \n.?!{}"[]-#1I😊\u200f؟A'))
def test_any_text_gets_an_answer(prompt: str, response: str) -> None:
    for principle in CHECKABLE.principles:
        assert complies(principle, prompt, response) in (True, False, None)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "piece", ["a", "`", "```", "~~~\n", ".", "?\u200f", " \n", "- ", "1. ", "[", "J"]
)
def test_long_answers_take_little_time(piece: str) -> None:
    for principle in CHECKABLE.principles:
        complies(principle, (piece + " JSON in as ") * 2000, piece * 20_000)


def test_the_checkable_constitution_is_clean_and_wholly_checkable() -> None:
    assert lint(resolve("checkable"), {"factual", None}) == []
    assert {p.check[0] for p in CHECKABLE.enabled if p.check} <= set(CHECKS)
    assert 6 <= len(CHECKABLE.principles) <= 9
    assert all(p.check for p in CHECKABLE.principles)


@pytest.mark.parametrize("example", CHECKABLE.examples, ids=lambda e: e.principle)
def test_its_examples_break_one_rule_and_then_keep_all(example: Example) -> None:
    broken = [
        p.slug
        for p in CHECKABLE.principles
        if complies(p, example.prompt, example.response) is False
    ]
    assert broken == [example.principle]
    kept = [complies(p, example.prompt, example.revision) for p in CHECKABLE.principles]
    assert False not in kept
