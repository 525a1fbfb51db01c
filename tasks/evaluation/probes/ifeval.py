"""The instructions of IFEval as programs, each with exactly the published meaning.

Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models" (arXiv 2311.07911),
and the program published with it, quirks included: keywords are expressions and count within
words, `number_paragraphs` parts at `***`, `multiple_sections` and bullets as written there. So a
few of these differ from the checks of a constitution that have a like name.

All 25 of its instructions are supported. Three lean on libraries there that are not had here:
1. `number_sentences`: NLTK's Punkt, whose English parameters are a pickle. Its rules are followed
   (`punkt.py`), with our own list of abbreviations.
2. `response_language`, `english_capital`, `english_lowercase`: langdetect, which draws at random.
   The language is told by py3langid; a text of which none can be told follows, as there.
3. `capital_word_frequency`: NLTK's word tokenizer, whose rules are followed (`treebank.py`).

Left out, though there: an argument that is missing is drawn at random, which no answer can know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import regex

from constitution.language import LANGUAGES, guess
from tasks.evaluation.probes.punkt import count_sentences
from tasks.evaluation.probes.treebank import words_as_nltk

SEARCH_S = 0.1  # processor time after which an expression counts as not found
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
RELATIONS = ("less than", "at least")
_PUNCTUATION = frozenset(".,?!'\"")
_CODES = LANGUAGES | {"zh-cn", "zh-tw"}

Kind = str  # of an argument: text, texts, number, relation, letter, language


@dataclass(frozen=True)
class Check:
    """keeps(answer, **arguments); `arguments`: the kind of each by name."""

    keeps: Callable[..., bool]
    arguments: Mapping[str, Kind]

    def fault(self, given: Mapping[str, Any]) -> str | None:
        """What is wrong with the arguments of an instruction; None where all is well."""
        if set(given) != set(self.arguments):
            return f"has the arguments {sorted(given)}, needs {sorted(self.arguments)}"
        wrong = (name for name, kind in self.arguments.items() if not _is(kind, given[name]))
        if (name := next(wrong, None)) is not None:
            return f"{name} is {given[name]!r}, no {self.arguments[name]}"
        if given.get("nth_paragraph", 1) > given.get("num_paragraphs", 1):
            return "asks for a paragraph past the last"
        return None


def _is(kind: Kind, value: Any) -> bool:
    if kind == "number":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind == "texts":
        return isinstance(value, list) and bool(value) and all(_is("expression", v) for v in value)
    if not isinstance(value, str) or not value.strip():
        return False
    if kind == "relation":
        return value in RELATIONS
    if kind == "letter":
        return len(value) == 1
    if kind == "language":
        return value in _CODES
    return kind != "expression" or _compiles(value)


def _compiles(expression: str) -> bool:
    try:
        regex.compile(expression)
    except regex.error:
        return False
    return True


def _related(count: int, relation: str, number: int) -> bool:
    return count < number if relation == "less than" else count >= number


def _found(expression: str, text: str) -> int:
    """How often an expression is found in any case; 0 where the search takes too long."""
    try:
        return len(regex.findall(expression, text, flags=regex.IGNORECASE, timeout=SEARCH_S))
    except TimeoutError:
        return 0


def existence(answer: str, keywords: list[str]) -> bool:
    return all(_found(keyword, answer) for keyword in keywords)


def frequency(answer: str, keyword: str, frequency: int, relation: str) -> bool:
    return _related(_found(keyword.strip(), answer), relation, frequency)


def forbidden_words(answer: str, forbidden_words: list[str]) -> bool:
    return not any(_found(rf"\b{word}\b", answer) for word in forbidden_words)


def letter_frequency(answer: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _related(answer.lower().count(letter.strip().lower()), let_relation, let_frequency)


def response_language(answer: str, language: str) -> bool:
    return _language(answer) in (None, language.split("-")[0])


def _language(text: str) -> str | None:
    """The code of the text's language; None for a text without letters."""
    return guess(text.lower(), shortest=1)


def number_sentences(answer: str, num_sentences: int, relation: str) -> bool:
    return _related(count_sentences(answer), relation, num_sentences)


def number_paragraphs(answer: str, num_paragraphs: int) -> bool:
    """Parted by ***; an empty one is overlooked at both ends, and between others a fault."""
    parts = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", answer)]
    return all(parts[1:-1]) and sum(parts) == num_paragraphs


def number_words(answer: str, num_words: int, relation: str) -> bool:
    return _related(len(re.findall(r"\w+", answer)), relation, num_words)


