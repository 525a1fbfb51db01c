"""Phrases that chosen answers use more than rejected ones, beyond chance.

Log-odds ratio with an informative Dirichlet prior, and its z-score: Monroe, Colaresi and Quinn
2008, "Fightin' Words" (doi 10.1093/pan/mpn018), section 3. Departures: a phrase counts once an
answer, so that one answer in a loop is no evidence; the prior is the phrase's share in both sides
together, PRIOR phrases strong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.hygiene.findings import SHOWN, Finding, TextPair

LONGEST = 4  # words of a phrase
PRIOR = 1000.0  # phrases of each length that the prior weighs as much as
LEAST = 5  # answers that must hold a phrase
Z = 4.0  # beyond 3.3 one in a thousand phrases would be by chance alone, and there are thousands

_BITS = 32


@dataclass(frozen=True)
class Phrase:
    """A phrase, its z-score (above 0: chosen answers have it more), and answers that hold it."""

    text: str
    z: float
    chosen: int
    rejected: int


def overused(pairs: Sequence[TextPair], threshold: float = Z) -> Finding:
    """The phrases of one to four words whose z-score is beyond the threshold, greatest first."""
    found = [phrase for phrase in weigh(pairs) if phrase.z > threshold]
    examples = tuple(f"{p.text} (z {p.z:.1f}, {p.chosen} : {p.rejected})" for p in found[:SHOWN])
    return Finding("overused", threshold, len(found), examples)


def weigh(pairs: Sequence[TextPair], least: int = LEAST) -> list[Phrase]:
    """Every phrase that at least so many answers hold, by falling z-score."""
    found = _phrases(pairs, least, _z_scores)
    return sorted(found, key=lambda phrase: (-phrase.z, phrase.text))


def more_often(pairs: Sequence[TextPair], independent: int, threshold: float = Z) -> list[Phrase]:
    """The phrases that a share of the first answers holds which is greater beyond chance than that
    of the second, greatest first.

    By the z-score of two proportions (pooled) of `independent` answers a side: fewer than all where
    several answer one question. Of a hundred answers it finds what `weigh`, made for thousands,
    finds only if nearly all hold it.
    """

    def z_of(counts: NDArray[np.int64]) -> NDArray[np.float64]:
        shares = counts / max(len(pairs), 1)
        both = shares.mean(axis=0)
        spread = np.sqrt(2 * both * (1 - both) / independent)
        gap = shares[0] - shares[1]
        return np.divide(gap, spread, out=np.zeros_like(gap), where=spread > 0)

    found = [phrase for phrase in _phrases(pairs, LEAST, z_of) if phrase.z > threshold]
    return sorted(found, key=lambda phrase: (-phrase.z, phrase.text))


def _phrases(
    pairs: Sequence[TextPair],
    least: int,
    z_of: Callable[[NDArray[np.int64]], NDArray[np.float64]],
) -> Iterator[Phrase]:
    """Every phrase that at least so many answers hold; z_of: from counts [2, phrases]."""
    texts = [chosen for chosen, _ in pairs] + [rejected for _, rejected in pairs]
    words, owner, vocabulary = _encoded(texts)
    codes, place = words.astype(np.int64), np.arange(len(words))
    for length in range(1, LONGEST + 1):
        if length > 1:
            codes, place = _longer(codes, place, words, owner, length)
        kinds, counts = _answers_with(codes, owner[place], len(pairs))
        z = z_of(counts)
        first = _first_places(codes, place, len(kinds))
        for kind in np.flatnonzero(counts.sum(axis=0) >= least):
            spelt = vocabulary[words[first[kind] : first[kind] + length]]
            chosen, rejected = counts[:, kind]
            yield Phrase(" ".join(spelt), float(z[kind]), int(chosen), int(rejected))


def holds(text: str, phrases: Iterable[str]) -> bool:
    """Whether a text has one of these phrases, as `weigh` spells them."""
    spelt = f" {' '.join(_words(text))} "
    return any(f" {phrase} " in spelt for phrase in phrases)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*", text.casefold())


def _encoded(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]:
    """Every word's number, the text it stands in, and the words by number."""
    known: dict[str, int] = {}
    numbers, lengths = [], []
    for text in texts:
        words = _words(text)
        numbers += [known.setdefault(word, len(known)) for word in words]
        lengths.append(len(words))
    owner = np.repeat(np.arange(len(texts)), lengths)
    return np.array(numbers, dtype=np.int64), owner, np.array(list(known), dtype=object)


def _longer(
    codes: NDArray[np.int64],
    place: NDArray[np.int64],
    words: NDArray[np.int64],
    owner: NDArray[np.int64],
    length: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Phrases one word longer, numbered anew from 0, and where each begins."""
    end = place + length - 1
    inside = end < len(words)
    codes, place, end = codes[inside], place[inside], end[inside]
    inside = owner[place] == owner[end]
    joined = (codes[inside] << _BITS) | words[end[inside]]
    _, numbered = np.unique(joined, return_inverse=True)
    return numbered.astype(np.int64), place[inside]


def _answers_with(
    codes: NDArray[np.int64], owner: NDArray[np.int64], pairs: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Phrases' numbers, and how many (chosen, rejected) answers hold each: [2, phrases]."""
    kinds = np.arange(int(codes.max()) + 1 if len(codes) else 0)
    every = np.sort((codes << _BITS) | owner)  # np.unique would hash them: slower
    once = every[np.flatnonzero(np.diff(every, prepend=-1))]
    code, text = once >> _BITS, once & ((1 << _BITS) - 1)
    sides = [
        np.bincount(code[side], minlength=len(kinds)) for side in (text < pairs, text >= pairs)
    ]
    return kinds, np.stack(sides)


def _first_places(
    codes: NDArray[np.int64], place: NDArray[np.int64], kinds: int
) -> NDArray[np.int64]:
    """Where each phrase stands for the first time."""
    first = np.zeros(kinds, dtype=np.int64)
    first[codes[::-1]] = place[::-1]
    return first


def _z_scores(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """z of the difference in log-odds, shape [phrases]; `counts`: shape [2, phrases]."""
    both = counts.sum(axis=0)
    prior = PRIOR * both / max(both.sum(), 1)
    weighed = counts + prior
    rest = counts.sum(axis=1, keepdims=True) + PRIOR - weighed
    log_odds = np.log(weighed) - np.log(rest)
    return np.asarray((log_odds[0] - log_odds[1]) / np.sqrt((1 / weighed).sum(axis=0)))
