"""A sentence as the classes of its words, and what a small classifier sees of it.

A few hundred labelled lines cannot teach a classifier thousands of words, but they can teach it
how a few classes follow each other: "I can't help with that" and "we are unable to answer this" are
both I CANNOT HELP THAT. A lexicon names the classes; a word without one is `OTHER`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

OTHER = "-"
NEAR = 8  # words between which order is looked at
LONGEST = 40  # words of a sentence that are looked at

Lexicon = Mapping[str, str]  # class by word; phrases have their words joined by spaces

_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00b4": "'", "`": "'", "ß": "ss"})
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|[:!?()\[\]\"“”«»{}=]")
_SENTENCE = re.compile(r"(?<=[.!?:。！？])[)\]\"”*_]*\s+|\s*\n\s*")


def lexicon(classes: Mapping[str, str]) -> dict[str, str]:
    """Class by word, from words parted by spaces; `_` joins the words of a phrase.

    Raises ValueError where a word has two classes.
    """
    named = [
        (word.replace("_", " "), name) for name, all_ in classes.items() for word in all_.split()
    ]
    found = dict(named)
    if twice := [word for word, name in named if found[word] != name]:
        raise ValueError(f"{twice}: a word has one class")
    return found


def tokens(text: str) -> list[str]:
    """Words in lower case, numbers and telling signs, in order."""
    return _TOKEN.findall(text.translate(_QUOTES).casefold())


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, none of them empty."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


def tagged(words: Sequence[str], known: Lexicon) -> list[str]:
    """The class of every word; a known phrase of two or three words is one."""
    return [tag for tag, _ in tagged_words(words, known)]


def tagged_words(words: Sequence[str], known: Lexicon) -> Iterator[tuple[str, str]]:
    """(class, word or phrase) in order; numbers are "#", signs are themselves."""
    words, at = words[:LONGEST], 0
    while at < len(words):
        for length in (3, 2, 1):
            phrase = " ".join(words[at : at + length])
            if length == 1 or phrase in known:
                break
        yield known.get(phrase) or _unknown(phrase), phrase
        at += phrase.count(" ") + 1


def _unknown(word: str) -> str:
    return "#" if word.isdigit() else OTHER if word[0].isalpha() else word


def features(tags: Sequence[str]) -> set[str]:
    """Which classes occur, which stand side by side ("A B"), which come before which ("A > B")."""
    padded = ["^", *tags, "$"]
    found = set(tags) | {f"{one} {next_one}" for one, next_one in pairwise(padded)}
    for at, tag in enumerate(padded):
        later = padded[at + 1 : at + 1 + NEAR] if tag != OTHER else ()
        found |= {f"{tag} > {other}" for other in later if other != OTHER}
    return found - {OTHER}
