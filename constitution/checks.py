"""Whether an answer keeps a rule that a program can check: pure functions, no model that writes.

README.md in this folder lists the checks, with an answer that keeps each and one that breaks it.
All but `max_words`, `min_words`, `contains`, `answer` and those of JSON and code look past code.
Beginnings and ends look through quotes, brackets, emphasis, emoji and direction marks. Texts are
compared in their spelling, whichever way accents, apostrophes and spaces are written. An answer
without any visible character keeps no rule.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any, Literal

from constitution.counting import asks, ends, sentences, words
from constitution.final_answer import is_answer
from constitution.form_asked import asked_form, keeps_form
from constitution.formats import compiles, has_fields, json_object
from constitution.json_asked import asks_for_json
from constitution.language import is_written_in
from constitution.lists import has_list_or_heading
from constitution.reading import Reading, is_visible, read
from constitution.schema import Principle
from constitution.standing import begins_with, ends_with, stands

Parameter = Literal[
    "number", "character", "text", "true", "expression", "names", "language", "value", "python"
]
CHECKS: dict[str, Parameter] = {
    "max_words": "number",
    "min_words": "number",
    "max_sentences": "number",
    "min_sentences": "number",
    "begins_with": "text",
    "ends_with": "text",
    "ends_with_question": "true",
    "contains": "text",
    "no_character": "character",
    "no_word": "text",
    "matches": "expression",
    "matches_not": "expression",
    "no_lists": "true",
    "json_when_asked": "true",
    "form_when_asked": "true",
    "json_fields": "names",
    "language": "language",
    "answer": "value",
    "code_compiles": "python",
}
NOT_OF_JSON = ("min_sentences", "begins_with", "ends_with", "ends_with_question", "language")
NOT_OF_FORMS = ("min_sentences", "begins_with", "ends_with", "ends_with_question", "no_lists")
SEARCH_S = 0.05  # processor time after which a regular expression is given up


def complies(principle: Principle, prompt_text: str, response: str) -> bool | None:
    """Return whether the response keeps the principle's check.

    None where the principle has no check or the check does not apply to this prompt or response.
    """
    if principle.check is None:
        return None
    if not applies(principle, prompt_text):
        return None
    name, parameter = principle.check
    if not is_visible(response):
        return False
    wanted = prompt_text if name == "form_when_asked" else parameter
    return _KEPT[name](read(response), wanted)


def applies(principle: Principle, prompt_text: str) -> bool:
    """Whether the principle's check, if it has one, can tell answers to this prompt apart."""
    name = principle.check[0] if principle.check else ""
    if name == "form_when_asked":
        return bool(asked_form(prompt_text))
    if name == "json_when_asked" or name in NOT_OF_JSON:
        if asks_for_json(prompt_text) is not (name == "json_when_asked"):
            return False
    return name not in NOT_OF_FORMS or not asked_form(prompt_text)


def _has_at_least(answer: Reading, least: int) -> bool | None:
    """Whether so many sentences come to their end."""
    found = sentences(answer)
    return None if found is None else sum(map(ends, found)) >= least


def _has_at_most(answer: Reading, most: int) -> bool | None:
    """Whether no more sentences begin."""
    found = sentences(answer)
    return None if found is None else len(found) <= most


def _has_character(answer: Reading, character: str) -> bool:
    """Whether it stands outside of code, in this form or in a wide or compatible one."""
    wanted, seen = (unicodedata.normalize("NFKC", text) for text in (character, answer.source))
    return wanted in seen


def _matches(answer: Reading, expression: str) -> bool | None:
    """Whether the regular expression is found; None where the search takes too long."""
    import regex

    try:
        return regex.search(expression, answer.written, timeout=SEARCH_S) is not None
    except TimeoutError:
        return None


def _not(kept: bool | None) -> bool | None:
    return None if kept is None else not kept


_KEPT: dict[str, Callable[[Reading, Any], bool | None]] = {
    "max_words": lambda answer, most: words(answer.with_code) <= most,
    "min_words": lambda answer, least: words(answer.with_code) >= least,
    "min_sentences": _has_at_least,
    "max_sentences": _has_at_most,
    "begins_with": begins_with,
    "ends_with": ends_with,
    "ends_with_question": lambda answer, _: asks(answer.text),
    "contains": lambda answer, text: stands(answer.with_code, text) or stands(answer.written, text),
    "no_character": lambda answer, character: not _has_character(answer, character),
    "no_word": lambda answer, word: not stands(answer.text, word),
    "matches": _matches,
    "matches_not": lambda answer, expression: _not(_matches(answer, expression)),
    "no_lists": lambda answer, _: not has_list_or_heading(answer),
    "json_when_asked": lambda answer, _: json_object(answer) is not None,
    "form_when_asked": keeps_form,
    "json_fields": has_fields,
    "language": lambda answer, language: is_written_in(answer.text, language),
    "answer": is_answer,
    "code_compiles": lambda answer, _: compiles(answer),
}
