"""Whether an answer keeps a rule that a program can check: pure functions, no model.

| check | the answer keeps it where |
|---|---|
| `max_words: n` | at most n pieces between white space hold a letter or a digit |
| `min_sentences: n` | at least n sentences come to their end |
| `begins_with: t` | it begins with this text, as whole words and in this spelling |
| `ends_with_question: true` | its last sentence ends with a question mark |
| `no_character: c` | the character stands nowhere, nor a wide or compatible form of it |
| `no_word: w` | the word stands nowhere by itself in this spelling |
| `no_lists: true` | no line is a list item or a heading |
| `json_when_asked: true` | it is one JSON object, bare or in a code block, and nothing else |

All but `max_words` and `json_when_asked` look past code (Markdown's fenced blocks and code spans).
Quotes, brackets, emphasis, emoji and direction marks around a beginning or an end are looked
through. `json_when_asked` applies only where the prompt asks for a JSON object; beginning, end and
sentences only where it does not. An answer without any visible character keeps no rule.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal, NoReturn

from constitution.json_asked import asks_for_json
from constitution.schema import Principle

Parameter = Literal["number", "character", "text", "true"]
CHECKS: dict[str, Parameter] = {
    "max_words": "number",
    "min_sentences": "number",
    "begins_with": "text",
    "ends_with_question": "true",
    "no_character": "character",
    "no_word": "text",
    "no_lists": "true",
    "json_when_asked": "true",
}
NOT_OF_JSON = ("min_sentences", "begins_with", "ends_with_question")
OF_ALL = ("max_words", "json_when_asked")  # the others look past code

CODE = "\ufffc"  # stands for a piece of code that was left out
_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n?.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.M | re.S)
_SPAN = re.compile(r"`[^`\n]+`")
_IN_BLOCK = re.compile(r"\s*```(?:json)?[ \t]*\n(?P<inside>.*)\n```\s*", re.I | re.S)
_NUMBERED = re.compile(r"^\s*\d{1,3}[.)] ", re.M)
_LISTED = re.compile(r"^[ >]*(?:[-*+•‣◦·–—] +\S|\d{1,3}[.)] +\S|#{1,6} +\S)", re.M)
_STOPS = ".!?…؟\u037e।。！？⁇⁈⁉‽"
_QUESTIONS = frozenset("?؟\u037e？⁇⁈⁉‽")
_STOP = re.compile(rf"[{_STOPS}]+")
_AFTER = re.compile(r"[^\w\s]{0,8}(\s*)(\w?)")
_ABBREVIATION = re.compile(r"(?:^|\W)(?:mr|mrs|ms|dr|prof|st|vs|(?:[a-z]\.)+[a-z]|[a-hj-z])$", re.I)
_CLOSING = frozenset("\"'*_~")
_LOOKED_THROUGH = frozenset("Zs Cc Cf Mn Me So Sk Pf Pe Pi Ps".split())  # Unicode categories
INVISIBLE = frozenset("Zs Zl Zp Cc Cf".split())


def complies(principle: Principle, prompt_text: str, response: str) -> bool | None:
    """Return whether the response keeps the principle's check.

    None where the principle has no check or the check does not apply to this prompt.
    """
    if principle.check is None:
        return None
    name, parameter = principle.check
    wants_json = asks_for_json(prompt_text)
    if (name == "json_when_asked" and not wants_json) or (name in NOT_OF_JSON and wants_json):
        return None
    if all(unicodedata.category(c) in INVISIBLE for c in response):
        return False
    text = response if name in OF_ALL else _SPAN.sub(CODE, _FENCED.sub(CODE, response))
    return _KEPT[name](text, parameter)


def sentences(text: str) -> int:
    """Count the sentences of `text` that come to their end; one without a letter is none."""
    text = _NUMBERED.sub("", text)
    count = begun = 0
    for stop in _STOP.finditer(text):
        if _is_end(text, stop):
            count += any(c.isalpha() for c in text[begun : stop.start()])
            begun = stop.end()
    return count


def _is_end(text: str, stop: re.Match[str]) -> bool:
    """Whether a run of stops ends a sentence: not within a number, name or abbreviation."""
    after = _AFTER.match(text, stop.end())
    space, following = after.groups() if after else ("", "")
    if not following or "\n" in space or stop[0][-1] in "।。！？":
        return True
    if not space or following.islower():
        return False
    before = text[max(0, stop.start() - 12) : stop.start()]
    return stop[0] != "." or not _ABBREVIATION.search(before)


def _words(response: str) -> int:
    return sum(any(c.isalnum() for c in piece) for piece in response.split())


def _begins_with(response: str, text: str) -> bool:
    start = next((i for i, c in enumerate(response) if not _is_looked_through(c)), 0)
    after = response[start + len(text) :][:1]
    return response.startswith(text, start) and not after.isalnum()


def _ends_with_question(text: str) -> bool:
    seen = (i for i in range(len(text), 0, -1) if not _is_looked_through(text[i - 1]))
    text = text[: next(seen, 0)]
    return not _QUESTIONS.isdisjoint(text[len(text.rstrip(_STOPS)) :])


def _holds_character(text: str, character: str) -> bool:
    return unicodedata.normalize("NFKC", character) in unicodedata.normalize("NFKC", text)


def _is_json_object(response: str) -> bool:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)  # NaN and Infinity are no JSON

    block = _IN_BLOCK.fullmatch(response)
    try:
        value = json.loads(block["inside"] if block else response, parse_constant=refuse)
        return isinstance(value, dict)
    except (ValueError, RecursionError):
        return False


_KEPT: dict[str, Callable[[str, Any], bool]] = {
    "max_words": lambda response, most: _words(response) <= most,
    "min_sentences": lambda text, least: sentences(text) >= least,
    "begins_with": _begins_with,
    "ends_with_question": lambda text, _: _ends_with_question(text),
    "no_character": lambda text, character: not _holds_character(text, character),
    "no_word": lambda text, w: not re.search(rf"(?<!\w)(?<!\w\.){re.escape(w)}(?!\w)", text),
    "no_lists": lambda text, _: not _LISTED.search(text),
    "json_when_asked": lambda response, _: _is_json_object(response),
}


def _is_looked_through(character: str) -> bool:
    if character == CODE:
        return False
    return character in _CLOSING or unicodedata.category(character) in _LOOKED_THROUGH