def nth_paragraph_first_word(
    answer: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    """Parted by two line breaks; empty paragraphs do not count but keep their place."""
    parts = answer.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if nth_paragraph > count or not parts[nth_paragraph - 1].strip():
        return False
    word = parts[nth_paragraph - 1].split()[0].lstrip("'").lstrip('"')
    end = next((at for at, sign in enumerate(word) if sign in _PUNCTUATION), len(word))
    return count == num_paragraphs and word[:end].lower() == first_word.lower()


def number_placeholders(answer: str, num_placeholders: int) -> bool:
    return sum(map(_brackets, answer.split("\n"))) >= num_placeholders


def _brackets(line: str) -> int:
    """How many [...] a line has, each from an opening bracket to the next closing one."""
    count, start = 0, line.find("[")
    while start >= 0 and (end := line.find("]", start)) >= 0:
        count, start = count + 1, line.find("[", end)
    return count


def postscript(answer: str, postscript_marker: str) -> bool:
    marker, answer = postscript_marker.strip(), answer.lower()
    known = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return _found(known.get(marker, marker.lower()), answer) > 0


def number_bullet_lists(answer: str, num_bullets: int) -> bool:
    """Lines that begin with one star, and those that begin with a dash."""
    stars = re.findall(r"^\s*\*[^\*].*$", answer, flags=re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", answer, flags=re.MULTILINE)) == num_bullets


def constrained_response(answer: str) -> bool:
    return any(option in answer for option in OPTIONS)


def number_highlighted_sections(answer: str, num_highlights: int) -> bool:
    """*one star* and **two stars**; where both fit, both count."""
    single = re.findall(r"\*[^\n\*]*\*", answer)
    double = re.findall(r"\*\*[^\n\*]*\*\*", answer)
    found = [text.strip("*") for text in single]
    found += [text.removeprefix("**").removesuffix("**") for text in double]
    return sum(bool(text.strip()) for text in found) >= num_highlights


def multiple_sections(answer: str, section_spliter: str, num_sections: int) -> bool:
    return _found_as_is(rf"\s?{section_spliter.strip()}\s?\d+\s?", answer) >= num_sections


def _found_as_is(expression: str, text: str) -> int:
    try:
        return len(regex.findall(expression, text, timeout=SEARCH_S))
    except TimeoutError:
        return 0


def json_format(answer: str) -> bool:
    """The whole answer, bare or between ticks; any JSON value."""
    text = answer.strip()
    for ticks in ("```json", "```Json", "```JSON", "```"):
        text = text.removeprefix(ticks)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(answer: str) -> bool:
    """<<a title>> on one line, the widest there is."""
    for line in answer.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False


def two_responses(answer: str) -> bool:
    """Parted by ******; an empty one is overlooked at both ends, and between others a fault."""
    parts = [part.strip() for part in answer.split("******")]
    found = [part for part in parts if part]
    return all(parts[1:-1]) and len(found) == 2 and found[0] != found[1]


def repeat_prompt(answer: str, prompt_to_repeat: str) -> bool:
    return answer.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(answer: str, end_phrase: str) -> bool:
    return answer.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(answer: str) -> bool:
    text = answer.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def capital_word_frequency(answer: str, capital_frequency: int, capital_relation: str) -> bool:
    count = sum(word.isupper() for word in words_as_nltk(answer))
    return _related(count, capital_relation, capital_frequency)


def english_capital(answer: str) -> bool:
    return answer.isupper() and _language(answer) in (None, "en")


def english_lowercase(answer: str) -> bool:
    return answer.islower() and _language(answer) in (None, "en")


def no_comma(answer: str) -> bool:
    return "," not in answer


CHECKS: dict[str, Check] = {
    "keywords:existence": Check(existence, {"keywords": "texts"}),
    "keywords:frequency": Check(
        frequency, {"keyword": "expression", "frequency": "number", "relation": "relation"}
    ),
    "keywords:forbidden_words": Check(forbidden_words, {"forbidden_words": "texts"}),
    "keywords:letter_frequency": Check(
        letter_frequency,
        {"letter": "letter", "let_frequency": "number", "let_relation": "relation"},
    ),
    "language:response_language": Check(response_language, {"language": "language"}),
    "length_constraints:number_sentences": Check(
        number_sentences, {"num_sentences": "number", "relation": "relation"}
    ),
    "length_constraints:number_paragraphs": Check(number_paragraphs, {"num_paragraphs": "number"}),
    "length_constraints:number_words": Check(
        number_words, {"num_words": "number", "relation": "relation"}
    ),
    "length_constraints:nth_paragraph_first_word": Check(
        nth_paragraph_first_word,
        {"num_paragraphs": "number", "nth_paragraph": "number", "first_word": "text"},
    ),
    "detectable_content:number_placeholders": Check(
        number_placeholders, {"num_placeholders": "number"}
    ),
    "detectable_content:postscript": Check(postscript, {"postscript_marker": "expression"}),
    "detectable_format:number_bullet_lists": Check(number_bullet_lists, {"num_bullets": "number"}),
    "detectable_format:constrained_response": Check(constrained_response, {}),
    "detectable_format:number_highlighted_sections": Check(
        number_highlighted_sections, {"num_highlights": "number"}
    ),
    "detectable_format:multiple_sections": Check(
        multiple_sections, {"section_spliter": "expression", "num_sections": "number"}
    ),
    "detectable_format:json_format": Check(json_format, {}),
    "detectable_format:title": Check(title, {}),
    "combination:two_responses": Check(two_responses, {}),
    "combination:repeat_prompt": Check(repeat_prompt, {"prompt_to_repeat": "text"}),
    "startend:end_checker": Check(end_checker, {"end_phrase": "text"}),
    "startend:quotation": Check(quotation, {}),
    "change_case:capital_word_frequency": Check(
        capital_word_frequency, {"capital_frequency": "number", "capital_relation": "relation"}
    ),
    "change_case:english_capital": Check(english_capital, {}),
    "change_case:english_lowercase": Check(english_lowercase, {}),
    "punctuation:no_comma": Check(no_comma, {}),
}
