"""Where a text stands in an answer: somewhere, at its beginning or at its end, as whole words.

Both are compared in their spelling, whichever way accents, apostrophes and spaces are written. In a
script without spaces a word may stand within a run of letters.
"""

from __future__ import annotations

import re
import unicodedata

from constitution.counting import UNSPACED
from constitution.reading import Reading, is_looked_through, same_signs

_UNSPACED = re.compile(f"[{UNSPACED}]")


def stands(text: str, wanted: str) -> bool:
    """Whether the words stand somewhere in the text; those of an abbreviation (A.I.) do not."""
    text, wanted = same_signs(text), same_signs(wanted)
    start = text.find(wanted)
    while start >= 0:
        if _is_whole(text, start, start + len(wanted)) and not _is_of_initials(text, start):
            return True
        start = text.find(wanted, start + 1)
    return False


def begins_with(answer: Reading, wanted: str) -> bool:
    """Whether the answer begins with the text, as it is written or as it is read."""
    wanted = same_signs(wanted)
    if _is_at(same_signs(answer.written), 0, wanted):
        return True
    text = same_signs(answer.text)
    for start, character in enumerate(text):
        if _is_at(text, start, wanted):
            return True
        if not is_looked_through(character):
            break
    return False


def ends_with(answer: Reading, wanted: str) -> bool:
    """Whether the answer ends with the text, as it is written or as it is read."""
    wanted, written = same_signs(wanted), same_signs(answer.written)
    if _is_at(written, len(written) - len(wanted), wanted):
        return True
    text = same_signs(answer.text)
    for end in range(len(text), 0, -1):
        if _is_at(text, end - len(wanted), wanted):
            return True
        if not is_looked_through(text[end - 1]):
            break
    return False


def _is_at(text: str, start: int, wanted: str) -> bool:
    end = start + len(wanted)
    return start >= 0 and text.startswith(wanted, start) and _is_whole(text, start, end)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether what stands there is not part of a longer word on either side."""
    before, after = text[start - 1 : start], text[end : end + 1]
    return not (_are_joined(before, text[start]) or _are_joined(text[end - 1], after))


def _are_joined(left: str, right: str) -> bool:
    """Whether two neighbours belong to one word; either may be missing."""
    if not left or not right:
        return False
    if unicodedata.category(right)[0] == "M":
        return left.isalnum()
    if _UNSPACED.match(left) or _UNSPACED.match(right):
        return False
    return _is_of_word(left) and _is_of_word(right)


def _is_of_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"


def _is_of_initials(text: str, start: int) -> bool:
    """Whether a single letter and a full stop stand directly before."""
    before = text[max(start - 3, 0) : start]
    is_initial = before.endswith(".") and before[-2:-1].isalpha()
    return is_initial and not (len(before) == 3 and _is_of_word(before[0]))
