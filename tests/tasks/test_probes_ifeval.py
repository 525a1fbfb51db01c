"""IFEval's instructions with their published meaning, quirks included, and strict accuracy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.evaluation.probes import read
from tasks.evaluation.probes.ifeval import CHECKS
from tasks.evaluation.probes.instructions import accuracy, followed, unsupported
from tasks.evaluation.probes.punkt import count_sentences
from tasks.evaluation.probes.question import Question
from tasks.evaluation.probes.treebank import words_as_nltk
from tasks.prompts import Prompt

IFEVAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "ifeval_a.jsonl"
SPANISH = "El gato duerme en la silla porque hoy hace mucho calor en la casa."

# (instruction, arguments, answers that follow it, answers that do not)
CASES: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    (
        "keywords:existence",
        {"keywords": ["rock", "c.t"]},
        ["A ROCK and a cat", "crockery cut"],  # within words, in any case, as expressions
        ["a rock", "cats", ""],
    ),
    (
        "keywords:frequency",
        {"keyword": " dog ", "frequency": 2, "relation": "at least"},
        ["dog dog", "Dogs and hotdogs"],
        ["one dog", "a dig and a dug"],
    ),
    (
        "keywords:frequency",
        {"keyword": "dog", "frequency": 2, "relation": "less than"},
        ["one dog", "none"],
        ["Dog, dog", " \n"],
    ),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["rock"]},
        ["rocks and bedrock", "stone"],
        ["a Rock", "rock-hard", "(rock)"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "Z", "let_frequency": 2, "let_relation": "at least"},
        ["Zz", "pizza"],
        ["zoo", "Z"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "!", "let_frequency": 2, "let_relation": "less than"},
        ["Yes!", "no"],
        ["Yes!!"],
    ),
    (
        "language:response_language",
        {"language": "es"},
        [SPANISH, "123"],  # of what has no language none can be wrong
        ["The cat sleeps on the chair because it is very hot in the house today.", "  "],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "less than"},
        ["One. Two.", "One\n\nand\n\nmore", "Dr. Weber came. He left."],
        ["One. Two. Three.", "Is it? Yes! Good."],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["one\n***\ntwo", "***one***two***", "one *** two"],
        ["one\n\ntwo", "one", "one *** *** two", "one***two***three"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["one two three", "don't go", "a-b-c"],  # \w+: an apostrophe parts
        ["one two", "one, two!"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        ["one two", "..."],
        ["one two three", ""],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Flowers"},
        ["One.\n\nFlowers grow.", 'One.\n\n"FLOWERS," he said.', "One.\n\nflowers's end"],
        [
            "One.\n\nThe flowers",
            "One.\nFlowers",
            "One.\n\nFlowers\n\nThree",
            "flowers",
            "a\n\n\n\nFlowers",
        ],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[a] and [b]", "[a [b] c] [d]", "[][]"],
        ["[a]", "[a\nb] [c]", "(a) (b)"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\nP.S. More", "p. s. more", "in the middle p.s. of it"],
        ["Bye.", "PS: more", "P.S more"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["P.P.S. more", "p. p. s more"],
        ["P.S. more", "PPS more"],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "- a\n* b", "  * a\n  - b", "* a\n** not one\n* b"],
        ["* a", "* a\n* b\n* c", "1. a\n2. b", "** a\n** b", "• a\n• b"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", "I think so. My answer is maybe. Bye."],
        ["yes", "my answer is yes.", "My answer is yes"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b*", "**a** and *b*", "**a** **b**"],
        ["*a*", "*a\nb* *c", "** **", "a"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        ["SECTION 1\na\nSECTION 2\nb", "SECTION1 SECTION2 SECTION3"],
        ["SECTION 1\na", "Section 1\nSection 2", "SECTION A\nSECTION B"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": 1}', '```json\n{"a": 1}\n```', "```\n[1]\n```", "12", '"text"'],
        ['Here: {"a": 1}', "{'a': 1}", '{"a": 1} done', "```python\n{}\n```"],
    ),
    (
        "detectable_format:title",
        {},
        ["<<A song>>\nla", "la <<b>>"],
        ["<A song>", "<<>>", "<< >>", "<<a\nb>>", ">>a<<"],
    ),
    (
        "combination:two_responses",
        {},
        ["one******two", "******one\n******\ntwo******"],
        ["one***two", "one******one", "one****** ******two", "one", "a******b******c"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "What is a river? "},
        ["What is a river? Water.", "\nWHAT IS A RIVER?\nWater."],
        ["Water. What is a river?", '"What is a river?" Water.', "What is a  river?"],
    ),
    (
        "startend:end_checker",
        {"end_phrase": "That is all."},
        ["Go. That is all.", 'Go. THAT IS ALL."', "that is all. \n"],
        ["That is all. Go.", "That is all", "That is all.'"],
    ),
    (
        "startend:quotation",
        {},
        ['"A b."', ' "a" or "b" '],
        ['"', '"a', "“a”", "'a'"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["NATO and the UN", "DON'T", "I am IN", "GO.STOP! HE"],
        ["NATO", "ALL-IN", "No words", "A1"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        ["One IS here", "none"],
        ["THE END"],
    ),
    (
        "change_case:english_capital",
        {},
        ["THE SHOP IS CLOSED TODAY, AND IT OPENS AGAIN ON MONDAY."],
        ["The SHOP IS CLOSED", SPANISH.upper(), "123"],
    ),
    (
        "change_case:english_lowercase",
        {},
        ["the shop is closed today, and it opens again on monday."],
        ["The shop is closed today", SPANISH.lower(), "123"],
    ),
    ("punctuation:no_comma", {}, ["one; two", "一，二"], ["one, two", "1,000"]),
]


def asked(instruction: str, arguments: dict[str, Any]) -> Question:
    prompt = Prompt(({"role": "user", "content": "Go."},), "c", "s", 1)
    expects = {"instruction_id_list": [instruction], "kwargs": [arguments]}
    return Question("instruction-following", prompt, expects)


@pytest.mark.parametrize(
    ("instruction", "arguments", "right", "wrong"), CASES, ids=lambda v: str(v)[:30]
)
def test_the_published_meaning(
    instruction: str, arguments: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    assert unsupported(instruction, arguments) is None
    question = asked(instruction, arguments)
    assert [text for text in right if not followed(question, text)[0][1]] == []
    assert [text for text in wrong if followed(question, text)[0][1]] == []


def test_every_instruction_has_cases() -> None:
    assert {instruction for instruction, *_ in CASES} == set(CHECKS)
    assert len(CHECKS) == 25


@pytest.mark.parametrize(
    ("instruction", "arguments", "why"),
    [
        ("keywords:key_sentences", {}, "has no program here"),
        ("ja:punctuation:no_comma", {}, "has no program here"),
        ("keywords:existence", {"keywords": []}, "is [], no texts"),
        ("keywords:existence", {"keywords": ["(c"]}, "no texts"),
        ("keywords:frequency", {"keyword": "a", "frequency": 2}, "needs"),
        ("keywords:frequency", {"keyword": "a", "frequency": 2, "relation": "more"}, "no relation"),
        ("keywords:letter_frequency", {}, "needs"),
        ("language:response_language", {"language": "tlh"}, "no language"),
        ("length_constraints:number_words", {"num_words": -1, "relation": "at least"}, "no number"),
        ("length_constraints:number_paragraphs", {"num_paragraphs": True}, "no number"),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "a"},
            "past the last",
        ),
    ],
)
def test_what_is_not_supported_says_why(
    instruction: str, arguments: dict[str, Any], why: str
) -> None:
    assert why in (unsupported(instruction, arguments) or "")


def test_strict_accuracy_by_prompt_and_by_instruction() -> None:
    expects = {
        "instruction_id_list": ["punctuation:no_comma", "startend:quotation"],
        "kwargs": [{}, {}],
    }
    prompt = Prompt(({"role": "user", "content": "Go."},), "c", "s", 1)
    both = Question("instruction-following", prompt, expects)
    one = asked("punctuation:no_comma", {})
    found = accuracy([(both, '"a"'), (both, "a"), (one, "a, b"), (one, "a")])
    assert (found.prompt, found.instruction) == (2 / 4, (2 + 1 + 0 + 1) / 6)
    with pytest.raises(ValueError, match="at least one"):
        accuracy([])


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end", 1),
        ("One. Two? Three!", 3),
        ("A title\n\nand a line\nand another", 1),
        ("He met Dr. Weber at 3.50 a.m. on Monday. Then he left.", 2),
        ("Rowling, J. K. Rowling, wrote it.", 1),
        ("1. First\n2. Second", 3),
        ("Wait... what? Yes.", 2),
        ('He said "Stop!" Then he left.', 2),
        ("Is it so?! It is.", 2),
        ("e.g. this one. It counts", 2),
    ],
)
def test_sentences_as_punkt_counts_them(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_words_as_nltk_parts_them() -> None:
    text = "I'M \"SURE\" (we CAN'T) go: ALL-IN, U.S.A. AND/OR gonna A,B 1,000 IT’S"
    assert words_as_nltk(text) == (
        "I 'M SURE we CA N'T go ALL-IN U.S.A. AND/OR gon na A B 1,000 IT S".split()
    )


@pytest.mark.skipif(not IFEVAL.is_file(), reason="no ../shared/data/ifeval_a.jsonl")
def test_the_public_prompts_are_all_supported() -> None:
    found = read(str(IFEVAL))
    assert (len(found.questions), found.left_out) == (266, [])
    rows = [json.loads(line) for line in IFEVAL.read_text("utf-8").splitlines()]
    ids = {name for row in rows for name in row["instruction_id_list"]}
    assert {name.removeprefix("en:") for name in ids} == set(CHECKS)
    assert [list(q.expects["instruction_id_list"]) for q in found.questions] == [
        row["instruction_id_list"] for row in rows
    ]
