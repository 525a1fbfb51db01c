"""What an answer says: words in one spelling, numbers, what is stated and what is denied."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_SPELLING = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u2212": "-"}
)
_EMPHASIS = re.compile(r"[*`]+|(?<!\w)_+|_+(?!\w)")
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SMALL = {word: number for number, word in enumerate(_ONES)}
_SMALL |= {word: 10 * number for number, word in enumerate(_TENS, 2)}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_NUMBER_WORD = "|".join(sorted([*_SMALL, *_SCALES], key=len, reverse=True))
_IN_WORDS = re.compile(rf"\b(?:{_NUMBER_WORD})(?:(?:[ -]| and )(?:{_NUMBER_WORD}))*\b")
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:\.\d+)?(?![\w])(?![.,]\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_WORDS_BETWEEN = 3  # between a "not" and what it denies: "not a kind of fish"
_NOT = (
    r"(?:\bnot\b(?! only\b)|n't\b|\bcannot\b|\bnever\b|\bneither\b|\bnor\b|\brather than\b|"
    r"\binstead of\b|\bunlike\b|\bno\b(?=\s))"
)
_TURN = r"(?:but|it|it's|is|that's|instead|actually)\b"  # words after which something is said
_DENIED = re.compile(rf"{_NOT}(?:\s+(?!{_TURN})[\w'-]+){{0,{_WORDS_BETWEEN}}}\s*\"?$")


@lru_cache(maxsize=256)
def plain(text: str) -> str:
    """In lower case, on one line, numbers in digits, without emphasis and invisible signs."""
    text = unicodedata.normalize("NFKC", text).translate(_SPELLING).casefold()
    text = "".join(" " if c.isspace() else c for c in text if c.isspace() or is_seen(c))
    text = " ".join(_EMPHASIS.sub("", text).split())
    return _IN_WORDS.sub(_in_digits, _THOUSANDS.sub("", text))


def any_of(*expressions: str) -> re.Pattern[str]:
    """An expression over `plain` text: one of these, from where a word begins."""
    return re.compile("|".join(rf"(?<!\w)(?:{one})" for one in expressions))


def is_seen(character: str) -> bool:
    """Whether a character leaves a mark: no control, format or lone surrogate."""
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs")


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return not any(is_seen(character) and not character.isspace() for character in text)


def numbers(text: str) -> list[float]:
    """The numbers of a text in order, also those in words; parts of words are none."""
    return [float(found) for found in _NUMBER.findall(plain(text))]


def stated(text: str, phrases: Iterable[str]) -> str | None:
    """The first of the phrases that stands in the text as words and is not denied there."""
    return next((phrase for phrase in phrases if _is_stated(plain(text), plain(phrase))), None)


def matched(text: str, expression: re.Pattern[str]) -> str | None:
    """What an expression over `plain` text finds."""
    found = expression.search(plain(text))
    return found[0] if found else None


def _is_stated(text: str, phrase: str) -> bool:
    start = text.find(phrase)
    while start >= 0:
        end = start + len(phrase)
        is_whole = not (_is_word(text[start - 1 : start]) and _is_word(phrase[:1]))
        is_whole &= not (_is_word(text[end : end + 1]) and _is_word(phrase[-1:]))
        if is_whole and not _is_in_number(text, start, end, phrase):
            if not _DENIED.search(text[max(0, start - 80) : start]):
                return True
        start = text.find(phrase, start + 1)
    return False


def _is_in_number(text: str, start: int, end: int, phrase: str) -> bool:
    """Whether the phrase begins or ends with a digit and the number goes on: 5 in 2.5, 5,5."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    goes_on = phrase[-1:].isdigit() and re.match(r"[.,]\d", after) is not None
    return goes_on or (phrase[:1].isdigit() and re.search(r"\d[.,]$", before) is not None)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _in_digits(found: re.Match[str]) -> str:
    """Number words as a number: "two hundred and five" is 205; a mere row, "one two", is 1 2."""
    values: list[int] = []
    whole, part = 0, 0
    last = 0
    for word in re.findall(r"[a-z]+", found[0]):
        if word == "and":
            continue
        if word in _SCALES and word != "hundred":
            whole, part, last = whole + max(part, 1) * _SCALES[word], 0, 0
        elif word == "hundred":
            part, last = max(part, 1) * 100, 100
        elif part and not (last == 100 or (20 <= last < 100 and _SMALL[word] < 10)):
            values.append(whole + part)
            whole, part, last = 0, _SMALL[word], _SMALL[word]
        else:
            part, last = part + _SMALL[word], _SMALL[word]
    return " ".join(map(str, [*values, whole + part]))
