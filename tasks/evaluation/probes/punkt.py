"""How many sentences a text has by the rules of Punkt (Kiss and Strunk 2006), as NLTK applies them.

A sentence ends at a run of . ? ! with its closing quotes and brackets, where white space and
another word follow; line breaks alone end none. A full stop ends none after an abbreviation or an
initial (unless a number or a word follows that usually begins sentences), nor after a number before
small letters. The English abbreviations and such words are our own lists: Punkt learns its own.
"""

from __future__ import annotations

import re

ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof st jr sr gen rep sen gov col lt sgt capt rev hon maj e.g i.e u.s u.k u.n "
    "u.s.a a.m p.m ph.d d.c b.c a.d vs inc corp co ltd bros jan feb mar apr aug sept sep oct nov "
    "dec ave blvd rd mt ft n.y calif etc al cf no vol pp fig approx dept est mon tue wed thu fri "
    "sat".split()
)
STARTERS = frozenset(
    "the this that these those it he she they we i you in but however there".split()
)
_OPENING = '([{"`*“‘'
_INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_END = re.compile(r"(\S*?)([.?!]+)[\"')\]}”’*_]*\s+(?=(\S+))")


def count_sentences(text: str) -> int:
    """The number of sentences, the last perhaps without its end; 0 of an empty text."""
    text = text.strip()
    return sum(map(_parts, _END.finditer(text))) + 1 if text else 0


def _parts(found: re.Match[str]) -> bool:
    """Whether a sentence ends here."""
    word, stops = found[1].lstrip(_OPENING).casefold(), found[2]
    following = found[3].lstrip(_OPENING + "'")
    if stops != ".":
        return bool(stops.strip(".")) or not following[:1].islower()
    if word in ABBREVIATIONS or _INITIALS.fullmatch(word):
        is_starter = following[:1].isupper() and following.casefold().strip(",.'") in STARTERS
        return is_starter or following[:1].isdigit()
    return not (word.isdigit() and following[:1].islower())
